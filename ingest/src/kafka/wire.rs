//! An event as a Kafka message.
//!
//! The key is the route, so that other readers of the topic may group by it; the partition is
//! computed by us, not from the key's hash (R1). The value is the record of
//! [`touchline_core::log::record`], the same bytes that a journal keeps. Headers repeat what tools
//! want to see without decoding it: `schema` and `correlation`, and say what a record has no room
//! for: `traceparent`, the trace that a webhook came with.

use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders, Timestamp as Stamp};
use touchline_core::event::Event;
use touchline_core::log::record::{self, RecordError};
use touchline_core::log::{Lane, Position};
use touchline_core::time::Timestamp;

use super::lanes::Lanes;

/// Version of the value's form: what the header `schema` says.
pub const SCHEMA: &str = "touchline.record.v1";

/// The value of `event`.
pub(super) fn encode(event: &Event, received_at: Timestamp) -> Vec<u8> {
    let mut value = Vec::with_capacity(event.size_bytes());
    record::encode(event, received_at, &mut value);
    value
}

/// The headers of `event`.
pub(super) fn headers(event: &Event) -> OwnedHeaders {
    let header = |key, value| Header { key, value: Some(value) };
    let headers = OwnedHeaders::new_with_capacity(3)
        .insert(header("schema", SCHEMA))
        .insert(header("correlation", &*event.correlation));
    match &event.trace {
        Some(trace) => headers.insert(header("traceparent", &**trace)),
        None => headers,
    }
}

/// A message as one of ours.
#[derive(Debug)]
pub(super) struct Taken {
    /// Where it stands.
    pub position: Position,
    /// The broker's stamp.
    pub at_ms: i64,
    /// Of its value.
    pub bytes: usize,
    /// What it holds, or why it can't be shown.
    pub event: Result<(Event, Timestamp), Poison>,
    /// Its value, where it can't be shown.
    pub raw: Bytes,
}

/// Why a record of a topic can't be shown. It is passed by and counted; its partition goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Poison {
    /// It has no value: somebody compacts the topic, or writes to it.
    #[error("it has no value")]
    Empty,
    /// Its value isn't a record.
    #[error("{0}")]
    Record(#[from] RecordError),
    /// It belongs to another partition, or another stream's topic (R1).
    #[error("its route and stream belong to lane {0}")]
    Misplaced(u16),
}

impl Poison {
    /// As a word, for a dead letter.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "record_empty",
            Self::Record(_) => "record_malformed",
            Self::Misplaced(_) => "record_misplaced",
        }
    }
}

/// Reads a message; `None` if it isn't of our topics.
pub(super) fn decode(message: &BorrowedMessage<'_>, lanes: &Lanes) -> Option<Taken> {
    let lane = lanes.find(message.topic(), message.partition())?;
    let seq = u64::try_from(message.offset()).ok()?;
    let at_ms = match message.timestamp() {
        Stamp::LogAppendTime(ms) | Stamp::CreateTime(ms) => ms,
        Stamp::NotAvailable => 0,
    };
    let bytes = message.payload().map_or(0, <[u8]>::len);
    let event = event_of(message.payload(), lane, lanes);
    let raw = match &event {
        Ok(_) => Bytes::new(),
        Err(_) => Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    };
    Some(Taken { position: Position { lane, seq }, at_ms, bytes, event, raw })
}

fn event_of(value: Option<&[u8]>, lane: Lane, lanes: &Lanes) -> Result<(Event, Timestamp), Poison> {
    let value = value.ok_or(Poison::Empty)?;
    let (event, received_at) = record::decode(Bytes::copy_from_slice(value))?;
    match lanes.of(event.stream, &event.route) {
        own if own == lane => Ok((event, received_at)),
        own => Err(Poison::Misplaced(own.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_core::event::Stream;

    fn event(stream: Stream) -> Event {
        Event { stream, ..Event::sample("e1", "ars+che") }
    }

    #[test]
    fn a_record_is_read_in_its_own_lane_only() {
        let lanes = Lanes::new("", 8);
        let value = encode(&event(Stream::Broadcast), Timestamp(9));
        let own = lanes.of(Stream::Broadcast, &event(Stream::Broadcast).route);
        let read = event_of(Some(&value), own, &lanes);
        assert_eq!(read, Ok((event(Stream::Broadcast), Timestamp(9))));
        for (lane, ..) in lanes.all().filter(|(lane, ..)| *lane != own) {
            assert_eq!(event_of(Some(&value), lane, &lanes), Err(Poison::Misplaced(own.0)));
        }
        assert_eq!(event_of(None, own, &lanes), Err(Poison::Empty));
        assert!(matches!(event_of(Some(b"{}"), own, &lanes), Err(Poison::Record(_))));
    }
}
