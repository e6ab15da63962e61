//! A bound on log lines: so many a second, and then one that says how many were kept back.
//!
//! Whoever can make us refuse requests could otherwise fill the disk with lines about it. The
//! counters lose nothing.

use std::sync::Mutex;
use std::sync::PoisonError;

use touchline_core::time::Timestamp;

/// Lets so many lines of one kind through each second.
#[derive(Debug)]
pub struct LineGate {
    lines_per_s: u32,
    inner: Mutex<Second>,
}

#[derive(Debug, Default)]
struct Second {
    second: i64,
    lines: u32,
    kept_back: u64,
}

impl LineGate {
    /// A gate that lets `lines_per_s` through.
    pub fn new(lines_per_s: u32) -> Self {
        Self { lines_per_s, inner: Mutex::default() }
    }

    /// `Some(n)`: say it, and that `n` lines before it were not said. `None`: keep it back.
    pub fn pass(&self, now: Timestamp) -> Option<u64> {
        let mut state = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.0.div_euclid(1_000_000);
        if second != state.second {
            state.second = second;
            state.lines = 0;
        }
        if state.lines >= self.lines_per_s {
            state.kept_back += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_past_the_bound_are_counted_into_the_next_one() {
        let gate = LineGate::new(2);
        let at = |ms: i64| Timestamp(ms * 1_000);
        let got: Vec<_> = [0, 1, 2, 3, 1_000, 1_001, 1_002].map(|ms| gate.pass(at(ms))).into();
        assert_eq!(got, [Some(0), Some(0), None, None, Some(2), Some(0), None]);
    }
}
