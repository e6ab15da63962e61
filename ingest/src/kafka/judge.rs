//! Duplicates as a function of the log alone (R17).
//!
//! A record of a lane is a duplicate if the same (source, id) stands earlier in that lane within
//! the window W of broker time, whether that earlier one was suppressed or not. A [`Judge`] is told
//! the records of one lane in order and says of each whether it is the first. Whoever begins W
//! earlier than what it wants to show comes to the same answers as everybody else.
//!
//! # Time
//! Brokers stamp records as they append them, by their own clocks; after a change of leaders the
//! next stamp may lie before the last. Two stamps are therefore compared as they are, and an entry
//! is kept [`BROKER_SKEW_MAX`] longer than the window: answers depend on nothing else while
//! brokers' clocks differ by less. Time that passes outside the log forgets only what no record
//! that is still to come can repeat ([`Judge::expire_at`]): a reader may be behind by hours.
//!
//! # Memory
//! 48 bytes an entry, in a ring that doubles, and 5 a bucket of the index, of which at least 7/32
//! are in use: 54 to 119 bytes.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashTable;
use touchline_core::event::{Content, Identity};

use crate::limits::BROKER_SKEW_MAX;

#[derive(Clone, Copy, Debug)]
struct Entry {
    identity: Identity,
    content: Content,
    at_ms: i64,
}

/// What a record is to its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is to be shown.
    First,
    /// It repeats what stands earlier.
    Repeat,
    /// Its id was used earlier for something else (R15): it isn't shown either.
    Reused,
}

/// What one lane has been seen to hold lately.
#[derive(Debug, Default)]
pub struct Judge {
    window_ms: i64,
    /// In the order of the log; an identity that came again has several.
    ring: VecDeque<Entry>,
    /// Number of the ring's front, of all entries there ever were.
    front: u32,
    /// The latest entry of each identity, by number.
    index: HashTable<u32>,
    newest_ms: i64,
}

impl Judge {
    /// An empty one for a stream with this window.
    pub fn new(window: Duration) -> Self {
        Self { window_ms: millis(window), newest_ms: i64::MIN, ..Self::default() }
    }

    /// Takes in the next record of the lane; whether it is the first of its kind. Records come in
    /// the order of their offsets, each once.
    pub fn is_first(&mut self, at_ms: i64, identity: Identity, content: Content) -> bool {
        self.judge(at_ms, identity, content) == Verdict::First
    }

    /// The same, and whether what is no first says what the first one said.
    pub fn judge(&mut self, at_ms: i64, identity: Identity, content: Content) -> Verdict {
        self.newest_ms = self.newest_ms.max(at_ms);
        self.expire(self.newest_ms);
        let twin = self.latest(identity);
        let is_first = twin.is_none_or(|twin| at_ms - twin.at_ms > self.window_ms);
        // A duplicate says what its twin said: the first copy wins everywhere (R15).
        let said = twin.filter(|_| !is_first).map_or(content, |twin| twin.content);
        // Whichever of its copies bears the latest stamp reaches furthest.
        let at_ms = twin.map_or(at_ms, |twin| twin.at_ms.max(at_ms));
        self.push(Entry { identity, content: said, at_ms });
        match is_first {
            true => Verdict::First,
            false if said == content => Verdict::Repeat,
            false => Verdict::Reused,
        }
    }

    /// What was said under `identity` within the window before now: `now_ms` by the brokers'
    /// clocks, as far as that is known.
    pub fn find(&self, identity: Identity, now_ms: i64) -> Option<Content> {
        let entry = self.latest(identity)?;
        (now_ms.max(self.newest_ms) - entry.at_ms <= self.window_ms).then_some(entry.content)
    }

    /// Forgets what no record that is still to come can repeat, also where none comes: all of them
    /// are stamped at `since_ms` or later by some broker's clock, which may be ahead of this lane's
    /// by as much as they may differ.
    pub fn expire_at(&mut self, since_ms: i64) {
        let newest_ms = self.newest_ms.max(since_ms - millis(BROKER_SKEW_MAX));
        self.expire(newest_ms);
    }

    /// Entries it holds.
    pub fn entries(&self) -> usize {
        self.ring.len()
    }

    fn latest(&self, identity: Identity) -> Option<Entry> {
        let is_it = |number: &u32| self.entry(*number).identity == identity;
        self.index.find(hash_of(identity), is_it).map(|number| self.entry(*number))
    }

    fn entry(&self, number: u32) -> Entry {
        self.ring[number.wrapping_sub(self.front) as usize]
    }

    fn push(&mut self, entry: Entry) {
        let number = self.front.wrapping_add(self.ring.len() as u32);
        self.ring.push_back(entry);
        let Self { ring, front, index, .. } = self;
        let at = |number: &u32| ring[number.wrapping_sub(*front) as usize].identity;
        let hash = hash_of(entry.identity);
        match index.find_mut(hash, |known| at(known) == entry.identity) {
            Some(known) => *known = number,
            None => drop(index.insert_unique(hash, number, |known| hash_of(at(known)))),
        }
    }

    fn expire(&mut self, newest_ms: i64) {
        let oldest_ms = newest_ms - self.window_ms - millis(BROKER_SKEW_MAX);
        while self.ring.front().is_some_and(|entry| entry.at_ms < oldest_ms) {
            let Some(entry) = self.ring.pop_front() else { return };
            let number = self.front;
            if let Ok(latest) = self.index.find_entry(hash_of(entry.identity), |it| *it == number) {
                latest.remove();
            }
            self.front = number.wrapping_add(1);
        }
        if self.ring.len() < self.ring.capacity() / 4 {
            self.ring.shrink_to(self.ring.len() * 2);
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// An identity is a hash already.
fn hash_of(identity: Identity) -> u64 {
    identity.0 as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIN: i64 = 60_000;

    fn judge() -> Judge {
        Judge::new(Duration::from_secs(600))
    }

    fn id(n: u128) -> Identity {
        // Spread over both halves, as hashes are.
        Identity(n << 64 | n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    #[test]
    fn a_twin_counts_within_the_window_suppressed_or_not() {
        let mut it = judge();
        assert!(it.is_first(0, id(1), Content(7)));
        assert!(!it.is_first(9 * MIN, id(1), Content(8)), "9 minutes after the first");
        assert!(!it.is_first(18 * MIN, id(1), Content(9)), "9 minutes after the suppressed one");
        assert!(it.is_first(28 * MIN + 1, id(1), Content(9)), "10 minutes are over");
        assert_eq!(it.find(id(1), 28 * MIN + 1), Some(Content(9)));
        assert_eq!(it.find(id(1), 38 * MIN + 2), None);
        assert_eq!(it.find(id(2), 0), None);
    }

    #[test]
    fn the_first_content_stays_until_the_window_is_over() {
        let mut it = judge();
        assert_eq!(it.judge(0, id(1), Content(7)), Verdict::First);
        assert_eq!(it.judge(MIN, id(1), Content(8)), Verdict::Reused);
        assert_eq!(it.find(id(1), 2 * MIN), Some(Content(7)));
        assert_eq!(it.judge(2 * MIN, id(1), Content(8)), Verdict::Reused, "also the next time");
        assert_eq!(it.judge(3 * MIN, id(1), Content(7)), Verdict::Repeat);
        assert_eq!(it.judge(14 * MIN, id(1), Content(8)), Verdict::First, "11 minutes later");
    }

    #[test]
    fn a_clock_that_is_set_back_forgets_nothing() {
        let mut it = judge();
        it.is_first(0, id(1), Content(7));
        it.is_first(14 * MIN, id(2), Content(7));
        assert!(!it.is_first(10 * MIN, id(1), Content(7)), "by a leader 4 minutes behind");
    }

    #[test]
    fn what_is_older_than_the_window_takes_no_memory() {
        let mut it = judge();
        for n in 0..200_000 {
            it.is_first(n, id(n as u128), Content(0));
        }
        it.is_first(3_600_000, id(1), Content(0));
        assert_eq!((it.entries(), it.index.len()), (1, 1));
        assert!(it.ring.capacity() < 100_000);
    }

    #[test]
    fn a_lane_in_which_nothing_comes_forgets_by_the_clock() {
        let mut it = judge();
        it.is_first(0, id(1), Content(7));
        it.expire_at(19 * MIN);
        assert_eq!(it.entries(), 1, "10 minutes of window, twice 5 that clocks may differ");
        it.expire_at(21 * MIN);
        assert_eq!(it.entries(), 0);
    }

    /// The rule, to the letter.
    fn oracle(records: &[(i64, u8)], at: usize, window_ms: i64) -> bool {
        let (time, id) = records[at];
        !records[..at].iter().any(|(before, of)| *of == id && time - before <= window_ms)
    }

    proptest! {
        /// Also for one that begins in the middle: W before what it is asked about.
        #[test]
        fn every_reader_that_begins_early_enough_agrees_with_the_rule(
            steps in proptest::collection::vec((0i64..4 * MIN, 0u8..6, 0i64..2 * MIN), 1..200),
            start in 0usize..200,
        ) {
            let mut clock = 0;
            let records: Vec<(i64, u8)> = steps
                .iter()
                .map(|(step, id, back)| {
                    clock += step;
                    // Stamps go back by less than two minutes at most.
                    (clock - back, *id)
                })
                .collect();
            let window_ms = 10 * MIN;
            let (mut whole, mut late) = (judge(), judge());
            let start = start.min(records.len() - 1);
            for (n, (at, of)) in records.iter().enumerate() {
                let expected = oracle(&records, n, window_ms);
                prop_assert_eq!(whole.is_first(*at, id(u128::from(*of) + 1), Content(0)), expected);
                if n < start {
                    continue;
                }
                let said = late.is_first(*at, id(u128::from(*of) + 1), Content(0));
                let is_past = |(before, _): &(i64, u8)| at - before > window_ms;
                let reaches_back = records[..start].iter().all(is_past);
                if reaches_back {
                    prop_assert_eq!(said, expected, "record {} of a reader from {}", n, start);
                }
            }
        }
    }
}
