//! The log as `GET /v1/live` tells of it: whether it takes events, and what waits in its spool.

use std::time::Duration;

use serde::Serialize;

/// What becomes of an event that a partner sends now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogState {
    /// It is taken and shown.
    #[default]
    Open,
    /// Brokers are away: it is taken into this node's spool, and nothing new is shown.
    Spooling,
    /// Brokers are back: what waited in the spool goes first.
    HandingOn,
    /// It is refused for now.
    Closed,
}

/// What is known of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFigures {
    /// How it does.
    pub state: LogState,
    /// Events that wait in the spool.
    pub waiting: u64,
    /// Age of the oldest of them.
    pub oldest: Duration,
    /// Events that the spool has handed on since the start.
    pub handed_on: u64,
}

impl LogFigures {
    /// Of a log that shows nothing new (`is_held_up`), or refuses events (`is_closed`), with what
    /// its spool says, if it has one.
    pub fn judge(is_held_up: bool, is_closed: bool, spool: (u64, Duration, u64)) -> Self {
        let (waiting, oldest, handed_on) = spool;
        let state = match (is_closed, is_held_up, waiting) {
            (true, ..) => LogState::Closed,
            (false, true, _) => LogState::Spooling,
            (false, false, 1..) => LogState::HandingOn,
            (false, false, 0) => LogState::Open,
        };
        Self { state, waiting, oldest, handed_on }
    }
}

/// The log as the page is told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Log {
    state: LogState,
    waiting: u64,
    /// Absent while nothing waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_ms: Option<u64>,
    handed_on: u64,
}

impl From<LogFigures> for Log {
    fn from(figures: LogFigures) -> Self {
        let LogFigures { state, waiting, oldest, handed_on } = figures;
        let oldest_ms = (waiting > 0).then_some(oldest.as_millis() as u64);
        Self { state, waiting, oldest_ms, handed_on }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_told_by_what_becomes_of_an_event() {
        let none = (0, Duration::ZERO, 7);
        let some = (3, Duration::from_millis(1_500), 7);
        for (is_held_up, is_closed, spool, state) in [
            (false, false, none, "open"),
            (true, false, none, "spooling"),
            (true, false, some, "spooling"),
            (false, false, some, "handing_on"),
            (true, true, some, "closed"),
            (false, true, none, "closed"),
        ] {
            let told = Log::from(LogFigures::judge(is_held_up, is_closed, spool));
            let json = serde_json::to_value(told).unwrap();
            assert_eq!(json["state"], state);
            assert_eq!(json["handed_on"], 7);
            assert_eq!(json.get("oldest_ms").is_some(), spool == some, "{json}");
        }
    }
}
