//! What one source has done, as numbers that a scrape may read at any time.
//!
//! Counters only grow while the process lives, also over a reload that keeps the partner. They are
//! counted when the log answers, not when the partner reads our answer: a partner that hangs up
//! early has still sent its events.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::problem::Code;
use crate::tally::Tally;

/// Counters of one source. The label `source` is [`SourceStats::source`]: a configured name, or
/// `(unknown)`.
#[derive(Debug)]
pub struct SourceStats {
    source: Box<str>,
    since: Instant,
    accepted: AtomicU64,
    duplicates: AtomicU64,
    too_old: AtomicU64,
    bodies: AtomicU64,
    body_bytes: AtomicU64,
    parked: AtomicU64,
    kept_back: AtomicU64,
    errors: [AtomicU64; Code::COUNT],
    /// After `since`.
    last_accepted_us: AtomicU64,
}

impl SourceStats {
    /// Counters at zero; staleness counts from `since` until the first event.
    pub fn new(source: &str, since: Instant) -> Self {
        Self {
            source: source.into(),
            since,
            accepted: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            too_old: AtomicU64::new(0),
            bodies: AtomicU64::new(0),
            body_bytes: AtomicU64::new(0),
            parked: AtomicU64::new(0),
            kept_back: AtomicU64::new(0),
            errors: [const { AtomicU64::new(0) }; Code::COUNT],
            last_accepted_us: AtomicU64::new(0),
        }
    }

    /// Whose numbers these are.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Events made durable: `events_ingested_total`.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Events that were durable already.
    pub fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    /// Events older than the dedupe window (R16).
    pub fn too_old(&self) -> u64 {
        self.too_old.load(Ordering::Relaxed)
    }

    /// Bodies whose signature was good.
    pub fn bodies(&self) -> u64 {
        self.bodies.load(Ordering::Relaxed)
    }

    /// Their bytes.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes.load(Ordering::Relaxed)
    }

    /// Refused bodies that became dead letters.
    pub fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    /// Refused bodies beyond those that a minute keeps.
    pub fn kept_back(&self) -> u64 {
        self.kept_back.load(Ordering::Relaxed)
    }

    /// Refused requests by reason: `ingest_errors_total`. Every reason, also those that are zero.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Code::ALL
            .iter()
            .zip(&self.errors)
            .map(|((_, name, ..), count)| (*name, count.load(Ordering::Relaxed)))
    }

    /// Refused requests of one reason.
    pub fn errors_of(&self, code: Code) -> u64 {
        self.errors[code as usize].load(Ordering::Relaxed)
    }

    /// Since when nothing new has come: `source_staleness_seconds`.
    pub fn staleness(&self, now: Instant) -> Duration {
        let last = Duration::from_micros(self.last_accepted_us.load(Ordering::Relaxed));
        now.saturating_duration_since(self.since + last)
    }

    pub(super) fn count_body(&self, bytes: usize) {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        self.body_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_letter(&self, is_parked: bool) {
        let counter = if is_parked { &self.parked } else { &self.kept_back };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_error(&self, code: Code) {
        self.errors[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, tally: Tally, now: Instant) {
        self.accepted.fetch_add(tally.accepted, Ordering::Relaxed);
        self.duplicates.fetch_add(tally.duplicates, Ordering::Relaxed);
        self.too_old.fetch_add(tally.too_old, Ordering::Relaxed);
        if tally.accepted > 0 {
            let after = now.saturating_duration_since(self.since).as_micros();
            let after = u64::try_from(after).unwrap_or(u64::MAX);
            self.last_accepted_us.fetch_max(after, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staleness_counts_from_the_last_new_event_by_monotonic_time() {
        let since = Instant::now();
        let after = |s| since + Duration::from_secs(s);
        let stats = SourceStats::new("skyline", since);
        assert_eq!(stats.staleness(after(7)).as_secs(), 7, "from the start, before the first");
        stats.count(Tally { accepted: 1, ..Tally::default() }, after(7));
        assert_eq!(stats.staleness(after(7)).as_secs(), 0);
        stats.count(Tally { duplicates: 1, ..Tally::default() }, after(67));
        assert_eq!(stats.staleness(after(67)).as_secs(), 60, "a repeat is nothing new");
    }
}
