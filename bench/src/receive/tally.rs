//! What receivers saw: latencies by window, first and last receipt of each event, and everything
//! that went wrong.
//!
//! Each receiver thread fills a [`Tally`] of its own; at the end they are merged and sent to the
//! controller as a [`Harvest`]. Recording a delivery costs a bucket increment, two stores and no
//! allocation.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::limits::{EVENTS_MAX, LATENCY_US_MAX};
use crate::schedule::Window;
use crate::stamp::Stamp;

/// First and last receipt of one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipts {
    first_ns: u64,
    last_ns: u64,
    due_ns: u64,
}

/// Things that are counted rather than timed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events that arrived, once for each socket.
    pub delivered: u64,
    /// Bytes that arrived.
    pub bytes: u64,
    /// Events a socket should have got and didn't.
    pub lost: u64,
    /// Events that arrived again, or after a later one.
    pub repeated: u64,
    /// `gap` messages.
    pub gaps: u64,
    /// `error` messages.
    pub errors: u64,
    /// Connections that ended while they should have lived, by close code (1006: none was sent).
    pub closed: BTreeMap<u16, u64>,
}

impl Counts {
    /// Adds what another thread counted.
    pub fn merge(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.gaps += other.gaps;
        self.errors += other.errors;
        for (code, count) in &other.closed {
            *self.closed.entry(*code).or_default() += count;
        }
    }
}

/// One thread's records.
pub struct Tally {
    windows: Vec<(Window, Histogram<u32>)>,
    events: Vec<Receipts>,
    current: usize,
    /// See [`Counts`].
    pub counts: Counts,
}

impl Tally {
    /// For a run of `events` events, measured in `windows`.
    pub fn new(windows: &[Window], events: u32) -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        let histogram = histogram.expect("the bounds are constants that hdrhistogram takes");
        let windows = windows.iter().map(|window| (*window, histogram.clone())).collect();
        let events = vec![Receipts::default(); (events as usize).min(EVENTS_MAX)];
        Self { windows, events, current: 0, counts: Counts::default() }
    }

    /// One event arrived on one socket.
    #[inline]
    pub fn record(&mut self, stamp: Stamp, now_ns: u64) {
        self.counts.delivered += 1;
        if let Some(receipts) = self.events.get_mut(stamp.n as usize) {
            if receipts.first_ns == 0 {
                *receipts = Receipts { first_ns: now_ns, last_ns: now_ns, due_ns: stamp.t };
            }
            receipts.last_ns = now_ns;
        }
        let inside = |window: &Window| (window.from_ns..window.to_ns).contains(&stamp.t);
        if !self.windows.get(self.current).is_some_and(|(window, _)| inside(window)) {
            match self.windows.iter().position(|(window, _)| inside(window)) {
                Some(index) => self.current = index,
                None => return,
            }
        }
        let latency_us = now_ns.saturating_sub(stamp.t) / 1_000;
        self.windows[self.current].1.saturating_record(latency_us.max(1));
    }

    /// Adds what another thread recorded in the same run.
    pub fn merge(&mut self, other: &Self) {
        for ((_, mine), (_, theirs)) in self.windows.iter_mut().zip(&other.windows) {
            mine.add(theirs).expect("all threads use the same bounds");
        }
        for (mine, theirs) in self.events.iter_mut().zip(&other.events) {
            if theirs.first_ns == 0 {
                continue;
            }
            if mine.first_ns == 0 {
                *mine = *theirs;
            }
            mine.first_ns = mine.first_ns.min(theirs.first_ns);
            mine.last_ns = mine.last_ns.max(theirs.last_ns);
        }
        self.counts.merge(&other.counts);
    }

    /// What is sent to the controller.
    pub fn harvest(&self) -> Harvest {
        let windows = self.windows.iter().map(|(window, latencies)| {
            let inside = |event: &&Receipts| {
                event.first_ns != 0 && (window.from_ns..window.to_ns).contains(&event.due_ns)
            };
            let after_s = |e: &Receipts| (e.due_ns - window.from_ns) as f64 / 1e9;
            let events = || self.events.iter().filter(inside);
            WindowHarvest {
                latency: Latency::of(latencies),
                spread_us: quartiles(events().map(|e| (e.last_ns - e.first_ns) / 1_000)),
                last_us: quartiles(events().map(|e| e.last_ns.saturating_sub(e.due_ns) / 1_000)),
                slowest_s: events()
                    .max_by_key(|e| e.last_ns.saturating_sub(e.due_ns))
                    .map_or(0.0, after_s),
                took_s: events()
                    .map(|e| e.last_ns.saturating_sub(window.from_ns))
                    .max()
                    .unwrap_or(0) as f64
                    / 1e9,
                buckets: latencies
                    .iter_recorded()
                    .map(|v| (v.value_iterated_to(), v.count_at_value().into()))
                    .collect(),
            }
        });
        Harvest { windows: windows.collect(), counts: self.counts.clone() }
    }
}

/// Everything a receiver process tells about a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Harvest {
    /// In the order in which they were asked for.
    pub windows: Vec<WindowHarvest>,
    /// Of the whole run.
    pub counts: Counts,
}

/// What was measured in one window. All figures in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WindowHarvest {
    /// From the intended send to the client's read returning.
    pub latency: Latency,
    /// From an event's first receipt to its last: lower quartile, median, upper quartile, maximum.
    pub spread_us: [u64; 4],
    /// From an event's intended send to its last receipt, likewise.
    pub last_us: [u64; 4],
    /// Due time of the event whose last receipt came latest, seconds after the window began.
    pub slowest_s: f64,
    /// From the first due time to the last receipt, seconds: how long all of it took.
    pub took_s: f64,
    /// The histogram's buckets: value and count. For whoever wants to merge or draw them.
    pub buckets: Vec<(u64, u64)>,
}

/// A histogram's summary, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Deliveries.
    pub count: u64,
    /// Half were quicker.
    pub p50: u64,
    /// 90 of 100.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1,000.
    pub p999: u64,
    /// 9,999 of 10,000.
    pub p9999: u64,
    /// The slowest.
    pub max: u64,
}

impl Latency {
    /// Summary of `histogram`.
    pub fn of<C: hdrhistogram::Counter>(histogram: &Histogram<C>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max(),
        }
    }
}

fn quartiles(values: impl Iterator<Item = u64>) -> [u64; 4] {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    let Some(last) = values.len().checked_sub(1) else {
        return [0; 4];
    };
    [1, 2, 3, 4].map(|quarter| values[last * quarter / 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        let windows = [Window { from_ns: 0, to_ns: 100 }, Window { from_ns: 100, to_ns: 200 }];
        Tally::new(&windows, 2)
    }

    #[test]
    fn an_event_counts_in_the_window_in_which_it_was_due() {
        let mut tally = tally();
        tally.record(Stamp { t: 150, seq: 0, n: 1 }, 2_000_150);
        tally.record(Stamp { t: 50, seq: 0, n: 0 }, 9_000_050);
        tally.record(Stamp { t: 500, seq: 0, n: 9 }, 9_000_500);
        let harvest = tally.harvest();
        assert_eq!(harvest.counts.delivered, 3);
        assert_eq!(harvest.windows[0].latency.count, 1);
        assert_eq!(harvest.windows[1].latency.count, 1);
        assert!(harvest.windows[0].latency.max.abs_diff(9_000) <= 9, "three digits");
        assert_eq!(harvest.windows[1].last_us[3], 2_000);
    }

    #[test]
    fn threads_agree_on_first_and_last() {
        let (mut a, mut b) = (tally(), tally());
        let stamp = Stamp { t: 50, seq: 0, n: 0 };
        a.record(stamp, 3_000_050);
        b.record(stamp, 1_000_050);
        b.record(stamp, 5_000_050);
        b.counts.closed.insert(1006, 2);
        a.merge(&b);
        let window = &a.harvest().windows[0];
        assert_eq!(window.spread_us[1], 4_000);
        assert_eq!(window.last_us[1], 5_000);
        assert_eq!((window.latency.count, a.counts.closed[&1006]), (3, 2));
    }

    #[test]
    fn quartiles_of_nothing_are_nothing() {
        assert_eq!(quartiles([].into_iter()), [0; 4]);
        assert_eq!(quartiles([5, 1, 3, 2, 4].into_iter()), [2, 3, 4, 5]);
    }
}
