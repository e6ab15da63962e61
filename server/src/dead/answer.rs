//! What is asked of a replay, and what it answers.

use serde::{Deserialize, Serialize};
use touchline_store::dead::{DeadError, Filter};

/// What came of one letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Something of it is new, and durable.
    Accepted,
    /// All of it was taken before.
    Duplicate,
    /// It is too old to be shown.
    TooOld,
    /// It was not taken.
    Refused,
}

impl Outcome {
    /// As JSON names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::TooOld => "too_old",
            Self::Refused => "refused",
        }
    }
}

/// The answer for one letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which.
    pub id: String,
    /// What came of it.
    pub result: Outcome,
    /// In words.
    pub detail: String,
}

/// What a run of replays has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// One for each letter that was looked at, in order.
    pub results: Vec<Answer>,
    /// Go on after this letter: there may be more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
    /// Why it stopped early: no letter's fault.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stopped: Option<String>,
}

/// How letters are to be replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Also those that were replayed before.
    pub again: bool,
    /// Also where the log can't tell any more whether it was taken by another way.
    pub late: bool,
    /// What an earlier life of this node has left half done.
    pub(super) was_left: bool,
}

impl Ask {
    /// As somebody asks.
    pub fn new(again: bool, late: bool) -> Self {
        Self { again, late, was_left: false }
    }
}

/// Which letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// These.
    Ids(Vec<String>),
    /// Those, the oldest first.
    Meeting(Filter),
}

/// Why a run can't begin, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// One at a time.
    #[error("another replay is under way: wait for it")]
    UnderWay,
    /// The file.
    #[error("{0}")]
    Store(#[from] DeadError),
}
