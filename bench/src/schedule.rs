//! When which event is due, and who follows what: plain arithmetic that publisher, floor and
//! receivers share.
//!
//! A [`Schedule`] is fixed before a run begins. Everybody derives the same event from its number,
//! so nothing has to be exchanged while the clock runs, and a publisher that falls behind can't
//! move the time an event was due (no coordinated omission).

use serde::{Deserialize, Serialize};

use crate::stamp::Stamp;

/// A stretch of even pace.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Events per second; above 0.
    pub rate: f64,
    /// How many events. The phase lasts `events / rate` seconds.
    pub events: u32,
}

impl Phase {
    /// As many events as fit into `seconds`, at least one.
    pub fn new(rate: f64, seconds: f64) -> Self {
        Self { rate, events: ((rate * seconds).round() as u32).max(1) }
    }

    fn nanos(&self) -> u64 {
        (f64::from(self.events) / self.rate * 1e9) as u64
    }
}

/// All events of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// When the first event is due, on the clock of [`crate::sys::now_ns`].
    pub start_ns: u64,
    /// Teams; each gets one event before any gets another. Neighbours in the order are far apart by
    /// number, so that the teams with the most followers, which have the lowest numbers, don't come
    /// all at once.
    pub teams: u32,
    /// Bytes of padding in each event's `data`.
    pub pad: usize,
    /// One after the other.
    pub phases: Vec<Phase>,
}

/// A stretch of time whose events are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First intended time.
    pub from_ns: u64,
    /// One above the last.
    pub to_ns: u64,
}

impl Schedule {
    /// How many events there are.
    pub fn events(&self) -> u32 {
        self.phases.iter().map(|phase| phase.events).sum()
    }

    /// How many of them concern `team`.
    pub fn events_of(&self, team: u32) -> u32 {
        let (rounds, rest) = (self.events() / self.teams, self.events() % self.teams);
        rounds + u32::from((0..rest).any(|n| self.team(n) == team))
    }

    /// When the event after the last would be due.
    pub fn end_ns(&self) -> u64 {
        self.start_ns + self.phases.iter().map(Phase::nanos).sum::<u64>()
    }

    /// The stretch of phase `index`.
    pub fn window(&self, index: usize) -> Window {
        let before: u64 = self.phases[..index].iter().map(Phase::nanos).sum();
        let from_ns = self.start_ns + before;
        Window { from_ns, to_ns: from_ns + self.phases[index].nanos() }
    }

    /// When event `n` is due.
    pub fn due_ns(&self, n: u32) -> u64 {
        let (mut left, mut start) = (n, self.start_ns);
        for phase in &self.phases {
            if left < phase.events {
                return start + (f64::from(left) / phase.rate * 1e9) as u64;
            }
            left -= phase.events;
            start += phase.nanos();
        }
        start
    }

    /// Which team event `n` concerns.
    pub fn team(&self, n: u32) -> u32 {
        let place = u64::from(n % self.teams) * u64::from(stride(self.teams));
        (place % u64::from(self.teams)) as u32
    }

    /// What event `n` carries.
    pub fn stamp(&self, n: u32) -> Stamp {
        Stamp { t: self.due_ns(n), seq: n / self.teams, n }
    }
}

/// The golden section of `teams`, or the next number above that visits all of them.
fn stride(teams: u32) -> u32 {
    let shares_no_factor = |stride: &u32| {
        let (mut a, mut b) = (*stride, teams);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a == 1
    };
    let first = (f64::from(teams) * 0.618) as u32;
    (first.max(1)..).find(shares_no_factor).unwrap_or(1)
}

/// The name of team `index` as it stands in URLs and events.
pub fn team_name(index: u32) -> String {
    format!("t{index:03}")
}

/// How sockets are shared out over teams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Following {
    /// The same number for each.
    Even,
    /// The k-th team has a share of 1/k.
    Zipf,
}

/// How many of `sockets` follow each of `teams`; adds up exactly, by largest remainder.
pub fn followers(following: Following, sockets: usize, teams: u32) -> Vec<usize> {
    let weight = |team: u32| match following {
        Following::Even => 1.0,
        Following::Zipf => 1.0 / f64::from(team + 1),
    };
    let total: f64 = (0..teams).map(weight).sum();
    let exact: Vec<f64> = (0..teams).map(|team| sockets as f64 * weight(team) / total).collect();
    let mut counts: Vec<usize> = exact.iter().map(|share| *share as usize).collect();
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()));
    let missing = sockets - counts.iter().sum::<usize>();
    for team in order.into_iter().cycle().take(missing) {
        counts[team] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> Schedule {
        let phases = vec![Phase::new(10.0, 2.0), Phase::new(1_000.0, 0.5)];
        Schedule { start_ns: 1_000, teams: 3, pad: 0, phases }
    }

    #[test]
    fn every_event_has_its_time_team_and_number() {
        let schedule = schedule();
        assert_eq!(schedule.events(), 520);
        assert_eq!(schedule.due_ns(0), 1_000);
        assert_eq!(schedule.due_ns(19), 1_900_001_000);
        assert_eq!(schedule.due_ns(20), 2_000_001_000, "the second phase begins");
        assert_eq!(schedule.due_ns(21), 2_001_001_000);
        assert_eq!(schedule.end_ns(), 2_500_001_000);
        assert_eq!(schedule.window(1), Window { from_ns: 2_000_001_000, to_ns: 2_500_001_000 });
        let mut next = [0; 3];
        for n in 0..schedule.events() {
            let team = schedule.team(n) as usize;
            assert_eq!(schedule.stamp(n).seq, next[team]);
            next[team] += 1;
        }
        for team in 0..3 {
            assert_eq!(schedule.events_of(team), next[team as usize]);
        }
    }

    #[test]
    fn each_team_has_its_turn_before_any_has_another() {
        for teams in [1, 2, 3, 10, 97, 100] {
            let schedule = Schedule { teams, ..schedule() };
            let mut round: Vec<u32> = (0..teams).map(|n| schedule.team(n)).collect();
            round.sort_unstable();
            assert_eq!(round, (0..teams).collect::<Vec<_>>(), "{teams} teams");
        }
        let schedule = Schedule { teams: 100, ..schedule() };
        let first: Vec<u32> = (0..6).map(|n| schedule.team(n)).collect();
        assert_eq!(first, [0, 61, 22, 83, 44, 5]);
    }

    #[test]
    fn followers_add_up_and_follow_the_law() {
        let zipf = followers(Following::Zipf, 50_000, 100);
        assert_eq!(zipf.iter().sum::<usize>(), 50_000);
        assert!(zipf[0].abs_diff(9_639) <= 1, "{}", zipf[0]);
        assert!(zipf[99] >= 96);
        assert_eq!(followers(Following::Even, 10, 3), [4, 3, 3]);
        assert_eq!(followers(Following::Zipf, 0, 3), [0, 0, 0]);
    }
}
