//! What is to be sent in one round: at most one send per session.
//!
//! The hub fills a [`Volley`] and, from then on, behaves as if all of it had been sent. The caller
//! sends, and reports only what did not go out whole ([`Hub::settle`](super::Hub::settle)); success
//! costs nothing further. Between filling and the last `settle` nothing else may happen to the hub:
//! the round is one synchronous step of the shard.

use bytes::Bytes;
use touchline_core::event::Stream;
use touchline_core::log::{Lane, Position};
use touchline_core::time::{Monotonic, Timestamp};

use super::SessionId;
use super::topics::TopicIx;
use super::window::Entry;

/// One round of sends.
#[derive(Default)]
pub struct Volley {
    parcels: Vec<Parcel>,
    buffers: Vec<Buffer>,
    /// What was put together for one session alone.
    pub(super) scratch: Vec<u8>,
    pub(super) segments: Vec<Segment>,
    pub(super) now: Monotonic,
    /// Counts rounds, so that shared ranges know whether they are in this one already.
    pub(super) serial: u64,
}

/// Bytes that all sessions at the same cursor are sent: referenced once a round, not once a
/// session.
#[derive(Clone)]
pub(super) struct Buffer {
    pub(super) bytes: Bytes,
    pub(super) news: News,
}

/// What a parcel carries, for the shard's metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Events in it.
    pub frames: u32,
    /// Of the oldest live event: when it became durable. `None` for control frames and for what is
    /// read back.
    pub durable_at: Option<Monotonic>,
    /// Of the same event: when it happened, and its stream.
    pub occurred_at: Option<(Stream, Timestamp)>,
}

/// One send: a contiguous range for one session.
#[derive(Clone, Copy, Debug)]
pub struct Parcel {
    /// Whose socket.
    pub session: SessionId,
    /// It ends the session: once it is sent whole, shut the socket down.
    pub last: bool,
    /// What it carries.
    pub news: News,
    source: u32,
    offset: u32,
    len: u32,
    pub(super) segments: (u32, u32),
}

/// `source` of a parcel whose bytes lie in the scratch.
const SCRATCH: u32 = u32::MAX;

/// A part of a parcel, and how to take it back.
pub(super) enum Segment {
    /// The rest of a frame that was sent in part.
    Rest { frame: Bytes, sent: u32, place: Option<Position> },
    /// A control frame or an answer.
    Control { frame: Bytes },
    /// The shared ping and mark.
    Heartbeat { frame: Bytes },
    /// Living events of a topic in `from..next`.
    Range { topic: TopicIx, from: u64, next: u64, len: u32 },
    /// Events of a chunk of the log in `from..next`, as far as the session follows them.
    Chunk { lane: Lane, from: u64, next: u64, len: u32 },
}

impl Segment {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Rest { frame, sent, .. } => frame.len() - *sent as usize,
            Self::Control { frame } | Self::Heartbeat { frame } => frame.len(),
            Self::Range { len, .. } | Self::Chunk { len, .. } => *len as usize,
        }
    }
}

impl Volley {
    /// The sends of this round.
    pub fn parcels(&self) -> &[Parcel] {
        &self.parcels
    }

    /// What `parcel` of this round sends.
    pub fn bytes(&self, parcel: &Parcel) -> &[u8] {
        let range = parcel.offset as usize..(parcel.offset + parcel.len) as usize;
        match parcel.source {
            SCRATCH => &self.scratch[range],
            source => &self.buffers[source as usize].bytes[range],
        }
    }

    /// Forgets the round.
    pub fn clear(&mut self) {
        self.parcels.clear();
        self.buffers.clear();
        self.scratch.clear();
        self.segments.clear();
        self.serial += 1;
    }

    pub(super) fn push_buffer(&mut self, buffer: Buffer) -> u32 {
        self.buffers.push(buffer);
        (self.buffers.len() - 1) as u32
    }

    /// A parcel that sends all of a shared buffer.
    pub(super) fn push_shared(&mut self, session: SessionId, buffer: u32, segment: Segment) {
        let Buffer { bytes, news } = &self.buffers[buffer as usize];
        let first = self.segments.len() as u32;
        self.segments.push(segment);
        self.parcels.push(Parcel {
            session,
            last: false,
            news: *news,
            source: buffer,
            offset: 0,
            len: bytes.len() as u32,
            segments: (first, first + 1),
        });
    }

    /// A parcel of what was put into the scratch since `offset`, made of the segments since
    /// `first`.
    pub(super) fn push_scratch(
        &mut self,
        session: SessionId,
        offset: usize,
        first: usize,
        news: News,
        last: bool,
    ) {
        self.parcels.push(Parcel {
            session,
            last,
            news,
            source: SCRATCH,
            offset: offset as u32,
            len: (self.scratch.len() - offset) as u32,
            segments: (first as u32, self.segments.len() as u32),
        });
    }
}

impl News {
    /// Counts one more event, which is later than what is counted so far.
    pub(super) fn add(&mut self, stream: Stream, entry: &Entry) {
        self.frames += 1;
        if !entry.is_read_back {
            self.durable_at.get_or_insert(entry.durable_at);
            self.occurred_at.get_or_insert((stream, entry.occurred_at));
        }
    }
}
