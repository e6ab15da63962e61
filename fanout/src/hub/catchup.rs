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

use touchline_core::frame::{Batch, Published};
use touchline_core::log::{Hole, Lane, LogBounds, Position, ReadError, ReadRequest, Span};
use touchline_core::time::Monotonic;

use super::session::{Cursor, LaneCatchup, Session};
use super::topics::TopicIx;
use super::{Hub, LaneState};

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
    pub(super) judged_at: Monotonic,
    retry_at: Monotonic,
    failures: u32,
    turn: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Windows,
    Sessions,
    /// Its positions are of a life of the log that has ended meanwhile (R8).
    Nothing,
}

#[derive(Clone, Copy)]
struct Read {
    purpose: Purpose,
    from: Position,
}

impl Reads {
    /// A new life of the log: what is under way tells nothing, and nothing has failed yet.
    pub(super) fn begin_anew(&mut self) {
        if let Some(read) = &mut self.outstanding {
            read.purpose = Purpose::Nothing;
        }
        self.retry_at = Monotonic(0);
        self.failures = 0;
    }
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
        let wanted = self.waiting.all().filter_map(|index| {
            let catchup = self.sessions[index as usize].catchup.as_ref()?;
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
        if read.purpose == Purpose::Nothing {
            return;
        }
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
            Purpose::Nothing => {}
        }
    }

    fn read_failed(&mut self, now: Monotonic) {
        let doublings = self.reads.failures.min(RETRY_DOUBLINGS_MAX);
        self.reads.failures += 1;
        self.stats.reads_failed += 1;
        self.reads.retry_at = now + RETRY_FIRST * (1 << doublings);
        self.judge_waiting(now);
    }

    /// Takes in what the shard had missed, as far as the first hole. What lies behind it is read
    /// again, so that a hole is always at the beginning of a batch: by then who keeps up has been
    /// sent all before it and can be told in its place.
    fn take_up_to_a_hole(&mut self, batch: &Batch, span: Span, now: Monotonic) {
        let begins_later = |(lane, hole): &&(Lane, Hole)| {
            *lane == span.lane && hole.from > self.lanes[usize::from(lane.0)].progress
        };
        let Some((_, hole)) = batch.holes.iter().find(begins_later).copied() else {
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
        // Unless a batch that was held has carried the shard past it: what the disk has lost,
        // memory may still have.
        if let Some(lane) = self.lanes.get_mut(usize::from(span.lane.0)) {
            lane.hole_ahead = lane.progress == hole.from;
        }
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
            self.end_catchup(index);
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
}
