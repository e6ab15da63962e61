//! Where a stream is to go on: behind what the log has acknowledged, never ahead of it.
//!
//! While posts are on their way to the log, the last one that came is no place to go on from after
//! a crash. So from time to time the present place becomes a *candidate*, together with the number
//! of appends begun by then. Once all of these are acknowledged the candidate is *safe*, and is
//! written down (`place_file`). An append that the log has refused holds the safe
//! place back, until the stream has been asked for again from there, or its posts are too old to
//! count.
//!
//! A place that was left, because it is another node's turn, counts for a while: see
//! [`Place::leave`].
//!
//! It performs no I/O and reads no clock: the caller passes `now`.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use touchline_core::time::Timestamp;

use crate::limits::{BACKFILL_MINUTES_MAX, PLACE_EVERY};

/// For how long what was refused is worth being asked for again: older posts are too old (R16).
const REFUSED_COUNTS: Duration = Duration::from_secs(60 * BACKFILL_MINUTES_MAX);

/// For how long a place counts where posts have no times of their own: one that comes again later
/// could be shown again, for the log has forgotten it by the time all of them have come.
const TIMELESS_COUNTS: Duration = Duration::from_secs(60 * BACKFILL_MINUTES_MAX);
/// For how long a place counts that was left: nine tenths of what the log remembers (R16), beyond
/// which what another node has published might be shown again.
const LEFT_COUNTS: Duration = Duration::from_secs(9 * 60);

/// A place in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last id; empty where the stream is asked by time.
    pub id: String,
    /// When it was heard last, by the wall clock.
    pub at: Timestamp,
}

impl Mark {
    /// Whether it is of use at `now`, in a stream whose posts have times of their own or not.
    pub fn counts(&self, now: Timestamp, has_times: bool) -> bool {
        has_times || self.at.plus(TIMELESS_COUNTS) >= now
    }
}

/// How far the log has what came.
#[derive(Debug)]
pub(super) struct Place {
    /// Something has come since the last candidate.
    is_news: bool,
    /// No candidate before.
    next_at: Instant,
    /// Appends under way.
    open: BTreeSet<u64>,
    begun: u64,
    /// Safe once all appends below the number are.
    candidate: Option<(u64, Mark)>,
    safe: Option<Mark>,
    /// Posts behind the safe place were refused then.
    refused_at: Option<Instant>,
    /// It isn't our turn, and until then the safe place counts.
    left_until: Option<Instant>,
}

impl Place {
    /// Of a stream that was left at `safe`, and isn't taken up yet.
    pub fn new(safe: Option<Mark>, now: Instant) -> Self {
        Self {
            is_news: false,
            next_at: now,
            open: BTreeSet::new(),
            begun: 0,
            candidate: None,
            safe,
            refused_at: None,
            left_until: Some(now + LEFT_COUNTS),
        }
    }

    /// Something has come.
    pub fn hear(&mut self) {
        self.is_news = true;
    }

    /// When the present place should become a candidate; `None`: there is no need.
    pub fn due(&self) -> Option<Instant> {
        let refused_until = self.refused_at.map(|at| at + REFUSED_COUNTS);
        let is_wanted = self.is_news && self.candidate.is_none();
        is_wanted.then(|| self.next_at.max(refused_until.unwrap_or(self.next_at)))
    }

    /// The present place, of which everything has been handed on; `None`: not now.
    pub fn propose(&mut self, mark: Option<Mark>, now: Instant) -> Option<Mark> {
        self.next_at = now + PLACE_EVERY;
        if self.refused_at.is_some_and(|at| now < at + REFUSED_COUNTS) {
            return None;
        }
        self.candidate = Some((self.begun, mark?));
        (self.is_news, self.refused_at) = (false, None);
        self.promote()
    }

    /// An append begins; its number.
    pub fn begin(&mut self) -> u64 {
        self.open.insert(self.begun);
        self.begun += 1;
        self.begun - 1
    }

    /// The log has answered append `number`. A place that became safe by it is to be written down.
    pub fn settle(&mut self, number: u64, is_taken: bool, now: Instant) -> Option<Mark> {
        self.open.remove(&number);
        if !is_taken {
            self.refused_at = Some(now);
            self.candidate = None;
            self.is_news = true;
        }
        self.promote()
    }

    /// Where to go on from instead of the present place, if posts behind it were refused: whoever
    /// takes it begins there.
    pub fn go_back(&mut self) -> Option<Mark> {
        let safe = self.safe.clone()?;
        self.refused_at.take().map(|_| safe)
    }

    /// It isn't our turn any more. Whoever has the stream next, here, begins at the safe place;
    /// `false`: there is none.
    pub fn leave(&mut self, now: Instant) -> bool {
        (self.candidate, self.refused_at) = (None, Some(now));
        self.left_until = Some(now + LEFT_COUNTS);
        self.safe.is_some()
    }

    /// When the place that was left is to be forgotten; `None`: there is none.
    pub fn left_until(&self) -> Option<Instant> {
        self.left_until.filter(|_| self.safe.is_some())
    }

    /// It is our turn. `false`: there is a safe place, and it is of no use any more.
    pub fn take_up(&mut self, now: Instant, clock: Timestamp, has_times: bool) -> bool {
        let is_late = self.left_until.take().is_some_and(|until| now >= until);
        self.safe.as_ref().is_none_or(|mark| !is_late && mark.counts(clock, has_times))
    }

    /// There is no place to go on from.
    pub fn forget(&mut self) {
        (self.is_news, self.candidate, self.safe, self.refused_at) = (false, None, None, None);
    }

    fn promote(&mut self) -> Option<Mark> {
        let (begun, _) = self.candidate.as_ref()?;
        if self.open.first().is_some_and(|first| first < begun) {
            return None;
        }
        let (_, mark) = self.candidate.take()?;
        self.safe = Some(mark.clone());
        Some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(id: &str) -> Option<Mark> {
        Some(Mark { id: id.into(), at: Timestamp(7) })
    }

    #[tokio::test]
    async fn a_place_is_safe_once_all_that_came_before_it_is_acknowledged() {
        let now = Instant::now();
        let mut place = Place::new(None, now);
        assert_eq!(place.due(), None, "nothing has come");
        let (first, second) = (place.begin(), place.begin());
        place.hear();
        assert_eq!(place.due(), Some(now));
        assert_eq!(place.propose(mark("2"), now), None);
        place.hear();
        assert_eq!(place.due(), None, "one at a time");
        let third = place.begin();
        assert_eq!(place.settle(second, true, now), None, "the first is under way");
        assert_eq!(place.settle(first, true, now), mark("2"), "the third is none of it");
        assert_eq!(place.due(), Some(now + PLACE_EVERY), "not all the time");
        assert_eq!(place.settle(third, true, now), None);
        assert_eq!(place.propose(mark("3"), now), mark("3"), "nothing is under way");
        assert_eq!(place.go_back(), None, "nothing was refused");
    }

    #[tokio::test]
    async fn what_was_refused_holds_the_place_back_until_it_has_been_asked_for_or_is_too_old() {
        let now = Instant::now();
        let mut place = Place::new(mark("0"), now);
        let first = place.begin();
        place.hear();
        assert_eq!(place.propose(mark("1"), now), None);
        assert_eq!(place.settle(first, false, now), None);
        place.hear();
        assert_eq!(place.due(), Some(now + REFUSED_COUNTS), "until its posts are too old");
        assert_eq!(place.go_back(), mark("0"), "the stream is asked from there");
        assert_eq!(place.go_back(), None);
        assert_eq!(place.due(), Some(now + PLACE_EVERY));
        let later = now + PLACE_EVERY;
        assert_eq!(place.propose(None, later), None, "something is not handed on yet");
        assert_eq!(place.due(), Some(later + PLACE_EVERY), "and is waited for");
        assert_eq!(place.propose(mark("2"), later), mark("2"));
    }

    #[tokio::test]
    async fn a_place_that_was_left_counts_for_as_long_as_the_log_remembers() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let soon = Timestamp(7 + 300_000_000);
        for (after, clock, has_times, counts) in [
            (second, soon, false, true),
            (second, soon.plus(second), false, false),
            (second, soon.plus(3_600 * second), true, true),
            (LEFT_COUNTS, soon, true, false),
        ] {
            let mut fresh = Place::new(mark("1"), now);
            assert_eq!(fresh.take_up(now + after, clock, has_times), counts, "of a start");
            let mut place = Place::new(None, now);
            assert!(place.take_up(now, Timestamp(7), has_times), "there is none");
            place.propose(mark("1"), now);
            assert_eq!(place.left_until(), None, "it is our turn");
            assert!(place.leave(now));
            assert_eq!(place.left_until(), Some(now + LEFT_COUNTS));
            assert_eq!(place.take_up(now + after, clock, has_times), counts, "{after:?}");
            assert_eq!(place.go_back(), mark("1"), "what is on its way is in doubt");
        }
        assert!(!Place::new(None, now).leave(now));
    }

    /// Whatever the order of answers, what is safe lies before the first that is not taken.
    #[tokio::test]
    async fn a_safe_place_is_never_ahead_of_the_log() {
        let now = Instant::now();
        for seed in 0..2_000u64 {
            let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut roll = |n: u64| {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice % n
            };
            let mut place = Place::new(None, now);
            let (mut open, mut in_doubt) = (Vec::new(), BTreeSet::new());
            let mut count = 0;
            for _ in 0..60 {
                let safe = match roll(4) {
                    0 => {
                        open.push(place.begin());
                        in_doubt.insert(count);
                        count += 1;
                        place.hear();
                        None
                    }
                    1 => place.propose(mark(&count.to_string()), now),
                    2 if !open.is_empty() => {
                        let number = open.swap_remove(roll(open.len() as u64) as usize);
                        let is_taken = roll(5) > 0;
                        if is_taken {
                            in_doubt.remove(&number);
                        }
                        place.settle(number, is_taken, now)
                    }
                    _ => None,
                };
                if let Some(safe) = safe {
                    let safe: u64 = safe.id.parse().unwrap();
                    let first = in_doubt.first().copied().unwrap_or(u64::MAX);
                    assert!(safe <= first, "seed {seed}: {safe} is ahead of {first}");
                }
            }
        }
    }
}
