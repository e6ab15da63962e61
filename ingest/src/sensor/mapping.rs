//! From whatever a device answers to readings: each field by a [`From`]. `items` points to an array
//! of readings, or to a single one.

use serde_json::Value;
use touchline_core::event::{Route, check_id, check_kind};
use touchline_core::limits::{DATA_BYTES_MAX, ID_BYTES_MAX};
use touchline_core::time::Timestamp;

use crate::limits::{DATA_DEPTH_MAX, READINGS_MAX};
use crate::mapping::From;

/// How the readings of one source are found in its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Pointer to the array of items, or to the one item.
    pub items: Box<str>,
    /// The team, or an array of teams; a constant may join several by `+`.
    pub team: From,
    /// What the event is called.
    pub kind: From,
    /// What the value replaces.
    pub key: From,
    /// The device's own sequence.
    pub sequence: Option<From>,
    /// When it was measured: RFC 3339, or seconds or milliseconds since 1970.
    pub time: Option<From>,
    /// What clients get: an object, or anything that becomes `{"value":...}`.
    pub value: From,
}

/// One value as a device gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Whom it concerns.
    pub route: Route,
    /// What it is called.
    pub kind: Box<str>,
    /// What it replaces.
    pub key: Box<str>,
    /// The device's sequence.
    pub sequence: Option<u64>,
    /// The device's time.
    pub measured_at: Option<Timestamp>,
    /// A JSON object.
    pub data: Vec<u8>,
}

/// What of an answer can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// `items` points to nothing.
    #[error("there is nothing at `{0}`, where the readings should be")]
    NoItems(Box<str>),
    /// More readings than one answer may hold.
    #[error("{0} readings, more than {READINGS_MAX}")]
    TooMany(usize),
    /// A field of one item is missing or out of its grammar.
    #[error("reading {index}: {field} {what}")]
    Field {
        /// Which item, from 0.
        index: usize,
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        what: Box<str>,
    },
}

impl Mapping {
    /// The readings of an answer; of items that can't be used, why. Only an answer without items is
    /// an error as a whole.
    pub fn readings(
        &self,
        answer: &Value,
    ) -> Result<Vec<Result<Reading, MappingError>>, MappingError> {
        let found = answer.pointer(&self.items);
        let found = found.ok_or_else(|| MappingError::NoItems(self.items.clone()))?;
        let items = match found {
            Value::Array(items) => items.as_slice(),
            item => std::slice::from_ref(item),
        };
        if items.len() > READINGS_MAX {
            return Err(MappingError::TooMany(items.len()));
        }
        Ok(items.iter().enumerate().map(|(index, item)| self.reading(index, item)).collect())
    }

    fn reading(&self, index: usize, item: &Value) -> Result<Reading, MappingError> {
        let wrong = |field: &'static str, what: &dyn std::fmt::Display| MappingError::Field {
            index,
            field,
            what: what.to_string().into(),
        };
        let missing = |field| wrong(field, &"is missing, or is neither text nor number");
        let teams = self.team.teams(item).ok_or_else(|| missing("team"))?;
        let route = Route::new(&teams).map_err(|error| wrong("team", &error))?;
        let kind = self.kind.text(item).ok_or_else(|| missing("type"))?;
        check_kind(&kind).map_err(|error| wrong("type", &error))?;
        let key = self.key.text(item).ok_or_else(|| missing("key"))?;
        check_id(&key).map_err(|error| wrong("key", &error))?;
        if key.len() > KEY_BYTES_MAX {
            return Err(wrong("key", &format!("must be at most {KEY_BYTES_MAX} bytes")));
        }
        let sequence = match &self.sequence {
            None => None,
            Some(from) => Some(
                from.number(item)
                    .ok_or_else(|| wrong("sequence", &"must be a whole number, 0 or more"))?,
            ),
        };
        let measured_at = match &self.time {
            None => None,
            Some(from) => Some(from.time(item).ok_or_else(|| {
                wrong("time", &"must be RFC 3339, or seconds or milliseconds since 1970")
            })?),
        };
        let data = self.value.data(item).ok_or_else(|| wrong("value", &"is missing"))?;
        if data.len() > DATA_BYTES_MAX {
            return Err(wrong("value", &format!("is larger than {DATA_BYTES_MAX} bytes")));
        }
        if self.value.depth(item) > DATA_DEPTH_MAX {
            return Err(wrong("value", &format!("has more than {DATA_DEPTH_MAX} levels")));
        }
        Ok(Reading { route, kind: kind.into(), key: key.into(), sequence, measured_at, data })
    }
}

/// A key leaves room in an event's id for a sequence or a time, and a republish's number.
const KEY_BYTES_MAX: usize = ID_BYTES_MAX - 48;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mapping() -> Mapping {
        Mapping {
            items: "/readings".into(),
            team: From::parse("/team"),
            kind: From::parse("wind"),
            key: From::parse("/sensor"),
            sequence: Some(From::parse("/n")),
            time: Some(From::parse("/at")),
            value: From::parse("/v"),
        }
    }

    fn item() -> Value {
        json!({"team": "ars", "sensor": "mast-1", "n": 7, "at": "2026-06-24T18:00:00Z", "v": 3.5})
    }

    fn one(mapping: &Mapping, item: Value) -> Result<Reading, MappingError> {
        mapping.readings(&json!({ "readings": [item] })).unwrap().remove(0)
    }

    #[test]
    fn fields_are_found_by_pointers_or_stand_in_the_mapping() {
        let reading = one(&mapping(), item()).unwrap();
        assert_eq!(
            (reading.route.as_str(), &*reading.kind, &*reading.key),
            ("ars", "wind", "mast-1")
        );
        assert_eq!(reading.sequence, Some(7));
        assert_eq!(reading.measured_at, Timestamp::parse("2026-06-24T18:00:00Z"));
        assert_eq!(reading.data, br#"{"value":3.5}"#);
        let whole = Mapping { value: From::parse(""), ..mapping() };
        assert!(one(&whole, item()).unwrap().data.starts_with(b"{"), "an object goes as it is");
        let fixed = Mapping { team: From::parse("che+ars"), ..mapping() };
        assert_eq!(one(&fixed, item()).unwrap().route.as_str(), "ars+che");
        let mut several = item();
        several["team"] = json!(["liv", "eve"]);
        assert_eq!(one(&mapping(), several).unwrap().route.as_str(), "eve+liv");
    }

    #[test]
    fn times_are_rfc_3339_or_seconds_or_milliseconds() {
        for at in [json!("2026-06-24T18:00:00Z"), json!(1_782_324_000), json!(1_782_324_000_000u64)]
        {
            let mut item = item();
            item["at"] = at;
            let expected = Timestamp::parse("2026-06-24T18:00:00Z");
            assert_eq!(one(&mapping(), item).unwrap().measured_at, expected);
        }
    }

    #[test]
    fn one_bad_item_is_named_and_costs_the_others_nothing() {
        for (field, bad) in [
            ("team", json!("Arsenal FC")),
            ("sensor", json!(null)),
            ("n", json!(-1)),
            ("at", json!("yesterday")),
            ("v", Value::Null),
        ] {
            let mut broken = item();
            match bad {
                Value::Null if field == "v" => drop(broken.as_object_mut().unwrap().remove("v")),
                bad => broken[field] = bad,
            }
            let both = mapping().readings(&json!({ "readings": [broken, item()] })).unwrap();
            assert!(matches!(&both[0], Err(MappingError::Field { index: 0, .. })), "{field}");
            assert!(both[1].is_ok());
        }
    }

    #[test]
    fn an_answer_without_readings_says_where_they_were_looked_for() {
        let error = mapping().readings(&json!({})).unwrap_err();
        assert!(error.to_string().contains("`/readings`"));
        let many = json!({ "readings": vec![item(); READINGS_MAX + 1] });
        assert_eq!(mapping().readings(&many), Err(MappingError::TooMany(READINGS_MAX + 1)));
        let single = mapping().readings(&json!({ "readings": item() })).unwrap();
        assert_eq!(single.len(), 1, "one item needs no array");
    }
}
