//! Counters, gauges and histograms with one writer each, read by scrapes that stop nobody.
//!
//! A shard counts millions of deliveries a second. A counter that several threads write costs an
//! atomic exchange and a cache line that wanders between cores; these are written by one thread, so
//! adding is a relaxed load and a relaxed store, plain moves on every machine we know. A scrape
//! loads them whenever it likes and adds up the shards: it may see one number from before a step
//! and another from after it, which is what Prometheus expects.
//!
//! # Rules
//! - One thread writes a metric. Two writers lose counts; nothing worse.
//! - What one thread writes lies together, in a [`Padded`] of its own, so that threads share no
//!   cache line.
//! - [`Histogram`]s have fixed buckets, so that shards and nodes add up.

mod histogram;

pub use histogram::{BUCKETS, Histogram, Snapshot};

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Something that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Takes over a total that is kept elsewhere (the hub's own plain numbers). It must not shrink.
    pub fn set_total(&self, total: u64) {
        debug_assert!(total >= self.get(), "a counter only grows");
        self.0.store(total, Relaxed);
    }

    /// The total so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Something that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// Adds `change`, which may be negative.
    pub fn add(&self, change: i64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(change), Relaxed);
    }

    /// What it is now.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Keeps what one thread writes away from the cache lines of others. 128 bytes: x86 fetches lines
/// in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_adds_up_and_a_gauge_moves_both_ways() {
        let counter = Counter::default();
        counter.increment();
        counter.add(2);
        counter.set_total(7);
        assert_eq!(counter.get(), 7);
        let gauge = Gauge::default();
        gauge.set(3);
        gauge.add(-5);
        assert_eq!(gauge.get(), -2);
    }

    #[test]
    fn padded_neighbours_share_no_line() {
        let pair = [Padded(Counter::default()), Padded(Counter::default())];
        let [left, right] = [&pair[0], &pair[1]].map(|counter| std::ptr::from_ref(counter).addr());
        assert!(right - left >= 128);
    }
}
