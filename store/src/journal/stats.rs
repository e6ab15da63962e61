//! What the journal counts. Written by its own threads, read by whoever scrapes; relaxed, never
//! locked.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of a histogram's buckets are 2^(n+4) microseconds: 16 us to 33 s, and one above.
pub const BUCKETS: usize = 22;

/// Upper bound of bucket `n`; the last bucket has none.
pub fn bucket_bound(n: usize) -> Duration {
    Duration::from_micros(16 << n)
}

/// Times, in buckets that double.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS + 1],
    sum_us: AtomicU64,
}

/// What a [`Histogram`] held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramStats {
    /// Counts by bucket ([`bucket_bound`]), not accumulated; the last one is for what is longer
    /// than all bounds.
    pub buckets: [u64; BUCKETS + 1],
    /// Sum of all times.
    pub sum: Duration,
}

impl HistogramStats {
    /// How many times were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl Histogram {
    pub(crate) fn record(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = (0..BUCKETS).find(|n| us <= 16 << n).unwrap_or(BUCKETS);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    fn stats(&self) -> HistogramStats {
        let mut stats = HistogramStats {
            sum: Duration::from_micros(self.sum_us.load(Relaxed)),
            ..Default::default()
        };
        for (to, from) in stats.buckets.iter_mut().zip(&self.buckets) {
            *to = from.load(Relaxed);
        }
        stats
    }
}

/// The journal's counters.
#[derive(Debug, Default)]
pub struct Stats {
    pub(crate) appends: AtomicU64,
    pub(crate) appends_failed: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) too_old: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) proofs: AtomicU64,
    pub(crate) fsyncs: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) record_bytes: AtomicU64,
    pub(crate) size_bytes: AtomicU64,
    pub(crate) segments: AtomicU64,
    pub(crate) dedupe_entries: AtomicU64,
    pub(crate) dedupe_bytes: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) append: Histogram,
    pub(crate) fsync: Histogram,
}

/// Plain numbers of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Appends that were answered.
    pub appends: u64,
    /// Of them, those of which nothing was taken.
    pub appends_failed: u64,
    /// Records made durable.
    pub records: u64,
    /// Events answered as duplicates.
    pub duplicates: u64,
    /// Events answered as too old.
    pub too_old: u64,
    /// Groups written.
    pub groups: u64,
    /// Proofs written by an idle journal.
    pub proofs: u64,
    /// Successful syncs of segments.
    pub fsyncs: u64,
    /// Bytes written to segments, padding included.
    pub written_bytes: u64,
    /// Bytes of the records among them.
    pub record_bytes: u64,
    /// Bytes that all segments take.
    pub size_bytes: u64,
    /// How many segments there are.
    pub segments: u64,
    /// Entries of the dedupe window.
    pub dedupe_entries: u64,
    /// Memory it takes.
    pub dedupe_bytes: u64,
    /// Bytes of events that wait for the disk.
    pub pending_bytes: u64,
    /// Age of the oldest append that waits.
    pub pending_age: Duration,
    /// Reads that were answered.
    pub reads: u64,
    /// From the call of `append` to its reply.
    pub append: HistogramStats,
    /// Of each sync.
    pub fsync: HistogramStats,
}

impl Stats {
    pub(crate) fn snapshot(&self) -> JournalStats {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        JournalStats {
            appends: get(&self.appends),
            appends_failed: get(&self.appends_failed),
            records: get(&self.records),
            duplicates: get(&self.duplicates),
            too_old: get(&self.too_old),
            groups: get(&self.groups),
            proofs: get(&self.proofs),
            fsyncs: get(&self.fsyncs),
            written_bytes: get(&self.written_bytes),
            record_bytes: get(&self.record_bytes),
            size_bytes: get(&self.size_bytes),
            segments: get(&self.segments),
            dedupe_entries: get(&self.dedupe_entries),
            dedupe_bytes: get(&self.dedupe_bytes),
            pending_bytes: 0,
            pending_age: Duration::ZERO,
            reads: get(&self.reads),
            append: self.append.stats(),
            fsync: self.fsync.stats(),
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

pub(crate) fn set(counter: &AtomicU64, n: u64) {
    counter.store(n, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for us in [0, 16, 17, 32, 33_554_432, 33_554_433] {
            histogram.record(Duration::from_micros(us));
        }
        let stats = histogram.stats();
        assert_eq!((stats.buckets[0], stats.buckets[1]), (2, 2));
        assert_eq!((stats.buckets[BUCKETS - 1], stats.buckets[BUCKETS]), (1, 1));
        assert_eq!(bucket_bound(BUCKETS - 1), Duration::from_micros(33_554_432));
        assert_eq!(stats.count(), 6);
    }
}
