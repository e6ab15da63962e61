//! Ranges of a topic's window, put together once and sent to all sessions at the same cursor.
//!
//! One event alone is its own frame: no copy. Several are copied into one buffer, so that a socket
//! that is behind is served by one send whatever it has missed; under load nearly all sockets stand
//! at one of a handful of cursors, and the copy is paid for once. The cache lives from one batch to
//! the next.

use bytes::{Bytes, BytesMut};

use super::topics::{TopicIx, TopicState};
use super::volley::{Buffer, News, Volley};

/// Ranges kept: as many as sockets have different cursors while a volley is under way.
const RANGES_MAX: usize = 16;

#[derive(Default)]
pub(super) struct Ranges {
    cached: Vec<Cached>,
    victim: usize,
    last: usize,
}

struct Cached {
    topic: TopicIx,
    from: u64,
    bytes_max: usize,
    next: u64,
    buffer: Buffer,
    /// The round whose volley holds the buffer, and where.
    serial: u64,
    index: u32,
}

/// A range that is part of the volley now.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) buffer: u32,
    /// Where the cursor goes once it is sent.
    pub(super) next: u64,
    pub(super) len: u32,
}

impl Ranges {
    pub(super) fn len(&self) -> usize {
        self.cached.len()
    }

    /// Forgets all: windows have changed.
    pub(super) fn clear(&mut self) {
        self.cached.clear();
        self.last = 0;
        self.victim = 0;
    }

    /// What lives in `topic` from `from` on, at most `bytes_max` but at least one frame. `None`:
    /// nothing does.
    pub(super) fn get(
        &mut self,
        index: TopicIx,
        topic: &TopicState,
        from: u64,
        bytes_max: usize,
        volley: &mut Volley,
    ) -> Option<Found> {
        let fits = |of: &Cached| of.topic == index && of.from == from && of.bytes_max == bytes_max;
        if !self.cached.get(self.last).is_some_and(fits) {
            self.last = match self.cached.iter().position(fits) {
                Some(at) => at,
                None => self.build(index, topic, from, bytes_max)?,
            };
        }
        let cached = &mut self.cached[self.last];
        if cached.serial != volley.serial {
            cached.serial = volley.serial;
            cached.index = volley.push_buffer(cached.buffer.clone());
        }
        Some(Found {
            buffer: cached.index,
            next: cached.next,
            len: cached.buffer.bytes.len() as u32,
        })
    }

    fn build(
        &mut self,
        index: TopicIx,
        topic: &TopicState,
        from: u64,
        bytes_max: usize,
    ) -> Option<usize> {
        let taken = take(topic, from, bytes_max)?;
        let bytes = match taken.frames {
            1 => topic.window.live_from(from).next()?.frame.clone(),
            frames => join(topic, from, frames as usize, taken.len),
        };
        let mut news = News::default();
        let entries = topic.window.live_from(from).take(taken.frames as usize);
        entries.for_each(|entry| news.add(topic.key.stream, entry));
        let cached = Cached {
            topic: index,
            from,
            bytes_max,
            next: taken.next,
            buffer: Buffer { bytes, news },
            serial: 0,
            index: 0,
        };
        if self.cached.len() < RANGES_MAX {
            self.cached.push(cached);
            return Some(self.cached.len() - 1);
        }
        self.victim = (self.victim + 1) % RANGES_MAX;
        self.cached[self.victim] = cached;
        Some(self.victim)
    }
}

struct Taken {
    frames: u32,
    len: usize,
    next: u64,
}

/// How many frames from `from` on fit into `bytes_max`, and where that leads.
fn take(topic: &TopicState, from: u64, bytes_max: usize) -> Option<Taken> {
    let mut live = topic.window.live_from(from);
    let first = live.next()?;
    let mut taken = Taken { frames: 1, len: first.frame.len(), next: topic.window.last_seq() + 1 };
    for entry in live {
        if taken.len + entry.frame.len() > bytes_max {
            taken.next = entry.seq;
            break;
        }
        taken.frames += 1;
        taken.len += entry.frame.len();
    }
    Some(taken)
}

fn join(topic: &TopicState, from: u64, frames: usize, len: usize) -> Bytes {
    let mut joined = BytesMut::with_capacity(len);
    for entry in topic.window.live_from(from).take(frames) {
        joined.extend_from_slice(&entry.frame);
    }
    joined.freeze()
}
