//! What one source that is polled has done, as numbers that a scrape may read at any time.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::counts::{Counted, Counts};

/// Why a poll, or one of its readings, came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Trouble {
    /// No connection: refused, unreachable, or no such name.
    Connect,
    /// Not within the time.
    Timeout,
    /// The connection broke.
    Broken,
    /// Another status than 200.
    Status,
    /// A redirect: where values come from is for the configuration to say.
    Redirect,
    /// Not `application/json`.
    ContentType,
    /// More bytes than it may have, unpacked.
    TooLarge,
    /// Not JSON, or cut short.
    BadJson,
    /// A reading that doesn't fit the mapping.
    BadReading,
    /// Measured too long ago.
    TooOld,
    /// A sequence below the last.
    Backwards,
    /// Another value under the same sequence.
    Standing,
    /// More keys than one source may have.
    TooManyKeys,
    /// More different sets of teams than one source may name.
    TooManyRoutes,
    /// The log refused it.
    LogRefused,
    /// The log is too far behind to be given more.
    LogBehind,
    /// The log knows its id under other content.
    IdReused,
    /// More events, or more different sets of teams, than this partner may send.
    Limited,
    /// The task that follows it has failed: a mistake of ours.
    Panicked,
}

impl Trouble {
    /// All of them, with the value of the metric label `reason`.
    pub const ALL: [(Self, &'static str); 19] = [
        (Self::Connect, "connect"),
        (Self::Timeout, "timeout"),
        (Self::Broken, "broken"),
        (Self::Status, "status"),
        (Self::Redirect, "redirect"),
        (Self::ContentType, "content_type"),
        (Self::TooLarge, "too_large"),
        (Self::BadJson, "bad_json"),
        (Self::BadReading, "bad_reading"),
        (Self::TooOld, "too_old"),
        (Self::Backwards, "sequence_backwards"),
        (Self::Standing, "sequence_standing"),
        (Self::TooManyKeys, "too_many_keys"),
        (Self::TooManyRoutes, "too_many_routes"),
        (Self::LogRefused, "log_refused"),
        (Self::LogBehind, "log_behind"),
        (Self::IdReused, "id_reused"),
        (Self::Limited, "limited"),
        (Self::Panicked, "panicked"),
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

impl Counted for Trouble {
    const ALL: &'static [(Self, &'static str)] = &Self::ALL;

    fn index(self) -> usize {
        self as usize
    }
}

/// No moment that comes.
const NEVER: u64 = u64::MAX;

/// Counters of one source.
#[derive(Debug)]
pub struct PollStats {
    source: Box<str>,
    polls: AtomicU64,
    ticks_missed: AtomicU64,
    ticks_skipped: AtomicU64,
    published: AtomicU64,
    unchanged: AtomicU64,
    restarts: AtomicU64,
    troubles: Counts<Trouble>,
    since: Instant,
    /// After `since`.
    good_at_us: AtomicU64,
    skew_us: AtomicI64,
    /// After `since`; [`NEVER`] where nothing stands.
    still_since_us: AtomicU64,
    breaker: AtomicU8,
    is_assigned: AtomicBool,
}

impl PollStats {
    /// At zero; staleness counts from `since`.
    pub fn new(source: &str, since: Instant) -> Self {
        Self {
            source: source.into(),
            polls: AtomicU64::new(0),
            ticks_missed: AtomicU64::new(0),
            ticks_skipped: AtomicU64::new(0),
            published: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            troubles: Counts::default(),
            since,
            good_at_us: AtomicU64::new(0),
            skew_us: AtomicI64::new(0),
            still_since_us: AtomicU64::new(NEVER),
            breaker: AtomicU8::new(0),
            is_assigned: AtomicBool::new(true),
        }
    }

    /// Whose they are.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Requests sent.
    pub fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// Ticks at which the answer to an earlier one was still awaited.
    pub fn ticks_missed(&self) -> u64 {
        self.ticks_missed.load(Ordering::Relaxed)
    }

    /// Ticks at which the breaker let nothing out.
    pub fn ticks_skipped(&self) -> u64 {
        self.ticks_skipped.load(Ordering::Relaxed)
    }

    /// Values handed to the log and taken.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Values that said nothing new.
    pub fn unchanged(&self) -> u64 {
        self.unchanged.load(Ordering::Relaxed)
    }

    /// By reason, also those that are zero.
    pub fn troubles(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.troubles.all()
    }

    /// Of one reason.
    pub fn troubles_of(&self, trouble: Trouble) -> u64 {
        self.troubles.of(trouble)
    }

    /// Devices behind it that began to count anew.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Since its last answer that could be used, or that had nothing to say.
    pub fn staleness(&self, now: Instant) -> Duration {
        let good_at = Duration::from_micros(self.good_at_us.load(Ordering::Relaxed));
        now.saturating_duration_since(self.since + good_at)
    }

    /// What its clock is behind ours, seconds.
    pub fn skew_seconds(&self) -> f64 {
        self.skew_us.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// How long a sequence of its last answer has stood still; zero where it holds none.
    pub fn sequence_still(&self, now: Instant) -> Duration {
        match self.still_since_us.load(Ordering::Relaxed) {
            NEVER => Duration::ZERO,
            since => now.saturating_duration_since(self.since + Duration::from_micros(since)),
        }
    }

    /// Its breaker: 0 closed, 1 half-open, 2 open.
    pub fn breaker(&self) -> u8 {
        self.breaker.load(Ordering::Relaxed)
    }

    /// Whether it is this node that asks.
    pub fn is_assigned(&self) -> bool {
        self.is_assigned.load(Ordering::Relaxed)
    }

    pub(super) fn set_assigned(&self, is_assigned: bool) {
        self.is_assigned.store(is_assigned, Ordering::Relaxed);
    }

    pub(super) fn count_poll(&self, missed: u64) {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.ticks_missed.fetch_add(missed, Ordering::Relaxed);
    }

    pub(super) fn count_skipped(&self) {
        self.ticks_skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_published(&self, count: u64) {
        self.published.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn count_unchanged(&self, count: u64) {
        self.unchanged.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn count(&self, trouble: Trouble, count: u64) {
        self.troubles.add(trouble, count);
    }

    pub(super) fn count_restarts(&self, count: u64) {
        self.restarts.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn set_good(&self, at: Instant) {
        let after = at.saturating_duration_since(self.since).as_micros();
        self.good_at_us.fetch_max(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn set_skew(&self, skew_us: i64) {
        self.skew_us.store(skew_us, Ordering::Relaxed);
    }

    pub(super) fn set_still(&self, since: Option<Instant>) {
        let after = |at: Instant| at.saturating_duration_since(self.since).as_micros();
        let after_us = since.map_or(NEVER, |at| u64::try_from(after(at)).unwrap_or(NEVER));
        self.still_since_us.store(after_us, Ordering::Relaxed);
    }

    pub(super) fn set_breaker(&self, state: u8) {
        self.breaker.store(state, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::check_order;

    #[test]
    fn the_table_is_in_the_order_of_its_numbers() {
        check_order::<Trouble>();
    }
}
