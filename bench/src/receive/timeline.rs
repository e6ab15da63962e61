//! How a run went, second by second: what arrived of the events that were due in it, and how late.
//!
//! Each slice is a small histogram of its own: four buckets an octave, which is within 19 % of the
//! truth and costs 512 bytes. For exact percentiles there are the windows.

use serde::{Deserialize, Serialize};

use crate::limits::SLICES_MAX;

/// Buckets of a slice: four an octave up to 2^31 microseconds.
const BUCKETS: usize = 128;

/// Deliveries of events that were due within a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Slice {
    buckets: Vec<u32>,
    max_us: u64,
}

/// A run in slices of even length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    start_ns: u64,
    slice_ns: u64,
    slices: Vec<Slice>,
    /// The slice of the last record: a division for every delivery would be seen.
    #[serde(skip)]
    current: (u64, usize),
}

/// One slice, for people.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds since the run began.
    pub at_s: f64,
    /// Deliveries of the events that were due in this slice.
    pub delivered: u64,
    /// Half of them were quicker, microseconds.
    pub p50_us: u64,
    /// 99 of 100.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
}

impl Timeline {
    /// From `start_ns` to `end_ns`, in slices of a second, or longer ones where that is too many.
    pub fn new(start_ns: u64, end_ns: u64) -> Self {
        let seconds = end_ns.saturating_sub(start_ns).div_ceil(1_000_000_000).max(1);
        let slice_s = seconds.div_ceil(SLICES_MAX as u64);
        let slice = Slice { buckets: Vec::new(), max_us: 0 };
        let slices = vec![slice; seconds.div_ceil(slice_s) as usize];
        Self { start_ns, slice_ns: slice_s * 1_000_000_000, slices, current: (start_ns, 0) }
    }

    /// An event that was due at `due_ns` arrived `latency_us` later.
    #[inline]
    pub fn record(&mut self, due_ns: u64, latency_us: u64) {
        if due_ns.wrapping_sub(self.current.0) >= self.slice_ns {
            let index = due_ns.saturating_sub(self.start_ns) / self.slice_ns.max(1);
            self.current = (self.start_ns + index * self.slice_ns, index as usize);
        }
        let Some(slice) = self.slices.get_mut(self.current.1) else { return };
        if slice.buckets.is_empty() {
            slice.buckets = vec![0; BUCKETS];
        }
        slice.buckets[bucket(latency_us)] += 1;
        slice.max_us = slice.max_us.max(latency_us);
    }

    /// Adds what another thread recorded of the same run.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.slices.iter_mut().zip(&other.slices) {
            mine.max_us = mine.max_us.max(theirs.max_us);
            if mine.buckets.is_empty() {
                mine.buckets.clone_from(&theirs.buckets);
                continue;
            }
            mine.buckets.iter_mut().zip(&theirs.buckets).for_each(|(a, b)| *a += b);
        }
    }

    /// Every slice in which something arrived.
    pub fn moments(&self) -> Vec<Moment> {
        let slices = self.slices.iter().enumerate().filter(|(_, slice)| !slice.buckets.is_empty());
        let moment = |(index, slice): (usize, &Slice)| Moment {
            at_s: (index as u64 * self.slice_ns) as f64 / 1e9,
            delivered: slice.count(),
            p50_us: slice.quantile_us(0.5),
            p99_us: slice.quantile_us(0.99),
            max_us: slice.max_us,
        };
        slices.map(moment).collect()
    }

    /// Median and 99th percentile of what arrived of the slice before the one of `now_ns`: what the
    /// run looks like right now.
    pub fn latest_us(&self, now_ns: u64) -> Option<(u64, u64)> {
        let index = (now_ns.saturating_sub(self.start_ns) / self.slice_ns.max(1)).checked_sub(1)?;
        let slice = self.slices.get(index as usize).filter(|slice| !slice.buckets.is_empty())?;
        Some((slice.quantile_us(0.5), slice.quantile_us(0.99)))
    }
}

impl Slice {
    fn count(&self) -> u64 {
        self.buckets.iter().map(|count| u64::from(*count)).sum()
    }

    fn quantile_us(&self, quantile: f64) -> u64 {
        let wanted = (self.count() as f64 * quantile).ceil() as u64;
        let mut seen = 0;
        let reaches = |count: &u32| {
            seen += u64::from(*count);
            seen >= wanted
        };
        self.buckets.iter().position(reaches).map_or(0, |index| top_us(index).min(self.max_us))
    }
}

/// Octave and quarter of it.
#[inline]
fn bucket(us: u64) -> usize {
    let us = us.clamp(4, u64::from(u32::MAX >> 1));
    let octave = us.ilog2();
    (((octave - 2) * 4) as usize + (us >> (octave - 2) & 3) as usize).min(BUCKETS - 1)
}

/// The greatest value of a bucket.
fn top_us(bucket: usize) -> u64 {
    let (octave, quarter) = (bucket / 4, bucket as u64 % 4);
    ((5 + quarter) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_within_a_fifth_of_it() {
        for us in [4, 5, 7, 8, 9, 100, 1_000, 65_535, 65_536, 5_000_000] {
            let top = top_us(bucket(us));
            assert!(us <= top && top as f64 <= us as f64 * 1.25, "{us}: {top}");
        }
        assert_eq!(bucket(u64::MAX), 115);
    }

    #[test]
    fn a_run_can_be_followed_second_by_second() {
        let second = 1_000_000_000;
        let mut a = Timeline::new(5, 5 + 3 * second);
        let mut b = a.clone();
        for n in 0..99 {
            a.record(5 + n, 1_000);
        }
        b.record(6, 900_000);
        b.record(5 + 2 * second, 70);
        b.record(5 + 3 * second, 70);
        a.merge(&b);
        let moments = a.moments();
        assert_eq!(moments.len(), 2, "nothing was due in the second second");
        assert_eq!((moments[0].delivered, moments[0].max_us), (100, 900_000));
        assert!((1_000..1_250).contains(&moments[0].p99_us), "{}", moments[0].p99_us);
        assert_eq!((moments[1].at_s, moments[1].p50_us), (2.0, 70));
        assert_eq!(a.latest_us(5 + 3 * second), Some((70, 70)));
        assert_eq!(a.latest_us(5 + 2 * second), None);
    }

    #[test]
    fn hours_are_cut_into_longer_slices() {
        let hours = Timeline::new(0, 4 * 3_600 * 1_000_000_000);
        assert!(hours.slices.len() <= SLICES_MAX);
        assert_eq!(hours.slice_ns, 24 * 1_000_000_000);
    }
}
