//! How a record of the log is printed: one line for people, or one JSON object.

use serde_json::value::RawValue;
use serde_json::{Value, json};
use touchline_core::log::{Epoch, Record, token};

use crate::logging::{escape_rest, put_visible};

/// One JSON object on one line. `data` stands in it as the source sent it.
pub fn to_json(epoch: Epoch, record: &Record) -> String {
    let event = &record.event;
    let mut object = json!({
        "seq": record.position.seq,
        "pos": token::encode_position(epoch, record.position),
        "received_at": record.received_at.to_rfc3339(),
        "correlation": &*event.correlation,
        "topic": event.topic().to_string(),
        "source": &*event.source,
        "id": &*event.id,
        "teams": event.route.teams().collect::<Vec<_>>(),
        "type": &*event.kind,
        "occurred_at": event.occurred_at.to_rfc3339(),
    });
    // Damaged or foreign data is shown as text rather than not at all.
    let data: Option<Value> = serde_json::from_slice(&event.data).ok();
    let text = || Value::from(String::from_utf8_lossy(&event.data).into_owned());
    if let Value::Object(fields) = &mut object {
        fields.insert("data".into(), data.unwrap_or_else(text));
    }
    escape_rest(object.to_string())
}

/// `42 18:03:11 broadcast:ars+che skyline/g-1 goal {"minute":7}`
pub fn to_text(record: &Record) -> String {
    let event = &record.event;
    let time = event.occurred_at.to_rfc3339();
    let data = match serde_json::from_slice::<&RawValue>(&event.data) {
        Ok(data) => data.get().split_whitespace().collect::<Vec<_>>().join(" "),
        Err(_) => String::from_utf8_lossy(&event.data).into_owned(),
    };
    let line = format!(
        "{:>8} {} {} {}/{} {} {data}",
        record.position.seq,
        time,
        event.topic(),
        event.source,
        event.id,
        event.kind,
    );
    let mut out = String::with_capacity(line.len());
    put_visible(&mut out, &line);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use touchline_core::event::{Event, Route, Stream};
    use touchline_core::log::{Lane, Position};
    use touchline_core::time::Timestamp;

    fn record(data: &'static str) -> Record {
        let event = Event {
            stream: Stream::Broadcast,
            source: "skyline".into(),
            id: "g 1".into(),
            route: Route::parse("ars+che").unwrap(),
            kind: "goal".into(),
            occurred_at: Timestamp(0),
            data: Bytes::from_static(data.as_bytes()),
            lang: None,
            supersedes: None,
            sensor: None,
            correlation: "c-1".into(),
        };
        let position = Position { lane: Lane(0), seq: 42 };
        Record { position, received_at: Timestamp(0), event }
    }

    #[test]
    fn a_record_is_one_line_whatever_its_data() {
        let record = record("{\n \"a\":\t\"\u{9b}x\u{202e}\" }");
        for line in [to_text(&record), to_json(Epoch(1), &record)] {
            assert!(!line.contains(['\n', '\u{9b}', '\u{202e}']), "{line}");
        }
        let json: Value = serde_json::from_str(&to_json(Epoch(1), &record)).unwrap();
        assert_eq!(json["seq"], 42);
        assert_eq!(json["data"]["a"], "\u{9b}x\u{202e}");
        assert_eq!(json["topic"], "broadcast:ars+che");
    }
}
