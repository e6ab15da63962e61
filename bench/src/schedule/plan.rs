//! A schedule, event by event.

use super::{Schedule, Stream};
use crate::limits::EVENTS_MAX;
use crate::stamp::Stamp;

/// One event.
#[derive(Clone, Copy, Debug)]
struct Due {
    at_ns: u64,
    team: u32,
    stream: Stream,
    /// Its number within its team and stream.
    number: u32,
}

/// A schedule, event by event.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The recipe.
    pub schedule: Schedule,
    events: Vec<Due>,
    of_team: Vec<[u32; Stream::COUNT]>,
}

impl Plan {
    pub(super) fn new(schedule: Schedule) -> Self {
        let mut events = Vec::new();
        for (index, phase) in schedule.phases.iter().enumerate() {
            let from_ns = schedule.window(index).from_ns;
            for track in &phase.tracks {
                for (k, at_s) in track.moments_s(phase.seconds).into_iter().enumerate() {
                    let team = track.team(k as u32);
                    let at_ns = from_ns + (at_s * 1e9) as u64;
                    let due = Due { at_ns, team, stream: track.stream, number: 0 };
                    events.extend(std::iter::repeat_n(due, track.burst as usize));
                }
            }
        }
        // Stable: events of one moment keep the order of their tracks, everywhere.
        events.sort_by_key(|event| event.at_ns);
        events.truncate(EVENTS_MAX);
        let teams = events.iter().map(|event| event.team + 1).max().unwrap_or(0);
        let mut of_team = vec![[0; Stream::COUNT]; teams.max(schedule.teams) as usize];
        for event in &mut events {
            let count = &mut of_team[event.team as usize][event.stream as usize];
            event.number = *count;
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
        self.counts_of(team).iter().sum()
    }

    /// The same by the way in which they come, in the order of [`Stream::ALL`].
    pub fn counts_of(&self, team: u32) -> [u32; Stream::COUNT] {
        self.of_team.get(team as usize).copied().unwrap_or_default()
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

    /// By which way event `n` comes in.
    pub fn stream(&self, n: u32) -> Stream {
        self.events[n as usize].stream
    }

    /// What event `n` carries.
    pub fn stamp(&self, n: u32) -> Stamp {
        let Due { at_ns, number, stream, .. } = self.events[n as usize];
        Stamp { t: at_ns, seq: stream.seq(number), n }
    }

    /// Event `n`'s `data`.
    pub fn data(&self, n: u32) -> String {
        self.stamp(n).data(self.schedule.pad)
    }
}
