//! What the Kafka log counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one log, by whichever thread has something to count.
#[derive(Debug, Default)]
pub struct Stats {
    accepted: AtomicU64,
    duplicates: AtomicU64,
    too_old: AtomicU64,
    failed: AtomicU64,
    read: AtomicU64,
    suppressed: AtomicU64,
    poison: AtomicU64,
    jumps: AtomicU64,
    scouted: AtomicU64,
    reused: AtomicU64,
    owed_lost: AtomicU64,
}

/// What was counted by a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KafkaStats {
    /// Events that brokers have acknowledged to this node.
    pub accepted: u64,
    /// Events that were known at the door.
    pub duplicates: u64,
    /// Events that were older than their window.
    pub too_old: u64,
    /// Events that were not acknowledged in time, or refused.
    pub failed: u64,
    /// Records read.
    pub read: u64,
    /// Of these, suppressed as duplicates (R17).
    pub suppressed: u64,
    /// Of these, suppressed though they said something else than the first (R15).
    pub reused: u64,
    /// Of these, such as this node had acknowledged and could not keep as dead letters.
    pub owed_lost: u64,
    /// Of those read, passed by because they can't be shown.
    pub poison: u64,
    /// Times that retention had overtaken this node's reading.
    pub jumps: u64,
    /// Records read once more, only to judge what follows them.
    pub scouted: u64,
    /// Producers that have failed for good, and others took their places.
    pub producers_replaced: u64,
    /// Bytes of events on their way to the brokers.
    pub pending_bytes: u64,
    /// Entries of the dedupe windows.
    pub dedupe_entries: u64,
    /// The lane that is furthest behind its brokers, in records.
    pub lag_max: u64,
}

impl Stats {
    pub(super) fn add_outcomes(&self, accepted: u64, duplicates: u64, too_old: u64) {
        self.accepted.fetch_add(accepted, Ordering::Relaxed);
        self.duplicates.fetch_add(duplicates, Ordering::Relaxed);
        self.too_old.fetch_add(too_old, Ordering::Relaxed);
    }

    pub(super) fn add_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_read(&self, read: u64, suppressed: u64, poison: u64) {
        self.read.fetch_add(read, Ordering::Relaxed);
        self.suppressed.fetch_add(suppressed, Ordering::Relaxed);
        self.poison.fetch_add(poison, Ordering::Relaxed);
    }

    pub(super) fn add_jump(&self) {
        self.jumps.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_scouted(&self) {
        self.scouted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_reused(&self, reused: u64) {
        self.reused.fetch_add(reused, Ordering::Relaxed);
    }

    pub(super) fn add_owed_lost(&self) {
        self.owed_lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> KafkaStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        KafkaStats {
            accepted: get(&self.accepted),
            duplicates: get(&self.duplicates),
            too_old: get(&self.too_old),
            failed: get(&self.failed),
            read: get(&self.read),
            suppressed: get(&self.suppressed),
            poison: get(&self.poison),
            jumps: get(&self.jumps),
            scouted: get(&self.scouted),
            reused: get(&self.reused),
            owed_lost: get(&self.owed_lost),
            ..KafkaStats::default()
        }
    }
}
