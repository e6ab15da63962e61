//! What a spool holds: by lane, in bytes, since when; and what has become of it.

use std::time::Duration;

use touchline_core::log::Lane;
use touchline_core::time::Timestamp;

/// The books of one spool.
#[derive(Debug)]
pub(super) struct Ledger {
    /// By lane of the shared log: events that wait.
    held: Vec<u64>,
    events: u64,
    bytes: u64,
    /// When the oldest of them was received. Known exactly once the drain has looked at it; before
    /// that it is the first that came.
    oldest: Option<Timestamp>,
    spooled: u64,
    drained: u64,
    duplicates: u64,
    parked: u64,
    refused: u64,
    /// Appends that the spool's disk has yet to answer.
    appending: u64,
    /// Appends that were ever begun.
    begun: u64,
}

/// What is on its way to the spool's disk. The same twice, and nothing under way: nothing has come
/// or gone between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traffic {
    appending: u64,
    begun: u64,
}

impl Traffic {
    pub fn is_under_way(self) -> bool {
        self.appending > 0
    }
}

/// What a spool holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolStats {
    /// Events that wait.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Age of the oldest.
    pub oldest: Duration,
    /// Taken so far.
    pub spooled: u64,
    /// Handed on.
    pub drained: u64,
    /// Of those, what the log had already.
    pub duplicates: u64,
    /// Given up on: dead letters.
    pub parked: u64,
    /// Refused because it was full, or too old.
    pub refused: u64,
}

impl Ledger {
    /// Of an empty spool in front of a log of so many lanes.
    pub fn new(lanes: usize) -> Self {
        Self {
            held: vec![0; lanes],
            events: 0,
            bytes: 0,
            oldest: None,
            spooled: 0,
            drained: 0,
            duplicates: 0,
            parked: 0,
            refused: 0,
            appending: 0,
            begun: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    pub fn events(&self) -> u64 {
        self.events
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether anything waits for `lane`.
    pub fn holds(&self, lane: Lane) -> bool {
        self.held.get(usize::from(lane.0)).is_some_and(|held| *held > 0)
    }

    /// Age of the oldest.
    pub fn age(&self, now: Timestamp) -> Duration {
        let age_us = self.oldest.map_or(0, |oldest| now.0.saturating_sub(oldest.0));
        Duration::from_micros(u64::try_from(age_us).unwrap_or(0))
    }

    /// An event takes its place.
    pub fn enter(&mut self, lane: Lane, bytes: u64, received_at: Timestamp) {
        if let Some(held) = self.held.get_mut(usize::from(lane.0)) {
            *held += 1;
        }
        self.events += 1;
        self.bytes += bytes;
        self.oldest.get_or_insert(received_at);
    }

    /// It gives its place up.
    pub fn leave(&mut self, lane: Lane, bytes: u64) {
        if let Some(held) = self.held.get_mut(usize::from(lane.0)) {
            *held = held.saturating_sub(1);
        }
        self.events = self.events.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.events == 0 {
            self.oldest = None;
        }
    }

    /// What has just been entered is handed to the spool's disk.
    pub fn begin_append(&mut self) {
        self.appending += 1;
        self.begun += 1;
    }

    /// The disk has answered, and the books say what it did.
    pub fn end_append(&mut self) {
        self.appending = self.appending.saturating_sub(1);
    }

    pub fn traffic(&self) -> Traffic {
        Traffic { appending: self.appending, begun: self.begun }
    }

    /// Nothing of it is there any more; how many events the books held. Not for books with an
    /// append under way: what it brings would be in none.
    pub fn forget_all(&mut self) -> u64 {
        let events = self.events;
        self.held.iter_mut().for_each(|held| *held = 0);
        (self.events, self.bytes, self.oldest) = (0, 0, None);
        events
    }

    /// The next to be handed on was received then.
    pub fn set_oldest(&mut self, at: Timestamp) {
        if self.events > 0 {
            self.oldest = Some(at);
        }
    }

    pub fn count_spooled(&mut self) {
        self.spooled += 1;
    }

    pub fn count_drained(&mut self, duplicate: bool) {
        self.drained += 1;
        self.duplicates += u64::from(duplicate);
    }

    pub fn count_parked(&mut self) {
        self.parked += 1;
    }

    pub fn count_refused(&mut self, events: u64) {
        self.refused += events;
    }

    pub fn stats(&self, now: Timestamp) -> SpoolStats {
        SpoolStats {
            events: self.events,
            bytes: self.bytes,
            oldest: self.age(now),
            spooled: self.spooled,
            drained: self.drained,
            duplicates: self.duplicates,
            parked: self.parked,
            refused: self.refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_held_until_its_last_event_has_left() {
        let mut ledger = Ledger::new(2);
        let (one, other) = (Lane(0), Lane(1));
        ledger.enter(one, 10, Timestamp(5));
        ledger.enter(one, 20, Timestamp(9));
        assert!(ledger.holds(one) && !ledger.holds(other));
        assert_eq!(ledger.age(Timestamp(15)), Duration::from_micros(10));
        ledger.leave(one, 10);
        assert!(ledger.holds(one) && ledger.bytes() == 20);
        ledger.leave(one, 20);
        assert!(!ledger.holds(one) && ledger.is_empty());
        assert_eq!(ledger.age(Timestamp(15)), Duration::ZERO, "an empty spool has no age");
    }
}
