//! What a follower has, and what it must say to go on: the client's half of R4, R9 and R10.
//!
//! A [`Book`] keeps the last mark and, since then, the last position of each topic. It also watches
//! the server: an event at or below what it has is a duplicate, and, because the events of a match
//! are numbered, so is a number that has come before; one that is skipped without a `gap` is
//! missing until it comes ([`Rows`]). Posts are numbered as well; those that are skipped were left
//! out before they were taken, as posts may be. A real client needs the first half only.

use std::collections::HashMap;

use serde::Deserialize;
use touchline_core::event::Stream;
use touchline_core::log::{Epoch, Position, token};

use super::numbers::Rows;
use crate::demo::day::split_event_id;
use crate::limits::demo::{HEARTBEAT_S_MAX, TOPICS_MAX};

/// A message of the server, as far as a follower reads it.
#[derive(Deserialize)]
struct Message<'a> {
    op: &'a str,
    topic: Option<&'a str>,
    pos: Option<&'a str>,
    id: Option<serde_json::Value>,
    mark: Option<&'a str>,
    recovered: Option<bool>,
    to: Option<&'a str>,
    heartbeat_s: Option<u64>,
    after_ms: Option<u64>,
    code: Option<&'a str>,
}

/// What a message meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// An event, for the first time.
    Event {
        /// Its id.
        id: String,
        /// How it came in, by its topic.
        stream: Option<Stream>,
        /// By how many more of its match, or posts of its topic, are missing now; less than none
        /// where it is one that was.
        missing: i64,
    },
    /// An event it has already.
    Duplicate,
    /// A hole the server told of.
    Gap,
    /// The line lives.
    Heartbeat {
        /// Seconds between marks, where it was told.
        every_s: Option<u64>,
    },
    /// It is followed now; `true` if nothing was missed.
    Subscribed(bool),
    /// Come back after so many milliseconds.
    Reconnect(u64),
    /// The server refused something: its code.
    Error(String),
    /// Nothing a follower minds.
    Other,
}

/// The last of one topic.
#[derive(Debug, Default)]
struct Last {
    /// Since the last mark; `None` when the mark covers it.
    after: Option<String>,
    position: Option<(Epoch, Position)>,
    /// Of its matches, or of its posts.
    rows: Rows,
}

/// What a follower has.
#[derive(Debug, Default)]
pub(crate) struct Book {
    mark: Option<String>,
    topics: HashMap<String, Last>,
    /// Whether there was a gap, or there were more topics than are kept: from then on it can't tell
    /// whether what came first of a match was all there was.
    has_forgotten: bool,
}

impl Book {
    /// What follows `teams=...` in the URL, to go on where it was.
    pub(crate) fn query(&self) -> String {
        let mut query = String::new();
        if let Some(mark) = &self.mark {
            query = format!("&mark={mark}");
        }
        let after =
            |(topic, last): (&String, &Last)| Some(format!("{topic}~{}", last.after.as_ref()?));
        let after: Vec<String> = self.topics.iter().filter_map(after).collect();
        if !after.is_empty() {
            query.push_str("&after=");
            query.push_str(&after.join(","));
        }
        query
    }

    /// Of the events of `game` up to `last`, those that should have come, haven't and are no holes.
    /// `first`: who follows from before the first one on should have that and what follows.
    pub(crate) fn owed(&self, game: &str, first: Option<u64>, last: u64) -> u64 {
        let first = first.filter(|_| !self.has_forgotten);
        match self.topics.values().find_map(|topic| topic.rows.row(game)) {
            Some(row) => row.owed(first, last),
            None => first.map_or(0, |first| (last + 1).saturating_sub(first)),
        }
    }

    /// Reads a message and writes down what it changes. `None`: it is none of this protocol.
    pub(crate) fn handle(&mut self, text: &[u8]) -> Option<Meaning> {
        let message: Message<'_> = serde_json::from_slice(text).ok()?;
        Some(match message.op {
            "event" => self.event(&message)?,
            "gap" => self.gap(&message)?,
            "mark" => {
                self.set_mark(message.mark?);
                Meaning::Heartbeat { every_s: None }
            }
            "subscribed" => {
                // On resume it is our own mark again (R3), so positions since then still count.
                self.mark = Some(message.mark?.to_owned());
                Meaning::Subscribed(message.recovered != Some(false))
            }
            "hello" => {
                Meaning::Heartbeat { every_s: message.heartbeat_s.map(|s| s.min(HEARTBEAT_S_MAX)) }
            }
            "reconnect" => Meaning::Reconnect(message.after_ms?),
            "error" => Meaning::Error(message.code?.to_owned()),
            _ => Meaning::Other,
        })
    }

    fn event(&mut self, message: &Message<'_>) -> Option<Meaning> {
        let (topic, pos) = (message.topic?, message.pos?);
        let id = message.id.as_ref()?.as_str()?;
        let position = token::decode_position(pos).ok()?;
        if !self.topics.contains_key(topic) && self.topics.len() == TOPICS_MAX {
            // Those the mark covers aren't needed to go on.
            self.topics.retain(|_, last| last.after.is_some());
            self.has_forgotten = true;
        }
        let last = self.topics.entry(topic.to_owned()).or_default();
        if let Some((epoch, before)) = last.position
            && epoch == position.0
            && position.1 <= before
        {
            return Some(Meaning::Duplicate);
        }
        last.position = Some(position);
        last.after = Some(pos.to_owned());
        let stream = topic.split(':').next().and_then(Stream::parse);
        let is_numbered = matches!(stream, Some(Stream::Broadcast | Stream::Social));
        let missing = match split_event_id(id).filter(|_| is_numbered) {
            Some((row, number)) => last.rows.take(row, number),
            None => Some(0),
        };
        let event = |missing| Meaning::Event { id: id.to_owned(), stream, missing };
        Some(missing.map_or(Meaning::Duplicate, event))
    }

    fn gap(&mut self, message: &Message<'_>) -> Option<Meaning> {
        let to = message.to?;
        self.has_forgotten = true;
        match message.topic {
            Some(topic) => {
                let position = token::decode_position(to).ok()?;
                let last = self.topics.entry(topic.to_owned()).or_default();
                last.position =
                    last.position.filter(|before| before.1 > position.1).or(Some(position));
                last.after = Some(to.to_owned());
                last.rows.cut();
            }
            None => {
                self.set_mark(to);
                self.topics.values_mut().for_each(|last| last.rows.cut());
            }
        }
        Some(Meaning::Gap)
    }

    /// All it follows is complete below `mark`: single positions aren't needed any more.
    fn set_mark(&mut self, mark: &str) {
        self.mark = Some(mark.to_owned());
        if self.topics.len() == TOPICS_MAX {
            self.topics.clear();
            self.has_forgotten = true;
        }
        self.topics.values_mut().for_each(|last| last.after = None);
    }
}

#[cfg(test)]
mod tests {
    use touchline_core::log::{Lane, Mark};

    use super::*;

    fn pos(seq: u64) -> String {
        token::encode_position(Epoch(7), Position { lane: Lane(0), seq })
    }

    fn mark(seq: u64) -> String {
        token::encode_mark(&Mark { epoch: Epoch(7), next: [seq].into() })
    }

    fn event(topic: &str, seq: u64, id: &str) -> String {
        format!(
            r#"{{"op":"event","topic":"{topic}","pos":"{}","id":"{id}","data":{{}}}}"#,
            pos(seq)
        )
    }

    fn handle(book: &mut Book, text: &str) -> Meaning {
        book.handle(text.as_bytes()).unwrap()
    }

    #[test]
    fn it_resumes_with_the_last_mark_and_what_came_since() {
        let mut book = Book::default();
        assert_eq!(book.query(), "");
        handle(&mut book, &format!(r#"{{"op":"subscribed","teams":["a"],"mark":"{}"}}"#, mark(3)));
        handle(&mut book, &event("broadcast:a+b", 4, "d.a-b.1"));
        handle(&mut book, &event("broadcast:a+b", 9, "d.a-b.2"));
        assert_eq!(book.query(), format!("&mark={}&after=broadcast:a+b~{}", mark(3), pos(9)));
        handle(&mut book, &format!(r#"{{"op":"mark","mark":"{}"}}"#, mark(12)));
        assert_eq!(book.query(), format!("&mark={}", mark(12)));
        let again = handle(&mut book, &event("broadcast:a+b", 9, "d.a-b.2"));
        assert_eq!(again, Meaning::Duplicate, "also after a mark");
    }

    #[test]
    fn a_number_that_is_skipped_is_missing_unless_a_gap_said_so() {
        let mut book = Book::default();
        let missing = |meaning| match meaning {
            Meaning::Event { missing, .. } => missing,
            other => panic!("{other:?}"),
        };
        let topic = "broadcast:a+b";
        assert_eq!(missing(handle(&mut book, &event(topic, 4, "d.a-b.3"))), 0, "it came late");
        assert_eq!(missing(handle(&mut book, &event(topic, 5, "d.a-b.4"))), 0);
        assert_eq!(missing(handle(&mut book, &event(topic, 6, "d.a-b.7"))), 2);
        assert_eq!((book.owed("d.a-b", Some(1), 8), book.owed("d.a-b", None, 8)), (3, 1));
        assert_eq!((book.owed("d.c-d", Some(1), 8), book.owed("d.c-d", None, 8)), (8, 0));
        let gap = format!(
            r#"{{"op":"gap","topic":"{topic}","from":"{}","to":"{}","reason":"slow"}}"#,
            pos(7),
            pos(20)
        );
        assert_eq!(handle(&mut book, &gap), Meaning::Gap);
        assert_eq!(book.query(), format!("&after={topic}~{}", pos(20)));
        assert_eq!(missing(handle(&mut book, &event(topic, 21, "d.a-b.19"))), 0);
        assert_eq!(handle(&mut book, &event(topic, 20, "d.a-b.18")), Meaning::Duplicate);
        assert_eq!(missing(handle(&mut book, &event(topic, 30, "e.a-b.1"))), 0, "a new day");
        let all = format!(
            r#"{{"op":"gap","teams":["a"],"streams":["broadcast"],"from":"{}","to":"{}","reason":"retention"}}"#,
            mark(30),
            mark(40)
        );
        assert_eq!(handle(&mut book, &all), Meaning::Gap);
        assert_eq!(book.query(), format!("&mark={}", mark(40)));
        assert_eq!(missing(handle(&mut book, &event(topic, 41, "e.a-b.9"))), 0);
    }

    #[test]
    fn what_other_nodes_hand_on_late_is_not_missing_and_what_is_shown_twice_is_told() {
        let mut book = Book::default();
        let topic = "broadcast:a+b";
        // While brokers were away one node took 2 and 4, another 3; that one was first.
        let numbers = [1, 3, 2, 4, 5];
        let counts = numbers.iter().zip(10..).map(|(number, seq)| {
            match handle(&mut book, &event(topic, seq, &format!("d.a-b.{number}"))) {
                Meaning::Event { missing, .. } => missing,
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(counts.collect::<Vec<_>>(), [0, 1, -1, 0, 0]);
        assert_eq!(book.owed("d.a-b", Some(1), 5), 0);
        let again = handle(&mut book, &event(topic, 20, "d.a-b.3"));
        assert_eq!(again, Meaning::Duplicate, "at another position as well");
        let value = handle(&mut book, &event("sensor:a+b", 21, "a-b/wind.9"));
        assert!(matches!(value, Meaning::Event { missing: 0, .. }), "{value:?}");
    }

    #[test]
    fn the_rest_of_the_protocol_is_understood() {
        let mut book = Book::default();
        let cases = [
            (r#"{"op":"hello","heartbeat_s":25}"#, Meaning::Heartbeat { every_s: Some(25) }),
            (r#"{"op":"reconnect","after_ms":812,"reason":"drain"}"#, Meaning::Reconnect(812)),
            (r#"{"op":"error","code":"bad_token"}"#, Meaning::Error("bad_token".into())),
            (r#"{"op":"pong","id":4}"#, Meaning::Other),
            (r#"{"op":"status","state":"live"}"#, Meaning::Other),
        ];
        for (text, meaning) in cases {
            assert_eq!(handle(&mut book, text), meaning, "{text}");
        }
        for bad in ["", "{}", "[]", r#"{"op":"event"}"#, r#"{"op":"mark"}"#] {
            assert_eq!(book.handle(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn topics_are_bounded() {
        let mut book = Book::default();
        for n in 0..1_000 {
            handle(&mut book, &event(&format!("broadcast:a+t{n}"), n, "x.1"));
            if n % 10 == 0 {
                handle(&mut book, &format!(r#"{{"op":"mark","mark":"{}"}}"#, mark(n + 1)));
            }
        }
        assert!(book.topics.len() <= TOPICS_MAX, "{}", book.topics.len());
        assert!(book.query().len() < 3_500);
    }
}
