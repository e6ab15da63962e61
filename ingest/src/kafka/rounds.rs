//! Asking every lane in a bounded time, though some don't answer.
//!
//! A partition without a leader is silent for as long as anybody waits for it. Whoever was silent
//! is asked last from then on, and not waited for long, so that it hides none of the others; those
//! that a round had no time for come before those it has just waited for.

use std::time::{Duration, Instant};

use touchline_core::log::Lane;

/// How long all lanes together may take.
const ROUND_MAX: Duration = Duration::from_secs(3);
/// How long one may take, and one that was silent when it was asked last.
const ANSWER_MAX: Duration = Duration::from_secs(2);
const SILENT_MAX: Duration = Duration::from_millis(500);

/// In which order lanes are asked.
pub(super) struct Rounds {
    order: Vec<Lane>,
    /// By lane.
    is_silent: Vec<bool>,
}

/// One time around.
pub(super) struct Round {
    left: std::vec::IntoIter<Lane>,
    begin: Instant,
}

impl Rounds {
    pub fn new(lanes: usize) -> Self {
        let order = (0..lanes as u16).map(Lane).collect();
        Self { order, is_silent: vec![false; lanes] }
    }

    /// Begins to ask those that are `wanted`.
    pub fn begin(&self, wanted: impl Fn(Lane) -> bool, now: Instant) -> Round {
        let wanted: Vec<_> = self.order.iter().copied().filter(|lane| wanted(*lane)).collect();
        Round { left: wanted.into_iter(), begin: now }
    }

    /// Who is asked next, and for how long; `None` once all were, or the time is over.
    pub fn next(&self, round: &mut Round, now: Instant) -> Option<(Lane, Duration)> {
        let left = ROUND_MAX.saturating_sub(now.duration_since(round.begin));
        let lane = round.left.next().filter(|_| !left.is_zero())?;
        let most = if self.is_silent[usize::from(lane.0)] { SILENT_MAX } else { ANSWER_MAX };
        Some((lane, most.min(left)))
    }

    /// What came of it.
    pub fn heard(&mut self, lane: Lane, has_answered: bool) {
        self.is_silent[usize::from(lane.0)] = !has_answered;
        if !has_answered && let Some(place) = self.order.iter().position(|it| *it == lane) {
            self.order[place..].rotate_left(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks all of so many lanes, of which some are silent for as long as they are waited for.
    /// Answers who has been asked.
    fn ask(rounds: &mut Rounds, silent: &[u16]) -> Vec<u16> {
        let mut now = Instant::now();
        let (mut round, mut asked) = (rounds.begin(|_| true, now), Vec::new());
        while let Some((lane, most)) = rounds.next(&mut round, now) {
            let is_silent = silent.contains(&lane.0);
            now += if is_silent { most } else { Duration::from_millis(1) };
            rounds.heard(lane, !is_silent);
            asked.push(lane.0);
        }
        asked
    }

    #[test]
    fn one_that_is_silent_hides_no_other_and_is_asked_last_from_then_on() {
        let mut rounds = Rounds::new(5);
        assert_eq!(ask(&mut rounds, &[1]), [0, 1, 2, 3, 4]);
        assert_eq!(ask(&mut rounds, &[1]), [0, 2, 3, 4, 1]);
        assert_eq!(ask(&mut rounds, &[]), [0, 2, 3, 4, 1]);
    }

    #[test]
    fn however_many_are_silent_each_has_its_turn_and_a_round_its_end() {
        let (silent, mut rounds): (Vec<u16>, _) = ((0..10).collect(), Rounds::new(12));
        assert_eq!(ask(&mut rounds, &silent), [0, 1], "2 s, and what is left");
        // Who was silent is not waited for again before all others were.
        for _ in 0..10 {
            ask(&mut rounds, &silent);
        }
        let asked = ask(&mut rounds, &silent);
        assert_eq!(asked[..2], [10, 11], "those that answer");
        assert_eq!(asked.len(), 8, "six of the others, half a second each");
        let next = ask(&mut rounds, &silent);
        assert!(next[2..6].iter().all(|lane| !asked.contains(lane)), "{asked:?}, then {next:?}");
    }

    #[test]
    fn only_those_that_are_wanted_are_asked() {
        let (rounds, now) = (Rounds::new(6), Instant::now());
        let mut round = rounds.begin(|lane| lane.0 % 3 == 1, now);
        let asked = [(); 3].map(|()| rounds.next(&mut round, now).map(|(lane, _)| lane.0));
        assert_eq!(asked, [Some(1), Some(4), None]);
    }
}
