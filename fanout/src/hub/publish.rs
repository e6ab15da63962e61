//! Taking in a batch: windows grow, followers get cursors.
//!
//! The cost is one append for each event, one walk over the followers of each topic that the batch
//! touches, and nothing for anybody else. A batch of a hundred goals of one route walks its
//! followers once.

use std::collections::VecDeque;

use touchline_core::event::Stream;
use touchline_core::frame::{Batch, Published};
use touchline_core::log::{HoleReason, Lane, Mark};
use touchline_core::protocol::answer;
use touchline_core::time::Monotonic;

use super::session::{Catchup, Cursor, Flags, Session};
use super::topics::TopicIx;
use super::window::Appended;
use super::{CloseCause, Hub};
use crate::limits::TOPICS_MAX;

impl Hub {
    /// Takes in what has become durable. A batch that doesn't follow on what this shard has read
    /// waits: the shard has missed one and rereads from the log (R26).
    pub fn handle_batch(&mut self, batch: &Batch, now: Monotonic) {
        self.take_in_batch(batch, now);
        while let Some(held) = self.held.take(&self.lanes) {
            self.take_in_batch(&held, now);
        }
    }

    fn take_in_batch(&mut self, batch: &Batch, now: Monotonic) {
        let Accepted { some, all } = self.accept_spans(batch);
        if !all {
            self.held.keep(batch);
        }
        if !some {
            return;
        }
        self.ranges.clear();
        self.batches += 1;
        let mut touched = std::mem::take(&mut self.touched);
        for event in &batch.events {
            if let Some(topic) = self.take_in(event, now) {
                touched.push(topic);
            }
        }
        for topic in touched.drain(..) {
            self.mark_followers(topic);
        }
        self.touched = touched;
        self.declare_holes(batch);
        for span in &batch.spans {
            if let Some(lane) = self.lanes.get_mut(usize::from(span.lane.0)) {
                lane.accept = None;
            }
        }
        self.evict_idle();
        self.wake_ahead();
    }

    /// Decides for each lane from where on the batch is news, and moves the progress to its end.
    fn accept_spans(&mut self, batch: &Batch) -> Accepted {
        let mut accepted = Accepted { some: false, all: true };
        for span in &batch.spans {
            let Some(lane) = self.lanes.get_mut(usize::from(span.lane.0)) else {
                self.stats.poison += 1;
                continue;
            };
            let was_behind = lane.is_behind();
            lane.known_end = lane.known_end.max(span.next);
            if span.from > lane.progress {
                self.stats.rereads += u64::from(!was_behind);
                accepted.all = false;
            } else if span.next > lane.progress {
                lane.accept = lane.accept.or(Some(lane.progress));
                lane.progress = span.next;
                lane.hole_ahead = false;
                accepted.some = true;
            }
        }
        accepted
    }

    /// Appends the event to its topic. Returns the topic when this batch touches it for the first
    /// time.
    fn take_in(&mut self, event: &Published, now: Monotonic) -> Option<TopicIx> {
        let lane = event.position.lane;
        let Some(state) = self.lanes.get(usize::from(lane.0)) else {
            self.stats.poison += 1;
            return None;
        };
        if state.accept.is_none_or(|from| event.position.seq < from) {
            return None;
        }
        let limits = self.config.stream(event.topic.stream);
        let stale = self.stale_before(now);
        let index = self.topics.intern(&event.topic, lane);
        let topic = self.topics.get_mut(index);
        if topic.lane != lane {
            self.stats.poison += 1;
            return None;
        }
        let before = topic.window.bytes();
        let appended = topic.window.append(event);
        if event.topic.stream == Stream::Sensor {
            topic.window.drop_stale(stale);
        }
        topic.window.evict_to(limits.window_bytes);
        let after = topic.window.bytes();
        let first = topic.batch != self.batches;
        if first {
            topic.batch = self.batches;
            topic.batch_from = event.position.seq;
        }
        self.topics.bytes = self.topics.bytes + after - before;
        self.stats.conflated += u64::from(appended != Appended::New);
        if first {
            self.topics.touch(index);
        }
        first.then_some(index)
    }

    /// Gives a cursor to every follower of the topic that was caught up.
    fn mark_followers(&mut self, index: TopicIx) {
        let stamp = self.next_stamp();
        let topic = self.topics.get(index);
        let (lane, from) = (topic.lane, topic.batch_from);
        let mut cursors = 0;
        for team in &topic.teams {
            for list in self.topics.team(*team).lists(&topic.key) {
                // Nobody is always last: each batch begins somewhere else in the list.
                let (late, early) = list.split_at(start_of(self.batches, list.len()));
                for follower in early.iter().chain(late) {
                    let session = &mut self.sessions[*follower as usize];
                    if session.stamp != stamp {
                        session.stamp = stamp;
                        let cursor = Cursor { topic: index, seq: from };
                        cursors +=
                            u32::from(lag(session, *follower, cursor, lane, &mut self.queue));
                    }
                }
            }
        }
        self.topics.get_mut(index).cursors += cursors;
    }

    /// Stamps are 32 bits to keep sessions small; at 10,000 walks a second they wrap in five days.
    fn next_stamp(&mut self) -> u32 {
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.sessions.iter_mut().for_each(|session| session.stamp = 0);
            self.stamp = 1;
        }
        self.stamp
    }

    /// The log could not give this shard what `batch` lacks. Whoever follows anything may miss
    /// something, and nobody can name the topics: all are told. Who has not been sent what lies
    /// before the hole can't be told in its place: it is ended, comes back, and reads up to the
    /// hole and past it from the log. Damage and overrun retention are rare enough to visit every
    /// session.
    fn declare_holes(&mut self, batch: &Batch) {
        for (lane, hole) in &batch.holes {
            let Some(state) = self.lanes.get_mut(usize::from(lane.0)) else { continue };
            if state.accept.is_none_or(|from| hole.to < from) {
                continue;
            }
            state.floor = state.floor.max(hole.to + 1);
            for index in 0..self.sessions.len() as u32 {
                let session = &self.sessions[index as usize];
                let reads = |catchup: &Catchup| catchup.lane(*lane).is_some();
                if session.follows.is_empty() || session.catchup.as_deref().is_some_and(reads) {
                    continue;
                }
                if self.mark_of(index).next(*lane) < hole.from {
                    self.condemn(index, CloseCause::Hole);
                } else {
                    self.push_gap_of_lane(index, *lane, hole.from, hole.to + 1, hole.reason);
                }
            }
        }
    }

    /// Tells a session that `from..next` of a lane is missing, whatever it follows there (R9). In
    /// all other lanes the marks stand where the session does: a client that takes `to` for its
    /// mark passes nothing that it has yet to get.
    pub(super) fn push_gap_of_lane(
        &mut self,
        index: u32,
        lane: Lane,
        from: u64,
        next: u64,
        reason: HoleReason,
    ) {
        let own = self.mark_of(index);
        let mut marks = [own.clone(), own];
        for (mark, seq) in marks.iter_mut().zip([from, next]) {
            if let Some(place) = mark.next.get_mut(usize::from(lane.0)) {
                *place = seq;
            }
        }
        let [from, to] = marks;
        self.push_gap_of_teams(index, &from, &to, reason);
    }

    /// The same over all lanes.
    pub(super) fn push_gap_of_teams(
        &mut self,
        index: u32,
        from: &Mark,
        to: &Mark,
        reason: HoleReason,
    ) {
        let session = &self.sessions[index as usize];
        let streams = session.streams();
        let names = session.follows.iter().filter_map(|follow| self.topics.team_name(follow.team));
        let teams: Vec<_> = names.cloned().collect();
        self.stats.count_gap(reason);
        self.tell(index, answer::gap_teams(&teams, streams, from, to, reason));
    }

    /// Keeps all windows together within bounds: the longest idle give way first (R6).
    fn evict_idle(&mut self) {
        while self.topics.bytes > self.config.windows_bytes_max || self.topics.len() > TOPICS_MAX {
            let Some(index) = self.topics.longest_idle() else { return };
            let lane = self.topics.get(index).lane;
            let floor = self.topics.evict(index);
            self.stats.topics_evicted += 1;
            if let Some(lane) = self.lanes.get_mut(usize::from(lane.0)) {
                lane.floor = lane.floor.max(floor);
            }
        }
    }

    /// Gives back a cursor's hold on its topic.
    pub(super) fn release_cursor(&mut self, index: TopicIx) {
        let topic = self.topics.get_mut(index);
        topic.cursors -= 1;
        if topic.cursors == 0 && topic.window.bytes() == 0 {
            self.topics.release(index);
        }
    }
}

/// What an [`accept_spans`](Hub::accept_spans) came to.
struct Accepted {
    /// Some span brings something new.
    some: bool,
    /// No span lies past a gap.
    all: bool,
}

/// Where the walk over a list of `len` followers begins for the batch of that number: multiples of
/// the golden ratio, which lie far apart and fall into the same place for no length of the list.
fn start_of(batch: u64, len: usize) -> usize {
    let fraction = batch.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((fraction * len as u64) >> 32) as usize
}

/// The inner step of publishing: a session that is caught up in the topic gets a cursor and a place
/// in the queue.
fn lag(
    session: &mut Session,
    index: u32,
    cursor: Cursor,
    lane: Lane,
    queue: &mut VecDeque<u32>,
) -> bool {
    if session.catchup.as_ref().is_some_and(|catchup| catchup.lane(lane).is_some()) {
        return false;
    }
    if session.cursors.iter().any(|of| of.topic == cursor.topic) {
        return false;
    }
    session.cursors.push(cursor);
    if !session.flags.has(Flags::QUEUED) && !session.flags.has(Flags::BLOCKED) {
        session.flags.set(Flags::QUEUED);
        queue.push_back(index);
    }
    true
}
