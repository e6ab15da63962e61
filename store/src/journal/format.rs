//! The journal's bytes: heads of segments and groups, and the frame around each record.
//!
//! ```text
//! segment = head block, group, group, ...          every group starts on a block's boundary
//! head    = magic version endian epoch lane first proven opened_at crc      padded to a block
//! group   = magic epoch first count bytes proven time crc, record, record, ...   padded to a block
//! record  = length crc seq time body               body is what `core::log::record` writes
//! ```
//! All numbers are little endian. `proven` is the watermark known to be durable when the head was
//! written (R12): all sequences below it had been synced. A group without records is such a proof
//! and nothing else; an idle journal writes one.
//!
//! # Invariants
//! - Groups are padded to whole blocks, so a block with acknowledged bytes is never written again.
//! - A magic begins with a byte that no UTF-8 text holds, so nothing a source sends looks like a
//!   head.
//! - One group is in flight at a time: a group that can be read proves that all before it were
//!   synced.

use touchline_core::event::Event;
use touchline_core::log::{Epoch, record};
use touchline_core::time::Timestamp;

use crate::limits::{BLOCK_BYTES, GROUP_BYTES_MAX, GROUP_HEAD_BYTES, RECORD_HEAD_BYTES};

const SEGMENT_MAGIC: [u8; 8] = *b"\xffTL-SEG\n";
const GROUP_MAGIC: [u8; 8] = *b"\xffTL-GRP\n";
/// Version of everything in this module.
pub const VERSION: u16 = 1;
const ENDIAN: u32 = 0x0102_0304;
const SEGMENT_HEAD_BYTES: usize = 64;

/// What is wrong with bytes on the disk. The text completes "byte N: ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing that begins like a head.
    #[error("no head where one must stand")]
    NoHead,
    /// A head whose checksum doesn't match.
    #[error("a head fails its checksum")]
    HeadChecksum,
    /// A group of another life of the log, or out of order.
    #[error("a group that doesn't belong here")]
    Foreign,
    /// The file ends too early.
    #[error("the file ends within a group")]
    Short,
    /// A record whose checksum doesn't match.
    #[error("a record fails its checksum")]
    RecordChecksum,
    /// A record that passes its checksum and yet can't be read.
    #[error("a record can't be decoded")]
    Undecodable,
}

/// Why a segment's head can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// Written by another version.
    Version(u16),
    /// Written with the other byte order.
    Endian,
    /// Torn or damaged.
    Unreadable(Fault),
}

/// What stands at the start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// Life of the log.
    pub epoch: Epoch,
    /// First sequence it may hold.
    pub first: u64,
    /// All below was synced when the segment was made.
    pub proven: u64,
    /// Log time at that moment: no earlier segment holds anything later.
    pub opened_at: Timestamp,
}

impl SegmentHead {
    /// The segment's first block.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        block.extend_from_slice(&SEGMENT_MAGIC);
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&0u16.to_le_bytes());
        block.extend_from_slice(&ENDIAN.to_le_bytes());
        for number in [self.epoch.0, self.first, self.proven, self.opened_at.0 as u64] {
            block.extend_from_slice(&number.to_le_bytes());
        }
        block.resize(SEGMENT_HEAD_BYTES - 4, 0);
        block.extend_from_slice(&crc32c::crc32c(&block).to_le_bytes());
        block.resize(BLOCK_BYTES, 0);
        block
    }

    /// Reads what [`SegmentHead::encode`] wrote. Version and byte order are judged first: what
    /// another build wrote must be refused as such, not called damage.
    pub fn decode(block: &[u8]) -> Result<Self, HeadFault> {
        let Some(head) = block.get(..SEGMENT_HEAD_BYTES) else {
            return Err(HeadFault::Unreadable(Fault::Short));
        };
        if head[..8] != SEGMENT_MAGIC {
            return Err(HeadFault::Unreadable(Fault::NoHead));
        }
        let (version, endian) = (u16_at(head, 8), u32_at(head, 12));
        if endian == ENDIAN.swap_bytes() {
            return Err(HeadFault::Endian);
        }
        let sound =
            crc32c::crc32c(&head[..SEGMENT_HEAD_BYTES - 4]) == u32_at(head, SEGMENT_HEAD_BYTES - 4);
        if !sound {
            return Err(HeadFault::Unreadable(Fault::HeadChecksum));
        }
        if version != VERSION {
            return Err(HeadFault::Version(version));
        }
        Ok(Self {
            epoch: Epoch(u64_at(head, 16)),
            first: u64_at(head, 24),
            proven: u64_at(head, 32),
            opened_at: Timestamp(u64_at(head, 40) as i64),
        })
    }
}

/// What stands before the records of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHead {
    /// Life of the log.
    pub epoch: Epoch,
    /// Sequence of its first record.
    pub first: u64,
    /// How many records; none in a mere proof.
    pub count: u32,
    /// Bytes of the records, without head and padding.
    pub bytes: u32,
    /// All below was synced before this group was written.
    pub proven: u64,
    /// Log time of its last record.
    pub time: Timestamp,
}

impl GroupHead {
    /// Bytes of the whole group in its file.
    pub fn span_bytes(&self) -> u64 {
        (GROUP_HEAD_BYTES + self.bytes as usize).next_multiple_of(BLOCK_BYTES) as u64
    }

    /// One above its last sequence.
    pub fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// Reads the head at the start of `block`.
    pub fn decode(block: &[u8]) -> Result<Self, Fault> {
        let head = block.get(..GROUP_HEAD_BYTES).ok_or(Fault::Short)?;
        if head[..8] != GROUP_MAGIC {
            return Err(Fault::NoHead);
        }
        let sum = u32_at(head, GROUP_HEAD_BYTES - 4);
        if crc32c::crc32c(&head[..GROUP_HEAD_BYTES - 4]) != sum {
            return Err(Fault::HeadChecksum);
        }
        let head = Self {
            epoch: Epoch(u64_at(head, 8)),
            first: u64_at(head, 16),
            count: u32_at(head, 24),
            bytes: u32_at(head, 28),
            proven: u64_at(head, 32),
            time: Timestamp(u64_at(head, 40) as i64),
        };
        let fits = head.bytes as usize <= GROUP_BYTES_MAX
            && head.count as usize <= head.bytes as usize / RECORD_HEAD_BYTES;
        if fits { Ok(head) } else { Err(Fault::Foreign) }
    }

    fn encode(&self, out: &mut [u8]) {
        out[..8].copy_from_slice(&GROUP_MAGIC);
        out[8..16].copy_from_slice(&self.epoch.0.to_le_bytes());
        out[16..24].copy_from_slice(&self.first.to_le_bytes());
        out[24..28].copy_from_slice(&self.count.to_le_bytes());
        out[28..32].copy_from_slice(&self.bytes.to_le_bytes());
        out[32..40].copy_from_slice(&self.proven.to_le_bytes());
        out[40..48].copy_from_slice(&self.time.0.to_le_bytes());
        let sum = crc32c::crc32c(&out[..GROUP_HEAD_BYTES - 4]);
        out[GROUP_HEAD_BYTES - 4..GROUP_HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
    }
}

/// A group being put together, in a buffer that is used again.
#[derive(Debug, Default)]
pub struct GroupBuffer {
    bytes: Vec<u8>,
    count: u32,
}

impl GroupBuffer {
    /// Forgets what it holds.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(GROUP_HEAD_BYTES, 0);
        self.count = 0;
    }

    /// Bytes of its records so far.
    pub fn record_bytes(&self) -> usize {
        self.bytes.len().saturating_sub(GROUP_HEAD_BYTES)
    }

    /// Adds one record.
    pub fn push(&mut self, seq: u64, time: Timestamp, event: &Event, received_at: Timestamp) {
        let at = self.bytes.len();
        self.bytes.resize(at + RECORD_HEAD_BYTES, 0);
        record::encode(event, received_at, &mut self.bytes);
        let len = (self.bytes.len() - at - RECORD_HEAD_BYTES) as u32;
        let record = &mut self.bytes[at..];
        record[..4].copy_from_slice(&len.to_le_bytes());
        record[8..16].copy_from_slice(&seq.to_le_bytes());
        record[16..24].copy_from_slice(&time.0.to_le_bytes());
        let sum = record_sum(record);
        record[4..8].copy_from_slice(&sum.to_le_bytes());
        self.count += 1;
    }

    /// Takes the first `count` records, as they were read from a file.
    pub fn copy_records(&mut self, records: &[u8], count: u32) {
        self.clear();
        self.bytes.extend_from_slice(records);
        self.count = count;
    }

    /// Writes the head, pads to whole blocks, and gives what is to be written.
    pub fn finish(
        &mut self,
        epoch: Epoch,
        first: u64,
        proven: u64,
        time: Timestamp,
    ) -> (GroupHead, &[u8]) {
        let bytes = self.record_bytes() as u32;
        let head = GroupHead { epoch, first, count: self.count, bytes, proven, time };
        head.encode(&mut self.bytes[..GROUP_HEAD_BYTES]);
        self.bytes.resize(head.span_bytes() as usize, 0);
        (head, &self.bytes)
    }
}

/// A record as it lies in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Its sequence.
    pub seq: u64,
    /// Its log time.
    pub time: Timestamp,
    /// What `core::log::record` reads.
    pub body: &'a [u8],
    /// One above its last byte, within the group's records.
    pub end: usize,
}

/// What [`records`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A sound record.
    Record(RawRecord<'a>),
    /// Sequences that can't be read.
    Bad {
        /// The first of them.
        first: u64,
        /// One above the last.
        next: u64,
        /// Where the bad place begins, within the group's records.
        offset: usize,
        /// What is wrong there.
        fault: Fault,
    },
}

/// Goes through the records of a group. `body` is what could be read of them. After a bad record it
/// goes on where that one's length leads, if a sound record with the right sequence stands there;
/// else it gives up the rest.
pub fn records(head: GroupHead, body: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let (mut at, mut seq) = (0usize, head.first);
    std::iter::from_fn(move || {
        if seq >= head.next() {
            return None;
        }
        let fault = match record_at(body, at, seq) {
            Ok(record) => {
                (at, seq) = (record.end, seq + 1);
                return Some(Found::Record(record));
            }
            Err(fault) => fault,
        };
        let (first, offset) = (seq, at);
        (at, seq) = (body.len(), head.next());
        if let Some(end) = claimed_end(body, offset)
            && record_at(body, end, first + 1).is_ok()
        {
            (at, seq) = (end, first + 1);
        }
        Some(Found::Bad { first, next: seq, offset, fault })
    })
}

fn record_at(body: &[u8], at: usize, seq: u64) -> Result<RawRecord<'_>, Fault> {
    let end = claimed_end(body, at).ok_or(Fault::Short)?;
    let record = body.get(at..end).ok_or(Fault::Short)?;
    if record_sum(record) != u32_at(record, 4) || u64_at(record, 8) != seq {
        return Err(Fault::RecordChecksum);
    }
    let time = Timestamp(u64_at(record, 16) as i64);
    Ok(RawRecord { seq, time, body: &record[RECORD_HEAD_BYTES..], end })
}

fn claimed_end(body: &[u8], at: usize) -> Option<usize> {
    let head = body.get(at..at + RECORD_HEAD_BYTES)?;
    (at + RECORD_HEAD_BYTES).checked_add(u32_at(head, 0) as usize)
}

/// Over all of the record but the checksum's own four bytes.
fn record_sum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..4]), &record[8..])
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(raw)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(raw)
}
