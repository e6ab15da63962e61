//! A letter as it is kept, and what letters are looked for by.

use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use touchline_core::dead::Desk;
use touchline_core::event::Stream;
use touchline_core::time::Timestamp;

use crate::limits::DEAD_HISTORY_MAX;

/// What has become of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for somebody.
    Parked,
    /// It is being replayed; or it was, and nobody knows what came of it.
    Replaying,
    /// What it holds has gone its way.
    Replayed,
}

impl State {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Parked, "parked"), (Self::Replaying, "replaying"), (Self::Replayed, "replayed")];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
    }
}

/// One thing that happened to a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When, in microseconds since 1970.
    pub at: i64,
    /// What.
    pub what: String,
}

/// A letter that is kept, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Names it: a UUIDv7.
    pub id: String,
    /// Where it was given up on.
    pub desk: Desk,
    /// The stream it was meant for.
    pub stream: Stream,
    /// Who sent it.
    pub source: String,
    /// Why, as a word.
    pub reason: String,
    /// Why, for people.
    pub detail: String,
    /// How often it was tried, replays that it failed at by its own fault included.
    pub attempts: u32,
    /// How often the same letter came.
    pub times: u64,
    /// The id that follows it through answers and log lines.
    pub correlation: String,
    /// When it first came.
    pub received_at: Timestamp,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// When the same letter came last.
    pub last_at: Timestamp,
    /// What has become of it.
    pub state: State,
    /// Since when.
    pub state_at: Timestamp,
    /// What happened to it, oldest first.
    pub history: Vec<Step>,
    /// The length of what came.
    pub raw_bytes: u64,
    /// How much of that is kept.
    pub kept_bytes: u64,
}

impl Letter {
    /// Whether some of it is missing: then it can be looked at, but not replayed.
    pub fn is_cut(&self) -> bool {
        self.kept_bytes < self.raw_bytes
    }

    /// Adds to its history. The first step stays, of those between the oldest go.
    pub(super) fn note(&mut self, at: Timestamp, what: &str) {
        if self.history.len() >= DEAD_HISTORY_MAX {
            self.history.remove(1);
        }
        self.history.push(Step { at: at.0, what: what.to_owned() });
    }

    /// Reads the columns that `columns!` names.
    pub(super) fn read(row: &SqliteRow) -> sqlx::Result<Self> {
        let text = |column: &str| row.try_get::<String, _>(column);
        let time = |column: &str| row.try_get::<i64, _>(column).map(Timestamp);
        let count = |column: &str| {
            row.try_get::<i64, _>(column).map(|count| u64::try_from(count).unwrap_or(0))
        };
        let (desk, stream, state) = (text("desk")?, text("stream")?, text("state")?);
        let history = text("history")?;
        Ok(Self {
            id: text("id")?,
            desk: Desk::parse(&desk).ok_or_else(|| unknown("desk", &desk))?,
            stream: Stream::parse(&stream).ok_or_else(|| unknown("stream", &stream))?,
            source: text("source")?,
            reason: text("reason")?,
            detail: text("detail")?,
            attempts: u32::try_from(count("attempts")?).unwrap_or(u32::MAX),
            times: count("times")?,
            correlation: text("correlation")?,
            received_at: time("received_at")?,
            parked_at: time("parked_at")?,
            last_at: time("last_at")?,
            state: State::parse(&state).ok_or_else(|| unknown("state", &state))?,
            state_at: time("state_at")?,
            history: serde_json::from_str(&history)
                .map_err(|error| sqlx::Error::Decode(error.into()))?,
            raw_bytes: count("raw_bytes")?,
            kept_bytes: count("kept_bytes")?,
        })
    }
}

fn unknown(column: &str, value: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("no {column} is called {value:?}").into())
}

/// Which letters are meant. What isn't said, any letter meets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Given up on there.
    pub desk: Option<Desk>,
    /// Meant for that stream.
    pub stream: Option<Stream>,
    /// Sent by that source.
    pub source: Option<String>,
    /// For that reason.
    pub reason: Option<String>,
    /// In that state.
    pub state: Option<State>,
    /// Parked then or later.
    pub since: Option<Timestamp>,
    /// Parked earlier.
    pub before: Option<Timestamp>,
    /// After the letter of that id, in the order of their ids.
    pub after: Option<String>,
}

impl Filter {
    /// Whether `letter` meets it.
    pub fn meets(&self, letter: &Letter) -> bool {
        self.desk.is_none_or(|it| it == letter.desk)
            && self.stream.is_none_or(|it| it == letter.stream)
            && self.source.as_ref().is_none_or(|it| *it == letter.source)
            && self.reason.as_ref().is_none_or(|it| *it == letter.reason)
            && self.state.is_none_or(|it| it == letter.state)
            && self.since.is_none_or(|it| letter.parked_at >= it)
            && self.before.is_none_or(|it| letter.parked_at < it)
            && self.after.as_ref().is_none_or(|it| letter.id > *it)
    }

    /// Whether any letter meets it.
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_in_the_order_of_their_numbers_and_found_by_name() {
        for (n, (state, name)) in State::ALL.into_iter().enumerate() {
            assert_eq!((state as usize, State::parse(name)), (n, Some(state)));
        }
    }
}
