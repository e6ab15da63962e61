//! When which event is due, and who follows what: plain arithmetic that publisher, floor and
//! receivers share.
//!
//! A [`Schedule`] is fixed before a run begins and small enough to be sent to everybody, who
//! expands it into the same [`Plan`]. Nothing has to be exchanged while the clock runs, and a
//! publisher that falls behind can't move the time an event was due (no coordinated omission).
//!
//! Teams are numbered: those below [`Schedule::teams`] have followers, those above have none and
//! cost a server only what it takes to accept and to drop an event.

use serde::{Deserialize, Serialize};

use crate::limits::EVENTS_MAX;
use crate::stamp::Stamp;

/// Events of one kind within a phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Moments a second at which something is due, evenly spread; 0 where `at_s` names them.
    pub rate: f64,
    /// Moments, in seconds after the phase began.
    pub at_s: Vec<f64>,
    /// Events of one moment, all of the same team.
    pub burst: u32,
    /// The first of its teams.
    pub team_first: u32,
    /// How many teams take turns.
    pub team_count: u32,
}

impl Track {
    /// One event of `rate` a second, for `team_count` teams from `team_first` on in turn.
    pub fn even(rate: f64, team_first: u32, team_count: u32) -> Self {
        Self { rate, at_s: Vec::new(), burst: 1, team_first, team_count }
    }

    /// Its moments within `seconds`, and at least one where there is a rate.
    fn moments_s(&self, seconds: f64) -> Vec<f64> {
        if self.rate <= 0.0 {
            return self.at_s.iter().copied().filter(|at| *at < seconds).collect();
        }
        let count = ((self.rate * seconds).round() as u32).max(1);
        (0..count).map(|k| f64::from(k) / self.rate).collect()
    }

    /// The team of its moment `k`. Neighbours in the order are far apart by number, so that the
    /// teams with the most followers, which have the lowest numbers, don't come all at once.
    fn team(&self, k: u32) -> u32 {
        let place = u64::from(k % self.team_count) * u64::from(stride(self.team_count));
        self.team_first + (place % u64::from(self.team_count)) as u32
    }
}

/// A stretch of a run that is measured on its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// What it is for.
    pub name: String,
    /// How long.
    pub seconds: f64,
    /// What is due meanwhile.
    pub tracks: Vec<Track>,
}

impl Phase {
    /// `rate` events a second over the first `teams` teams.
    pub fn even(name: &str, rate: f64, seconds: f64, teams: u32) -> Self {
        Self { name: name.into(), seconds, tracks: vec![Track::even(rate, 0, teams)] }
    }

    /// Events a second for teams that somebody follows: what the server is offered.
    pub fn rate(&self, teams: u32) -> f64 {
        let followed = self.tracks.iter().filter(|track| track.team_first < teams);
        let events =
            followed.map(|track| track.moments_s(self.seconds).len() * track.burst as usize);
        events.sum::<usize>() as f64 / self.seconds.max(1e-9)
    }

    fn nanos(&self) -> u64 {
        (self.seconds * 1e9) as u64
    }
}

/// All events of a run, as a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// When the first phase begins, on the clock of [`crate::sys::now_ns`].
    pub start_ns: u64,
    /// Teams that have followers.
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
    /// Only what followers of teams from here on get.
    pub team_first: u32,
}

impl Schedule {
    /// The stretch of phase `index`.
    pub fn window(&self, index: usize) -> Window {
        let before: u64 = self.phases[..index].iter().map(Phase::nanos).sum();
        let from_ns = self.start_ns + before;
        Window { from_ns, to_ns: from_ns + self.phases[index].nanos(), team_first: 0 }
    }

    /// When the last phase is over.
    pub fn end_ns(&self) -> u64 {
        self.start_ns + self.phases.iter().map(Phase::nanos).sum::<u64>()
    }

    /// How many events it leads to.
    pub fn events(&self) -> u64 {
        let of_track = |phase: &Phase, track: &Track| {
            track.moments_s(phase.seconds).len() as u64 * u64::from(track.burst)
        };
        let of_phase =
            |phase: &Phase| phase.tracks.iter().map(|track| of_track(phase, track)).sum::<u64>();
        self.phases.iter().map(of_phase).sum()
    }

    /// Every event it leads to. A schedule may come from another host: what is above
    /// [`EVENTS_MAX`], which no controller of this version sends, is left out.
    pub fn plan(self) -> Plan {
        Plan::new(self)
    }
}

/// One event.
#[derive(Clone, Copy, Debug)]
struct Due {
    at_ns: u64,
    team: u32,
    seq: u32,
}

/// A schedule, event by event.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The recipe.
    pub schedule: Schedule,
    events: Vec<Due>,
    of_team: Vec<u32>,
}

impl Plan {
    fn new(schedule: Schedule) -> Self {
        let mut events = Vec::new();
        for (index, phase) in schedule.phases.iter().enumerate() {
            let from_ns = schedule.window(index).from_ns;
            for track in &phase.tracks {
                for (k, at_s) in track.moments_s(phase.seconds).into_iter().enumerate() {
                    let team = track.team(k as u32);
                    let due = Due { at_ns: from_ns + (at_s * 1e9) as u64, team, seq: 0 };
                    events.extend(std::iter::repeat_n(due, track.burst as usize));
                }
            }
        }
        // Stable: events of one moment keep the order of their tracks, everywhere.
        events.sort_by_key(|event| event.at_ns);
        events.truncate(EVENTS_MAX);
        let teams = events.iter().map(|event| event.team + 1).max().unwrap_or(0);
        let mut of_team = vec![0; teams.max(schedule.teams) as usize];
        for event in &mut events {
            let count = &mut of_team[event.team as usize];
            event.seq = *count;
            *count += 1;
        }
        Self { schedule, events, of_team }
    }

    /// How many events there are.
    pub fn events(&self) -> u32 {
        self.events.len() as u32
    }

    /// How many of them concern `team`.
    pub fn events_of(&self, team: u32) -> u32 {
        self.of_team.get(team as usize).copied().unwrap_or(0)
    }

    /// Teams that occur, followed or not.
    pub fn teams(&self) -> u32 {
        self.of_team.len() as u32
    }

    /// When event `n` is due; when everything is over, if there is no such event.
    pub fn due_ns(&self, n: u32) -> u64 {
        self.events.get(n as usize).map_or_else(|| self.schedule.end_ns(), |event| event.at_ns)
    }

    /// When the last event for a team that has followers is due.
    pub fn last_due_ns(&self) -> u64 {
        let mut followed = self.events.iter().filter(|event| event.team < self.schedule.teams);
        followed.next_back().map_or(self.schedule.start_ns, |event| event.at_ns)
    }

    /// Which team event `n` concerns.
    pub fn team(&self, n: u32) -> u32 {
        self.events[n as usize].team
    }

    /// What event `n` carries.
    pub fn stamp(&self, n: u32) -> Stamp {
        let Due { at_ns, seq, .. } = self.events[n as usize];
        Stamp { t: at_ns, seq, n }
    }

    /// Event `n`'s `data`.
    pub fn data(&self, n: u32) -> String {
        self.stamp(n).data(self.schedule.pad)
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
    /// All but the first team have one socket in a hundred each, the first has the rest.
    Hundredths,
}

/// How many of `sockets` follow each of `teams`; adds up exactly, by largest remainder.
pub fn followers(following: Following, sockets: usize, teams: u32) -> Vec<usize> {
    let weight = |team: u32| match following {
        Following::Even => 1.0,
        Following::Zipf => 1.0 / f64::from(team + 1),
        Following::Hundredths if team == 0 => 101.0 - f64::from(teams.min(100)),
        Following::Hundredths => 1.0,
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

    fn schedule(teams: u32) -> Schedule {
        let phases =
            vec![Phase::even("a", 10.0, 2.0, teams), Phase::even("b", 1_000.0, 0.5, teams)];
        Schedule { start_ns: 1_000, teams, pad: 0, phases }
    }

    #[test]
    fn every_event_has_its_time_team_and_number() {
        let plan = schedule(3).plan();
        assert_eq!((plan.events(), plan.teams()), (520, 3));
        assert_eq!(plan.due_ns(0), 1_000);
        assert_eq!(plan.due_ns(19), 1_900_001_000);
        assert_eq!(plan.due_ns(20), 2_000_001_000, "the second phase begins");
        assert_eq!(plan.due_ns(21), 2_001_001_000);
        assert_eq!(plan.due_ns(520), 2_500_001_000, "when it is over");
        let (from_ns, to_ns) = (2_000_001_000, 2_500_001_000);
        assert_eq!(plan.schedule.window(1), Window { from_ns, to_ns, team_first: 0 });
        assert!((plan.schedule.phases[1].rate(3) - 1_000.0).abs() < 1e-6);
        let mut next = [0; 3];
        for n in 0..plan.events() {
            let team = plan.team(n) as usize;
            assert_eq!(plan.stamp(n).seq, next[team]);
            next[team] += 1;
        }
        for team in 0..3 {
            assert_eq!(plan.events_of(team), next[team as usize]);
        }
    }

    #[test]
    fn each_team_has_its_turn_before_any_has_another() {
        for teams in [1, 2, 3, 10, 97, 100] {
            let plan = schedule(teams).plan();
            let mut round: Vec<u32> = (0..teams).map(|n| plan.team(20 + n)).collect();
            round.sort_unstable();
            assert_eq!(round, (0..teams).collect::<Vec<_>>(), "{teams} teams");
        }
        let plan = schedule(100).plan();
        let first: Vec<u32> = (0..6).map(|n| plan.team(n)).collect();
        assert_eq!(first, [0, 61, 22, 83, 44, 5]);
    }

    #[test]
    fn tracks_run_side_by_side_and_bursts_come_at_once() {
        let goals = Track { rate: 0.0, at_s: vec![0.25, 9.0], burst: 3, ..Track::even(0.0, 1, 1) };
        let tracks = vec![Track::even(2.0, 0, 1), goals, Track::even(1.0, 7, 2)];
        let phase = Phase { name: "x".into(), seconds: 1.0, tracks };
        let plan = Schedule { start_ns: 0, teams: 2, pad: 0, phases: vec![phase] }.plan();
        let all: Vec<_> = (0..plan.events()).map(|n| (plan.due_ns(n), plan.team(n))).collect();
        let quarter = (250_000_000, 1);
        assert_eq!(all, [(0, 0), (0, 7), quarter, quarter, quarter, (500_000_000, 0)]);
        assert_eq!([plan.events_of(1), plan.events_of(8), plan.events_of(9)], [3, 0, 0]);
        assert_eq!(plan.last_due_ns(), 500_000_000);
        assert!((plan.schedule.phases[0].rate(2) - 5.0).abs() < 1e-9, "without the unfollowed");
    }

    #[test]
    fn followers_add_up_and_follow_the_law() {
        let zipf = followers(Following::Zipf, 50_000, 100);
        assert_eq!(zipf.iter().sum::<usize>(), 50_000);
        assert!(zipf[0].abs_diff(9_639) <= 1, "{}", zipf[0]);
        assert!(zipf[99] >= 96);
        assert_eq!(followers(Following::Hundredths, 1_000, 2), [990, 10]);
        assert_eq!(followers(Following::Even, 10, 3), [4, 3, 3]);
        assert_eq!(followers(Following::Zipf, 0, 3), [0, 0, 0]);
    }
}
