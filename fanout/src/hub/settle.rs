//! Taking back what did not go out.
//!
//! A visit moves cursors as if its parcel had been sent whole. What the socket refused is put back
//! segment by segment: the frame that was cut becomes the session's `partial`, cursors return to
//! the first frame behind it, answers to the front of their queue. The windows and chunks are the
//! same as when the visit was made: nothing happens in between.

use std::ops::Range;

use bytes::Bytes;
use touchline_core::log::{Lane, Position};
use touchline_core::time::Monotonic;

use super::Hub;
use super::session::{Flags, Partial};
use super::topics::TopicIx;
use super::volley::{Parcel, Segment, Volley};

impl Hub {
    /// Takes back what of a parcel the socket did not take: `sent_bytes` of it went out. The
    /// session then waits for [`Hub::handle_writable`].
    pub fn settle(&mut self, volley: &Volley, parcel: &Parcel, sent_bytes: usize) {
        let Some(session) = self.session_mut(parcel.session) else { return };
        // A try that moves nothing is no progress, however often it is made.
        if sent_bytes > 0 || !session.flags.has(Flags::PROBING) {
            session.progress_at = volley.now;
        }
        session.flags.set(Flags::BLOCKED);
        session.flags.set(Flags::STUCK);
        session.flags.clear(Flags::LANDING);
        let unsent = volley.bytes(parcel).len() - sent_bytes;
        self.stats.sent_bytes -= unsent as u64;
        let (first, end) = parcel.segments;
        let mut sent = sent_bytes;
        let mut control = Vec::new();
        for segment in &volley.segments[first as usize..end as usize] {
            let went_out = sent.min(segment.len());
            sent -= went_out;
            if went_out < segment.len() {
                let index = parcel.session.index;
                self.take_back(index, segment, went_out, volley.now, &mut control);
            }
        }
        let session = &mut self.sessions[parcel.session.index as usize];
        if !control.is_empty() {
            let of = session.control.get_or_insert_default();
            of.bytes += control.iter().map(Bytes::len).sum::<usize>();
            control.into_iter().rev().for_each(|frame| of.frames.push_front(frame));
        }
    }

    fn take_back(
        &mut self,
        index: u32,
        segment: &Segment,
        sent: usize,
        now: Monotonic,
        control: &mut Vec<Bytes>,
    ) {
        let session = &mut self.sessions[index as usize];
        match segment {
            Segment::Rest { frame, sent: before, place } => {
                let (frame, sent) = (frame.clone(), *before + sent as u32);
                self.stats.deliveries -= u64::from(place.is_some());
                session.partial = Some(Box::new(Partial { frame, sent, place: *place }));
            }
            Segment::Control { frame } | Segment::Heartbeat { frame } if sent > 0 => {
                let (frame, sent) = (frame.clone(), sent as u32);
                session.partial = Some(Box::new(Partial { frame, sent, place: None }));
            }
            Segment::Control { frame } => control.push(frame.clone()),
            Segment::Heartbeat { .. } => session.flags.set(Flags::HEARTBEAT),
            Segment::Range { topic, from, next, .. } => {
                self.take_back_range(index, *topic, *from..*next, sent);
            }
            Segment::Chunk { lane, from, next, .. } => {
                self.take_back_chunk(index, *lane, *from..*next, sent, now)
            }
        }
    }

    fn take_back_range(
        &mut self,
        index: u32,
        topic_ix: TopicIx,
        seqs: Range<u64>,
        mut sent: usize,
    ) {
        let topic = self.topics.get(topic_ix);
        let lane = topic.lane;
        let mut cut = None;
        let mut stands_at = None;
        let mut unsent = 0;
        for entry in topic.window.live_from(seqs.start).take_while(|entry| entry.seq < seqs.end) {
            let len = entry.frame.len();
            if sent >= len {
                sent -= len;
                continue;
            }
            unsent += 1;
            if sent > 0 {
                let place = Some(Position { lane, seq: entry.seq });
                cut = Some(Box::new(Partial {
                    frame: entry.frame.clone(),
                    sent: sent as u32,
                    place,
                }));
                sent = 0;
            } else if stands_at.is_none() {
                stands_at = Some(entry.seq);
            }
        }
        self.stats.deliveries -= unsent;
        if let Some(seq) = stands_at {
            self.move_cursor(index, topic_ix, Some(seq));
        }
        if cut.is_some() {
            self.sessions[index as usize].partial = cut;
        }
    }

    fn take_back_chunk(
        &mut self,
        index: u32,
        lane: Lane,
        seqs: Range<u64>,
        mut sent: usize,
        now: Monotonic,
    ) {
        let stale = self.stale_before(now);
        let Self { chunks, sessions, topics, .. } = self;
        let session = &sessions[index as usize];
        let (Some(chunk), Some(catchup)) = (chunks.find(lane, seqs.start), &session.catchup) else {
            return;
        };
        let mut cut = None;
        let mut stands_at = seqs.end;
        let mut unsent = 0;
        let events = chunk.events_for(session, catchup, topics, seqs.start, stale);
        for event in events.take_while(|event| event.position.seq < seqs.end) {
            let len = event.frame.len();
            if sent >= len {
                sent -= len;
                continue;
            }
            unsent += 1;
            if sent > 0 {
                let (frame, place) = (event.frame.clone(), Some(event.position));
                cut = Some(Box::new(Partial { frame, sent: sent as u32, place }));
                sent = 0;
            } else {
                stands_at = stands_at.min(event.position.seq);
            }
        }
        self.stats.deliveries -= unsent;
        self.stand_at(index, lane, stands_at);
        if cut.is_some() {
            self.sessions[index as usize].partial = cut;
        }
    }
}
