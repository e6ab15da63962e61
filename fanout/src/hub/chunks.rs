//! Pieces of the log, read for sessions that start below the windows.
//!
//! Sessions that come back together want the same stretch of the log, a little apart from each
//! other. A [`Chunk`] is such a stretch with an index by team, so a session pays for what it
//! follows and not for what was read; the newest few chunks are kept, so one scan serves all (R6),
//! and a slow reader costs a second read but never holds up others.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use touchline_core::event::{Identity, Stream, Team, Topic};
use touchline_core::frame::{Batch, Published};
use touchline_core::log::{Hole, Lane, Position};
use touchline_core::time::Monotonic;

use super::session::{Catchup, Session};
use super::topics::Topics;

/// Everything of one lane in `from..next`.
pub(super) struct Chunk {
    pub(super) lane: Lane,
    pub(super) from: u64,
    pub(super) next: u64,
    batch: Arc<Batch>,
    by_team: HashMap<Team, Vec<u32>>,
    /// By event: a later one of this chunk replaces it (R20, R21).
    replaced: Vec<bool>,
    used: u64,
}

/// The newest chunks.
#[derive(Default)]
pub(super) struct Chunks {
    chunks: Vec<Chunk>,
    clock: u64,
}

impl Chunks {
    pub(super) fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Keeps what was read of `lane`, at most `chunks_max` pieces in all.
    pub(super) fn insert(
        &mut self,
        lane: Lane,
        from: u64,
        next: u64,
        batch: Arc<Batch>,
        chunks_max: usize,
    ) {
        while self.chunks.len() >= chunks_max.max(1) {
            let oldest = (0..self.chunks.len()).min_by_key(|index| self.chunks[*index].used);
            self.chunks.swap_remove(oldest.unwrap_or(0));
        }
        let mut by_team: HashMap<Team, Vec<u32>> = HashMap::new();
        for (index, event) in batch.events.iter().enumerate() {
            for team in event.topic.route.teams().filter_map(|name| Team::new(name).ok()) {
                by_team.entry(team).or_default().push(index as u32);
            }
        }
        self.clock += 1;
        let replaced = replaced(&batch.events);
        self.chunks.push(Chunk { lane, from, next, batch, by_team, replaced, used: self.clock });
    }

    /// The chunk that holds `seq` of `lane`.
    pub(super) fn find(&mut self, lane: Lane, seq: u64) -> Option<&Chunk> {
        self.clock += 1;
        let clock = self.clock;
        let holds =
            |chunk: &&mut Chunk| chunk.lane == lane && (chunk.from..chunk.next).contains(&seq);
        let chunk = self.chunks.iter_mut().find(holds)?;
        chunk.used = clock;
        Some(chunk)
    }

    /// Forgets all; a new epoch has begun.
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
    }
}

impl Chunk {
    /// What of this chunk `session` is still to be sent from `seq` on, ascending.
    ///
    /// A merge of its teams' lists: the lowest head wins, equal heads (an event of two followed
    /// teams) count once. What this chunk itself replaces is left out, and sensor values from
    /// before `stale`: latest values, no backlog.
    pub(super) fn events_for<'a>(
        &'a self,
        session: &'a Session,
        catchup: &'a Catchup,
        topics: &'a Topics,
        seq: u64,
        stale: Monotonic,
    ) -> impl Iterator<Item = &'a Published> {
        let mut lists: Vec<&[u32]> = Vec::with_capacity(session.follows.len());
        for follow in &session.follows {
            let list = topics.team_name(follow.team).and_then(|name| self.by_team.get(name));
            if let Some(list) = list {
                let begin = list.partition_point(|index| self.event(*index).position.seq < seq);
                lists.push(&list[begin..]);
            }
        }
        let merged = std::iter::from_fn(move || {
            let lowest = lists.iter().filter_map(|list| list.first().copied()).min()?;
            for list in &mut lists {
                if list.first() == Some(&lowest) {
                    *list = &list[1..];
                }
            }
            Some(lowest)
        });
        let living = merged.filter(|index| !self.replaced[*index as usize]);
        living.map(|index| self.event(index)).filter(move |event| {
            (event.topic.stream != Stream::Sensor || event.durable_at >= stale)
                && follows(session, catchup, topics, event)
                && event.position.seq >= catchup.after(&event.topic)
        })
    }

    /// What could not be read, from `seq` on.
    pub(super) fn holes_from(&self, seq: u64) -> impl Iterator<Item = &Hole> {
        self.batch.holes.iter().map(|(_, hole)| hole).filter(move |hole| hole.to >= seq)
    }

    fn event(&self, index: u32) -> &Published {
        &self.batch.events[index as usize]
    }
}

/// Which of `events` a later one of them replaces, or an earlier one has outdated.
fn replaced(events: &[Published]) -> Vec<bool> {
    let mut replaced = vec![false; events.len()];
    let mut latest: HashMap<(&Topic, Identity), (u64, usize)> = HashMap::new();
    for (index, event) in events.iter().enumerate() {
        let Some((subject, order, outdated_from)) = event.subject.place() else { continue };
        match latest.entry((&event.topic, subject)) {
            Entry::Vacant(entry) => {
                entry.insert((order, index));
            }
            Entry::Occupied(entry) if entry.get().0 >= outdated_from => replaced[index] = true,
            Entry::Occupied(mut entry) => {
                let (_, before) = entry.insert((order, index));
                replaced[before] = true;
            }
        }
    }
    replaced
}

/// Whether `session` follows one of the event's teams in its stream and language, and did when it
/// happened.
fn follows(session: &Session, catchup: &Catchup, topics: &Topics, event: &Published) -> bool {
    let topic = &event.topic;
    if topic.stream == Stream::Update && topic.lang.is_some() && topic.lang != session.lang {
        return false;
    }
    let Position { lane, seq } = event.position;
    session.follows.iter().any(|follow| {
        follow.streams.contains(topic.stream)
            && topics.team_name(follow.team).is_some_and(|name| topic.route.contains(name))
            && seq >= catchup.since(follow.team, topic.stream, lane)
    })
}
