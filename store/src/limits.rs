//! Every bound of this crate, in one place, with its arithmetic.

use std::time::Duration;

use touchline_core::limits::{BODY_BYTES_MAX, DATA_BYTES_MAX, ID_BYTES_MAX};
use touchline_core::limits::{KIND_BYTES_MAX, NAME_BYTES_MAX, ROUTE_TEAMS_MAX};

/// How far the host's clock may stand behind log time before appends are refused, and how much
/// longer than its window an entry of the dedupe window stays. An append that waits for a slow disk
/// falls behind by as much.
pub const CLOCK_BEHIND_MAX: Duration = Duration::from_secs(2 * 60);
/// How far the host's clock may stand ahead of log time before appends are refused: short enough
/// that what has just happened isn't taken for too old (a window of 1 h, less 5 minutes).
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(30 * 60);
/// What a disk writes at once, and what direct I/O has to be aligned to. Every write of the journal
/// is a whole number of blocks at a block's boundary, so that no byte that was acknowledged is ever
/// written again.
pub const BLOCK_BYTES: usize = 4096;
/// Head of a group of records.
pub const GROUP_HEAD_BYTES: usize = 64;
/// Head of a record: length, checksum, sequence, log time.
pub const RECORD_HEAD_BYTES: usize = 24;
/// A record's body: its fixed fields, and the texts of `core::log::record` with their lengths.
pub const RECORD_BODY_BYTES_MAX: usize = 64
    + 5 * (2 + NAME_BYTES_MAX)
    + 4 * (2 + ID_BYTES_MAX)
    + 2
    + ROUTE_TEAMS_MAX * (NAME_BYTES_MAX + 1)
    + 2
    + KIND_BYTES_MAX
    + DATA_BYTES_MAX;
/// A group takes no further append once it holds this much; one append may take it past that.
pub const GROUP_BYTES_TARGET: usize = 4 << 20;
/// Events of one append: more than any body may hold (1,000), and few enough for a group's head.
pub const APPEND_EVENTS_MAX: usize = 4_096;
/// Records of a whole group in its file: the target, and one append of the largest events.
pub const GROUP_BYTES_MAX: usize =
    GROUP_BYTES_TARGET + APPEND_EVENTS_MAX * (RECORD_HEAD_BYTES + RECORD_BODY_BYTES_MAX);
/// Room that a full disk must have again before sources are let in, at the least: some 3,000
/// ordinary events.
pub const FULL_ROOM_BYTES: usize = 1 << 20;
/// A start reads the newest segment whole and only the summaries of the others: 64 MiB at most
/// (DESIGN section 7).
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Below this a segment is more head than records.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// One entry of the sparse index for each so many bytes: 1,024 entries (16 KiB of memory) for a
/// segment of 64 MiB.
pub const INDEX_STRIDE_BYTES: u64 = 64 << 10;
/// Reads that may wait. A shard has one outstanding; the API and commands a few.
pub const READS_WAITING_MAX: usize = 256;
/// Bytes of one read, whatever was asked for.
pub const READ_BYTES_MAX: usize = 8 << 20;
/// Entries of the dedupe window that one table of its index may number: 30 bits.
pub const DEDUPE_RING_ENTRIES_MAX: usize = 1 << 30;
/// Entries of the dedupe window, whatever is configured: 42 bytes each at most, 5.6 GB.
pub const DEDUPE_ENTRIES_MAX: usize = 1 << 27;

/// Dead letters that wait to be written: some seconds of the worst a partner can do.
pub const DEAD_QUEUE_MAX: usize = 4_096;
/// Their bytes: 16 of the largest webhook bodies.
pub const DEAD_QUEUE_BYTES_MAX: usize = 16 << 20;
/// Letters of one transaction.
pub const DEAD_BATCH_MAX: usize = 256;
/// Letters in the file, whatever their size: what a person can still look through by filters, and a
/// list of them all in memory is 100 MB.
pub const DEAD_LETTERS_MAX: u64 = 100_000;
/// What a letter is counted for beyond its bytes: its row, its history, its places in indexes.
pub const DEAD_ROW_BYTES: usize = 1_024;
/// Steps of one letter's history.
pub const DEAD_HISTORY_MAX: usize = 64;

const _: () =
    assert!(DEAD_QUEUE_BYTES_MAX >= 16 * BODY_BYTES_MAX && DEAD_BATCH_MAX <= DEAD_QUEUE_MAX);
const _: () = assert!(BLOCK_BYTES.is_power_of_two() && GROUP_HEAD_BYTES < BLOCK_BYTES);
const _: () = assert!(GROUP_BYTES_MAX < u32::MAX as usize, "a group's length is a u32");
const _: () = assert!(BODY_BYTES_MAX < GROUP_BYTES_TARGET, "any body fits a group");
const _: () = assert!(SEGMENT_BYTES_MAX + (GROUP_BYTES_MAX as u64) < u32::MAX as u64);
const _: () = assert!(DEDUPE_ENTRIES_MAX < DEDUPE_RING_ENTRIES_MAX);
