//! Which events have been taken already (R14 to R16): the window of identities and content hashes.
//!
//! Entries lie in one ring for each stream, in log order, so that what is too old is always at a
//! ring's front. An index of hash tables finds them by identity. A group of events goes in before
//! it is durable; if it fails, the rings are cut back to the [`Savepoint`] taken before. That is
//! all there is to a pending entry: while one is pending the log's thread does nothing else, so
//! nobody can be told about it.
//!
//! # Memory
//! 28 bytes an entry in the ring, and 5 a bucket in the index, of which at least 3/8 are in use,
//! also in a window that slides (see [`make_room`]): 34 to 42 bytes an entry. The default of
//! 8 million entries takes 300 MB when it is full. Rings grow and shrink by chunks, and the index
//! is 256 tables, so that growing never moves more than 1/256 of it at once.
//!
//! # Invariants
//! - An entry leaves only once log time has passed its time by its stream's window (never earlier,
//!   R16).
//! - Times within a ring don't decrease.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashTable;
use touchline_core::event::{Content, Identity, Stream};
use touchline_core::time::Timestamp;

const TABLES: usize = 256;
const CHUNK_ENTRIES: usize = 4_096;
const RING_BITS: u32 = 30;
const RING_MASK: u32 = (1 << RING_BITS) - 1;

/// What is kept of an event. Aligned to four, so that it packs to 28 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    identity: [u32; 4],
    content: [u32; 2],
    /// Log time in seconds since 1970: good until 2106.
    seconds: u32,
}

const _: () = assert!(size_of::<Entry>() == 28);

impl Entry {
    /// The entry of an event with log time `time`.
    pub fn new(identity: Identity, content: Content, time: Timestamp) -> Self {
        let raw = identity.0;
        Self {
            identity: [raw as u32, (raw >> 32) as u32, (raw >> 64) as u32, (raw >> 96) as u32],
            content: [content.0 as u32, (content.0 >> 32) as u32],
            seconds: u32::try_from(time.0 / 1_000_000).unwrap_or(0),
        }
    }

    /// Hash of (source, id).
    pub fn identity(&self) -> Identity {
        let [a, b, c, d] = self.identity.map(u128::from);
        Identity(a | b << 32 | c << 64 | d << 96)
    }

    /// Hash of what the event says.
    pub fn content(&self) -> Content {
        let [low, high] = self.content.map(u64::from);
        Content(low | high << 32)
    }

    /// Log time, cut to seconds.
    pub fn time(&self) -> Timestamp {
        Timestamp(i64::from(self.seconds) * 1_000_000)
    }
}

/// No room for another entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// How far each ring had got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savepoint([u64; 4]);

/// The window.
#[derive(Debug)]
pub struct Dedupe {
    rings: [Ring; 4],
    tables: Vec<HashTable<u32>>,
    windows: [Duration; 4],
    len: usize,
    entries_max: usize,
}

impl Dedupe {
    /// An empty window; `windows` by stream.
    pub fn new(windows: [Duration; 4], entries_max: usize) -> Self {
        Self {
            rings: Default::default(),
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            windows,
            len: 0,
            entries_max,
        }
    }

    /// Entries it holds.
    pub fn entries(&self) -> usize {
        self.len
    }

    /// Bytes it takes, spare room included.
    pub fn memory_bytes(&self) -> usize {
        let rings: usize = self.rings.iter().map(Ring::memory_bytes).sum();
        rings + self.tables.iter().map(HashTable::allocation_size).sum::<usize>()
    }

    /// What was said under `identity`, if it is in the window.
    pub fn find(&self, identity: Identity) -> Option<Content> {
        let raw = Entry::new(identity, Content(0), Timestamp(0)).identity;
        let slot = self.tables[table_of(identity)]
            .find(hash_of(identity), |slot| self.entry(*slot).identity == raw)?;
        Some(self.entry(*slot).content())
    }

    /// Adds an entry that [`Dedupe::find`] doesn't know. Refused once the window is full: it never
    /// evicts early.
    pub fn insert(&mut self, stream: Stream, entry: Entry) -> Result<(), Full> {
        if self.len >= self.entries_max {
            return Err(Full);
        }
        self.insert_known(stream, entry);
        Ok(())
    }

    /// Adds an entry that the log holds already, whatever the limit says now.
    pub fn insert_known(&mut self, stream: Stream, entry: Entry) {
        let slot = slot_of(stream, self.rings[stream as usize].push(entry));
        let identity = entry.identity();
        let Self { rings, tables, .. } = self;
        let table = &mut tables[table_of(identity)];
        make_room(table, rings);
        table.insert_unique(hash_of(identity), slot, |slot| hash_of(at(rings, *slot).identity()));
        self.len += 1;
    }

    /// Where to come back to if what is inserted next fails.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint([0, 1, 2, 3].map(|ring| self.rings[ring].end))
    }

    /// Takes out what was inserted since `savepoint`.
    pub fn rollback(&mut self, savepoint: Savepoint) {
        for stream in Stream::ALL {
            while self.rings[stream as usize].end > savepoint.0[stream as usize] {
                let number = self.rings[stream as usize].end - 1;
                self.unlink(stream, number);
                self.rings[stream as usize].pop_back();
            }
        }
    }

    /// Lets go of what `now` (log time) has left behind.
    pub fn expire(&mut self, now: Timestamp) {
        for stream in Stream::ALL {
            // Times were cut to seconds: one more keeps an entry from leaving early.
            let horizon = now.minus(self.windows[stream as usize] + Duration::from_secs(1));
            while let Some(front) = self.rings[stream as usize].front() {
                if front.time() >= horizon {
                    break;
                }
                let number = self.rings[stream as usize].start;
                self.unlink(stream, number);
                self.rings[stream as usize].pop_front();
            }
        }
    }

    fn unlink(&mut self, stream: Stream, number: u64) {
        let slot = slot_of(stream, number);
        let identity = self.entry(slot).identity();
        let table = &mut self.tables[table_of(identity)];
        if let Ok(found) = table.find_entry(hash_of(identity), |other| *other == slot) {
            found.remove();
            self.len -= 1;
        }
        if table.is_empty() && table.capacity() > CHUNK_ENTRIES {
            *table = HashTable::new();
        }
    }

    fn entry(&self, slot: u32) -> &Entry {
        at(&self.rings, slot)
    }
}

fn at(rings: &[Ring; 4], slot: u32) -> &Entry {
    rings[(slot >> RING_BITS) as usize].at(slot & RING_MASK)
}

fn slot_of(stream: Stream, number: u64) -> u32 {
    (stream as u32) << RING_BITS | number as u32 & RING_MASK
}

/// What is removed from a table may leave a mark where it was. A table that is out of unmarked
/// places doubles if it is more than half full (hashbrown, `reserve_rehash`), so that a window that
/// slides would come to need twice what one that fills does. Here it is made anew, as large as it
/// was, until 7/8 of its places are really taken: at most seven moves for each entry that comes.
fn make_room(table: &mut HashTable<u32>, rings: &[Ring; 4]) {
    let places = table.num_buckets() / 8 * 7;
    if table.len() < table.capacity() || table.len() >= places / 8 * 7 {
        return;
    }
    let mut anew = HashTable::with_capacity(places);
    let hash = |slot: &u32| hash_of(at(rings, *slot).identity());
    for slot in table.iter() {
        anew.insert_unique(hash(slot), *slot, hash);
    }
    *table = anew;
}

/// Identities are hashes already: their top byte chooses the table, other bits the place in it.
fn table_of(identity: Identity) -> usize {
    (identity.0 >> 120) as usize
}

fn hash_of(identity: Identity) -> u64 {
    identity.0 as u64
}

/// Entries numbered `start..end`, in chunks, so that growing moves nothing and shrinking gives
/// memory back.
#[derive(Debug, Default)]
struct Ring {
    chunks: VecDeque<Box<[Entry]>>,
    /// Number of the first entry of the first chunk.
    base: u64,
    start: u64,
    end: u64,
}

impl Ring {
    fn push(&mut self, entry: Entry) -> u64 {
        if self.end == self.base + (self.chunks.len() * CHUNK_ENTRIES) as u64 {
            let blank = Entry { identity: [0; 4], content: [0; 2], seconds: 0 };
            self.chunks.push_back(vec![blank; CHUNK_ENTRIES].into());
        }
        let number = self.end;
        *self.slot(number) = entry;
        self.end += 1;
        number
    }

    fn slot(&mut self, number: u64) -> &mut Entry {
        let offset = (number - self.base) as usize;
        &mut self.chunks[offset / CHUNK_ENTRIES][offset % CHUNK_ENTRIES]
    }

    /// The entry whose number has these low 30 bits; a ring holds fewer than 2^30.
    fn at(&self, low: u32) -> &Entry {
        let offset = (low.wrapping_sub(self.base as u32) & RING_MASK) as usize;
        &self.chunks[offset / CHUNK_ENTRIES][offset % CHUNK_ENTRIES]
    }

    fn front(&self) -> Option<&Entry> {
        (self.start < self.end).then(|| self.at(self.start as u32 & RING_MASK))
    }

    fn pop_front(&mut self) {
        self.start += 1;
        if self.start - self.base >= CHUNK_ENTRIES as u64 {
            self.chunks.pop_front();
            self.base += CHUNK_ENTRIES as u64;
        }
    }

    fn pop_back(&mut self) {
        self.end -= 1;
    }

    fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK_ENTRIES * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn entry(id: u64, content: u64, second: i64) -> Entry {
        Entry::new(identity(id), Content(content), Timestamp(second * 1_000_000))
    }

    fn identity(id: u64) -> Identity {
        Identity::of("partner", &id.to_string())
    }

    fn window(entries_max: usize) -> Dedupe {
        Dedupe::new([60, 60, 20, 10].map(Duration::from_secs), entries_max)
    }

    #[test]
    fn an_entry_survives_its_packing() {
        let identity = Identity::of("a", "b");
        let entry = Entry::new(identity, Content(u64::MAX - 5), Timestamp(7_999_999));
        assert_eq!(entry.identity(), identity);
        assert_eq!(entry.content(), Content(u64::MAX - 5));
        assert_eq!(entry.time(), Timestamp(7_000_000));
    }

    #[test]
    fn a_full_window_refuses_and_evicts_nothing() {
        let mut dedupe = window(2);
        assert_eq!(dedupe.insert(Stream::Broadcast, entry(1, 1, 100)), Ok(()));
        assert_eq!(dedupe.insert(Stream::Social, entry(2, 2, 100)), Ok(()));
        assert_eq!(dedupe.insert(Stream::Social, entry(3, 3, 100)), Err(Full));
        assert_eq!(dedupe.find(identity(1)), Some(Content(1)));
        dedupe.expire(Timestamp(122_000_000));
        assert_eq!(dedupe.find(identity(2)), None, "social has the shorter window");
        assert_eq!(dedupe.insert(Stream::Social, entry(3, 3, 122)), Ok(()));
    }

    #[test]
    fn eight_million_entries_take_forty_bytes_each() {
        let mut dedupe = window(usize::MAX);
        let count = 1_000_000;
        for n in 0..count {
            dedupe.insert_known(Stream::Broadcast, entry(n, n, 100));
        }
        let per_entry = dedupe.memory_bytes() as u64 / count;
        assert!((28..=40).contains(&per_entry), "{per_entry} bytes an entry");
        dedupe.expire(Timestamp(1_000_000_000));
        assert_eq!(dedupe.entries(), 0);
        assert!(dedupe.memory_bytes() < 8 << 20, "memory comes back: {}", dedupe.memory_bytes());
    }

    /// As many entries to a table as take 4/5 of its places.
    #[test]
    fn a_window_that_slides_needs_no_more_than_one_that_fills() {
        let mut dedupe = window(usize::MAX);
        let (held, per_second) = (TABLES as u64 * 1_434, TABLES as u64 * 1_434 / 61);
        let mut full_bytes = 0;
        for n in 0..held * 6 {
            let second = 100 + (n / per_second) as i64;
            dedupe.expire(Timestamp(second * 1_000_000));
            dedupe.insert_known(Stream::Broadcast, entry(n, n, second));
            if n == held {
                full_bytes = dedupe.memory_bytes();
            }
        }
        let (bytes, entries) = (dedupe.memory_bytes(), dedupe.entries() as u64);
        assert!(entries.abs_diff(held) < held / 20, "{entries} of {held}");
        assert!(bytes < full_bytes * 21 / 20, "{bytes} bytes, {full_bytes} when it was full");
    }

    proptest! {
        /// Against the naive thing: a map from id to what was said and when.
        #[test]
        fn the_window_agrees_with_a_map(
            steps in prop::collection::vec((0..40u64, 0..4usize, 0..30i64, any::<bool>()), 0..400)
        ) {
            let mut dedupe = window(usize::MAX);
            let mut oracle: HashMap<u64, (usize, i64)> = HashMap::new();
            let windows = [60, 60, 20, 10];
            let mut now = 1_000;
            for (id, stream, pause, fails) in steps {
                now += pause;
                dedupe.expire(Timestamp(now * 1_000_000));
                oracle.retain(|_, (stream, at)| *at >= now - windows[*stream] - 1);
                let known = oracle.get(&id).map(|_| Content(id));
                prop_assert_eq!(dedupe.find(identity(id)), known);
                if known.is_none() {
                    let savepoint = dedupe.savepoint();
                    dedupe.insert(Stream::ALL[stream], entry(id, id, now)).unwrap();
                    if fails {
                        dedupe.rollback(savepoint);
                    } else {
                        oracle.insert(id, (stream, now));
                    }
                }
                prop_assert_eq!(dedupe.entries(), oracle.len());
            }
        }
    }
}
