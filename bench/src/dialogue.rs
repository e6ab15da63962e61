//! What a client says to a server until it follows its team, and what it must answer after that.
//!
//! A [`Dialogue`] is data: Touchline's own is made here, another product's comes from its file in
//! `bench/targets`. `{team}` stands for the team's name. Clients are many and the dialogue is one,
//! so a client keeps only how many of its lines it has said.

use serde::{Deserialize, Serialize};

use crate::frames;
use crate::message::Message;
use crate::schedule::{Stream, team_name};

/// The key of every upgrade. It may be constant: nothing between here and the server caches.
const KEY: &str = "dG91Y2hsaW5lLWJlbmNoIQ==";
/// What it is accepted with: base64 of the SHA-1 of it and RFC 6455's GUID.
pub const KEY_ACCEPTED: &str = "5LBPJ+0JuaeekVPfVd/jKm08Ras=";

/// How to become a follower.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialogue {
    /// Path and query of the upgrade.
    pub path: String,
    /// What is offered as `Sec-WebSocket-Protocol`; empty: nothing.
    #[serde(default)]
    pub subprotocol: String,
    /// Text messages after the 101, in order.
    #[serde(default)]
    pub send: Vec<Line>,
    /// Stands in the message that says that the subscription holds. Without it the 101 says so.
    #[serde(default)]
    pub subscribed: Option<String>,
    /// An application's own heartbeat.
    #[serde(default)]
    pub pong: Option<Pong>,
    /// Whether one message may carry several events.
    #[serde(default)]
    pub joins: bool,
    /// How events are found in messages.
    #[serde(default)]
    pub message: Message,
    /// How a client that lost its connection asks for what it has missed. Without it, it follows
    /// anew and misses that.
    #[serde(default)]
    pub resume: Option<Resume>,
}

/// How to go on where a connection was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Appended to the path, with `{mark}` in it: the last mark that the server gave.
    pub mark: String,
    /// Appended after that if events have come, with `{position}` in it: that of the last.
    pub position: String,
    /// Stands before a mark in the server's messages; the mark goes on to the next quote.
    pub mark_after: String,
    /// Stands before a position in an event, likewise.
    pub position_after: String,
    /// Stands in the message that says that not everything could be had again, where a server says
    /// no more than that: it excuses whatever is missing.
    #[serde(default)]
    pub incomplete: Option<String>,
}

impl Resume {
    /// The mark in `message`, if it gives one.
    pub fn mark<'m>(&self, message: &'m [u8]) -> Option<&'m [u8]> {
        quoted(message, &self.mark_after)
    }

    /// The position in `event`.
    pub fn position<'m>(&self, event: &'m [u8]) -> Option<&'m [u8]> {
        quoted(event, &self.position_after)
    }
}

/// What follows `before` in `message`, to the next quote.
pub fn quoted<'m>(message: &'m [u8], before: &str) -> Option<&'m [u8]> {
    let at = message.windows(before.len()).position(|part| part == before.as_bytes())?;
    let rest = &message[at + before.len()..];
    rest.iter().position(|byte| *byte == b'"').map(|end| &rest[..end])
}

/// A message of the client's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// Sent as soon as those before it are.
    Now(String),
    /// Sent once the server has said something.
    After {
        /// What is sent.
        text: String,
        /// Stands in the message that it waits for.
        after: String,
    },
}

/// What a client that can resume keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The last mark.
    pub mark: String,
    /// The position of the last event; empty if there was none.
    pub position: String,
}

impl Known {
    /// The server gave a mark. The position stays: a mark given to a session that lags may lie
    /// below what it was sent.
    pub fn note_mark(&mut self, mark: &[u8]) {
        replace(&mut self.mark, mark);
    }

    /// An event came.
    pub fn note_position(&mut self, position: &[u8]) {
        replace(&mut self.position, position);
    }
}

fn replace(text: &mut String, with: &[u8]) {
    text.clear();
    text.push_str(&String::from_utf8_lossy(with));
}

/// What is answered to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The server's whole message.
    pub when: String,
    /// The answer.
    pub text: String,
}

impl Dialogue {
    /// Touchline's, for followers of `streams`: everything stands in the URL. Those of anything but
    /// broadcast alone don't come back: a client keeps one position, of one topic.
    pub fn touchline(streams: &[Stream]) -> Self {
        let names: Vec<&str> = streams.iter().map(|stream| stream.as_str()).collect();
        let is_one = streams == [Stream::Broadcast];
        Self {
            path: format!("/v1/stream?teams={{team}}&streams={}", names.join(",")),
            subscribed: Some(r#""op":"subscribed""#.into()),
            resume: is_one.then(|| Resume {
                mark: "&mark={mark}".into(),
                position: "&after=broadcast:{team}~{position}".into(),
                mark_after: r#""mark":""#.into(),
                position_after: r#""pos":""#.into(),
                // Of ours a `gap` must say what is missing (R9): this alone excuses nothing.
                incomplete: None,
            }),
            ..Self::default()
        }
    }

    /// The upgrade of a follower of `team`.
    ///
    /// `known` are the last mark and the last position since then of a client that comes back.
    pub fn request(&self, host: &str, team: u32, known: Option<&Known>) -> Vec<u8> {
        let mut path = self.path.clone();
        if let (Some(resume), Some(known)) = (&self.resume, known) {
            path += &resume.mark.replace("{mark}", &known.mark);
            if !known.position.is_empty() {
                path += &resume.position.replace("{position}", &known.position);
            }
        }
        let path = path.replace("{team}", &team_name(team));
        let offer = match self.subprotocol.as_str() {
            "" => String::new(),
            name => format!("Sec-WebSocket-Protocol: {name}\r\n"),
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{offer}\
             Sec-WebSocket-Key: {KEY}\r\n\r\n"
        )
        .into_bytes()
    }

    /// Frames of the lines that are due when `said` have been said and `heard` has just come
    /// (`None`: the 101); counts them.
    pub fn due(&self, said: &mut u8, heard: Option<&[u8]>, team: u32) -> Vec<u8> {
        let mut frames = Vec::new();
        let mut heard = heard;
        while let Some(line) = self.send.get(usize::from(*said)) {
            let text = match line {
                Line::Now(text) => text,
                Line::After { text, after } => {
                    // One message of the server's sets one line free.
                    match heard.take() {
                        Some(message) if frames::holds(message, after) => text,
                        _ => break,
                    }
                }
            };
            frames.extend(frames::text(text.replace("{team}", &team_name(team)).as_bytes()));
            *said += 1;
        }
        frames
    }

    /// Whether `message` says that the subscription holds.
    pub fn is_subscribed_by(&self, message: &[u8]) -> bool {
        self.subscribed.as_ref().is_some_and(|wanted| frames::holds(message, wanted))
    }

    /// The frame with which `message` is to be answered, if it is a heartbeat.
    pub fn pong(&self, message: &[u8]) -> Option<Vec<u8>> {
        let pong = self.pong.as_ref().filter(|pong| pong.when.as_bytes() == message)?;
        Some(frames::text(pong.text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_said_in_turn_and_some_wait_for_an_answer() {
        let after =
            |text: &str, after: &str| Line::After { text: text.into(), after: after.into() };
        let now = |text: &str| Line::Now(text.into());
        let send =
            vec![now("hello"), after("join {team}", "welcome"), now("ready"), after("x", "y")];
        let dialogue = Dialogue { send, ..Dialogue::default() };
        let mut said = 0;
        assert_eq!(dialogue.due(&mut said, None, 7), frames::text(b"hello"));
        assert_eq!(dialogue.due(&mut said, Some(b"not yet"), 7), b"");
        let both = [frames::text(b"join t007"), frames::text(b"ready")].concat();
        assert_eq!(dialogue.due(&mut said, Some(b"you are welcome"), 7), both);
        assert_eq!(said, 3);
    }

    #[test]
    fn a_heartbeat_is_answered_and_nothing_else() {
        let pong = Some(Pong { when: "2".into(), text: "3".into() });
        let dialogue = Dialogue { pong, ..Dialogue::touchline(&[Stream::Broadcast]) };
        assert_eq!(dialogue.pong(b"2"), Some(frames::text(b"3")));
        assert_eq!(dialogue.pong(b"22"), None);
        assert!(dialogue.is_subscribed_by(br#"{"op":"subscribed","id":1}"#));
    }

    #[test]
    fn the_upgrade_names_the_team_and_the_subprotocol() {
        let dialogue =
            Dialogue { subprotocol: "x-json".into(), ..Dialogue::touchline(&[Stream::Broadcast]) };
        let head = String::from_utf8(dialogue.request("h:1", 12, None)).unwrap();
        assert!(
            head.starts_with("GET /v1/stream?teams=t012&streams=broadcast HTTP/1.1\r\nHost: h:1")
        );
        assert!(head.contains("\r\nSec-WebSocket-Protocol: x-json\r\n"), "{head}");
    }

    #[test]
    fn whoever_comes_back_says_how_far_it_was() {
        let dialogue = Dialogue::touchline(&[Stream::Broadcast]);
        let resume = dialogue.resume.clone().unwrap();
        let mut known = Known::default();
        known.note_mark(resume.mark(br#"{"op":"mark","mark":"m1"}"#).unwrap());
        let path = |known: &Known| {
            let head = String::from_utf8(dialogue.request("h", 7, Some(known))).unwrap();
            head.split(' ').nth(1).unwrap().to_owned()
        };
        assert!(path(&known).ends_with("&streams=broadcast&mark=m1"), "{}", path(&known));
        known.note_position(resume.position(br#"{"op":"event","pos":"p9","x":1}"#).unwrap());
        assert!(path(&known).ends_with("&mark=m1&after=broadcast:t007~p9"));
        known.note_mark(b"m2");
        assert!(path(&known).ends_with("&mark=m2&after=broadcast:t007~p9"));
        assert_eq!(resume.position(br#"{"op":"event","pos":"p9"#), None, "cut");
    }
}
