//! What is made of a source's answers: of a sensor's, readings; of a polled partner's, events.

use std::fmt::Display;
use std::time::Instant;

use touchline_core::dead::{DeadLetter, Desk};
use touchline_core::event::{Event, Stream};
use touchline_core::time::Timestamp;

use super::{Failure, Trouble};

/// When an answer came, and what the events of it are known by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    pub received_at: Timestamp,
    /// The same by a clock that nobody sets.
    pub now: Instant,
    pub tick: u64,
    pub correlation: &'a str,
}

impl<'a> At<'a> {
    pub fn new(received_at: Timestamp, now: Instant, correlation: &'a str) -> Self {
        Self { received_at, now, tick: tick_at(received_at), correlation }
    }
}

/// The number of the tick at `at`.
pub(crate) fn tick_at(at: Timestamp) -> u64 {
    u64::try_from(at.0 / 1_000).unwrap_or(0)
}

/// What an answer holds.
#[derive(Debug, Default)]
pub(crate) struct Harvested {
    /// What is to be published.
    pub news: Vec<Event>,
    /// What says nothing new.
    pub unchanged: u64,
    /// Devices that count anew.
    pub restarts: u64,
}

/// As what an answer is kept that can't be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParkedAs {
    /// Where it comes again.
    pub desk: Desk,
    /// Whose events are in it.
    pub stream: Stream,
    /// Whether it is kept whole for what is wrong with a part of it; if not, the harvest keeps the
    /// part.
    pub is_whole: bool,
}

/// Is told of each item that can't be used, and why.
pub(crate) type Note<'n> = dyn FnMut(Trouble, &dyn Display) + 'n;

/// What is made of one source's answers.
pub(crate) trait Harvest: Send + 'static {
    /// As what its answers are kept that can't be used.
    const PARKED: ParkedAs;

    /// What of an answer is news. Items that can't be used go to `note` and cost the others
    /// nothing; `Err`: nothing of it can be used.
    fn read(&mut self, raw: &[u8], at: &At<'_>, note: &mut Note<'_>) -> Result<Harvested, Failure>;

    /// `event` is handed to the log.
    fn keep(&mut self, _event: &Event) {}

    /// The log has not taken `event`: it is news again.
    fn forget(&mut self, event: &Event);

    /// The log has `event`, whose answer came at `received_at`, already: what says the same once
    /// more, where that is wanted.
    fn say_again(&mut self, _event: &Event, _received_at: Timestamp) -> Option<Event> {
        None
    }

    /// The log knows the id of `event`, which came at `received_at`, under other content, and will
    /// never take it.
    fn reused(&mut self, event: &Event, received_at: Timestamp);

    /// Brokers refuse `event` as it is, and always will, of which `letter` tells. Keeps the letter,
    /// or returns it to be kept as those of the source's answers are.
    fn unfit(&mut self, _event: &Event, letter: DeadLetter) -> Option<DeadLetter> {
        Some(letter)
    }

    /// What was learned so far counts for nothing any more.
    fn start_over(&mut self);

    /// What its clock is behind ours, where that is known.
    fn skew(&self) -> Option<i64> {
        None
    }

    /// Since when something it counts has stood still, where it counts.
    fn still_since(&self) -> Option<Instant> {
        None
    }
}
