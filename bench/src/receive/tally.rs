//! What receivers saw: latencies by window, first and last receipt of each event, and everything
//! that went wrong.
//!
//! Each receiver thread fills a [`Tally`] of its own; at the end they are merged, on each host and
//! then by the controller, which makes a [`Harvest`] of them. Recording a delivery costs two bucket
//! increments, two stores and no allocation.

use std::collections::HashMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::harvest::{Counts, Harvest, Latency, WindowHarvest, quartiles};
use super::timeline::Timeline;
use crate::limits::LATENCY_US_MAX;
use crate::message::Found;
use crate::schedule::{Plan, Stream, Window};
use crate::stamp::Stamp;

/// First and last receipt of one event, and when it was due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 3]", into = "[u64; 3]")]
pub struct Receipts {
    first_ns: u64,
    last_ns: u64,
    due_ns: u64,
}

impl From<[u64; 3]> for Receipts {
    fn from([first_ns, last_ns, due_ns]: [u64; 3]) -> Self {
        Self { first_ns, last_ns, due_ns }
    }
}

impl From<Receipts> for [u64; 3] {
    fn from(of: Receipts) -> Self {
        [of.first_ns, of.last_ns, of.due_ns]
    }
}

/// One thread's records.
pub struct Tally {
    windows: Vec<(Window, Histogram<u32>)>,
    events: Vec<Receipts>,
    /// Where events say only their number within their team and stream: which they are.
    numbers: HashMap<(u32, u32), Stamp>,
    current: usize,
    /// Where events come in several ways: those that are not timed by window.
    beside: Vec<(Stream, Histogram<u32>)>,
    away: Histogram<u32>,
    /// Second by second.
    pub timeline: Timeline,
    /// See [`Counts`].
    pub counts: Counts,
}

/// A tally on its way between processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    windows: Vec<(Window, Vec<(u64, u32)>)>,
    events: Vec<Receipts>,
    #[serde(default)]
    beside: Vec<(Stream, Vec<(u64, u32)>)>,
    away: Vec<(u64, u32)>,
    timeline: Timeline,
    counts: Counts,
}

impl Tally {
    /// For a run of `plan`, measured in `windows`.
    pub fn new(windows: &[Window], plan: &Plan) -> Self {
        let timeline = Timeline::new(plan.schedule.start_ns, plan.schedule.end_ns());
        Self {
            windows: windows.iter().map(|window| (*window, histogram())).collect(),
            events: vec![Receipts::default(); plan.events() as usize],
            numbers: HashMap::new(),
            current: 0,
            beside: plan.schedule.streams()[1..].iter().map(|s| (*s, histogram())).collect(),
            away: histogram(),
            timeline,
            counts: Counts::default(),
        }
    }

    /// For times at which nothing is measured.
    pub fn idle() -> Self {
        Self {
            windows: Vec::new(),
            events: Vec::new(),
            numbers: HashMap::new(),
            current: 0,
            beside: Vec::new(),
            away: histogram(),
            timeline: Timeline::default(),
            counts: Counts::default(),
        }
    }

    /// The same, for messages in which only sequence and time are found.
    pub fn with_numbers_of(mut self, plan: &Plan) -> Self {
        let number = |n| {
            let stamp = plan.stamp(n);
            ((plan.team(n), stamp.seq), stamp)
        };
        self.numbers = (0..plan.events()).map(number).collect();
        self
    }

    /// Which event of `team` was found; none that this run publishes, perhaps.
    pub fn stamp(&self, team: u32, found: Found) -> Option<Stamp> {
        let stamp = self.numbers.get(&(team, found.seq))?;
        Some(Stamp { t: found.t.unwrap_or(stamp.t), ..*stamp })
    }

    /// One event arrived on one socket that follows `team`.
    #[inline]
    pub fn record(&mut self, stamp: Stamp, team: u32, now_ns: u64) {
        self.counts.delivered += 1;
        let latency_us = now_ns.saturating_sub(stamp.t) / 1_000;
        if !self.beside.is_empty() && self.record_beside(stamp, latency_us) {
            return;
        }
        if let Some(receipts) = self.events.get_mut(stamp.n as usize) {
            if receipts.first_ns == 0 {
                *receipts = Receipts { first_ns: now_ns, last_ns: now_ns, due_ns: stamp.t };
            }
            receipts.last_ns = now_ns;
        }
        self.timeline.record(stamp.t, latency_us);
        let inside = |window: &Window| {
            (window.from_ns..window.to_ns).contains(&stamp.t) && team >= window.team_first
        };
        if !self.windows.get(self.current).is_some_and(|(window, _)| inside(window)) {
            match self.windows.iter().position(|(window, _)| inside(window)) {
                Some(index) => self.current = index,
                None => return,
            }
        }
        self.windows[self.current].1.saturating_record(latency_us.max(1));
    }

    /// Whether an event is of a stream that is not timed by window. Those of the warm-up count for
    /// nothing there either.
    fn record_beside(&mut self, stamp: Stamp, latency_us: u64) -> bool {
        let stream = Stream::ALL.get(Stream::place(stamp.seq).0);
        let beside = self.beside.iter_mut().find(|(beside, _)| Some(beside) == stream);
        let Some((_, latencies)) = beside else { return false };
        if self.windows.first().is_some_and(|(window, _)| stamp.t >= window.from_ns) {
            latencies.saturating_record(latency_us.max(1));
        }
        true
    }

    /// One event arrived on a socket that reads slowly: what it says about time is the client's
    /// fault.
    #[inline]
    pub fn record_slow(&mut self) {
        self.counts.delivered += 1;
    }

    /// A client is back after `away_us`.
    pub fn record_return(&mut self, away_us: u64) {
        self.counts.returned += 1;
        self.away.saturating_record(away_us.max(1));
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
        for ((_, mine), (_, theirs)) in self.beside.iter_mut().zip(&other.beside) {
            mine.add(theirs).expect("all threads use the same bounds");
        }
        self.away.add(&other.away).expect("all threads use the same bounds");
        self.timeline.merge(&other.timeline);
        self.counts.merge(&other.counts);
    }

    /// Ready to be sent to another process.
    pub fn to_record(&self) -> Record {
        Record {
            windows: self.windows.iter().map(|(window, of)| (*window, buckets(of))).collect(),
            events: self.events.clone(),
            beside: self.beside.iter().map(|(stream, of)| (*stream, buckets(of))).collect(),
            away: buckets(&self.away),
            timeline: self.timeline.clone(),
            counts: self.counts.clone(),
        }
    }

    /// What another process has sent.
    pub fn from_record(record: Record) -> Self {
        let windows = record.windows.into_iter();
        Self {
            windows: windows.map(|(window, buckets)| (window, filled(&buckets))).collect(),
            events: record.events,
            numbers: HashMap::new(),
            current: 0,
            beside: record.beside.iter().map(|(stream, of)| (*stream, filled(of))).collect(),
            away: filled(&record.away),
            timeline: record.timeline,
            counts: record.counts,
        }
    }

    /// How long after its publisher was told an event reached the last of its sockets; none after
    /// that where the socket was first. Of events that are timed by window.
    fn after_told(&self, told_ns: &[u64]) -> Latency {
        let mut after = histogram();
        let is_timed = |event: &Receipts| {
            let inside = |window: &Window| (window.from_ns..window.to_ns).contains(&event.due_ns);
            event.first_ns != 0 && self.windows.iter().any(|(window, _)| inside(window))
        };
        let told = self.events.iter().zip(told_ns).filter(|(_, told_ns)| **told_ns != 0);
        for (event, told_ns) in told.filter(|(event, _)| is_timed(event)) {
            after.saturating_record((event.last_ns.saturating_sub(*told_ns) / 1_000).max(1));
        }
        Latency::of(&after)
    }

    /// All of it in figures. For `told_ns` see [`crate::publish::Posted`].
    pub fn harvest(&self, told_ns: &[u64]) -> Harvest {
        let windows = self.windows.iter().map(|(window, latencies)| {
            let inside = |event: &&Receipts| {
                event.first_ns != 0 && (window.from_ns..window.to_ns).contains(&event.due_ns)
            };
            let after_s = |e: &Receipts| (e.due_ns - window.from_ns) as f64 / 1e9;
            let events = || self.events.iter().filter(inside);
            let late_ns = |e: &Receipts| e.last_ns.saturating_sub(e.due_ns);
            let end_ns = events().map(|e| e.last_ns.saturating_sub(window.from_ns)).max();
            WindowHarvest {
                latency: Latency::of(latencies),
                spread_us: quartiles(events().map(|e| (e.last_ns - e.first_ns) / 1_000)),
                last_us: quartiles(events().map(|e| late_ns(e) / 1_000)),
                slowest_s: events().max_by_key(|e| late_ns(e)).map_or(0.0, after_s),
                took_s: end_ns.unwrap_or(0) as f64 / 1e9,
                buckets: buckets(latencies).into_iter().map(|(us, n)| (us, n.into())).collect(),
            }
        });
        Harvest {
            windows: windows.collect(),
            beside: self.beside.iter().map(|(stream, of)| (*stream, Latency::of(of))).collect(),
            after_told: self.after_told(told_ns),
            counts: self.counts.clone(),
            away: Latency::of(&self.away),
            timeline: self.timeline.moments(),
        }
    }
}

fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
        .expect("the bounds are constants that hdrhistogram takes")
}

fn buckets(of: &Histogram<u32>) -> Vec<(u64, u32)> {
    of.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect()
}

fn filled(buckets: &[(u64, u32)]) -> Histogram<u32> {
    let mut histogram = histogram();
    buckets.iter().for_each(|(us, count)| histogram.saturating_record_n(*us, *count));
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Phase, Schedule};

    fn tally() -> Tally {
        let stream = Stream::Broadcast;
        let window = |from_ns, to_ns, team_first| Window { from_ns, to_ns, team_first, stream };
        let windows = [window(0, 100, 0), window(100, 200, 3)];
        let phases = vec![Phase::even("x", 2.0, 1.0, 1)];
        Tally::new(&windows, &Schedule { start_ns: 0, teams: 1, pad: 0, phases }.plan())
    }

    #[test]
    fn an_event_counts_in_the_window_in_which_it_was_due() {
        let mut tally = tally();
        tally.record(Stamp { t: 150, seq: 0, n: 1 }, 3, 2_000_150);
        tally.record(Stamp { t: 150, seq: 0, n: 1 }, 2, 3_000_150);
        tally.record(Stamp { t: 50, seq: 0, n: 0 }, 0, 9_000_050);
        tally.record(Stamp { t: 500, seq: 0, n: 9 }, 0, 9_000_500);
        let harvest = tally.harvest(&[]);
        assert_eq!(harvest.counts.delivered, 4);
        assert_eq!(harvest.windows[0].latency.count, 1);
        assert_eq!(harvest.windows[1].latency.count, 1, "team 2 is not asked for");
        assert!(harvest.windows[0].latency.max.abs_diff(9_000) <= 9, "three digits");
        assert_eq!(harvest.windows[1].last_us[3], 3_000);
        assert_eq!(harvest.timeline[0].delivered, 4);
    }

    #[test]
    fn threads_and_hosts_agree_on_first_and_last() {
        let (mut a, mut b) = (tally(), tally());
        let stamp = Stamp { t: 50, seq: 0, n: 0 };
        a.record(stamp, 0, 3_000_050);
        b.record(stamp, 0, 1_000_050);
        b.record(stamp, 0, 5_000_050);
        b.record_return(77_000);
        b.counts.closed.insert(1006, 2);
        let text = serde_json::to_string(&b.to_record()).unwrap();
        a.merge(&Tally::from_record(serde_json::from_str(&text).unwrap()));
        let harvest = a.harvest(&[2_000_050, 0]);
        assert_eq!(harvest.windows[0].spread_us[1], 4_000);
        assert_eq!(harvest.after_told.count, 1);
        assert!(
            harvest.after_told.max.abs_diff(3_000) <= 3,
            "to the last: {:?}",
            harvest.after_told
        );
        assert_eq!(harvest.windows[0].last_us[1], 5_000);
        assert_eq!((harvest.windows[0].latency.count, a.counts.closed[&1006]), (3, 2));
        assert_eq!((harvest.counts.returned, harvest.away.count), (1, 1));
    }
}
