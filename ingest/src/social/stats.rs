//! What one social source has done, as numbers that a scrape may read at any time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::counts::{Counted, Counts};

/// What has become of a post. Each post counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Fate {
    /// The log has it now.
    Published,
    /// It holds no team's term.
    NoTeam,
    /// It was more than its team may have, or than the log keeps up with.
    Thinned,
    /// It was there before.
    Duplicate,
    /// It isn't what the mapping expects.
    Unreadable,
    /// It is older than the dedupe window.
    TooOld,
    /// The log did not take it.
    Refused,
}

impl Fate {
    /// All of them, with the value of the metric label `result`.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Published, "published"),
        (Self::NoTeam, "no_team"),
        (Self::Thinned, "thinned"),
        (Self::Duplicate, "duplicate"),
        (Self::Unreadable, "unreadable"),
        (Self::TooOld, "too_old"),
        (Self::Refused, "refused"),
    ];
}

impl Counted for Fate {
    const ALL: &'static [(Self, &'static str)] = &Self::ALL;

    fn index(self) -> usize {
        self as usize
    }
}

/// What went wrong with a connection, or with a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Trouble {
    /// No connection: refused, unreachable, or no such name.
    Connect,
    /// No answer within the time.
    Timeout,
    /// The connection broke.
    Broken,
    /// The other side ended it.
    Ended,
    /// Nothing came, not even a keep-alive.
    Stalled,
    /// A status of the other side's own trouble: 5xx.
    Status,
    /// It doesn't want us: 401, 403, 404 and their kin.
    Barred,
    /// 420 or 429.
    Limited,
    /// A redirect: where posts come from is for the configuration to say.
    Redirect,
    /// Another kind of answer than was asked for.
    ContentType,
    /// A post longer than it may be.
    TooLarge,
    /// A post that is no JSON object.
    BadJson,
    /// A post that doesn't fit the mapping.
    BadPost,
    /// A post from the future.
    InFuture,
    /// An id that was used for other content.
    IdReused,
    /// The log refused it.
    LogRefused,
    /// The log is too far behind to be given more.
    LogBehind,
    /// Its task has panicked: a bug of ours.
    Panicked,
    /// More different sets of teams than the source may use (R23).
    TooManyRoutes,
}

impl Trouble {
    /// All of them, with the value of the metric label `reason`.
    pub const ALL: [(Self, &'static str); 19] = [
        (Self::Connect, "connect"),
        (Self::Timeout, "timeout"),
        (Self::Broken, "broken"),
        (Self::Ended, "ended"),
        (Self::Stalled, "stalled"),
        (Self::Status, "status"),
        (Self::Barred, "barred"),
        (Self::Limited, "rate_limited"),
        (Self::Redirect, "redirect"),
        (Self::ContentType, "content_type"),
        (Self::TooLarge, "too_large"),
        (Self::BadJson, "bad_json"),
        (Self::BadPost, "bad_post"),
        (Self::InFuture, "in_future"),
        (Self::IdReused, "id_reused"),
        (Self::LogRefused, "log_refused"),
        (Self::LogBehind, "log_behind"),
        (Self::Panicked, "panicked"),
        (Self::TooManyRoutes, "too_many_routes"),
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

/// Counters of one source. Its times are monotonic: no clock that is set changes them.
#[derive(Debug)]
pub struct SocialStats {
    source: Box<str>,
    began: Instant,
    connects: AtomicU64,
    is_connected: AtomicBool,
    is_assigned: AtomicBool,
    /// Milliseconds after `began`.
    post_at_ms: AtomicU64,
    fates: Counts<Fate>,
    troubles: Counts<Trouble>,
}

impl SocialStats {
    /// Of a source that begins now.
    pub(super) fn new(source: &str) -> Self {
        Self {
            source: source.into(),
            began: Instant::now(),
            connects: AtomicU64::new(0),
            is_connected: AtomicBool::new(false),
            is_assigned: AtomicBool::new(true),
            post_at_ms: AtomicU64::new(0),
            fates: Counts::default(),
            troubles: Counts::default(),
        }
    }

    /// Whose they are.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Attempts to connect.
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    /// Whether the stream is open.
    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }

    /// Since its last post, whatever became of it.
    pub fn staleness(&self) -> Duration {
        let at = Duration::from_millis(self.post_at_ms.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(at)
    }

    /// Posts by what became of them, also those that are zero.
    pub fn fates(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.fates.all()
    }

    /// Posts of one fate.
    pub fn posts(&self, fate: Fate) -> u64 {
        self.fates.of(fate)
    }

    /// By reason, also those that are zero.
    pub fn troubles(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.troubles.all()
    }

    /// Of one reason.
    pub fn troubles_of(&self, trouble: Trouble) -> u64 {
        self.troubles.of(trouble)
    }

    pub(super) fn count_connect(&self) {
        self.connects.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is this node that follows it.
    pub fn is_assigned(&self) -> bool {
        self.is_assigned.load(Ordering::Relaxed)
    }

    pub(super) fn set_assigned(&self, is_assigned: bool) {
        self.is_assigned.store(is_assigned, Ordering::Relaxed);
    }

    pub(super) fn set_connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Ordering::Relaxed);
    }

    pub(super) fn note_post(&self) {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.post_at_ms.store(at, Ordering::Relaxed);
    }

    pub(super) fn count_fate(&self, fate: Fate, posts: u64) {
        self.fates.add(fate, posts);
    }

    pub(super) fn count(&self, trouble: Trouble, times: u64) {
        self.troubles.add(trouble, times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::check_order;

    #[test]
    fn the_tables_are_in_the_order_of_their_numbers() {
        check_order::<Trouble>();
        check_order::<Fate>();
    }
}
