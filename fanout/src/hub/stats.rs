//! What a hub counts. Plain numbers of one owner; the shard publishes them.

use touchline_core::log::HoleReason;

/// Counters since the start, and sizes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubStats {
    /// Sessions open now.
    pub sessions: u64,
    /// Events handed to the kernel, counted for each socket.
    pub deliveries: u64,
    /// Bytes handed to the kernel, control frames included.
    pub sent_bytes: u64,
    /// Events that a later one replaced before everybody had been sent them, counted once.
    pub conflated: u64,
    /// Sessions that a policy ended.
    pub slow_closed: u64,
    /// `gap` messages by [`HoleReason`], in the order of [`HoleReason::ALL`].
    pub gaps: [u64; 4],
    /// How resumes went.
    pub resumes: ResumeStats,
    /// Batches that were missed and reread (R26).
    pub rereads: u64,
    /// Reads of the log that failed, or gave nothing where something was announced.
    pub reads_failed: u64,
    /// Records in a lane that this log doesn't have (R1).
    pub poison: u64,
    /// Topics whose whole window gave way because all windows together were too large (R6).
    pub topics_evicted: u64,
    /// Topics in memory.
    pub topics: u64,
    /// Memory of all windows.
    pub windows_bytes: u64,
    /// Sessions that wait for the log.
    pub catching_up: u64,
}

/// How resumes went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResumeStats {
    /// Whole, from memory.
    pub from_memory: u64,
    /// Whole as far as could be said, read from the log.
    pub from_log: u64,
    /// Declared not whole.
    pub not_recovered: u64,
}

impl HubStats {
    pub(super) fn count_gap(&mut self, reason: HoleReason) {
        let index = HoleReason::ALL.iter().position(|of| *of == reason).unwrap_or(0);
        self.gaps[index] += 1;
    }
}
