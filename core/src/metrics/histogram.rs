//! Durations in log-linear buckets: eight equal steps to each doubling, from 1 us to 137 s.
//!
//! A bucket is found by shifts alone, without a search or a logarithm. An eighth of a doubling
//! keeps the error of a quantile below 12.5 %, while a whole histogram is 218 numbers. Scrapes are
//! given a coarser view, one bound for each doubling ([`Snapshot::doublings`]), because Prometheus
//! pays for every bucket of every shard.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The first bucket ends here: 2^10 ns, about 1 us.
const FIRST_BITS: u32 = 10;
/// The last bounded bucket ends at 2^37 ns, about 137 s; one more takes what is longer.
const LAST_BITS: u32 = 37;
const STEP_BITS: u32 = 3;
const STEPS: usize = 1 << STEP_BITS;

/// Buckets of a histogram: one below the first bound, eight for each of 27 doublings, one above the
/// last bound.
pub const BUCKETS: usize = 1 + (LAST_BITS - FIRST_BITS) as usize * STEPS + 1;

const _: () = assert!(BUCKETS == 218);
const _: () = assert!(1 << LAST_BITS > 100_000_000_000u64, "100 s has a bucket of its own");

/// How often something took how long. One writer.
#[derive(Debug)]
pub struct Histogram {
    counts: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum_ns: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Notes one `duration`.
    pub fn record(&self, duration: Duration) {
        self.record_many(duration, 1);
    }

    /// Notes `count` equal durations at once, as of all sockets of one volley.
    pub fn record_many(&self, duration: Duration, count: u64) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        add(&self.counts[bucket_of(ns)], count);
        add(&self.sum_ns, ns.saturating_mul(count));
    }

    /// What has been noted so far.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            counts: self.counts.iter().map(|count| count.load(Relaxed)).collect(),
            sum_ns: self.sum_ns.load(Relaxed),
        }
    }
}

fn add(number: &AtomicU64, count: u64) {
    number.store(number.load(Relaxed).wrapping_add(count), Relaxed);
}

fn bucket_of(ns: u64) -> usize {
    if ns < 1 << FIRST_BITS {
        return 0;
    }
    let doubling = 63 - ns.leading_zeros();
    if doubling >= LAST_BITS {
        return BUCKETS - 1;
    }
    let step = (ns >> (doubling - STEP_BITS)) as usize & (STEPS - 1);
    1 + (doubling - FIRST_BITS) as usize * STEPS + step
}

/// Upper bound of a bucket in nanoseconds; `u64::MAX` for the last one.
fn bound_of(bucket: usize) -> u64 {
    match bucket {
        0 => 1 << FIRST_BITS,
        n if n >= BUCKETS - 1 => u64::MAX,
        n => {
            let (doubling, step) = ((n - 1) / STEPS, (n - 1) % STEPS);
            ((STEPS + step + 1) as u64) << (doubling + (FIRST_BITS - STEP_BITS) as usize)
        }
    }
}

/// A histogram at one moment: plain numbers, to be added up and asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    counts: Box<[u64]>,
    sum_ns: u64,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into(), sum_ns: 0 }
    }
}

impl Snapshot {
    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
    }

    /// What was noted after `earlier`, a former snapshot of the same.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.iter().zip(&earlier.counts);
        Self {
            counts: counts.map(|(now, before)| now.saturating_sub(*before)).collect(),
            sum_ns: self.sum_ns.wrapping_sub(earlier.sum_ns),
        }
    }

    /// How many durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All durations added up, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// The bound below which the share `q` (0 to 1) of durations lies; `None` while there are none.
    /// Above 137 s it answers 137 s.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        (count > 0).then(|| Duration::from_nanos(bound_of(bucket).min(1 << LAST_BITS)))
    }

    /// For Prometheus: upper bounds in seconds, a doubling apart, with how many durations lie below
    /// each. The count of all, `+Inf`, is [`count`](Self::count).
    pub fn doublings(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut seen = 0;
        let mut next = 0;
        (FIRST_BITS..=LAST_BITS).map(move |bits| {
            let end = 1 + (bits - FIRST_BITS) as usize * STEPS;
            seen += self.counts[next..end].iter().sum::<u64>();
            next = end;
            ((1u64 << bits) as f64 / 1e9, seen)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        for bucket in 0..BUCKETS - 1 {
            let bound = bound_of(bucket);
            assert_eq!(bucket_of(bound - 1), bucket, "below {bound}");
            assert_eq!(bucket_of(bound), bucket + 1, "at {bound}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn doublings_count_what_lies_below_them() {
        let histogram = Histogram::default();
        for ns in [10, 1_500, 3_000_000, 200_000_000_000] {
            histogram.record(Duration::from_nanos(ns));
        }
        let snapshot = histogram.snapshot();
        for (bound, count) in snapshot.doublings() {
            let want = [1e-8, 1.5e-6, 3e-3, 200.0].iter().filter(|s| **s < bound).count() as u64;
            assert_eq!(count, want, "below {bound}");
        }
        assert_eq!(snapshot.count(), 4);
        assert!((snapshot.sum_seconds() - 200.003_001_51).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn a_quantile_is_right_to_an_eighth(
            mut ns in prop::collection::vec(2_000..1u64 << 36, 1..200),
            q in 0.0..=1.0f64,
        ) {
            let histogram = Histogram::default();
            ns.iter().for_each(|ns| histogram.record(Duration::from_nanos(*ns)));
            ns.sort_unstable();
            let rank = ((q * ns.len() as f64).ceil() as usize).max(1);
            let (exact, got) = (ns[rank - 1] as f64, histogram.snapshot().quantile(q).unwrap());
            let got = got.as_nanos() as f64;
            prop_assert!(got >= exact && got <= exact * 1.125 + 1.0, "{exact} {got}");
        }

        #[test]
        fn shards_add_up(left in prop::collection::vec(0..u64::MAX >> 20, 0..50),
                         right in prop::collection::vec(0..u64::MAX >> 20, 0..50)) {
            let of = |values: &[u64]| {
                let histogram = Histogram::default();
                values.iter().for_each(|ns| histogram.record(Duration::from_nanos(*ns)));
                histogram.snapshot()
            };
            let mut sum = of(&left);
            sum.merge(&of(&right));
            prop_assert_eq!(&sum, &of(&[left.clone(), right.clone()].concat()));
            prop_assert_eq!(sum.since(&of(&left)), of(&right));
        }
    }

    #[test]
    fn nothing_noted_has_no_quantile() {
        assert_eq!(Snapshot::default().quantile(0.5), None);
    }
}
