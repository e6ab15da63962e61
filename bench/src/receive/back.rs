//! Clients that lost their connection and come back, as a well-behaved client does: after a wait of
//! random length, longer with each failure (full jitter, FAULTS 43), so that a crowd doesn't become
//! a wave.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

const SECOND_NS: u64 = 1_000_000_000;
/// The longest wait.
const WAIT_S_MAX: u64 = 30;
/// The shortest after 1012 (service restart): the server asked for room.
const RESTART_WAIT_S_MIN: u64 = 5;

/// Who comes back when.
pub struct Returns {
    due: BinaryHeap<Reverse<(u64, usize)>>,
    random: u64,
}

impl Returns {
    /// Nobody yet; `seed` makes the waits of this thread its own.
    pub fn new(seed: u64) -> Self {
        Self { due: BinaryHeap::new(), random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// Client `index` was closed with `code`, after `attempts` failures.
    pub fn after_close(&mut self, index: usize, now_ns: u64, code: u16, attempts: u8) {
        let (from_s, to_s) = match code {
            1012 => (RESTART_WAIT_S_MIN, WAIT_S_MAX),
            _ => (0, (1_u64 << attempts.min(5)).min(WAIT_S_MAX)),
        };
        let wait_ns = from_s * SECOND_NS + self.random_below((to_s - from_s) * SECOND_NS);
        self.due.push(Reverse((now_ns + wait_ns, index)));
    }

    /// Client `index` left and comes back at some time within `span_ns`.
    pub fn within(&mut self, index: usize, now_ns: u64, span_ns: u64) {
        let wait_ns = self.random_below(span_ns.max(1));
        self.due.push(Reverse((now_ns + wait_ns, index)));
    }

    /// A client whose time has come.
    pub fn pop(&mut self, now_ns: u64) -> Option<usize> {
        let Reverse((due_ns, index)) = *self.due.peek()?;
        if due_ns > now_ns {
            return None;
        }
        self.due.pop();
        Some(index)
    }

    /// Marsaglia's xorshift64: nothing here depends on its quality.
    fn random_below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_failures_and_a_restart_is_given_room() {
        let mut returns = Returns::new(3);
        let mut longest = |code, attempts| {
            (0..200).for_each(|index| returns.after_close(index, 0, code, attempts));
            let mut waits: Vec<u64> = Vec::new();
            for second in 0..=WAIT_S_MAX {
                while returns.pop(second * SECOND_NS).is_some() {
                    waits.push(second);
                }
            }
            (waits[0], waits[199])
        };
        assert_eq!(longest(1006, 0), (1, 1), "within the first second");
        assert!(longest(4008, 3).1 > 4);
        let (first, last) = longest(1012, 0);
        assert!((5..8).contains(&first) && last > 20, "{first} to {last}");
        assert!(longest(1006, 200).1 > 20);
    }
}
