//! The part of a topic that a shard still holds in memory.
//!
//! A [`Window`] is a queue of frames by ascending sequence. Cursors are sequences, so evicting from
//! the front moves nobody. Two kinds of topic conflate: an `update` replaces an earlier one of the
//! same original, a `sensor` value an earlier one of the same key. What was replaced goes *dead*:
//! its frame is dropped for everybody at once, because whoever had not been sent it will be sent
//! its replacement. Dead entries are swept when they outnumber the living.
//!
//! # Invariants
//! - Sequences ascend. `end` grows by each frame's length, so the bytes between two entries are a
//!   subtraction.
//! - `floor` is one above the last *living* event that was evicted: a cursor below it may have
//!   missed something, a cursor at or above it has not. Dead and stale entries never move it (R3:
//!   conflated counts as sent).

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use touchline_core::event::Identity;
use touchline_core::frame::Published;
use touchline_core::time::{Monotonic, Timestamp};

/// Memory an entry takes besides its frame: the entry itself and its frame's reference count and
/// allocation.
pub(super) const ENTRY_BYTES: usize = size_of::<Entry>() + 64;
/// Sweep dead entries only from this many on: below it a sweep isn't worth its memmove.
const DEAD_MIN: usize = 64;

/// One event in a window.
pub(super) struct Entry {
    pub(super) seq: u64,
    /// Bytes of all frames up to and with this one, since the window began (or was last swept).
    end: u64,
    /// Empty once dead.
    pub(super) frame: Bytes,
    pub(super) durable_at: Monotonic,
    pub(super) occurred_at: Timestamp,
    pub(super) is_read_back: bool,
}

/// What one key or original stands at.
struct Latest {
    order: u64,
    seq: u64,
}

#[derive(Default)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    /// Of conflating topics: the subject of each entry, in step with `entries`.
    subjects: VecDeque<Option<Identity>>,
    latest: HashMap<Identity, Latest>,
    dead: usize,
    floor: u64,
    last_seq: u64,
    bytes: usize,
}

/// What an append did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It stands by itself.
    New,
    /// It replaced an earlier one.
    Replaced,
    /// A later one was there already: nobody will be sent it.
    Outdated,
}

impl Window {
    /// Takes in `event`, whose sequence is above all before it.
    pub(super) fn append(&mut self, event: &Published) -> Appended {
        debug_assert!(self.entries.is_empty() || event.position.seq > self.last_seq);
        let seq = event.position.seq;
        self.last_seq = seq;
        let Some((subject, order, outdated_from)) = event.subject.place() else {
            self.push(event, None);
            return Appended::New;
        };
        let known = self.latest.get(&subject).map(|latest| (latest.order, latest.seq));
        match known {
            Some((known, _)) if known >= outdated_from => return Appended::Outdated,
            Some((_, replaced)) => self.kill(replaced),
            None => {}
        }
        self.latest.insert(subject, Latest { order, seq });
        self.push(event, Some(subject));
        self.sweep();
        if known.is_some() { Appended::Replaced } else { Appended::New }
    }

    fn push(&mut self, event: &Published, subject: Option<Identity>) {
        if subject.is_some() || !self.subjects.is_empty() {
            self.subjects.resize(self.entries.len(), None);
            self.subjects.push_back(subject);
        }
        let end = self.end() + event.frame.len() as u64;
        self.bytes += event.frame.len() + ENTRY_BYTES;
        self.entries.push_back(Entry {
            seq: event.position.seq,
            end,
            frame: event.frame.clone(),
            durable_at: event.durable_at,
            occurred_at: event.occurred_at,
            is_read_back: event.is_read_back,
        });
    }

    fn kill(&mut self, seq: u64) {
        let index = self.index_of(seq);
        if let Some(entry) = self.entries.get_mut(index)
            && entry.seq == seq
            && !entry.frame.is_empty()
        {
            self.bytes -= entry.frame.len();
            entry.frame = Bytes::new();
            self.dead += 1;
        }
    }

    /// Drops dead entries once they outnumber the living: amortized, each append pays for two
    /// moves.
    fn sweep(&mut self) {
        if self.dead < DEAD_MIN || self.dead * 2 < self.entries.len() {
            return;
        }
        let mut end = 0;
        let entries = std::mem::take(&mut self.entries);
        let subjects = std::mem::take(&mut self.subjects);
        self.bytes -= self.dead * ENTRY_BYTES;
        self.dead = 0;
        for (mut entry, subject) in entries.into_iter().zip(subjects) {
            if !entry.frame.is_empty() {
                end += entry.frame.len() as u64;
                entry.end = end;
                self.entries.push_back(entry);
                self.subjects.push_back(subject);
            }
        }
    }

    /// Evicts from the front until at most `bytes_max` are held; the newest event stays in any
    /// case.
    pub(super) fn evict_to(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && self.entries.len() > 1 {
            self.pop(true);
        }
    }

    /// Evicts everything.
    pub(super) fn clear(&mut self) {
        while !self.entries.is_empty() {
            self.pop(true);
        }
    }

    /// Drops what became durable before `limit`: stale sensor values, which nobody misses (R20).
    pub(super) fn drop_stale(&mut self, limit: Monotonic) {
        while self.entries.front().is_some_and(|entry| entry.durable_at < limit) {
            self.pop(false);
        }
    }

    fn pop(&mut self, missed: bool) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.bytes -= entry.frame.len() + ENTRY_BYTES;
        if let Some(Some(subject)) = self.subjects.pop_front()
            && self.latest.get(&subject).is_some_and(|latest| latest.seq == entry.seq)
        {
            self.latest.remove(&subject);
        }
        match entry.frame.is_empty() {
            true => self.dead -= 1,
            false if missed => self.floor = entry.seq + 1,
            false => {}
        }
    }

    /// Index of the first entry at or above `seq`.
    pub(super) fn index_of(&self, seq: u64) -> usize {
        match self.entries.back() {
            Some(last) if last.seq >= seq => {}
            _ => return self.entries.len(),
        }
        // Nearly every cursor stands at the newest event.
        if self.entries.len() == 1 || self.entries[self.entries.len() - 2].seq < seq {
            return self.entries.len() - 1;
        }
        self.entries.partition_point(|entry| entry.seq < seq)
    }

    /// The living entries from `seq` on.
    pub(super) fn live_from(&self, seq: u64) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.range(self.index_of(seq)..);
        entries.filter(|entry| !entry.frame.is_empty())
    }

    /// At least the bytes of what lives from `seq` on; more where something in between has died.
    pub(super) fn bytes_from_at_most(&self, seq: u64) -> u64 {
        match self.index_of(seq) {
            index if index == self.entries.len() => 0,
            0 => self.end() - self.entries[0].end + self.entries[0].frame.len() as u64,
            index => self.end() - self.entries[index - 1].end,
        }
    }

    /// Exactly the bytes of what lives from `seq` on.
    pub(super) fn bytes_from(&self, seq: u64) -> u64 {
        match self.dead {
            0 => self.bytes_from_at_most(seq),
            _ => self.live_from(seq).map(|entry| entry.frame.len() as u64).sum(),
        }
    }

    /// The lowest sequence from which at most `bytes_max` are unsent.
    pub(super) fn seq_within(&self, bytes_max: u64) -> u64 {
        let mut bytes = 0;
        let mut seq = self.last_seq + 1;
        for entry in self.entries.iter().rev() {
            bytes += entry.frame.len() as u64;
            if bytes > bytes_max {
                break;
            }
            seq = entry.seq;
        }
        seq
    }

    fn end(&self) -> u64 {
        self.entries.back().map_or(0, |entry| entry.end)
    }

    /// One above the last living event that was evicted.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// The last sequence that was appended, dead or alive.
    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Memory held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{published, update};
    use super::*;
    use proptest::prelude::*;
    use touchline_core::frame::Subject;

    fn seqs(window: &Window, from: u64) -> Vec<u64> {
        window.live_from(from).map(|entry| entry.seq).collect()
    }

    #[test]
    fn evicting_moves_the_floor_and_no_cursor() {
        let mut window = Window::default();
        for seq in [3, 5, 9] {
            window.append(&published("broadcast:ars", 0, seq));
        }
        assert_eq!(seqs(&window, 0), [3, 5, 9]);
        assert_eq!(seqs(&window, 4), [5, 9]);
        assert_eq!(seqs(&window, 10), [] as [u64; 0]);
        let one = window.bytes() / 3;
        window.evict_to(2 * one);
        assert_eq!((window.floor(), seqs(&window, 0)), (4, vec![5, 9]));
        window.evict_to(0);
        assert_eq!(seqs(&window, 0), [9], "the newest stays");
        window.clear();
        assert_eq!((window.floor(), window.bytes(), window.last_seq()), (10, 0, 9));
    }

    #[test]
    fn a_later_revision_replaces_an_earlier_one() {
        let mut window = Window::default();
        assert_eq!(window.append(&update("ars", 1, "a", 1)), Appended::New);
        assert_eq!(window.append(&update("ars", 2, "b", 1)), Appended::New);
        assert_eq!(window.append(&update("ars", 3, "a", 2)), Appended::Replaced);
        assert_eq!(window.append(&update("ars", 4, "a", 1)), Appended::Outdated);
        assert_eq!(seqs(&window, 0), [2, 3]);
        assert_eq!(window.last_seq(), 4);
    }

    #[test]
    fn a_value_said_again_under_its_sequence_counts_and_a_lower_one_does_not() {
        let of = |seq, order| Published {
            subject: Subject::Sensor { key: Identity::of("north", "wind"), order },
            ..published("sensor:ars", 0, seq)
        };
        let mut window = Window::default();
        assert_eq!(window.append(&of(1, 7)), Appended::New);
        assert_eq!(window.append(&of(2, 7)), Appended::Replaced);
        assert_eq!(window.append(&of(3, 6)), Appended::Outdated);
        assert_eq!(seqs(&window, 0), [2]);
    }

    proptest! {
        #[test]
        fn bytes_are_counted_right(
            steps in prop::collection::vec((0..5u8, 1..6u32, 0..2_000usize), 1..300),
        ) {
            let mut window = Window::default();
            for (seq, (key, rev, evict)) in steps.into_iter().enumerate() {
                let event = update("ars", seq as u64 + 1, &format!("o{key}"), rev);
                window.append(&event);
                if evict < 200 {
                    window.evict_to(evict * 10);
                }
                let live: usize = window.live_from(0).map(|entry| entry.frame.len()).sum();
                prop_assert_eq!(window.bytes(), live + window.entries.len() * ENTRY_BYTES);
                for from in 0..seq as u64 + 2 {
                    let exact: usize = window.live_from(from).map(|entry| entry.frame.len()).sum();
                    prop_assert_eq!(window.bytes_from(from), exact as u64);
                    prop_assert!(window.bytes_from_at_most(from) >= exact as u64);
                }
                let within = window.seq_within(500);
                prop_assert!(window.bytes_from(within) <= 500);
            }
        }
    }
}
