//! Reading a segment whole, to know what it holds and what state its end is in.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use touchline_core::event::Stream;
use touchline_core::log::record;
use touchline_core::time::Timestamp;

use super::Active;
use crate::journal::dedupe::Entry;
use crate::journal::disk::ReadAt;
use crate::journal::format::{Fault, Found, GroupHead, RawRecord, SegmentHead, records};
use crate::journal::view::{IndexEntry, Segment};
use crate::journal::walk::{Step, Walk};
use crate::limits::{BLOCK_BYTES, GROUP_HEAD_BYTES, INDEX_STRIDE_BYTES};

/// What a segment holds.
#[derive(Debug)]
pub struct Scan {
    /// Entries of its sound records, in order.
    pub ids: Vec<(Stream, Entry)>,
    /// Sparse index.
    pub index: Vec<IndexEntry>,
    /// One above the last sound record that stands before any bad place at the end.
    pub next: u64,
    /// One above the last record that a sound head speaks of.
    pub claimed: u64,
    /// Log time of the last record.
    pub time: Timestamp,
    /// Where the next group goes: one above the last group that is sound to its end.
    pub end: u64,
    /// Length of the file.
    pub len: u64,
    /// The highest watermark that any of its heads carries.
    pub proven: u64,
    /// The first bad place that has something sound behind it.
    pub damage: Option<(u64, Fault)>,
    /// A bad place with nothing sound behind it but, perhaps, records of the same group: see
    /// `behind`.
    pub torn: Option<(u64, Fault)>,
    /// Entries of the sound records behind `torn`, and one above the last of them.
    pub behind: (Vec<(Stream, Entry)>, u64),
    /// The last group that begins with a sound record, or is a mere proof.
    pub tail: Option<Tail>,
}

/// The last group of a segment, as far as it can be read.
#[derive(Debug)]
pub struct Tail {
    /// Where its head stands.
    pub offset: u64,
    /// Its head, as read.
    pub head: GroupHead,
    /// How many records are sound before the first that isn't.
    pub count: u32,
    /// Their bytes.
    pub records: Vec<u8>,
}

impl Tail {
    /// One above its last sound record.
    pub fn next(&self) -> u64 {
        self.head.first + u64::from(self.count)
    }

    /// Whether it is sound to its end.
    pub fn is_whole(&self) -> bool {
        self.count == self.head.count
    }
}

/// Reads the segment with this head.
pub fn scan(file: Box<dyn ReadAt>, segment: &SegmentHead) -> io::Result<Scan> {
    let mut walk = Walk::new(file)?;
    walk.expect(segment.epoch, segment.first);
    let mut scan = Scan {
        ids: Vec::new(),
        index: Vec::new(),
        next: segment.first,
        claimed: segment.first,
        time: segment.opened_at,
        end: BLOCK_BYTES as u64,
        len: walk.size(),
        proven: segment.proven,
        damage: None,
        torn: None,
        behind: (Vec::new(), 0),
        tail: None,
    };
    loop {
        match walk.step()? {
            Step::Group { offset, head } => scan.take_group(offset, head, walk.body()?),
            Step::Bad { offset, fault, .. } => {
                scan.torn.get_or_insert((offset, fault));
            }
            Step::End { .. } => {
                if walk.unreadable().is_some() {
                    // No crash does that: it may have been acknowledged, and is never cut.
                    scan.settle_damage();
                    scan.next = scan.next.max(scan.claimed);
                }
                return Ok(scan);
            }
        }
    }
}

impl Scan {
    fn take_group(&mut self, offset: u64, head: GroupHead, body: &[u8]) {
        self.settle_damage();
        if head.first != self.next {
            self.damage.get_or_insert((offset, Fault::Foreign));
        }
        self.proven = self.proven.max(head.proven);
        self.next = head.first;
        self.claimed = self.claimed.max(head.next());
        let indexed = self.index.last().map_or(0, |entry| entry.offset);
        if indexed == 0 || offset >= indexed + INDEX_STRIDE_BYTES {
            self.index.push(IndexEntry { seq: head.first, offset });
        }
        let (mut count, mut sound) = (0, 0);
        for found in records(head, body) {
            let (bad_at, fault) = match found {
                Found::Record(raw) => match entry_of(&raw) {
                    Some(id) if self.torn.is_none() => {
                        self.ids.push(id);
                        (self.next, self.time) = (raw.seq + 1, raw.time);
                        (count, sound) = (count + 1, raw.end);
                        continue;
                    }
                    Some(id) => {
                        self.behind.0.push(id);
                        self.behind.1 = raw.seq + 1;
                        continue;
                    }
                    None => (sound, Fault::Undecodable),
                },
                Found::Bad { offset, fault, .. } => (offset, fault),
            };
            self.torn.get_or_insert((offset + (GROUP_HEAD_BYTES + bad_at) as u64, fault));
        }
        if count > 0 || head.count == 0 {
            let records = body.get(..sound).unwrap_or_default().to_vec();
            self.tail = Some(Tail { offset, head, count, records });
        }
        if self.torn.is_none() {
            self.end = offset + head.span_bytes();
        }
    }

    /// What seemed torn has something sound behind it, so it is damage: what stands behind it
    /// counts.
    pub fn settle_damage(&mut self) {
        let Some(bad) = self.torn.take() else { return };
        self.damage.get_or_insert(bad);
        let (ids, next) = std::mem::take(&mut self.behind);
        self.ids.extend(ids);
        self.next = self.next.max(next);
    }
}

fn entry_of(raw: &RawRecord<'_>) -> Option<(Stream, Entry)> {
    let (event, _) = record::decode(Bytes::copy_from_slice(raw.body)).ok()?;
    Some((event.stream, Entry::new(event.identity(), event.content(), raw.time)))
}

/// What the newest segment says of the log's end.
pub(super) struct End<F> {
    pub next: u64,
    pub proven: u64,
    pub time: Timestamp,
    pub newest: Option<Arc<Segment>>,
    pub active: Option<Active<F>>,
}

impl<F> Default for End<F> {
    fn default() -> Self {
        Self { next: 0, proven: 0, time: Timestamp(0), newest: None, active: None }
    }
}
