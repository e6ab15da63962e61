//! What the demo sees from outside: deliveries counted and timed where they arrive.
//!
//! The partner tells when it first sent an event, followers tell when they got it. The way of an
//! event (a *flight*) is followed for [`FLIGHT_WAIT_MAX`]; receipts after that are resumes and say
//! nothing about latency. Everything is behind one lock that is held for a few table operations:
//! followers share one thread, so nobody waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::ledger::Ledger;
use crate::limits::demo::{FLIGHT_WAIT_MAX, FLIGHTS_MAX, NODES_MAX, NOTES_MAX};

/// Half of what a percentile looks back on.
const FIGURES_WAIT: Duration = Duration::from_secs(10);

/// Totals since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events the server acknowledged for the first time.
    pub events: u64,
    /// Deliveries made a second time on purpose, or because the first answer was lost.
    pub repeats: u64,
    /// Attempts that had to be made again.
    pub retries: u64,
    /// Events the server won't take, or that were given up.
    pub refused: u64,
    /// Events the server acknowledged as too old to be shown.
    pub too_old: u64,
    /// Followers connected now, by node.
    pub sockets: [u64; NODES_MAX],
    /// Events received by followers.
    pub deliveries: u64,
    /// Posts among them.
    pub posts: u64,
    /// Sensor values among them.
    pub values: u64,
    /// Events a follower got twice.
    pub duplicates: u64,
    /// Events of matches a follower knows it didn't get, without having been told; one that comes
    /// late no longer counts.
    pub missing: u64,
    /// Posts that came to no follower of their topic: thinned, or written while nobody took them.
    pub left_out: u64,
    /// Events that were acknowledged and hadn't come to a follower when it left, nor were known to
    /// be missing: behind the last it had, or before the first.
    pub owed: u64,
    /// Gaps the server announced.
    pub gaps: u64,
    /// Connections that ended and were made again.
    pub reconnects: u64,
    /// Brokers that have been taken away.
    pub brokers_away: u64,
    /// What went wrong last, until something goes right.
    pub trouble: Option<String>,
}

/// What it has come to.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Since the start.
    pub totals: Totals,
    /// Deliveries a second since the last reading.
    pub deliveries_per_s: f64,
    /// From the partner's first attempt to a follower's receipt, in the last ten to twenty
    /// seconds: half were faster.
    pub p50_ms: Option<f64>,
    /// All but one in a hundred were faster.
    pub p99_ms: Option<f64>,
    /// First to last follower of an event, the median of events.
    pub spread_ms: Option<f64>,
}

/// Shared by partner, followers and status line. Cheap to clone.
#[derive(Clone)]
pub struct Meter {
    inner: Arc<Mutex<Inner>>,
}

struct Flight {
    sent: Instant,
    first: Option<Instant>,
    last: Option<Instant>,
}

struct Inner {
    totals: Totals,
    flights: HashMap<u64, Flight>,
    order: VecDeque<u64>,
    latency_us: Recent,
    spread_us: Recent,
    notes: VecDeque<String>,
    ledger: Ledger,
    read_at: Instant,
    read_deliveries: u64,
}

impl Default for Meter {
    fn default() -> Self {
        let inner = Inner {
            totals: Totals::default(),
            flights: HashMap::new(),
            order: VecDeque::new(),
            latency_us: Recent::new(),
            spread_us: Recent::new(),
            notes: VecDeque::new(),
            ledger: Ledger::default(),
            read_at: Instant::now(),
            read_deliveries: 0,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }
}

/// What was recorded in the last ten seconds, and up to ten more: figures that can be read.
struct Recent {
    before: Histogram<u64>,
    now: Histogram<u64>,
    since: Instant,
}

impl Recent {
    fn new() -> Self {
        Self { before: histogram(), now: histogram(), since: Instant::now() }
    }

    /// In milliseconds; `None` if there was nothing.
    fn quantile_ms(&mut self, quantile: f64) -> Option<f64> {
        if self.since.elapsed() > FIGURES_WAIT {
            std::mem::swap(&mut self.before, &mut self.now);
            self.now.reset();
            self.since = Instant::now();
        }
        let mut both = self.before.clone();
        // Both have the same bounds, so nothing can be out of them.
        let _ = both.add(&self.now);
        (!both.is_empty()).then(|| both.value_at_quantile(quantile) as f64 / 1_000.0)
    }
}

/// One microsecond to a minute, three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3)
        .unwrap_or_else(|_| unreachable!("these bounds are in the crate's documentation"))
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the totals.
    pub fn count(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut self.lock().totals);
    }

    /// Reads or changes what followers are owed.
    pub fn ledger<T>(&self, with: impl FnOnce(&mut Ledger) -> T) -> T {
        with(&mut self.lock().ledger)
    }

    /// Something a person should read: shown above the status line.
    pub fn note(&self, text: String) {
        let notes = &mut self.lock().notes;
        if notes.len() < NOTES_MAX {
            notes.push_back(text);
        }
    }

    /// What is to be shown and hasn't been.
    pub fn take_notes(&self) -> Vec<String> {
        self.lock().notes.drain(..).collect()
    }

    /// The partner is about to send event `id` for the first time.
    pub fn sent(&self, id: &str) {
        let key = key(id);
        let inner = &mut *self.lock();
        let flight = Flight { sent: Instant::now(), first: None, last: None };
        if inner.flights.insert(key, flight).is_none() {
            inner.order.push_back(key);
        }
        inner.land_old();
    }

    /// An attempt failed and is made again after `wait`.
    pub fn retried(&self, reason: &str, wait: Duration) {
        let inner = &mut *self.lock();
        inner.totals.retries += 1;
        let wait_s = wait.as_secs_f64();
        inner.totals.trouble = Some(format!("{reason}; trying again in {wait_s:.1} s"));
    }

    /// A follower got event `id`.
    pub fn received(&self, id: &str) {
        let inner = &mut *self.lock();
        inner.totals.deliveries += 1;
        let Some(flight) = inner.flights.get_mut(&key(id)) else { return };
        let now = Instant::now();
        let latency = now - flight.sent;
        if latency > FLIGHT_WAIT_MAX {
            return;
        }
        flight.first.get_or_insert(now);
        flight.last = Some(now);
        inner.latency_us.now.saturating_record(latency.as_micros() as u64);
    }

    /// Totals, and figures of the last while.
    pub fn read(&self) -> Reading {
        let inner = &mut *self.lock();
        inner.land_old();
        let elapsed = inner.read_at.elapsed().as_secs_f64().max(0.001);
        let deliveries = inner.totals.deliveries - inner.read_deliveries;
        let reading = Reading {
            totals: inner.totals.clone(),
            deliveries_per_s: deliveries as f64 / elapsed,
            p50_ms: inner.latency_us.quantile_ms(0.5),
            p99_ms: inner.latency_us.quantile_ms(0.99),
            spread_ms: inner.spread_us.quantile_ms(0.5),
        };
        inner.read_at = Instant::now();
        inner.read_deliveries = inner.totals.deliveries;
        reading
    }
}

impl Inner {
    /// Ends the flights that have been followed long enough, or are too many.
    fn land_old(&mut self) {
        while let Some(key) = self.order.front() {
            let flight = self.flights.get(key);
            let old = flight.is_none_or(|flight| flight.sent.elapsed() > FLIGHT_WAIT_MAX);
            if !old && self.order.len() <= FLIGHTS_MAX {
                return;
            }
            if let Some(flight) = self.flights.remove(key)
                && let (Some(first), Some(last)) = (flight.first, flight.last)
            {
                self.spread_us.now.saturating_record((last - first).as_micros() as u64);
            }
            self.order.pop_front();
        }
    }
}

fn key(id: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_timed_from_the_partners_first_attempt() {
        let meter = Meter::default();
        meter.sent("a");
        std::thread::sleep(Duration::from_millis(20));
        meter.received("a");
        meter.received("unknown");
        let reading = meter.read();
        assert_eq!(reading.totals.deliveries, 2);
        assert!((20.0..2_000.0).contains(&reading.p50_ms.unwrap()), "{reading:?}");
        assert_eq!(meter.read().p50_ms, reading.p50_ms, "it can be read for a while");
        for _ in 0..2 {
            meter.lock().latency_us.since = Instant::now() - FIGURES_WAIT * 2;
            meter.read();
        }
        assert_eq!(meter.read().p50_ms, None, "but not for ever");
    }

    #[test]
    fn flights_are_bounded() {
        let meter = Meter::default();
        for n in 0..2 * FLIGHTS_MAX {
            meter.sent(&n.to_string());
        }
        let inner = meter.lock();
        assert!(inner.flights.len() <= FLIGHTS_MAX && inner.order.len() <= FLIGHTS_MAX);
    }
}
