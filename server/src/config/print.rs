//! The configuration in force, for people: every value, where it came from, and no secret: of an
//! address it tells scheme, host and path.

use std::fmt::Write as _;

use figment::value::{Num, Value};
use serde_json::json;
use touchline_ingest::outbound;

use super::keys::{self, Kind};
use super::units;
use super::{Loaded, Origin};

/// TOML that can be used as a file again (but for secrets), each line with its origin.
pub fn to_toml(loaded: &Loaded) -> String {
    let mut out = String::new();
    let mut section = String::new();
    for Row { path, text, is_whole, origin } in rows(loaded) {
        let (head, name) = path.rsplit_once('.').unwrap_or(("", &path));
        if head != section {
            let _ = writeln!(out, "{}[{head}]", if out.is_empty() { "" } else { "\n" });
            section = head.to_owned();
        }
        let mark = if is_whole { "" } else { "# " };
        let line = format!("{mark}{name} = {text}");
        let _ = writeln!(out, "{line:<44} # {origin}");
    }
    out
}

/// The same for `/config`: by path, value and origin.
pub fn to_json(loaded: &Loaded) -> serde_json::Value {
    let entries = rows(loaded).map(|Row { path, text, origin, .. }| {
        let value: serde_json::Value =
            serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
        (path, json!({ "value": value, "origin": origin.to_string() }))
    });
    serde_json::Value::Object(entries.collect())
}

/// One value as it is shown.
struct Row {
    path: String,
    text: String,
    /// Whether that is all of it.
    is_whole: bool,
    origin: Origin,
}

/// In the order of the table, so that sections stay together.
fn rows(loaded: &Loaded) -> impl Iterator<Item = Row> + '_ {
    let rank = |path: &str| keys::all().position(|key| key.is(path)).unwrap_or(usize::MAX);
    let mut paths: Vec<_> = loaded.values.iter().collect();
    paths.sort_by_key(|(path, _)| {
        let section = path.rsplit_once('.').map_or("", |(section, _)| section).to_owned();
        let first = keys::all().position(|key| key.is_below(&section));
        (first, section, rank(path))
    });
    paths.into_iter().map(|(path, (value, origin))| {
        let kind = keys::find(path).map_or(Kind::Secret, |key| key.kind);
        let is_whole = match kind {
            Kind::Secret | Kind::Secrets => false,
            Kind::Url => value.as_str().is_none_or(|url| url_of(url) == url),
            _ => true,
        };
        Row { path: path.clone(), text: text_of(kind, value), is_whole, origin: origin.clone() }
    })
}

fn text_of(kind: Kind, value: &Value) -> String {
    match (kind, value) {
        (Kind::Secrets, value) => {
            let count = value.as_array().map_or(0, <[Value]>::len);
            quoted(&format!("({count} hidden)"))
        }
        (Kind::Secret, _) => quoted("(hidden)"),
        (Kind::Url, Value::String(_, url)) => quoted(&url_of(url)),
        (Kind::Size(..), value) => quoted(&units::size_text(units::size_of(value).unwrap_or(0))),
        (_, Value::String(_, text)) => quoted(text),
        (_, Value::Bool(_, on)) => on.to_string(),
        (_, Value::Num(_, Num::F64(number))) => number.to_string(),
        (_, Value::Array(_, items)) => {
            let items = items.iter().map(|item| quoted(item.as_str().unwrap_or_default()));
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        (_, value) => units::count_of(value).map_or_else(String::new, |n| n.to_string()),
    }
}

/// As it was written, unless some of it may be a key.
fn url_of(url: &str) -> String {
    let shown = outbound::shown(url);
    if shown.contains("***") { shown } else { url.to_owned() }
}

/// A JSON string, which is a TOML string too.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}
