//! Fields of somebody else's JSON, found by JSON pointers (RFC 6901).
//!
//! What a configuration writes for a field is a pointer where it begins with `/` or is empty (the
//! whole item); anything else is a constant. Sensors and social streams read by it.

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
}

/// The value itself.
pub(crate) fn value<'v>(from: &From, item: &'v Value) -> Option<Cow<'v, Value>> {
    match from {
        From::Constant(text) => Some(Cow::Owned(Value::String(text.to_string()))),
        From::Pointer(pointer) => item.pointer(pointer).map(Cow::Borrowed),
    }
}

/// A text, or a number as one.
pub(crate) fn text(from: &From, item: &Value) -> Option<String> {
    match &*value(from, item)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Numbers above this are milliseconds: as seconds they would lie beyond the year 5000.
const SECONDS_TOP: f64 = 1e11;
/// And above this microseconds.
const MILLIS_TOP: f64 = 1e14;

/// RFC 3339, or seconds, milliseconds or microseconds since 1970.
pub(crate) fn time(from: &From, item: &Value) -> Option<Timestamp> {
    match &*value(from, item)? {
        Value::String(text) => Timestamp::parse(text).or_else(|| since_1970(text.parse().ok()?)),
        Value::Number(number) => since_1970(number.as_f64()?),
        _ => None,
    }
}

fn since_1970(number: f64) -> Option<Timestamp> {
    let micros = match number {
        it if it < SECONDS_TOP => it * 1e6,
        it if it < MILLIS_TOP => it * 1e3,
        it => it,
    };
    (0.0..1e17).contains(&number).then_some(Timestamp(micros as i64))
}

/// A JSON object as its bytes; anything else becomes `{"value":...}`.
pub(crate) fn data(from: &From, item: &Value) -> Option<Vec<u8>> {
    let value = value(from, item)?;
    let whole = match &*value {
        Value::Object(_) => serde_json::to_vec(&*value),
        other => serde_json::to_vec(&serde_json::json!({ "value": other })),
    };
    whole.ok()
}
