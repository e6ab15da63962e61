//! Server-sent events (the `text/event-stream` of the HTML standard) out of chunks.
//!
//! A comment is a keep-alive. The last event id is the stream's to set, and what a reconnect asks
//! with; an event of more bytes than it may have is told once and dropped.

use std::time::Duration;

use super::lines::{Ends, Lines, Piece};
use crate::limits::EVENT_ID_BYTES_MAX;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// An event's data; `name` is empty where the stream names none.
    Event {
        /// What the stream calls it.
        name: &'a str,
        /// Its data, lines joined by line feeds.
        data: &'a [u8],
    },
    /// One that was longer than it may be.
    TooLong,
}

/// Reads a stream of events.
#[derive(Debug)]
pub struct Events {
    lines: Lines,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    bytes_max: usize,
    data: Vec<u8>,
    has_data: bool,
    is_too_long: bool,
    is_begun: bool,
    name: String,
    id: String,
    last_id: String,
    retry: Option<Duration>,
}

/// Around an event's data: the field's name.
const FIELD_BYTES: usize = 16;

impl Events {
    /// Events with `bytes_max` bytes of data at most. `last_id` is that of the connection before.
    pub fn new(bytes_max: usize, last_id: &str) -> Self {
        let last_id = last_id.to_owned();
        let state = State { bytes_max, id: last_id.clone(), last_id, ..State::default() };
        Self { lines: Lines::new(Ends::Either, bytes_max + FIELD_BYTES), state }
    }

    /// Takes a chunk; `each` gets the events that end in it.
    pub fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(Found<'_>)) {
        let state = &mut self.state;
        self.lines.feed(chunk, |piece| match piece {
            Piece::TooLong => state.is_too_long = true,
            Piece::Line(b"") => state.dispatch(&mut each),
            Piece::Line(line) => state.line(line),
        });
    }

    /// The id of the last event that carried one; empty if none did.
    pub fn last_id(&self) -> &str {
        &self.state.last_id
    }

    /// How long the stream wants us to wait before a reconnect.
    pub fn retry(&self) -> Option<Duration> {
        self.state.retry
    }
}

impl State {
    fn line(&mut self, mut line: &[u8]) {
        if !std::mem::replace(&mut self.is_begun, true) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => self.add(value),
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"id" if value.len() <= EVENT_ID_BYTES_MAX && !value.contains(&0) => {
                self.id = String::from_utf8_lossy(value).into_owned();
            }
            b"retry" => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                self.retry = text.parse().map(Duration::from_millis).ok().or(self.retry);
            }
            // A comment (an empty name), or a field of tomorrow.
            _ => {}
        }
    }

    fn add(&mut self, value: &[u8]) {
        if self.data.len() + value.len() >= self.bytes_max {
            self.is_too_long = true;
        }
        if self.is_too_long {
            return;
        }
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
    }

    fn dispatch(&mut self, each: &mut impl FnMut(Found<'_>)) {
        self.is_begun = true;
        self.last_id.clone_from(&self.id);
        if std::mem::take(&mut self.is_too_long) {
            each(Found::TooLong);
        } else if self.has_data {
            each(Found::Event { name: &self.name, data: &self.data });
        }
        self.has_data = false;
        self.data.clear();
        self.name.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &mut Events, text: &str, step: usize) -> Vec<(String, String)> {
        let mut got = Vec::new();
        for chunk in text.as_bytes().chunks(step) {
            events.feed(chunk, |found| match found {
                Found::Event { name, data } => {
                    got.push((name.to_owned(), String::from_utf8(data.to_vec()).unwrap()));
                }
                Found::TooLong => got.push(("too long".into(), String::new())),
            });
        }
        got
    }

    fn pair(name: &str, data: &str) -> (String, String) {
        (name.into(), data.into())
    }

    #[test]
    fn events_are_read_as_the_standard_says_wherever_chunks_are_cut() {
        let text = "\u{feff}:welcome\nevent: update\nid: 41\ndata: {\"a\":\ndata:1}\n\nretry: 1500\r\n\
                    id: 42\rdata\r\r:ping\n\ndata:für\nfuture: x\nretry: soon\n\ndata: unfinished";
        for step in [1, 2, 3, 7, 1_000] {
            let mut events = Events::new(1_000, "");
            let expected = [pair("update", "{\"a\":\n1}"), pair("", ""), pair("", "für")];
            assert_eq!(read(&mut events, text, step), expected, "in steps of {step}");
            assert_eq!(
                (events.last_id(), events.retry()),
                ("42", Some(Duration::from_millis(1_500)))
            );
        }
    }

    #[test]
    fn an_event_beyond_its_bound_costs_itself_alone_and_its_id_counts() {
        let mut events = Events::new(10, "7");
        assert_eq!(events.last_id(), "7");
        let long =
            format!("id:8\ndata:{}\n\ndata:12345\ndata:12345\n\ndata:ok\n\n", "x".repeat(90));
        let expected = [pair("too long", ""), pair("too long", ""), pair("", "ok")];
        assert_eq!(read(&mut events, &long, 9), expected);
        assert_eq!(events.last_id(), "8");
    }
}
