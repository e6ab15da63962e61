//! Dead letters: what an adapter or a consumer could not accept, kept so that a person can look at
//! it, mend the cause, and have it tried again.
//!
//! Whoever gives up on something hands it to [`DeadLetters::park`] and goes on: parking never
//! blocks, never fails for the caller, and is bounded by whoever keeps the letters. A poison record
//! so never stops what comes after it.

use bytes::Bytes;

use crate::event::{Event, Stream};
use crate::log::record;
use crate::time::Timestamp;

/// Where a letter was given up on, and so how it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Desk {
    /// A webhook's body, as it came.
    Webhook,
    /// A sensor's answer, or one reading of it.
    Sensor,
    /// One post of a social stream.
    Social,
    /// A record of the log, or one that was on its way there, as
    /// [`record`](crate::log::record) writes it.
    Log,
}

impl Desk {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Webhook, "webhook"),
        (Self::Sensor, "sensor"),
        (Self::Social, "social"),
        (Self::Log, "log"),
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(desk, _)| *desk)
    }
}

/// What could not be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it was given up on.
    pub desk: Desk,
    /// The stream it was meant for.
    pub stream: Stream,
    /// Who sent it.
    pub source: Box<str>,
    /// Why, as a word of a fixed table: `invalid_events`, `bad_json`. Fit for a metric's label.
    pub reason: &'static str,
    /// Why, for people; holds nothing secret.
    pub detail: Box<str>,
    /// How often it was tried: 1 where a second try could not go better.
    pub attempts: u32,
    /// The id that follows it through answers and log lines.
    pub correlation: Box<str>,
    /// When it was first received: its age is judged by this for ever (R16).
    pub received_at: Timestamp,
    /// The bytes as they came.
    pub raw: Bytes,
}

impl DeadLetter {
    /// Of an event that was whole and that the log will not have: what comes again is its record.
    pub fn of_event(
        event: &Event,
        received_at: Timestamp,
        reason: &'static str,
        detail: impl Into<Box<str>>,
    ) -> Self {
        let mut raw = Vec::new();
        record::encode(event, received_at, &mut raw);
        Self {
            desk: Desk::Log,
            stream: event.stream,
            source: event.source.clone(),
            reason,
            detail: detail.into(),
            attempts: 1,
            correlation: event.correlation.clone(),
            received_at,
            raw: raw.into(),
        }
    }
}

/// Keeps what could not be accepted.
pub trait DeadLetters: Send + Sync {
    /// Takes a letter over. Returns at once; what can't be kept is counted by the keeper.
    fn park(&self, letter: DeadLetter);

    /// The same for what was acknowledged: waits until the letter is kept for good, or `gives_up`,
    /// which is asked every few milliseconds. `false`: it may not be kept, because it was given up
    /// or the keeper has no room; who holds it must not let go of it.
    fn park_durably(&self, letter: DeadLetter, gives_up: &dyn Fn() -> bool) -> bool {
        let _ = gives_up;
        self.park(letter);
        true
    }
}

/// Keeps nothing: for tests, and for who has nowhere to keep it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDeadLetters;

impl DeadLetters for NoDeadLetters {
    fn park(&self, _: DeadLetter) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn desks_are_in_the_order_of_their_numbers_and_found_by_name() {
        for (n, (desk, name)) in Desk::ALL.into_iter().enumerate() {
            assert_eq!((desk as usize, Desk::parse(name)), (n, Some(desk)));
        }
    }
}
