//! How a record of the log is printed: one line for people, or one JSON object; and how a place of
//! the log is named on the command line.

use std::str::FromStr;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use touchline_core::log::{Epoch, Lane, Record, token};

use super::screen;
use crate::logging::{escape_rest, put_visible};

/// Where to begin or to end: `42`, or a position's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where a token says so: the life of the log, and the lane.
    pub of: Option<(Epoch, Lane)>,
    /// The sequence.
    pub seq: u64,
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(seq) = text.parse() {
            return Ok(Self { of: None, seq });
        }
        let (epoch, at) = token::decode_position(text)
            .map_err(|_| "write a sequence, or a position as `pos` tells it")?;
        Ok(Self { of: Some((epoch, at.lane)), seq: at.seq })
    }
}

/// One JSON object on one line. `data` stands in it as the source sent it.
pub fn to_json(epoch: Epoch, record: &Record) -> String {
    let event = &record.event;
    let mut object = json!({
        "lane": record.position.lane.0,
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

/// `42 2026-11-22T18:03:11Z broadcast:ars+che skyline/g-1 goal {"minute":7}`
pub fn to_text(record: &Record) -> String {
    text_at(&record.position.seq.to_string(), record, |time| time)
}

/// The same where there are several lanes: `3:42 ...`.
pub fn to_text_of_lanes(record: &Record) -> String {
    text_at(&place_of_lane(record), record, |time| time)
}

/// As much as a terminal of `width` columns has room for: `42 11-22 18:03:11 ...`.
pub fn to_screen(record: &Record, is_of_lanes: bool, width: usize) -> String {
    let place = match is_of_lanes {
        true => place_of_lane(record),
        false => record.position.seq.to_string(),
    };
    let brief = |time: String| time.get(5..19).map_or(time.clone(), |it| it.replace('T', " "));
    screen::fit(&text_at(&place, record, brief), Some(width))
}

fn place_of_lane(record: &Record) -> String {
    format!("{}:{}", record.position.lane.0, record.position.seq)
}

fn text_at(place: &str, record: &Record, tell: impl Fn(String) -> String) -> String {
    let event = &record.event;
    let time = tell(event.occurred_at.to_rfc3339());
    let data = match serde_json::from_slice::<&RawValue>(&event.data) {
        Ok(data) => data.get().split_whitespace().collect::<Vec<_>>().join(" "),
        Err(_) => String::from_utf8_lossy(&event.data).into_owned(),
    };
    let line = format!(
        "{place:>8} {} {} {}/{} {} {data}",
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
    use touchline_core::event::Event;
    use touchline_core::log::Position;
    use touchline_core::time::Timestamp;

    fn record(data: &'static str) -> Record {
        let event = Event {
            data: data.into(),
            correlation: "c-1".into(),
            ..Event::sample("g 1", "ars+che")
        };
        let position = Position { lane: Lane(0), seq: 42 };
        Record { position, received_at: Timestamp(0), event }
    }

    #[test]
    fn a_place_is_a_sequence_or_a_position() {
        assert_eq!("42".parse(), Ok(Place { of: None, seq: 42 }));
        let position = Position { lane: Lane(3), seq: 7 };
        let token = token::encode_position(Epoch(9), position);
        assert_eq!(token.parse(), Ok(Place { of: Some((Epoch(9), Lane(3))), seq: 7 }));
        assert!("forty-two".parse::<Place>().is_err());
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

    #[test]
    fn a_terminal_gets_a_line_that_it_has_room_for() {
        let record = record(r#"{"minute":7,"player":"Saka"}"#);
        for width in [20, 80] {
            let line = to_screen(&record, false, width);
            assert!(line.chars().count() <= width, "{line}");
            assert!(line.starts_with("      42 01-01 00:0"), "{line}");
        }
        let line = to_screen(&record, true, 300);
        assert!(line.starts_with("    0:42 01-01 00:00:00 broadcast:ars+che"), "{line}");
        assert!(line.ends_with(r#"goal {"minute":7,"player":"Saka"}"#), "{line}");
    }
}
