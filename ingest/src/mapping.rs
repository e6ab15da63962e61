//! From any JSON to the fields of an event: by JSON pointers (RFC 6901), one for each field.
//!
//! What stands in the configuration is a pointer into an item where it begins with `/`, or is empty
//! (the whole item); anything else is a constant. Sensors, social streams and partners of a
//! shape of their own are read by it.

use std::borrow::Cow;

use serde_json::Value;
use touchline_core::time::Timestamp;

/// Where a field's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// Always this.
    Constant(Box<str>),
    /// A pointer into the item.
    Pointer(Box<str>),
}

impl From {
    /// Reads what stands in the configuration.
    pub fn parse(text: &str) -> Self {
        match text.is_empty() || text.starts_with('/') {
            true => Self::Pointer(text.into()),
            false => Self::Constant(text.into()),
        }
    }

    /// What it finds.
    pub fn value<'v>(&self, item: &'v Value) -> Option<Cow<'v, Value>> {
        match self {
            Self::Constant(text) => Some(Cow::Owned(Value::String(text.to_string()))),
            Self::Pointer(pointer) => item.pointer(pointer).map(Cow::Borrowed),
        }
    }

    /// A text, or a number's.
    pub fn text(&self, item: &Value) -> Option<String> {
        match &*self.value(item)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A team or an array of teams; a constant may join several by `+`.
    pub fn teams(&self, item: &Value) -> Option<Vec<String>> {
        if let Self::Constant(text) = self {
            return Some(text.split('+').map(str::to_owned).collect());
        }
        match &*self.value(item)? {
            Value::Array(teams) => teams.iter().map(|it| it.as_str().map(str::to_owned)).collect(),
            one => Some(vec![one.as_str()?.to_owned()]),
        }
    }

    /// A whole number, 0 or more, also where it is written as text.
    pub fn number(&self, item: &Value) -> Option<u64> {
        match &*self.value(item)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// RFC 3339, or seconds, milliseconds or microseconds since 1970, also where it is written as
    /// text.
    pub fn time(&self, item: &Value) -> Option<Timestamp> {
        match &*self.value(item)? {
            Value::String(text) => {
                Timestamp::parse(text).or_else(|| since_1970(text.parse().ok()?))
            }
            Value::Number(number) => since_1970(number.as_f64()?),
            _ => None,
        }
    }

    /// A JSON object: what is none becomes `{"value":...}`.
    pub fn data(&self, item: &Value) -> Option<Vec<u8>> {
        let value = self.value(item)?;
        let whole = match &*value {
            Value::Object(_) => serde_json::to_vec(&*value),
            other => serde_json::to_vec(&serde_json::json!({ "value": other })),
        };
        whole.ok()
    }

    /// How many brackets are open at the deepest place of what it finds.
    pub fn depth(&self, item: &Value) -> usize {
        self.value(item).map_or(0, |value| depth(&value))
    }
}

/// Numbers above this are milliseconds: as seconds they would lie beyond the year 5000.
const SECONDS_TOP: f64 = 1e11;
/// And above this microseconds.
const MILLIS_TOP: f64 = 1e14;

fn since_1970(number: f64) -> Option<Timestamp> {
    let micros = match number {
        it if it < SECONDS_TOP => it * 1e6,
        it if it < MILLIS_TOP => it * 1e3,
        it => it,
    };
    (0.0..1e17).contains(&number).then_some(Timestamp(micros as i64))
}

/// The parser stops at 128 levels, and so this does.
fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(elements) => elements.iter().map(depth).max(),
        Value::Object(members) => members.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn depth_counts_open_brackets() {
        let whole = From::parse("");
        for (value, open) in [
            (json!(1), 0),
            (json!({}), 1),
            (json!({"a": [], "b": []}), 2),
            (json!({"a": [{"b": 1}], "c": {}}), 3),
        ] {
            assert_eq!(whole.depth(&value), open, "{value}");
        }
        assert_eq!(From::parse("constant").depth(&json!([[]])), 0);
    }
}
