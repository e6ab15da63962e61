//! When brokers were heard last, and since when they have acknowledged nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Moments that several threads tell of, in milliseconds since `begin` and one: 0 is never. They
/// are compared with seconds, so that nothing orders them among each other.
pub(super) struct Pulse {
    begin: Instant,
    heard: AtomicU64,
    failing: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { begin: Instant::now(), heard: AtomicU64::new(0), failing: AtomicU64::new(0) }
    }
}

impl Pulse {
    /// A leader has answered what was asked now.
    pub fn heard(&self) {
        self.heard.store(self.now(), Ordering::Relaxed);
    }

    /// Whether one has within so long.
    pub fn has_heard_within(&self, most: Duration) -> bool {
        self.since(&self.heard).is_some_and(|since| since < most)
    }

    /// A message was acknowledged, or wasn't.
    pub fn acknowledged(&self, is_acknowledged: bool) {
        match (is_acknowledged, self.failing.load(Ordering::Relaxed)) {
            (true, 0) | (false, 1..) => {}
            (true, _) => self.failing.store(0, Ordering::Relaxed),
            (false, 0) => self.failing.store(self.now(), Ordering::Relaxed),
        }
    }

    /// For how long messages have failed while none was acknowledged.
    pub fn failing_for(&self) -> Option<Duration> {
        self.since(&self.failing)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn since(&self, moment: &AtomicU64) -> Option<Duration> {
        let at = moment.load(Ordering::Relaxed);
        (at > 0).then(|| Duration::from_millis(self.now().saturating_sub(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_begins_with_the_first_failure_and_ends_with_an_acknowledgement() {
        let pulse = Pulse::default();
        assert_eq!(pulse.failing_for(), None);
        pulse.acknowledged(false);
        std::thread::sleep(Duration::from_millis(20));
        pulse.acknowledged(false);
        assert!(pulse.failing_for().unwrap() >= Duration::from_millis(20), "since the first");
        pulse.acknowledged(true);
        assert_eq!(pulse.failing_for(), None);
    }

    #[test]
    fn who_was_never_heard_was_not_heard_lately() {
        let pulse = Pulse::default();
        assert!(!pulse.has_heard_within(Duration::MAX));
        pulse.heard();
        assert!(pulse.has_heard_within(Duration::from_secs(60)));
        assert!(!pulse.has_heard_within(Duration::ZERO));
    }
}
