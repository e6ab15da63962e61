//! What a shard keeps of one connection, beside what the hub keeps of it.

use std::os::fd::OwnedFd;

use touchline_core::proxy::ProxyHeader;
use touchline_core::time::Monotonic;
use touchline_core::ws::{CloseCode, Handshake, Parser};

use crate::admission::Ticket;
use crate::hub::SessionId;
use crate::pace::Pace;

/// One connection.
pub(super) struct Conn {
    pub(super) socket: OwnedFd,
    pub(super) generation: u32,
    pub(super) stage: Stage,
    /// A ping is out and nothing has been heard since.
    pub(super) is_pinged: bool,
    /// The deadline is that of a pong, not of the next ping.
    pub(super) awaits_pong: bool,
    /// The peer's Close has come, or none is expected.
    pub(super) close_is_seen: bool,
    /// Our last byte has been handed to the kernel.
    pub(super) last_is_sent: bool,
    /// It stands in the list of sends that were put off.
    pub(super) is_put_off: bool,
    pub(super) soft_errors: u8,
    /// What it is counted as when it is gone.
    pub(super) code: CloseCode,
    pub(super) ticket: Ticket,
    /// When the stage has lasted too long; in [`Stage::Open`], when the next ping or the answer to
    /// the last is due.
    pub(super) deadline: Monotonic,
    pub(super) messages: Pace,
    pub(super) input: Input,
}

/// How far a connection has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its request isn't complete.
    Handshake,
    /// It is a session.
    Open,
    /// Its last frame is queued or sent.
    Closing,
}

/// Who reads what it sends.
pub(super) enum Input {
    /// What a trusted proxy says before its client.
    Proxy(Box<ProxyHeader>),
    /// The request's head.
    Handshake(Box<Handshake>),
    /// Frames; none is incomplete.
    Frames(Parser),
    /// The rest of a message.
    Half(Box<Half>),
    /// Nobody: it is read so that the kernel doesn't reset the connection, and thrown away.
    Ignored,
}

/// A message, or a frame, that has begun.
pub(super) struct Half {
    pub(super) parser: Parser,
    /// When it must be complete.
    pub(super) until: Monotonic,
}

impl Conn {
    /// When its timer is to fire.
    pub(super) fn due(&self) -> Monotonic {
        match &self.input {
            Input::Half(half) if self.stage == Stage::Open => self.deadline.min(half.until),
            _ => self.deadline,
        }
    }
}

/// The shard's part of an idle session (DESIGN section 10): with the hub's 256 bytes, a timer of 12
/// and what the allocator adds to the one list of teams, well below 600.
const _: () = assert!(size_of::<Option<Conn>>() <= 72);

/// Connections by the hub's index.
pub(super) struct Conns {
    slots: Vec<Option<Conn>>,
    open: usize,
}

impl Conns {
    /// Room for `capacity` connections; memory is used as they come.
    pub(super) fn new(capacity: usize) -> Self {
        Self { slots: Vec::with_capacity(capacity), open: 0 }
    }

    pub(super) fn insert(&mut self, id: SessionId, conn: Conn) {
        let index = id.index as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        debug_assert!(self.slots[index].is_none(), "the hub gives a slot away once");
        self.slots[index] = Some(conn);
        self.open += 1;
    }

    pub(super) fn remove(&mut self, id: SessionId) -> Option<Conn> {
        self.get(id)?;
        self.open -= 1;
        self.slots[id.index as usize].take()
    }

    /// The connection `id`, unless it is gone.
    pub(super) fn get(&self, id: SessionId) -> Option<&Conn> {
        let conn = self.slots.get(id.index as usize)?.as_ref()?;
        (conn.generation == id.generation).then_some(conn)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Conn> {
        let conn = self.slots.get_mut(id.index as usize)?.as_mut()?;
        (conn.generation == id.generation).then_some(conn)
    }

    /// Whoever has the slot `index` now.
    pub(super) fn at(&self, index: u32) -> Option<SessionId> {
        let conn = self.slots.get(index as usize)?.as_ref()?;
        Some(SessionId { index, generation: conn.generation })
    }

    /// Slots there are; some may be vacant.
    pub(super) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Connections there are.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Everybody.
    pub(super) fn ids(&self) -> impl Iterator<Item = SessionId> + '_ {
        (0..self.slots()).filter_map(|index| self.at(index))
    }
}
