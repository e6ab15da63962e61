//! Which refused bodies become dead letters.
//!
//! Only what a partner has signed, and that coming back unchanged won't help: 422. A partner that
//! sends the same mistake in a loop must not flush out everybody else's letters, so within a minute
//! only so many are kept of it, and the same body once; the rest is counted.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use touchline_core::dead::{DeadLetter, Desk};
use touchline_core::event::Stream;
use touchline_core::time::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::{LETTER_ERRORS_MAX, LETTERS_PER_MINUTE_MAX};
use crate::problem::Problem;

/// What one partner has had kept in this minute.
#[derive(Debug, Default)]
pub struct LetterGate {
    inner: Mutex<Minute>,
}

#[derive(Debug, Default)]
struct Minute {
    minute: i64,
    bodies: HashSet<u64>,
}

impl LetterGate {
    /// Whether `raw` is kept.
    pub fn admit(&self, raw: &[u8], now: Timestamp) -> bool {
        let mut kept = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.0.div_euclid(60_000_000);
        if minute != kept.minute {
            *kept = Minute { minute, bodies: HashSet::new() };
        }
        let is_full = kept.bodies.len() >= LETTERS_PER_MINUTE_MAX as usize;
        !is_full && kept.bodies.insert(xxh3_64(raw))
    }
}

/// Whether a body that was refused so is worth keeping.
pub fn is_worth_keeping(problem: &Problem) -> bool {
    problem.code.status().as_u16() == 422
}

/// The letter of a body that was refused.
pub fn letter(
    source: &str,
    raw: Bytes,
    problem: &Problem,
    correlation: &str,
    received_at: Timestamp,
) -> DeadLetter {
    let mut detail = problem.detail.clone();
    for error in problem.errors.iter().take(LETTER_ERRORS_MAX) {
        // Writing to a String can't fail.
        let _ = write!(detail, "; {error}");
    }
    DeadLetter {
        desk: Desk::Webhook,
        stream: Stream::Broadcast,
        source: source.into(),
        reason: problem.code.as_str(),
        detail: detail.into(),
        attempts: 1,
        correlation: correlation.into(),
        received_at,
        raw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_keeps_so_many_bodies_and_each_once() {
        let gate = LetterGate::default();
        let at = |s: i64| Timestamp(s * 1_000_000);
        assert!(gate.admit(b"a", at(0)));
        assert!(!gate.admit(b"a", at(1)), "the same again");
        let kept = (0..100).filter(|n: &u32| gate.admit(&n.to_le_bytes(), at(2))).count();
        assert_eq!(kept, LETTERS_PER_MINUTE_MAX as usize - 1);
        assert!(gate.admit(b"a", at(61)), "another minute");
    }
}
