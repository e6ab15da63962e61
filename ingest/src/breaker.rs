//! A circuit breaker: whether a dependency that fails is asked again yet.
//!
//! Closed, every call goes out. After so many failures in a row it opens: none does, for a time
//! that doubles with each further failure, give or take a quarter, so that a crowd of nodes doesn't
//! ask in step. Then one probe goes out (half-open): it closes the breaker, or opens it for longer.
//! Reads no clock and rolls no die: the caller brings both.

use std::time::{Duration, Instant};

/// Whether calls go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// They do.
    Closed,
    /// One does.
    HalfOpen,
    /// None does.
    Open,
}

impl BreakerState {
    /// As the metric `breaker_state` shows it.
    pub const fn number(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRules {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open first.
    pub open_first: Duration,
    /// And at most.
    pub open_max: Duration,
}

/// One breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    rules: BreakerRules,
    failures: u32,
    open_until: Option<Instant>,
    is_probing: bool,
}

impl Breaker {
    /// A closed one.
    pub fn new(rules: BreakerRules) -> Self {
        Self { rules, failures: 0, open_until: None, is_probing: false }
    }

    /// Whether a call may go out now. A half-open breaker lets one out: who gets `true` must tell
    /// how it went.
    pub fn may_call(&mut self, now: Instant) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now < until || self.is_probing => false,
            Some(_) => {
                self.is_probing = true;
                true
            }
        }
    }

    /// A call went well.
    pub fn succeeded(&mut self) {
        *self = Self::new(self.rules);
    }

    /// A call failed. `die` is anything from 0 to 1.
    pub fn failed(&mut self, now: Instant, die: f64) {
        self.failures = self.failures.saturating_add(1);
        self.is_probing = false;
        if self.failures < self.rules.failures {
            return;
        }
        let doublings = (self.failures - self.rules.failures).min(20);
        let open = self.rules.open_first.saturating_mul(1 << doublings).min(self.rules.open_max);
        self.open_until = Some(now + open.mul_f64(0.75 + 0.5 * die.clamp(0.0, 1.0)));
    }

    /// The other side asks to be left alone until then: open at least so long, and a failure after
    /// it is one more of a row.
    pub fn leave_alone(&mut self, until: Instant) {
        self.failures = self.failures.max(self.rules.failures);
        self.is_probing = false;
        self.open_until = Some(self.open_until.map_or(until, |own| own.max(until)));
    }

    /// How it stands.
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.open_until {
            None => BreakerState::Closed,
            Some(until) if now < until && !self.is_probing => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: BreakerRules = BreakerRules {
        failures: 3,
        open_first: Duration::from_secs(1),
        open_max: Duration::from_secs(5),
    };

    fn fail(it: &mut Breaker, now: Instant, times: usize) {
        (0..times).for_each(|_| it.failed(now, 0.5));
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_probe_closes_it() {
        let (mut it, now) = (Breaker::new(RULES), Instant::now());
        fail(&mut it, now, 2);
        it.succeeded();
        fail(&mut it, now, 2);
        assert!(it.may_call(now), "a success between them");
        fail(&mut it, now, 1);
        assert!(!it.may_call(now) && it.state(now) == BreakerState::Open);
        let later = now + Duration::from_secs(1);
        assert_eq!(it.state(later), BreakerState::HalfOpen);
        assert!(it.may_call(later));
        assert!(!it.may_call(later), "one probe");
        it.succeeded();
        assert!(it.may_call(later) && it.state(later) == BreakerState::Closed);
    }

    #[test]
    fn each_failed_probe_doubles_the_wait_up_to_its_bound() {
        let (mut it, mut now) = (Breaker::new(RULES), Instant::now());
        fail(&mut it, now, 3);
        for seconds in [1, 2, 4, 5, 5] {
            assert!(!it.may_call(now + Duration::from_millis(seconds * 1_000 - 1)), "{seconds}");
            now += Duration::from_secs(seconds);
            assert!(it.may_call(now), "{seconds}");
            it.failed(now, 0.5);
        }
    }

    #[test]
    fn who_asks_to_be_left_alone_is_and_never_less_than_it_would_be() {
        let (mut it, now) = (Breaker::new(RULES), Instant::now());
        let s = Duration::from_secs;
        it.failed(now, 0.5);
        it.leave_alone(now + s(3));
        assert!(!it.may_call(now + s(3) - Duration::from_millis(1)), "with the first failure");
        assert!(it.may_call(now + s(3)));
        it.failed(now + s(3), 0.5);
        it.leave_alone(now + s(3));
        assert!(!it.may_call(now + s(5) - Duration::from_millis(1)), "its own wait has doubled");
        assert!(it.may_call(now + s(5)));
    }

    #[test]
    fn waits_differ_by_a_quarter_either_way() {
        let now = Instant::now();
        let opens_after = |die: f64, ms: u64| {
            let mut it = Breaker::new(RULES);
            (0..3).for_each(|_| it.failed(now, die));
            it.may_call(now + Duration::from_millis(ms))
        };
        assert!(opens_after(0.0, 750) && !opens_after(0.0, 749));
        assert!(opens_after(1.0, 1_250) && !opens_after(1.0, 1_249));
    }
}
