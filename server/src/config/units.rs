//! Values with their unit: sizes, durations, addresses, and how a text becomes one.
//!
//! A file gives typed TOML values; a flag, an environment variable or a default gives a text.
//! [`parse`] turns such a text into the value that a file would have given, by the key's [`Kind`],
//! so that `name = "007"` stays a text however it is set. [`check`] holds every value, wherever it
//! came from, against the key's type and bounds.

use figment::value::{Num, Tag, Value};
use std::time::Duration;

use super::keys::Kind;

/// Units of a size, largest last.
const UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Bytes out of `16MiB`, `512 KiB` or `4096`. `None`: not a size, or more than 64 bits hold.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let factor = if unit.is_empty() {
        1
    } else {
        UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)?
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// `bytes` with the largest unit that divides it.
pub fn size_text(bytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| bytes >= *factor && bytes.is_multiple_of(*factor);
    let (name, factor) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
    format!("{}{name}", bytes / factor)
}

/// Seconds as a duration; the caller has checked its bounds.
pub fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)
}

/// The value that a file would have given for `text`. `Err` completes the sentence "`key` ...".
pub fn parse(kind: Kind, text: &str) -> Result<Value, String> {
    let value = match kind {
        Kind::Text | Kind::Secret | Kind::Url | Kind::Path => string(text),
        Kind::Address | Kind::Size(..) | Kind::Choice(_) => string(text),
        Kind::AutoCount(..) if text == "auto" => string(text),
        Kind::Count(..) | Kind::AutoCount(..) => {
            Value::from(text.parse::<u64>().map_err(|_| expects(kind))?)
        }
        Kind::Seconds(..) => Value::from(text.parse::<f64>().map_err(|_| expects(kind))?),
        Kind::Toggle => Value::from(text.parse::<bool>().map_err(|_| expects(kind))?),
        Kind::List | Kind::Secrets => list(text),
    };
    check(kind, value)
}

fn string(text: &str) -> Value {
    Value::from(text)
}

/// `["a", "b"]` or `a,b`.
fn list(text: &str) -> Value {
    let inner = text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let items = inner.unwrap_or(text).split(',');
    let items = items.map(|item| item.trim().trim_matches('"')).filter(|item| !item.is_empty());
    Value::Array(Tag::Default, items.map(string).collect())
}

/// What `kind` expects, to complete "`key` ...".
pub fn expects(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Secret | Kind::Url | Kind::Path => "must be a text".into(),
        Kind::Address => "must be an address and a port, such as \"0.0.0.0:8080\"".into(),
        Kind::Size(min, max) => format!(
            "must be a size between {} and {}, such as \"16MiB\"",
            size_text(min),
            size_text(max)
        ),
        Kind::Seconds(min, max) => format!("must be seconds between {min} and {max}"),
        Kind::Count(min, max) => format!("must be a whole number between {min} and {max}"),
        Kind::AutoCount(min, max) => {
            format!("must be \"auto\" or a whole number between {min} and {max}")
        }
        Kind::Choice(words) => format!("must be one of {}", words.join(", ")),
        Kind::Toggle => "must be true or false".into(),
        Kind::List => "must be a list of texts, such as [\"https://example.com\"]".into(),
        Kind::Secrets => "must be a list of secrets, each `whsec_` and base64".into(),
    }
}

/// `value` in the one form in which `kind` keeps it, so that equal values compare equal however
/// they were written. `Err` completes "`key` ..." and never repeats the value.
pub fn check(kind: Kind, value: Value) -> Result<Value, String> {
    let count = |min, max| count_of(&value).filter(|n| (min..=max).contains(n)).map(Value::from);
    let text = || value.as_str().map(Value::from);
    let kept = match kind {
        Kind::Text | Kind::Secret | Kind::Url | Kind::Path => text(),
        Kind::Address => {
            value.as_str().filter(|text| text.parse::<std::net::SocketAddr>().is_ok()).map(string)
        }
        Kind::Size(min, max) => {
            size_of(&value).filter(|bytes| (min..=max).contains(bytes)).map(Value::from)
        }
        Kind::Seconds(min, max) => {
            seconds_of(&value).filter(|s| (min..=max).contains(s)).map(Value::from)
        }
        Kind::Count(min, max) => count(min, max),
        Kind::AutoCount(..) if value.as_str() == Some("auto") => text(),
        Kind::AutoCount(min, max) => count(min, max),
        Kind::Choice(words) => value.as_str().filter(|text| words.contains(text)).map(string),
        Kind::Toggle => matches!(value, Value::Bool(..)).then(|| value.clone()),
        Kind::List | Kind::Secrets => value
            .as_array()
            .filter(|items| items.iter().all(|item| item.as_str().is_some()))
            .map(|items| Value::Array(Tag::Default, items.to_vec())),
    };
    kept.ok_or_else(|| expects(kind))
}

/// Bytes of a size, as a number or a text.
pub fn size_of(value: &Value) -> Option<u64> {
    value.as_str().map_or_else(|| count_of(value), parse_size)
}

/// A whole number.
pub fn count_of(value: &Value) -> Option<u64> {
    if matches!(value, Value::Num(_, Num::F32(_) | Num::F64(_))) {
        return None;
    }
    value
        .to_u128()
        .and_then(|n| u64::try_from(n).ok())
        .or_else(|| value.to_i128().and_then(|n| u64::try_from(n).ok()))
}

/// Seconds, whole or not.
pub fn seconds_of(value: &Value) -> Option<f64> {
    let whole = count_of(value).map(|n| n as f64);
    whole.or_else(|| value.to_f64()).filter(|seconds| seconds.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in
            [("16MiB", 16 << 20), ("4096", 4096), ("512 KiB", 512 << 10), ("1B", 1), ("0", 0)]
        {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "1.5MiB", "16MB", "-1", "99999999999999999999", "16777216TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert_eq!(size_text(16 << 20), "16MiB");
        assert_eq!(size_text(1025), "1025B");
        assert_eq!(size_text(0), "0B");
    }

    #[test]
    fn a_text_becomes_what_its_key_expects() {
        assert_eq!(parse(Kind::Text, "007").unwrap().as_str(), Some("007"));
        assert_eq!(parse(Kind::Count(0, 9), "7").unwrap().to_u128(), Some(7));
        assert!(parse(Kind::Count(0, 9), "10").is_err());
        assert!(parse(Kind::Seconds(0.0, 9.0), "nan").is_err());
        assert!(parse(Kind::Address, "localhost").is_err());
        assert!(parse(Kind::Address, "[::1]:0").is_ok());
        let list = parse(Kind::List, "https://a.example, https://b.example").unwrap();
        assert_eq!(list.as_array().unwrap().len(), 2);
        assert_eq!(parse(Kind::List, "[]").unwrap().as_array().unwrap().len(), 0);
    }
}
