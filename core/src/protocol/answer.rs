//! The server's frames, other than events. Each function returns one complete, unmasked WebSocket
//! frame.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{ErrorCode, RequestId};
use crate::event::{Stream, StreamSet, Team, Topic};
use crate::frame::text_frame;
use crate::log::{Epoch, HoleReason, Mark, Position, token};

/// What `hello` tells a client about its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HelloLimits {
    /// Teams a session may follow.
    pub teams: usize,
    /// Bytes of a message.
    pub message_bytes: usize,
    /// Messages a second, over a while.
    pub messages_per_s: u32,
}

/// The first frame of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hello<'a> {
    /// Names the session in logs and `/sessions/slow`.
    pub session: &'a str,
    /// Names the node.
    pub node: &'a str,
    /// `mark` comes this often.
    pub heartbeat_s: u64,
    /// The client's bounds.
    pub limits: &'a HelloLimits,
    /// Streams whose source is ailing, if any: `degraded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'a str>,
}

/// `{"op":"hello",...}`
pub fn hello(hello: &Hello<'_>) -> Bytes {
    json_frame("hello", hello)
}

/// `{"op":"subscribed",...}`. `snapshot` are JSON texts of sensor events, ascending by position.
pub fn subscribed(
    id: Option<RequestId>,
    teams: &[Team],
    mark: &Mark,
    recovered: Option<bool>,
    snapshot: &[&[u8]],
) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        teams: Vec<&'a str>,
        mark: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        snapshot: Vec<&'a RawValue>,
    }
    let snapshot = snapshot.iter().filter_map(|json| serde_json::from_slice(json).ok()).collect();
    let teams = teams.iter().map(Team::as_str).collect();
    json_frame(
        "subscribed",
        &Body { id, teams, mark: token::encode_mark(mark), recovered, snapshot },
    )
}

/// `{"op":"unsubscribed",...}`
pub fn unsubscribed(id: Option<RequestId>, teams: &[Team]) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        teams: Vec<&'a str>,
    }
    json_frame("unsubscribed", &Body { id, teams: teams.iter().map(Team::as_str).collect() })
}

/// `{"op":"mark",...}`: everything the session follows is complete below it (R3).
pub fn mark(mark: &Mark) -> Bytes {
    #[derive(Serialize)]
    struct Body {
        mark: String,
    }
    json_frame("mark", &Body { mark: token::encode_mark(mark) })
}

/// `{"op":"gap","topic":...}`: `from` and `to` are the first and last position that may be missing
/// (R9).
pub fn gap_topic(
    topic: &Topic,
    epoch: Epoch,
    from: Position,
    to: Position,
    reason: HoleReason,
) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        topic: String,
        from: String,
        to: String,
        reason: &'a str,
    }
    let [from, to] = [from, to].map(|position| token::encode_position(epoch, position));
    json_frame("gap", &Body { topic: topic.to_string(), from, to, reason: reason.as_str() })
}

/// `{"op":"gap","teams":[...],"streams":[...]}`: where nobody can name the topics.
pub fn gap_teams(
    teams: &[Team],
    streams: StreamSet,
    from: &Mark,
    to: &Mark,
    reason: HoleReason,
) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        teams: Vec<&'a str>,
        streams: Vec<&'a str>,
        from: String,
        to: String,
        reason: &'a str,
    }
    let body = Body {
        teams: teams.iter().map(Team::as_str).collect(),
        streams: streams.iter().map(Stream::as_str).collect(),
        from: token::encode_mark(from),
        to: token::encode_mark(to),
        reason: reason.as_str(),
    };
    json_frame("gap", &body)
}

/// `{"op":"error",...}`
pub fn error(id: Option<RequestId>, code: ErrorCode, message: &str, retry_after_ms: u64) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        code: &'a str,
        message: &'a str,
        retry_after_ms: u64,
    }
    json_frame("error", &Body { id, code: code.as_str(), message, retry_after_ms })
}

/// `{"op":"status",...}`
pub fn status(state: &str, streams: StreamSet) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        state: &'a str,
        streams: Vec<&'a str>,
    }
    json_frame("status", &Body { state, streams: streams.iter().map(Stream::as_str).collect() })
}

/// `{"op":"reconnect",...}`: come back after that time; close 1012 follows.
pub fn reconnect(after_ms: u64, reason: &str) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        after_ms: u64,
        reason: &'a str,
    }
    json_frame("reconnect", &Body { after_ms, reason })
}

/// `{"op":"pong",...}`
pub fn pong(id: Option<RequestId>) -> Bytes {
    #[derive(Serialize)]
    struct Body {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
    }
    json_frame("pong", &Body { id })
}

fn json_frame<T: Serialize>(op: &'static str, body: &T) -> Bytes {
    #[derive(Serialize)]
    struct Tagged<'a, T> {
        op: &'static str,
        #[serde(flatten)]
        body: &'a T,
    }
    // Strings, numbers and validated JSON: nothing in these bodies can fail to serialize.
    text_frame(&serde_json::to_vec(&Tagged { op, body }).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::payload;

    fn text(frame: &Bytes) -> &str {
        std::str::from_utf8(payload(frame)).unwrap()
    }

    #[test]
    fn answers_look_as_the_design_says() {
        let team = Team::new("ars").unwrap();
        let at = Mark { epoch: Epoch(1), next: [3].into() };
        let token = token::encode_mark(&at);
        let got = subscribed(
            Some(1),
            std::slice::from_ref(&team),
            &at,
            Some(true),
            &[br#"{"op":"event"}"#],
        );
        let want = format!(
            r#"{{"op":"subscribed","id":1,"teams":["ars"],"mark":"{token}","recovered":true,"snapshot":[{{"op":"event"}}]}}"#
        );
        assert_eq!(text(&got), want);
        assert_eq!(text(&pong(None)), r#"{"op":"pong"}"#);
        let got = error(Some(2), ErrorCode::TooManyTeams, "20 at most", 0);
        let want = r#"{"op":"error","id":2,"code":"too_many_teams","message":"20 at most","retry_after_ms":0}"#;
        assert_eq!(text(&got), want);
        let got = gap_teams(
            &[team],
            StreamSet::EMPTY.with(Stream::Social),
            &at,
            &at,
            HoleReason::Retention,
        );
        assert!(
            text(&got).starts_with(r#"{"op":"gap","teams":["ars"],"streams":["social"],"from":""#)
        );
    }
}
