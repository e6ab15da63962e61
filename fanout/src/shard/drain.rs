//! Sending the sessions away before a restart, at a pace that the others' servers survive.
//!
//! Each session is told when to come back, spread evenly over the time given, then closed with
//! 1012. The pace is what was asked for, or what receivers accept: while many have not taken their
//! close, nobody else is told to go.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use touchline_core::protocol::answer;
use touchline_core::time::Monotonic;
use touchline_core::ws::{CloseCode, Refusal};

use super::Shard;
use super::conn::Stage;
use crate::hub::SessionId;
use crate::limits::DRAIN_PENDING_MAX;

/// A drain under way.
pub(super) struct Drain {
    sessions_per_s: f64,
    reason: Arc<str>,
    reconnect_after: (Duration, Duration),
    /// Sessions that may be told now.
    allowance: f64,
    allowed_at: Monotonic,
    next: u32,
    seed: u64,
}

impl Drain {
    pub(super) fn new(
        sessions_per_s: f64,
        reason: Arc<str>,
        reconnect_after: (Duration, Duration),
        now: Monotonic,
        seed: u64,
    ) -> Self {
        let (allowance, next) = (1.0, 0);
        Self { sessions_per_s, reason, reconnect_after, allowance, allowed_at: now, next, seed }
    }

    /// What the time since the last call allows, a second's worth at most.
    fn allow(&mut self, now: Monotonic) {
        let elapsed = now.since(self.allowed_at).as_secs_f64();
        let most = self.sessions_per_s.max(1.0);
        self.allowance = (self.allowance + elapsed * self.sessions_per_s).min(most);
        self.allowed_at = now;
    }

    fn hint(&mut self) -> Duration {
        let (least, most) = self.reconnect_after;
        // Weyl's sequence by the golden ratio: even, without a generator's state.
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        least + most.saturating_sub(least).mul_f64((self.seed >> 11) as f64 / (1u64 << 53) as f64)
    }
}

impl Shard {
    /// Sends away as many as the pace allows, and notes when nobody is left.
    pub(super) fn drain_some(&mut self) {
        let Some(mut drain) = self.drain.take() else { return };
        drain.allow(self.now);
        while drain.allowance >= 1.0
            && self.closes_unsent < DRAIN_PENDING_MAX
            && drain.next < self.conns.slots()
        {
            if let Some(id) = self.conns.at(drain.next)
                && self.send_away(id, &mut drain)
            {
                drain.allowance -= 1.0;
            }
            drain.next += 1;
        }
        if drain.next >= self.conns.slots() {
            // A connection that was in its handshake may stand in a slot that was passed.
            drain.next = 0;
            // Whoever waits at the door is told; when nobody is left inside, the door goes too.
            let is_empty = self.conns.open() == 0;
            self.listener = self.listener.take().filter(|_| !is_empty);
            self.stats.is_drained.store(is_empty, Relaxed);
        }
        self.drain = Some(drain);
    }

    /// Answers whether there was somebody to send away.
    fn send_away(&mut self, id: SessionId, drain: &mut Drain) -> bool {
        match self.conns.get(id).map(|conn| conn.stage) {
            Some(Stage::Handshake) => self.refuse(id, Refusal::Draining),
            Some(Stage::Open) => {
                let after_ms = u64::try_from(drain.hint().as_millis()).unwrap_or(u64::MAX);
                self.tell(id, answer::reconnect(after_ms, &drain.reason));
                self.end(id, CloseCode::Restart, &drain.reason);
            }
            Some(Stage::Closing) | None => return false,
        }
        true
    }
}
