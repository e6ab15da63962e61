//! Turning what a session lacks into one send.
//!
//! A visit assembles, in the order of R25: the rest of a half-sent frame, control frames and
//! answers, the heartbeat, then events by the priority of their streams. In the usual case, one
//! cursor and nothing else, the send is a shared range and the visit a few comparisons
//! ([`Hub::visit_shared`]); otherwise the pieces are copied together into the volley's scratch, so
//! that each session costs one send.
//!
//! The visit moves cursors as if all went out; [`settle`](super::settle) takes back what did not.

use bytes::Bytes;
use smallvec::SmallVec;
use touchline_core::event::Stream;
use touchline_core::log::{Hole, Lane};
use touchline_core::protocol::answer;
use touchline_core::time::Monotonic;

use super::session::{Cursor, Flags, LaneCatchup, Partial};
use super::topics::TopicIx;
use super::volley::{News, Segment, Volley};
use super::{Hub, SessionId};
use crate::limits::SCRATCH_VOLLEY_BYTES_MAX;

/// What is being put together for one session.
struct Visit {
    index: u32,
    id: SessionId,
    scratch_from: usize,
    segments_from: usize,
    news: News,
}

impl Hub {
    /// Fills `volley` with at most `sends_max` sends and returns how many there are. The hub goes
    /// on as if they had all gone out; what did not is reported by [`Hub::settle`] before anything
    /// else is done with the hub.
    pub fn poll_volley(&mut self, volley: &mut Volley, sends_max: usize, now: Monotonic) -> usize {
        volley.clear();
        volley.now = now;
        for _ in 0..self.queue.len() {
            let full = volley.parcels().len() >= sends_max;
            if full || volley.scratch.len() >= SCRATCH_VOLLEY_BYTES_MAX {
                break;
            }
            let Some(index) = self.queue.pop_front() else { break };
            self.visit(index, volley);
        }
        for parcel in volley.parcels() {
            self.stats.deliveries += u64::from(parcel.news.frames);
            self.stats.sent_bytes += volley.bytes(parcel).len() as u64;
        }
        volley.parcels().len()
    }

    fn visit(&mut self, index: u32, volley: &mut Volley) {
        let session = &mut self.sessions[index as usize];
        session.flags.clear(Flags::QUEUED);
        let open = session.flags.has(Flags::OPEN);
        if !open || session.flags.has(Flags::BLOCKED) || session.flags.has(Flags::CONDEMNED) {
            return;
        }
        session.flags.begin_try();
        let only_events = session.partial.is_none()
            && session.control.is_none()
            && session.catchup.is_none()
            && !session.flags.has(Flags::HEARTBEAT)
            && !session.flags.has(Flags::RETURNING);
        if only_events
            && let [cursor] = session.cursors[..]
            && self.visit_shared(index, cursor, volley)
        {
            return;
        }
        self.judge(index, volley.now);
        if !self.sessions[index as usize].flags.has(Flags::CONDEMNED) {
            self.visit_whole(index, volley);
        }
    }

    /// One cursor and nothing else. Returns false where a policy has to look at it first.
    fn visit_shared(&mut self, index: u32, cursor: Cursor, volley: &mut Volley) -> bool {
        let topic = self.topics.get(cursor.topic);
        let stream = topic.key.stream;
        let queue_bytes_max = self.config.stream(stream).queue_bytes_max as u64;
        let judged = stream == Stream::Sensor
            || cursor.seq < topic.window.floor()
            || topic.window.bytes_from_at_most(cursor.seq) > queue_bytes_max;
        if judged {
            return false;
        }
        let bytes_max = self.config.visit_bytes_max;
        let found = self.ranges.get(cursor.topic, topic, cursor.seq, bytes_max, volley);
        let Some(found) = found else {
            self.move_cursor(index, cursor.topic, None);
            return true;
        };
        let (from, next) = (cursor.seq, found.next);
        let segment = Segment::Range { topic: cursor.topic, from, next, len: found.len };
        let more = next <= topic.window.last_seq();
        volley.push_shared(self.id_of(index), found.buffer, segment);
        self.move_cursor(index, cursor.topic, more.then_some(next));
        if more {
            self.enqueue(index);
        }
        true
    }

    fn visit_whole(&mut self, index: u32, volley: &mut Volley) {
        let mut visit = Visit {
            index,
            id: self.id_of(index),
            scratch_from: volley.scratch.len(),
            segments_from: volley.segments.len(),
            news: News::default(),
        };
        self.add_rest(&mut visit, volley);
        self.add_control(&visit, volley);
        self.add_heartbeat(&visit, volley);
        let mut left = self.config.visit_bytes_max;
        left = left.saturating_sub(volley.scratch.len() - visit.scratch_from).max(1);
        if self.sessions[index as usize].catchup.is_some() {
            self.add_catchup(&mut visit, left, volley);
        }
        self.add_streams(&mut visit, left, volley);
        let last = self.sessions[index as usize].flags.has(Flags::CLOSING);
        if volley.scratch.len() > visit.scratch_from {
            volley.push_scratch(
                visit.id,
                visit.scratch_from,
                visit.segments_from,
                visit.news,
                last,
            );
        }
        let session = &mut self.sessions[index as usize];
        if session.is_caught_up() {
            session.flags.set(Flags::LANDING);
        }
        if session.has_work() {
            self.enqueue(index);
        }
    }

    fn add_rest(&mut self, visit: &mut Visit, volley: &mut Volley) {
        if let Some(partial) = self.sessions[visit.index as usize].partial.take() {
            let Partial { frame, sent, place } = *partial;
            // An event counts as delivered with its last byte.
            visit.news.frames += u32::from(place.is_some());
            volley.scratch.extend_from_slice(&frame[sent as usize..]);
            volley.segments.push(Segment::Rest { frame, sent, place });
        }
    }

    fn add_control(&mut self, visit: &Visit, volley: &mut Volley) {
        let Some(control) = self.sessions[visit.index as usize].control.take() else { return };
        // The pong comes last: a ping may have come with the handshake, whose 101 is the first of
        // the frames.
        for frame in control.frames.into_iter().chain(control.pong) {
            add_frame(volley, frame);
        }
    }

    /// A caught-up session gets the frame that all caught-up sessions get; one that lags its own
    /// mark (R3).
    fn add_heartbeat(&mut self, visit: &Visit, volley: &mut Volley) {
        let session = &mut self.sessions[visit.index as usize];
        if !session.flags.has(Flags::HEARTBEAT) {
            return;
        }
        session.flags.clear(Flags::HEARTBEAT);
        let Some(heartbeat) = &self.heartbeat else { return };
        let (ping, shared) = (heartbeat.ping.clone(), heartbeat.frame.clone());
        let current = heartbeat.progress.iter().eq(self.lanes.iter().map(|lane| &lane.progress));
        // What this very parcel finishes counts as unsent: the mark stays below it.
        let half_sent = match volley.segments.get(visit.segments_from) {
            Some(Segment::Rest { place, .. }) => *place,
            _ => None,
        };
        let caught_up = self.sessions[visit.index as usize].is_caught_up() && half_sent.is_none();
        let frame = if caught_up && current {
            shared
        } else {
            let mut mark = self.mark_of(visit.index);
            if let Some(place) = half_sent
                && let Some(next) = mark.next.get_mut(usize::from(place.lane.0))
            {
                *next = (*next).min(place.seq);
            }
            Bytes::from([&ping[..], &answer::mark(&mark)].concat())
        };
        volley.scratch.extend_from_slice(&frame);
        volley.segments.push(Segment::Heartbeat { frame });
    }

    /// Events of all streams by priority. Each stream leaves an eighth of the visit to every stream
    /// below it that has something to send (R25).
    fn add_streams(&mut self, visit: &mut Visit, bytes_max: usize, volley: &mut Volley) {
        let mut left = bytes_max;
        for stream in Stream::ALL {
            let lower = Stream::ALL.into_iter().filter(|of| *of > stream);
            let waiting = lower.filter(|of| self.lags_in(visit.index, *of)).count();
            let before = volley.scratch.len();
            let budget = left.saturating_sub(waiting * bytes_max / 8);
            self.add_stream(visit, stream, budget, volley);
            left = left.saturating_sub(volley.scratch.len() - before);
        }
    }

    fn lags_in(&self, index: u32, stream: Stream) -> bool {
        let mut cursors = self.sessions[index as usize].cursors.iter();
        cursors.any(|cursor| self.topics.get(cursor.topic).key.stream == stream)
    }

    /// Events of one stream, the topic with the oldest unsent event first. At least one frame,
    /// whatever the budget.
    fn add_stream(
        &mut self,
        visit: &mut Visit,
        stream: Stream,
        budget: usize,
        volley: &mut Volley,
    ) {
        let cursors = &self.sessions[visit.index as usize].cursors;
        let of_stream = |cursor: &&Cursor| self.topics.get(cursor.topic).key.stream == stream;
        let mut cursors: SmallVec<[Cursor; 4]> =
            cursors.iter().filter(of_stream).copied().collect();
        cursors.sort_by_cached_key(|cursor| {
            let mut unsent = self.topics.get(cursor.topic).window.live_from(cursor.seq);
            unsent.next().map_or(Monotonic(0), |entry| entry.durable_at)
        });
        let mut left = budget;
        for cursor in cursors {
            let begin = volley.scratch.len();
            if left == 0 && begin > visit.scratch_from {
                return;
            }
            self.add_range(visit, cursor, left, volley);
            left = left.saturating_sub(volley.scratch.len() - begin);
        }
    }

    fn add_range(&mut self, visit: &mut Visit, cursor: Cursor, left: usize, volley: &mut Volley) {
        let topic = self.topics.get(cursor.topic);
        let begin = volley.scratch.len();
        let mut next = topic.window.last_seq() + 1;
        for entry in topic.window.live_from(cursor.seq) {
            let taken = volley.scratch.len() - begin;
            if taken > 0 && taken + entry.frame.len() > left {
                next = entry.seq;
                break;
            }
            volley.scratch.extend_from_slice(&entry.frame);
            visit.news.add(topic.key.stream, entry);
        }
        let len = (volley.scratch.len() - begin) as u32;
        let more = next <= topic.window.last_seq();
        if len > 0 {
            let (topic, from) = (cursor.topic, cursor.seq);
            volley.segments.push(Segment::Range { topic, from, next, len });
        }
        self.move_cursor(visit.index, cursor.topic, more.then_some(next));
    }

    /// Events from the log for a session on its way back (R7).
    fn add_catchup(&mut self, visit: &mut Visit, bytes_max: usize, volley: &mut Volley) {
        let catchup = self.sessions[visit.index as usize].catchup.as_ref();
        let mut lanes: SmallVec<[LaneCatchup; 1]> =
            catchup.map(|of| of.lanes.clone()).unwrap_or_default();
        let (begin, count) = (volley.scratch.len(), lanes.len());
        // Gaps go with the next parcel, and their marks say how far the session is in all lanes:
        // nothing of this parcel may count, for the socket may refuse it.
        lanes.retain(|of| self.can_join(visit.index, of) || !self.tell_hole(visit.index, of));
        let mut went_on = lanes.len() < count;
        for of in lanes {
            let left = bytes_max.saturating_sub(volley.scratch.len() - begin);
            if self.can_join(visit.index, &of) {
                self.join(visit.index, of);
                went_on = true;
            } else if left > 0 {
                went_on |= self.add_chunk(visit, of, left, volley);
            }
        }
        match went_on {
            true => self.go_on(visit.index),
            false => self.wait(visit.index, volley.now),
        }
    }

    /// Tells of the hole at a lane's place, and goes on behind it. False: there is none.
    fn tell_hole(&mut self, index: u32, of: &LaneCatchup) -> bool {
        let end = self.lanes[usize::from(of.lane.0)].progress;
        let Some(chunk) = self.chunks.find(of.lane, of.next) else { return false };
        let hole = chunk.holes_from(of.next).next().copied();
        let here = |hole: &Hole| hole.from <= of.next && of.next < chunk.next.min(end);
        let Some(hole) = hole.filter(here) else { return false };
        let next = hole.to + 1;
        self.push_gap_of_lane(index, of.lane, hole.from.max(of.next), next, hole.reason);
        self.stand_at(index, of.lane, next);
        true
    }

    /// Serves one lane from the chunk that holds its place. False: there is none.
    fn add_chunk(
        &mut self,
        visit: &mut Visit,
        of: LaneCatchup,
        left: usize,
        volley: &mut Volley,
    ) -> bool {
        let progress = self.lanes[usize::from(of.lane.0)].progress;
        let stale = self.stale_before(volley.now);
        let Self { chunks, sessions, topics, .. } = self;
        let session = &sessions[visit.index as usize];
        let (Some(chunk), Some(catchup)) = (chunks.find(of.lane, of.next), &session.catchup) else {
            return false;
        };
        // Up to what this shard has read: beyond it, joining is about to happen.
        let end = chunk.next.min(progress);
        if of.next >= end {
            return false;
        }
        let hole = chunk.holes_from(of.next).next();
        let stop = hole.map_or(end, |hole| hole.from.min(end));
        let begin = volley.scratch.len();
        let mut next = stop;
        for event in chunk.events_for(session, catchup, topics, of.next, stale) {
            let taken = volley.scratch.len() - begin;
            let seq = event.position.seq;
            if seq >= stop || (taken > 0 && taken + event.frame.len() > left) {
                next = seq.min(stop);
                break;
            }
            volley.scratch.extend_from_slice(&event.frame);
            visit.news.frames += 1;
        }
        let len = (volley.scratch.len() - begin) as u32;
        if len > 0 {
            volley.segments.push(Segment::Chunk { lane: of.lane, from: of.next, next, len });
        }
        self.stand_at(visit.index, of.lane, next);
        next > of.next
    }

    pub(super) fn stand_at(&mut self, index: u32, lane: Lane, next: u64) {
        let catchup = self.sessions[index as usize].catchup.as_mut();
        if let Some(of) = catchup.and_then(|catchup| catchup.lane_mut(lane)) {
            of.next = next;
        }
    }

    /// Moves the session's cursor in a topic, or ends its lagging there.
    pub(super) fn move_cursor(&mut self, index: u32, topic: TopicIx, to: Option<u64>) {
        let cursors = &mut self.sessions[index as usize].cursors;
        let at = cursors.iter().position(|cursor| cursor.topic == topic);
        match (at, to) {
            (Some(at), Some(seq)) => cursors[at].seq = seq,
            (Some(at), None) => {
                cursors.swap_remove(at);
                self.release_cursor(topic);
            }
            (None, Some(seq)) => {
                cursors.push(Cursor { topic, seq });
                self.topics.get_mut(topic).cursors += 1;
            }
            (None, None) => {}
        }
    }
}

fn add_frame(volley: &mut Volley, frame: Bytes) {
    volley.scratch.extend_from_slice(&frame);
    volley.segments.push(Segment::Control { frame });
}
