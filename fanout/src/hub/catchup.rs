//! Reading from the log: for sessions that start below the windows (R7), and for the shard itself
//! (R26).
//!
//! At most one read is under way. Its answer is either the shard's next batch (the shard was
//! behind: at its start, or because its mailbox was full) or a chunk for sessions that wait. Where
//! both are wanted they take turns. Sessions are served lowest position first, so that one sweep
//! serves all of a crowd that came back together, and every second time the one that has waited
//! longest, so that a steady stream of low positions can't starve anybody.
//!
//! # A session's way back
//! For each lane it stands at `next`. It is *served* from the chunk that holds `next`; it *waits*
//! where none does; it *joins*, lane by lane, once everything it follows from `next` on is in the
//! windows and this node has read as far as the client already has. Joining turns `next` and the
//! client's own last positions into cursors; from then on the session is like any other. Until then
//! publishing passes it by in that lane, and no bound but its stall acts on it.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use touchline_core::frame::{Batch, Published};
use touchline_core::log::{
    Hole, HoleReason, Lane, LaneBounds, LogBounds, Mark, Position, ReadError, ReadRequest, Span,
};
use touchline_core::time::Monotonic;

use super::session::{Cursor, Flags, LaneCatchup, Session};
use super::topics::TopicIx;
use super::{CloseCause, Hub, LaneState};

/// After a failed read: 100 ms, doubling to about 6 s.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_DOUBLINGS_MAX: u32 = 6;

/// How often those that wait are judged while the log doesn't answer.
const JUDGE_EVERY: Duration = Duration::from_secs(1);

/// What is under way with the log.
#[derive(Default)]
pub(super) struct Reads {
    outstanding: Option<Read>,
    /// When the waiting were last asked how long they have waited.
    judged_at: Monotonic,
    retry_at: Monotonic,
    failures: u32,
    turn: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Windows,
    Sessions,
}

#[derive(Clone, Copy)]
struct Read {
    purpose: Purpose,
    from: Position,
}

impl Hub {
    /// What the log can give now; also how a shard learns that it has missed a batch.
    pub fn handle_bounds(&mut self, bounds: &LogBounds) {
        if bounds.epoch != self.epoch {
            return self.begin_epoch(bounds);
        }
        for (lane, bounds) in self.lanes.iter_mut().zip(&bounds.lanes) {
            lane.first = bounds.first;
            lane.known_end = lane.known_end.max(bounds.next);
        }
    }

    /// The next read that the log is to be asked for; its answer goes to [`Hub::handle_read`].
    pub fn poll_read(&mut self, now: Monotonic) -> Option<ReadRequest> {
        if self.reads.outstanding.is_some() || now < self.reads.retry_at {
            // A log that doesn't answer must not hold anybody for ever.
            if now.since(self.reads.judged_at) >= JUDGE_EVERY {
                self.judge_waiting(now);
            }
            return None;
        }
        self.reads.turn += 1;
        let (windows, sessions) = (self.read_for_windows(), self.read_for_sessions());
        let sessions_first = self.reads.turn.is_multiple_of(2);
        let read = if sessions_first { sessions.or(windows) } else { windows.or(sessions) }?;
        self.reads.outstanding = Some(read);
        Some(ReadRequest { from: read.from, bytes_max: self.config.read_bytes_max })
    }

    fn read_for_windows(&self) -> Option<Read> {
        let ready = |lane: &LaneState| {
            // Before a hole is declared, whoever can be sent what lies before it should have it.
            lane.is_behind() && !(lane.hole_ahead && self.has_work())
        };
        let behind = self.lanes.iter().position(ready)?;
        let from = Position { lane: Lane(behind as u16), seq: self.lanes[behind].progress };
        Some(Read { purpose: Purpose::Windows, from })
    }

    /// Where the waiting sessions stand: the lowest, or on every other turn the first in the queue.
    fn read_for_sessions(&self) -> Option<Read> {
        let wanted = self.waiting.iter().filter_map(|id| {
            let catchup = self.session(*id)?.catchup.as_ref()?;
            let unread = |of: &&LaneCatchup| of.next < self.lanes[usize::from(of.lane.0)].progress;
            let of = catchup.lanes.iter().find(unread)?;
            Some(Position { lane: of.lane, seq: of.next })
        });
        let fair = self.reads.turn % 4 < 2;
        let mut wanted = wanted;
        let from = if fair { wanted.next() } else { wanted.min() }?;
        Some(Read { purpose: Purpose::Sessions, from })
    }

    /// What the log answered to the last [`Hub::poll_read`].
    pub fn handle_read(&mut self, answer: Result<Arc<Batch>, ReadError>, now: Monotonic) {
        let Some(read) = self.reads.outstanding.take() else { return };
        let batch = match answer {
            Ok(batch) => batch,
            Err(_) => return self.read_failed(now),
        };
        let span =
            batch.spans.iter().find(|span| span.lane == read.from.lane && span.next > span.from);
        let Some(span) = span.copied() else {
            // Nothing where something was announced: look again in a moment.
            return self.read_failed(now);
        };
        self.reads.failures = 0;
        self.reads.retry_at = Monotonic(0);
        match read.purpose {
            Purpose::Windows => self.take_up_to_a_hole(&batch, span, now),
            Purpose::Sessions => {
                let chunks_max = self.config.chunks_max;
                self.chunks.insert(span.lane, span.from, span.next, batch, chunks_max);
                self.wake_waiting();
            }
        }
    }

    fn read_failed(&mut self, now: Monotonic) {
        let doublings = self.reads.failures.min(RETRY_DOUBLINGS_MAX);
        self.reads.failures += 1;
        self.reads.retry_at = now + RETRY_FIRST * (1 << doublings);
        self.judge_waiting(now);
    }

    /// Ends sessions that have waited for the log as long as anybody may.
    fn judge_waiting(&mut self, now: Monotonic) {
        self.reads.judged_at = now;
        let ids: Vec<_> = self.waiting.iter().copied().collect();
        for id in ids {
            let catchup = self.session(id).and_then(|session| session.catchup.as_ref());
            let since = catchup.and_then(|catchup| catchup.waiting_since);
            if since.is_some_and(|since| now.since(since) >= self.config.stall_max) {
                self.condemn(id.index, CloseCause::LogUnavailable);
            }
        }
    }

    /// Takes in what the shard had missed, as far as the first hole. What lies behind it is read
    /// again, so that a hole is always at the beginning of a batch: by then who keeps up has been
    /// sent all before it and can be told in its place.
    fn take_up_to_a_hole(&mut self, batch: &Batch, span: Span, now: Monotonic) {
        let begins_later = |(lane, hole): &&(Lane, Hole)| {
            *lane == span.lane && hole.from > self.lanes[usize::from(lane.0)].progress
        };
        let Some((_, hole)) = batch.holes.iter().find(begins_later).copied() else {
            self.set_hole_ahead(span.lane, false);
            return self.handle_batch(batch, now);
        };
        let before = |event: &&Published| event.position.seq < hole.from;
        let here = |(lane, of): &&(Lane, Hole)| *lane == span.lane && of.from < hole.from;
        let part = Batch {
            spans: vec![Span { next: hole.from, ..span }],
            events: batch.events.iter().filter(before).cloned().collect(),
            holes: batch.holes.iter().filter(here).copied().collect(),
        };
        self.handle_batch(&part, now);
        self.set_hole_ahead(span.lane, true);
    }

    fn set_hole_ahead(&mut self, lane: Lane, ahead: bool) {
        if let Some(lane) = self.lanes.get_mut(usize::from(lane.0)) {
            lane.hole_ahead = ahead;
        }
    }

    /// Lets sessions go on whose chunk has come, or whom this node has caught up with.
    pub(super) fn wake_waiting(&mut self) {
        self.waits_for_progress = false;
        for _ in 0..self.waiting.len() {
            let Some(id) = self.waiting.pop_front() else { return };
            let Some(session) = self.session(id) else { continue };
            if !session.flags.has(Flags::WAITING) {
                continue;
            }
            if self.can_go_on(id.index) {
                self.sessions[id.index as usize].flags.clear(Flags::WAITING);
                self.enqueue(id.index);
            } else {
                self.waits_for_progress |= self.is_ahead(id.index);
                self.waiting.push_back(id);
            }
        }
    }

    /// Whether the client of this session has read further than this node: then progress helps it,
    /// otherwise only a chunk does.
    fn is_ahead(&self, index: u32) -> bool {
        let Some(catchup) = &self.sessions[index as usize].catchup else { return false };
        catchup.lanes.iter().any(|of| {
            let progress = self.lanes[usize::from(of.lane.0)].progress;
            of.next >= progress || catchup.after_in(of.lane) > progress
        })
    }

    fn can_go_on(&mut self, index: u32) -> bool {
        let Some(catchup) = &self.sessions[index as usize].catchup else { return true };
        let lanes: SmallVec<[LaneCatchup; 1]> = catchup.lanes.clone();
        lanes
            .iter()
            .any(|of| self.chunks.find(of.lane, of.next).is_some() || self.can_join(index, of))
    }

    /// Whether everything the session follows from `of.next` on is in memory, and nothing it has
    /// lies ahead of us.
    pub(super) fn can_join(&self, index: u32, of: &LaneCatchup) -> bool {
        let session = &self.sessions[index as usize];
        let after = session.catchup.as_ref().map_or(0, |catchup| catchup.after_in(of.lane));
        let lane = &self.lanes[usize::from(of.lane.0)];
        // What a lane still rereads may be more than its windows hold: who joined now would be
        // ended as slow for what the shard is late with.
        if of.next < lane.floor || lane.progress < of.next.max(after) || lane.is_behind() {
            return false;
        }
        let topics = self.topics_of(session, of.lane);
        let in_memory = |(index, from): &(TopicIx, u64)| {
            of.next.max(*from) >= self.topics.get(*index).window.floor()
        };
        topics.iter().all(in_memory)
    }

    /// Makes the lane live: cursors where the windows hold something the session hasn't got.
    pub(super) fn join(&mut self, index: u32, of: LaneCatchup) {
        let session = &self.sessions[index as usize];
        for (topic_ix, after) in self.topics_of(session, of.lane) {
            let topic = self.topics.get_mut(topic_ix);
            let seq = of.next.max(after);
            if topic.window.last_seq() >= seq && topic.window.bytes() > 0 {
                topic.cursors += 1;
                self.sessions[index as usize].cursors.push(Cursor { topic: topic_ix, seq });
            }
        }
        let session = &mut self.sessions[index as usize];
        let Some(catchup) = &mut session.catchup else { return };
        catchup.lanes.retain(|lane| lane.lane != of.lane);
        catchup.after.retain(|(_, position)| position.lane != of.lane);
        if catchup.lanes.is_empty() {
            session.catchup = None;
        }
    }

    /// Topics in memory that `session` follows in `lane`, each once, with the first sequence it has
    /// not got for sure.
    fn topics_of(&self, session: &Session, lane: Lane) -> Vec<(TopicIx, u64)> {
        let teams = session.follows.iter().map(|follow| self.topics.team(follow.team));
        let mut topics: Vec<TopicIx> = teams.flat_map(|team| team.topics.iter().copied()).collect();
        topics.sort_unstable();
        topics.dedup();
        let wanted = topics.into_iter().filter_map(|index| {
            let topic = self.topics.get(index);
            let wants = session.wants(topic.key.stream, topic.key.lang, &topic.teams);
            (topic.lane == lane && wants).then(|| (index, session.begin_of(topic)))
        });
        wanted.collect()
    }

    /// Puts the session among those that wait for the log.
    pub(super) fn wait(&mut self, index: u32, now: Monotonic) {
        let id = self.id_of(index);
        self.waits_for_progress |= self.is_ahead(index);
        let session = &mut self.sessions[index as usize];
        if let Some(catchup) = &mut session.catchup
            && !session.flags.has(Flags::WAITING)
        {
            catchup.waiting_since.get_or_insert(now);
            session.flags.set(Flags::WAITING);
            self.waiting.push_back(id);
        }
    }

    /// The log has begun a new life: positions of the old one mean nothing any more (R8). Everybody
    /// is told and goes on live. Once in the life of a log, so every session may be visited.
    fn begin_epoch(&mut self, bounds: &LogBounds) {
        let from = self.progress();
        let all: Vec<u32> = (0..self.sessions.len() as u32).collect();
        for index in &all {
            let session = &mut self.sessions[*index as usize];
            session.catchup = None;
            session.flags.clear(Flags::WAITING);
            let cursors = std::mem::take(&mut session.cursors);
            cursors.iter().for_each(|cursor| self.release_cursor(cursor.topic));
        }
        self.waiting.clear();
        self.chunks.clear();
        self.ranges.clear();
        self.topics.forget_all();
        self.heartbeat = None;
        self.epoch = bounds.epoch;
        let lane = |of: &LaneBounds| LaneState {
            progress: of.next,
            known_end: of.next,
            first: of.first,
            floor: of.next,
            accept: None,
            hole_ahead: false,
        };
        self.lanes = bounds.lanes.iter().map(lane).collect();
        let to: Mark = self.progress();
        for index in all {
            if !self.sessions[index as usize].follows.is_empty() {
                self.push_gap_of_teams(index, &from, &to, HoleReason::Epoch);
            }
        }
    }
}
