//! What happened, to whom, and where it came from.
//!
//! An [`Event`] is immutable: once a source has been told 202 it is what the log holds, and its
//! [`Content`] hash is how a second copy is told from a second event (R15). `data` stays the bytes
//! the source sent; nothing here parses them.
//!
//! Names are short, ASCII and bounded, because they stand in every frame, in log lines and in URLs.
//! Their grammars live in [`names`]; whoever holds a [`Team`], a [`Route`] or a [`Lang`] holds a
//! valid one.

mod names;
mod route;
mod sample;

pub use names::{Lang, NameError, Team, check_id, check_kind, check_source};
pub use route::{Route, RouteError, Topic, TopicError};

use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

use crate::time::Timestamp;

/// Where an event came from, and what it may cost. In the order in which a session is sent them
/// (R25).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stream {
    /// Signed partner webhooks: never conflated.
    Broadcast = 0,
    /// Made by the cold tier out of earlier events; a later one supersedes an earlier one.
    Update = 1,
    /// Social posts: the stream that may be thinned.
    Social = 2,
    /// Values polled from sensors: only the latest of a key counts.
    Sensor = 3,
}

impl Stream {
    /// All of them, in the order of their priority.
    pub const ALL: [Self; 4] = [Self::Broadcast, Self::Update, Self::Social, Self::Sensor];

    /// The name that stands in frames, configuration and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::Update => "update",
            Self::Social => "social",
            Self::Sensor => "sensor",
        }
    }

    /// The stream of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.as_str() == name)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct StreamSet(u8);

impl StreamSet {
    /// None of them.
    pub const EMPTY: Self = Self(0);
    /// What a client gets that names none: `broadcast` and `update`.
    pub const DEFAULT: Self = Self(0b0011);
    /// All of them.
    pub const ALL: Self = Self(0b1111);

    /// `self` and `stream`.
    #[must_use]
    pub const fn with(self, stream: Stream) -> Self {
        Self(self.0 | 1 << stream as u8)
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in `self` but not in `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether `stream` is in it.
    pub const fn contains(self, stream: Stream) -> bool {
        self.0 & 1 << stream as u8 != 0
    }

    /// Whether it is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its streams, by priority.
    pub fn iter(self) -> impl Iterator<Item = Stream> {
        Stream::ALL.into_iter().filter(move |stream| self.contains(*stream))
    }
}

impl FromIterator<Stream> for StreamSet {
    fn from_iter<I: IntoIterator<Item = Stream>>(streams: I) -> Self {
        streams.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// Which earlier event an update replaces, and how far it has got (R21).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Supersedes {
    /// Source of the original.
    pub source: Box<str>,
    /// Id of the original.
    pub id: Box<str>,
    /// Revision; the highest wins.
    pub rev: u32,
}

/// What a sensor value replaces, and in which order (R20).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SensorKey {
    /// Names the value within (topic, source).
    pub key: Box<str>,
    /// The device's own sequence, where it has one: the latest value is the highest sequence, else
    /// position.
    pub sequence: Option<u64>,
}

/// What happened, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Stream it belongs to.
    pub stream: Stream,
    /// Who said so: a partner, a feed, a stage of the cold tier.
    pub source: Box<str>,
    /// Unique within `source`.
    pub id: Box<str>,
    /// Teams it concerns.
    pub route: Route,
    /// `goal`, `card`, ...: called `type` in JSON.
    pub kind: Box<str>,
    /// When it happened, by the source's clock.
    pub occurred_at: Timestamp,
    /// The JSON object as the source sent it, byte for byte.
    pub data: Bytes,
    /// Language, of a translated update.
    pub lang: Option<Lang>,
    /// Of an update: what it replaces.
    pub supersedes: Option<Supersedes>,
    /// Of a sensor value: what it replaces.
    pub sensor: Option<SensorKey>,
    /// The W3C `traceparent` it came in with, shared by all of its body. No part of a record: what
    /// is read back from a log has none.
    pub trace: Option<Arc<str>>,
    /// Follows the event through logs and records; printable ASCII, 1 to 128 bytes.
    pub correlation: Box<str>,
}

impl Event {
    /// The unit of order and resume this event belongs to.
    pub fn topic(&self) -> Topic {
        Topic { stream: self.stream, route: self.route.clone(), lang: self.lang }
    }

    /// What tells this event from all others: a hash of (source, id). 128 bits, so that 8 million
    /// entries collide with a probability of about 1e-25.
    pub fn identity(&self) -> Identity {
        Identity::of(&self.source, &self.id)
    }

    /// Hash of what the source said, without id and correlation: a second delivery has the same one
    /// (R15).
    pub fn content(&self) -> Content {
        let mut hash = Xxh3::new();
        let mut field = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        field(self.route.as_str().as_bytes());
        field(self.kind.as_bytes());
        // Of a sensor's value the time is partly ours: two nodes, or two starts, would differ in
        // it.
        if self.stream != Stream::Sensor {
            field(&self.occurred_at.0.to_le_bytes());
        }
        field(&self.data);
        Content(hash.digest())
    }

    /// Bytes it takes in memory and in the log, near enough for limits.
    pub fn size_bytes(&self) -> usize {
        128 + self.source.len()
            + self.id.len()
            + self.route.as_str().len()
            + self.kind.len()
            + self.data.len()
            + self.correlation.len()
    }
}

/// 128-bit hash of (source, id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(pub u128);

impl Identity {
    /// The identity of event `id` of `source`.
    pub fn of(source: &str, id: &str) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&(source.len() as u64).to_le_bytes());
        hash.update(source.as_bytes());
        hash.update(id.as_bytes());
        Self(hash.digest128())
    }
}

/// 64-bit hash of what an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Content(pub u64);
