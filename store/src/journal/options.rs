//! What a journal is told at the start, and what it tells in return.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use touchline_core::event::Stream;
use touchline_core::log::Epoch;

use super::clock::Clock;
use crate::limits::{DEDUPE_ENTRIES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

/// What an event may lie in the past before it is too old, less than its window (R16); and in the
/// future.
pub const SKEW: Duration = Duration::from_secs(5 * 60);

/// How the journal writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// Direct I/O where the host lets glommio open its files, else plain files.
    #[default]
    Auto,
    /// Direct I/O; the start fails where glommio can't have its ring.
    Glommio,
    /// `pwrite` and `fdatasync`.
    Plain,
}

/// How a journal is to be kept. Built once from the configuration.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Folder of its files; made if it doesn't exist. One process at a time.
    pub dir: PathBuf,
    /// How it writes. Default `Auto`.
    pub backend: Backend,
    /// A new segment begins at the first group past this. It is also how far apart the checkpoints
    /// of the dedupe window are: a start rereads one segment at most. 64 KiB to 64 MiB, default 64
    /// MiB.
    pub segment_bytes: u64,
    /// Oldest segments are removed while all take more than this, but never those in a dedupe
    /// window. Default 16 GiB.
    pub retention_bytes: u64,
    /// Segments whose last record is older than this are removed. Default 7 days.
    pub retention_age: Duration,
    /// Entries of the dedupe window, 42 bytes of memory each at most; past it sources get 429.
    /// Default 8 million.
    pub dedupe_entries_max: usize,
    /// Dedupe window by stream (R16). More than 5 minutes, except for sensors, whose values aren't
    /// judged by age. Default 1 h, 1 h, 10 min, 1 min.
    pub dedupe_windows: [Duration; 4],
    /// Bytes of events that may wait for the disk; past it sources get 503. Default 16 MiB: about
    /// 50,000 events.
    pub pending_bytes_max: usize,
    /// While the oldest waiting append is older than this, sources get 503. Default 2 s.
    pub pending_age_max: Duration,
    /// How long after its last group an idle journal writes the proof that the group is durable
    /// (R12). Default 100 ms.
    pub idle_proof_after: Duration,
    /// How often a full disk is tried again, at first; doubles up to 50 times that. Default 100 ms.
    pub full_retry: Duration,
    /// Where its time comes from. Default: the host.
    pub clock: Clock,
    /// How long [`close`](super::Journal::close) waits for the disk. Default 5 s.
    pub close_timeout: Duration,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("journal"),
            backend: Backend::Auto,
            segment_bytes: SEGMENT_BYTES_MAX,
            retention_bytes: 16 << 30,
            retention_age: Duration::from_secs(7 * 24 * 3600),
            dedupe_entries_max: 8_000_000,
            dedupe_windows: [3600, 3600, 600, 60].map(Duration::from_secs),
            pending_bytes_max: 16 << 20,
            pending_age_max: Duration::from_secs(2),
            idle_proof_after: Duration::from_millis(100),
            full_retry: Duration::from_millis(100),
            clock: Clock::default(),
            close_timeout: Duration::from_secs(5),
        }
    }
}

impl JournalOptions {
    /// Checks what can be checked without a disk.
    pub fn check(&self) -> Result<(), OpenError> {
        let refuse = |text: &str| Err(OpenError::Options(text.into()));
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return refuse("segment_bytes must be 64 KiB to 64 MiB");
        }
        if !(1..=DEDUPE_ENTRIES_MAX).contains(&self.dedupe_entries_max) {
            return refuse("dedupe_entries_max must be 1 to 134217728");
        }
        let short = |stream: &Stream| {
            *stream != Stream::Sensor && self.dedupe_windows[*stream as usize] <= SKEW
        };
        if Stream::ALL.iter().any(short) {
            return refuse("a dedupe window must be longer than 5 minutes");
        }
        if self.pending_bytes_max == 0 {
            return refuse("pending_bytes_max must not be zero");
        }
        Ok(())
    }

    /// The longest dedupe window: what retention must leave alone.
    pub fn window_max(&self) -> Duration {
        self.dedupe_windows.into_iter().max().unwrap_or_default()
    }
}

/// Why a journal could not be opened. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The options contradict themselves.
    #[error("{0}")]
    Options(Box<str>),
    /// Another process has it.
    #[error(
        "the journal in {dir} is in use by process {pid}: stop that one, or choose another folder"
    )]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// As that process wrote it; `?` when it didn't.
        pid: Box<str>,
    },
    /// The folder can't be made or written to.
    #[error("the journal's folder {dir} can't be used: {error}")]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A segment was written by another version.
    #[error(
        "{file} has journal version {found}; this build reads version {known}: use the build that wrote it, or migrate"
    )]
    Version {
        /// The segment.
        file: String,
        /// Its version.
        found: u16,
        /// Ours.
        known: u16,
    },
    /// A segment was written on a machine of the other byte order.
    #[error(
        "{file} was written with the other byte order: open it on the kind of machine that wrote it"
    )]
    Endian {
        /// The segment.
        file: String,
    },
    /// The ring backend was asked for and can't run.
    #[error("the journal's ring backend can't run here: {0}; use `plain` or `auto`")]
    Backend(Box<str>),
    /// The disk failed while the journal was being read or repaired.
    #[error("the journal in {dir} can't be read: {error}")]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// What a start found and did.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// How it writes, and why not otherwise: one clause for the log.
    pub backend: Arc<str>,
    /// Life of the log.
    pub epoch: Option<Epoch>,
    /// Whether a new life began, and why (R8).
    pub epoch_reason: Option<&'static str>,
    /// First sequence that can be read.
    pub first: u64,
    /// One above the last.
    pub next: u64,
    /// Records that were read again, of the newest segment and of those without a checkpoint.
    pub records_scanned: u64,
    /// Bytes of a torn tail that were cut.
    pub torn_bytes: u64,
    /// Records of the unproven tail that were written and synced again before anybody sees them.
    pub records_rewritten: u64,
    /// Entries of the dedupe window.
    pub dedupe_entries: usize,
    /// Segments that had no usable checkpoint and were read whole.
    pub segments_rebuilt: u32,
    /// Segments that are set aside, with the offset of what is wrong.
    pub quarantined: Vec<(Arc<str>, u64)>,
    /// How long it took.
    pub took: Duration,
}
