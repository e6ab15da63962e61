//! When which event is due, and who follows what: plain arithmetic that publisher, floor and
//! receivers share.
//!
//! A [`Schedule`] is fixed before a run begins and small enough to be sent to everybody, who
//! expands it into the same [`Plan`]. Nothing has to be exchanged while the clock runs, and a
//! publisher that falls behind can't move the time an event was due (no coordinated omission).
//!
//! Teams are numbered: those below [`Schedule::teams`] have followers, those above have none and
//! cost a server only what it takes to accept and to drop an event.
//!
//! | module | what it is |
//! |---|---|
//! | [`plan`] | a schedule, event by event |
//! | [`following`] | how sockets are shared out over teams |
//! | [`stream`] | by which way events come in |

pub mod following;
pub mod plan;
pub mod stream;

use serde::{Deserialize, Serialize};

pub use following::{Following, followers};
pub use plan::Plan;
pub use stream::Stream;

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
    /// By which way they come in.
    #[serde(default)]
    pub stream: Stream,
}

impl Track {
    /// One event of `rate` a second, for `team_count` teams from `team_first` on in turn.
    pub fn even(rate: f64, team_first: u32, team_count: u32) -> Self {
        let stream = Stream::Broadcast;
        Self { rate, at_s: Vec::new(), burst: 1, team_first, team_count, stream }
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
    /// Only what comes in by this way.
    #[serde(default)]
    pub stream: Stream,
}

impl Schedule {
    /// The stretch of phase `index`.
    pub fn window(&self, index: usize) -> Window {
        let before: u64 = self.phases[..index].iter().map(Phase::nanos).sum();
        let from_ns = self.start_ns + before;
        let to_ns = from_ns + self.phases[index].nanos();
        Window { from_ns, to_ns, team_first: 0, stream: self.streams()[0] }
    }

    /// When the warm-up is over: the first phase, unless it is the only one.
    pub fn warm_ns(&self) -> u64 {
        self.window(1.min(self.phases.len().saturating_sub(1))).from_ns
    }

    /// The ways by which its events come in, the one that is timed first: broadcast wherever there
    /// is any.
    pub fn streams(&self) -> Vec<Stream> {
        let tracks = || self.phases.iter().flat_map(|phase| &phase.tracks);
        let occurs = |stream: &Stream| tracks().any(|track| track.stream == *stream);
        let streams: Vec<Stream> = Stream::ALL.into_iter().filter(occurs).collect();
        if streams.is_empty() { vec![Stream::default()] } else { streams }
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
        let expected = Window { from_ns, to_ns, team_first: 0, stream: Stream::Broadcast };
        assert_eq!(plan.schedule.window(1), expected);
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
    fn streams_count_for_themselves_and_broadcast_is_timed_where_there_is_any() {
        let of = |stream| Track { stream, ..Track::even(10.0, 0, 2) };
        let tracks = vec![of(Stream::Sensor), of(Stream::Broadcast)];
        let phase = |tracks| Phase { name: "x".into(), seconds: 1.0, tracks };
        let schedule =
            |tracks| Schedule { start_ns: 0, teams: 2, pad: 0, phases: vec![phase(tracks)] };
        let both = schedule(tracks);
        assert_eq!(both.streams(), [Stream::Broadcast, Stream::Sensor]);
        assert_eq!(both.window(0).stream, Stream::Broadcast);
        let plan = both.plan();
        assert_eq!((plan.counts_of(1), plan.events_of(1)), ([5, 0, 5], 10));
        let last = plan.events() - 1;
        assert_eq!(Stream::place(plan.stamp(last).seq).1, 4, "the fifth of its team and stream");
        assert_eq!(schedule(vec![of(Stream::Sensor)]).window(0).stream, Stream::Sensor);
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
