//! What a client says and what it hears, version 1 (DESIGN section 5).
//!
//! [`request`] turns a client's JSON or its URL into [`ClientMessage`]; [`answer`] writes the
//! server's frames. Both are strict about what they let in and exact about what they send out: an
//! unknown field is an error with a stable [`ErrorCode`], never ignored, so that a typo can't look
//! like a subscription.

pub mod answer;
pub mod request;

use crate::event::{Lang, StreamSet, Team, Topic};
use crate::log::{Epoch, Mark, Position};

/// The subprotocol a client may offer.
pub const SUBPROTOCOL: &str = "touchline.v1";

/// A client's number for its request; echoed in the answer.
pub type RequestId = u64;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// Follow teams.
    Subscribe(Subscribe),
    /// Stop following teams.
    Unsubscribe {
        /// Echoed.
        id: Option<RequestId>,
        /// Teams no longer wanted.
        teams: Vec<Team>,
    },
    /// A new access token; answered by an error of its own until there are tokens.
    Auth {
        /// Echoed.
        id: Option<RequestId>,
    },
    /// Answered by `pong`.
    Ping {
        /// Echoed.
        id: Option<RequestId>,
    },
}

/// Follow `teams` in `streams`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Subscribe {
    /// Echoed; `None` when it came in the URL.
    pub id: Option<RequestId>,
    /// At least one.
    pub teams: Vec<Team>,
    /// [`StreamSet::DEFAULT`] when the client names none.
    pub streams: StreamSet,
    /// Language of translated updates. One for the session: the first subscribe that names one
    /// fixes it.
    pub lang: Option<Lang>,
    /// Where to go on; counts in a connection's first subscribe only (R5).
    pub resume: Option<Resume>,
}

/// What a client has: the last mark it was given, and the last position of each topic it had events
/// of since.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Resume {
    /// The last mark. `None`: only `after` counts, and other topics start at the head.
    pub mark: Option<Mark>,
    /// Last positions, each topic once.
    pub after: Vec<(Topic, Epoch, Position)>,
}

/// Stable codes of `error` frames. Documented in `docs/protocol.md`, which is generated from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Not JSON, or not one JSON object.
    BadJson,
    /// `op` is missing or unknown.
    UnknownOp,
    /// A field this op doesn't have.
    UnknownField,
    /// A field's value is missing or out of its grammar.
    BadField,
    /// More teams than a session may follow.
    TooManyTeams,
    /// A session has one language, and this is another.
    LangFixed,
    /// A team is followed in as many languages as it may be.
    TooManyLangs,
    /// `mark` or `after` in a later subscribe (R5).
    ResumeTooLate,
    /// A token that this server didn't write.
    BadToken,
    /// This server has no access tokens.
    AuthUnavailable,
    /// More messages than a session may send.
    TooManyMessages,
}

impl ErrorCode {
    /// All of them, with what they mean: the table of `docs/protocol.md`.
    pub const ALL: [(Self, &'static str, &'static str); 11] = [
        (Self::BadJson, "bad_json", "The message is not one JSON object."),
        (
            Self::UnknownOp,
            "unknown_op",
            "`op` is missing or none of subscribe, unsubscribe, auth, ping.",
        ),
        (Self::UnknownField, "unknown_field", "The message has a field that its op doesn't know."),
        (Self::BadField, "bad_field", "A field is missing or its value is out of its grammar."),
        (
            Self::TooManyTeams,
            "too_many_teams",
            "The session would follow more teams than it may; nothing changed.",
        ),
        (
            Self::LangFixed,
            "lang_fixed",
            "The session already has another language; reconnect to change it.",
        ),
        (
            Self::TooManyLangs,
            "too_many_langs",
            "A team is followed in as many languages as it may be; leave `lang` out, or try later.",
        ),
        (
            Self::ResumeTooLate,
            "resume_too_late",
            "`mark` and `after` count in the first subscribe only.",
        ),
        (Self::BadToken, "bad_token", "`mark` or `after` holds a token that no Touchline wrote."),
        (Self::AuthUnavailable, "auth_unavailable", "This server doesn't use access tokens."),
        (
            Self::TooManyMessages,
            "too_many_messages",
            "More messages than a session may send; wait `retry_after_ms`.",
        ),
    ];

    /// The code as it stands in frames.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(code, ..)| *code == self).map_or("internal", |(_, text, _)| text)
    }
}

/// A client message that can't be carried out. The session lives on (FAULTS 25 bounds how often).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    /// Of the request, where it could be read.
    pub id: Option<RequestId>,
    /// What kind.
    pub code: ErrorCode,
    /// What to do about it, for a person.
    pub message: String,
}
