//! One line of the log: fields gathered from a tracing event, then written as JSON or as text.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use tracing::Event;
use tracing::field::{Field, Visit};

use crate::limits::LOG_FIELD_BYTES_MAX;

/// What a line says.
pub struct Line {
    time: String,
    level: &'static str,
    target: String,
    message: String,
    fields: Map<String, Value>,
}

impl Line {
    /// `left_out` lines of this kind were not written before it.
    pub fn of(event: &Event<'_>, left_out: u64) -> Self {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        };
        let mut line = Self {
            time: now(),
            level,
            target: metadata.target().to_owned(),
            message: String::new(),
            fields: Map::new(),
        };
        event.record(&mut line);
        if left_out > 0 {
            line.fields.insert("left_out".into(), left_out.into());
        }
        line
    }

    /// One JSON object without a line break.
    pub fn to_json(&self) -> String {
        let mut json = format!(
            r#"{{"time":{},"level":"{}","message":{},"target":{}"#,
            quoted(&self.time),
            self.level,
            quoted(&self.message),
            quoted(&self.target),
        );
        // A field never replaces one of the line's own.
        let own = ["time", "level", "message", "target"];
        for (name, value) in self.fields.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
            let _ = write!(json, ",{}:{value}", quoted(name));
        }
        json.push('}');
        escape_rest(json)
    }

    /// `18:03:11.123 info  message key=value`
    pub fn to_text(&self) -> String {
        let time = self.time.get(11..23).unwrap_or(&self.time);
        let mut text = format!("{time} {:<5} ", self.level);
        put_visible(&mut text, &self.message);
        for (name, value) in &self.fields {
            let _ = write!(text, " {name}=");
            match value {
                Value::String(value) if is_plain(value) => text.push_str(value),
                Value::String(value) => {
                    text.push('"');
                    put_visible(&mut text, &value.replace('\\', "\\\\").replace('"', "\\\""));
                    text.push('"');
                }
                value => text.push_str(&value.to_string()),
            }
        }
        text
    }

    fn put(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// UTC with six digits of the second, so that lines sort as text.
fn now() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Bounded(String::new());
        // Stops with an error once the field is full: what fitted is kept.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text.0);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut end = value.len().min(LOG_FIELD_BYTES_MAX);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        match field.name() {
            "message" => self.message = value[..end].to_owned(),
            _ => self.put(field, value[..end].into()),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// Takes text up to a field's bound.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.0.len() + c.len_utf8() > LOG_FIELD_BYTES_MAX {
                return Err(fmt::Error);
            }
            self.0.push(c);
        }
        Ok(())
    }
}

/// JSON leaves DEL, the controls from U+0080 on and marks that turn a line's direction as they are;
/// terminals don't. They only stand inside strings.
pub fn escape_rest(json: String) -> String {
    if !json.chars().any(acts) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if acts(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a terminal acts on it: controls, and marks that turn its direction.
fn acts(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// Needs no quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '='))
}

/// `text` with everything escaped that a terminal would act on.
pub fn put_visible(out: &mut String, text: &str) {
    for c in text.chars() {
        if acts(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str, id: &str) -> Line {
        let mut fields = Map::new();
        fields.insert("id".into(), id.into());
        fields.insert("level".into(), "forged".into());
        Line {
            time: "2026-06-24T18:03:11.123456Z".into(),
            level: "info",
            target: "touchline".into(),
            message: message.into(),
            fields,
        }
    }

    #[test]
    fn fault_45_nothing_in_a_field_ends_a_line_or_reaches_a_terminal() {
        let evil = "x\n{\"level\":\"error\"}\r\u{1b}[2J\u{9b}31m\u{202e}\" a=b";
        let line = line(evil, evil);
        for text in [line.to_json(), line.to_text()] {
            assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
        }
        assert!(![line.to_text(), line.to_json()].concat().contains('\u{202e}'));
        let json: Value = serde_json::from_str(&line.to_json()).unwrap();
        assert_eq!(json["id"], evil);
        assert_eq!(json["level"], "info", "a field can't replace the line's own");
    }

    #[test]
    fn a_terminal_gets_a_line_that_reads() {
        let want = "18:03:11.123 info  accepted id=g-1 level=forged";
        assert_eq!(line("accepted", "g-1").to_text(), want);
        assert!(line("accepted", "g 1").to_text().contains("id=\"g 1\""));
    }
}
