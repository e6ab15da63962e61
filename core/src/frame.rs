//! A durable event, encoded once: the exact bytes every socket gets.
//!
//! [`Published::encode`] writes the WebSocket head and the JSON of DESIGN section 5 into one shared
//! buffer. From there on nobody serializes, copies or inspects the event again: shards keep the
//! [`Bytes`], and what the hub needs to know for its policies stands beside them in [`Published`].

use bytes::{BufMut, Bytes, BytesMut};

use crate::event::{Event, Identity, Topic};
use crate::log::{Epoch, Hole, Position, Record, Span, token};
use crate::time::{Monotonic, Timestamp};

/// An event on its way to the sockets.
#[derive(Clone, Debug)]
pub struct Published {
    /// Where it stands.
    pub position: Position,
    /// Its topic.
    pub topic: Topic,
    /// What a later one replaces, if anything.
    pub subject: Subject,
    /// When it happened, by its source's clock.
    pub occurred_at: Timestamp,
    /// When its source handed it over: what a sensor value's age counts from.
    pub received_at: Timestamp,
    /// When it became known to be durable; of what was read back from the log, when it was
    /// received: ages count from here.
    pub durable_at: Monotonic,
    /// It was read back from the log, so `durable_at` says nothing about how fast it is delivered.
    pub is_read_back: bool,
    /// Unmasked, unfragmented text frame.
    pub frame: Bytes,
}

/// What a later event of the same topic replaces (R20, R21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nothing: it stands for itself.
    None,
    /// The update of this original, at this revision.
    Update {
        /// Hash of the original's (source, id).
        original: Identity,
        /// Highest wins.
        rev: u32,
    },
    /// The value of this key of this source.
    Sensor {
        /// Hash of (source, key).
        key: Identity,
        /// The device's sequence, else the position's: highest wins, and of equal ones the last,
        /// which says again what still holds. After a device has begun to count anew, its last
        /// value of before wins until it is too old.
        order: u64,
    },
}

impl Subject {
    /// What it is about, its order, and the lowest order that outdates it where something of the
    /// same is before it in the log. `None` of what stands for itself.
    pub const fn place(self) -> Option<(Identity, u64, u64)> {
        match self {
            Self::None => None,
            Self::Update { original, rev } => Some((original, rev as u64, rev as u64)),
            Self::Sensor { key, order } => Some((key, order, order.saturating_add(1))),
        }
    }
}

/// What happened in some lanes since the last batch, shared by all shards.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// What the batch covers; between spans and events nothing is missing but the holes.
    pub spans: Vec<Span>,
    /// Ascending by position within each lane.
    pub events: Vec<Published>,
    /// What a read could not give back, by lane. Empty in a live batch.
    pub holes: Vec<(crate::log::Lane, Hole)>,
}

impl Batch {
    /// Bytes of all its frames.
    pub fn frame_bytes(&self) -> usize {
        self.events.iter().map(|event| event.frame.len()).sum()
    }

    /// Bytes it holds while it waits: its frames, and what stands beside each of them.
    pub fn held_bytes(&self) -> usize {
        self.frame_bytes() + size_of_val(&self.events[..])
    }
}

impl Published {
    /// Encodes `record` for clients of `epoch`.
    pub fn encode(record: &Record, epoch: Epoch, durable_at: Monotonic) -> Self {
        let event = &record.event;
        let topic = event.topic();
        let json = event_json(event, &topic, &token::encode_position(epoch, record.position));
        Self {
            position: record.position,
            subject: subject(event, record.position),
            occurred_at: event.occurred_at,
            received_at: record.received_at,
            durable_at,
            is_read_back: false,
            frame: text_frame(&json),
            topic,
        }
    }

    /// The frame's JSON, without its head.
    pub fn json(&self) -> &[u8] {
        payload(&self.frame)
    }
}

fn subject(event: &Event, position: Position) -> Subject {
    match (&event.supersedes, &event.sensor) {
        (Some(original), _) => Subject::Update {
            original: Identity::of(&original.source, &original.id),
            rev: original.rev,
        },
        (None, Some(sensor)) => Subject::Sensor {
            key: Identity::of(&event.source, &sensor.key),
            order: sensor.sequence.unwrap_or(position.seq),
        },
        (None, None) => Subject::None,
    }
}

/// DESIGN section 5, `op: event`. `data` goes in as it came: validated JSON, byte for byte.
fn event_json(event: &Event, topic: &Topic, pos: &str) -> Vec<u8> {
    let mut json = Vec::with_capacity(event.data.len() + 384);
    json.extend_from_slice(br#"{"op":"event","topic":""#);
    json.extend_from_slice(topic.to_string().as_bytes());
    json.extend_from_slice(br#"","pos":""#);
    json.extend_from_slice(pos.as_bytes());
    json.push(b'"');
    if let Some(original) = &event.supersedes {
        json.extend_from_slice(br#","supersedes":{"source":"#);
        put_string(&mut json, &original.source);
        json.extend_from_slice(br#","id":"#);
        put_string(&mut json, &original.id);
        json.extend_from_slice(format!(r#","rev":{}}}"#, original.rev).as_bytes());
    }
    json.extend_from_slice(br#","source":"#);
    put_string(&mut json, &event.source);
    json.extend_from_slice(br#","id":"#);
    put_string(&mut json, &event.id);
    if let Some(sensor) = &event.sensor {
        json.extend_from_slice(br#","key":"#);
        put_string(&mut json, &sensor.key);
    }
    json.extend_from_slice(br#","teams":["#);
    for (n, team) in event.route.teams().enumerate() {
        json.extend_from_slice(if n == 0 { b"\"" } else { b",\"" });
        json.extend_from_slice(team.as_bytes());
        json.push(b'"');
    }
    json.extend_from_slice(br#"],"type":"#);
    put_string(&mut json, &event.kind);
    json.extend_from_slice(br#","occurred_at":""#);
    json.extend_from_slice(event.occurred_at.to_rfc3339().as_bytes());
    json.extend_from_slice(br#"","data":"#);
    json.extend_from_slice(&event.data);
    json.push(b'}');
    json
}

/// A JSON string. Names and ids are printable ASCII, so quote and backslash are all there is to
/// escape.
fn put_string(json: &mut Vec<u8>, text: &str) {
    json.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            json.push(b'\\');
        }
        json.push(byte);
    }
    json.push(b'"');
}

/// An unmasked, final text frame around `payload` (RFC 6455, 5.2; lengths in their shortest form).
pub fn text_frame(payload: &[u8]) -> Bytes {
    frame(0x81, payload)
}

/// An unmasked, final frame whose first byte is `first`.
pub fn frame(first: u8, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len() + crate::limits::FRAME_HEAD_BYTES_MAX);
    out.put_u8(first);
    match payload.len() {
        len @ 0..=125 => out.put_u8(len as u8),
        len @ 126..=0xffff => {
            out.put_u8(126);
            out.put_u16(len as u16);
        }
        len => {
            out.put_u8(127);
            out.put_u64(len as u64);
        }
    }
    out.put_slice(payload);
    out.freeze()
}

/// The payload of one frame that [`frame`] wrote.
pub fn payload(frame: &[u8]) -> &[u8] {
    let head = match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    frame.get(head..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Route, Stream};
    use crate::log::Lane;

    #[test]
    fn an_event_reaches_clients_as_the_design_says() {
        let event = Event {
            stream: Stream::Broadcast,
            source: "skyline".into(),
            id: r#"say "goal" \o/"#.into(),
            route: Route::new(&["che", "ars"]).unwrap(),
            kind: "goal".into(),
            occurred_at: Timestamp::parse("2026-06-24T18:03:11.5Z").unwrap(),
            data: Bytes::from_static(br#"{"z":1, "a" :1.10}"#),
            lang: None,
            supersedes: None,
            sensor: None,
            trace: None,
            correlation: "c".into(),
        };
        let position = Position { lane: Lane(0), seq: 7 };
        let record = Record { position, received_at: Timestamp(0), event };
        let published = Published::encode(&record, Epoch(5), Monotonic(0));
        let text = std::str::from_utf8(published.json()).unwrap();
        let pos = token::encode_position(Epoch(5), position);
        let want = [
            r#"{"op":"event","topic":"broadcast:ars+che","pos":""#,
            &pos,
            r#"","source":"skyline","id":"say \"goal\" \\o/","teams":["ars","che"],"type":"goal","#,
            r#""occurred_at":"2026-06-24T18:03:11.5Z","data":{"z":1, "a" :1.10}}"#,
        ];
        assert_eq!(text, want.concat());
        serde_json::from_str::<serde_json::Value>(text).unwrap();
    }

    #[test]
    fn a_frame_head_has_its_shortest_form() {
        for (len, head) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let payload_in = vec![b'x'; len];
            let frame = text_frame(&payload_in);
            assert_eq!(frame.len(), head + len);
            assert_eq!(payload(&frame), payload_in);
        }
    }
}
