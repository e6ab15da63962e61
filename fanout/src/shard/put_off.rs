//! Sends that the kernel put off, and when they are tried again.
//!
//! A send may fail for a reason that isn't its socket's: no memory for the bytes, a cancelled
//! request ([`Outcome::TryAgain`](crate::volley::Outcome::TryAgain)). No readiness will follow, so
//! time has to pass instead. The reason is the host's and hits many sockets at once, so a shard has
//! one pause for all of them. While tries go on failing the pause doubles; it begins anew once as
//! much time has passed in peace.
//!
//! # Invariants
//! - A session is listed at most once (its connection knows), so the list is no longer than the
//!   shard's connections.

use std::time::Duration;

use touchline_core::time::Monotonic;

use super::Shard;
use crate::hub::SessionId;

/// The first pause, and the longest: short against the time a socket may take nothing, long against
/// a turn.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(640);

/// Sends that wait for better times.
#[derive(Default)]
pub(super) struct PutOff {
    sessions: Vec<SessionId>,
    pause: Duration,
    retry_at: Monotonic,
    retried_at: Monotonic,
}

impl PutOff {
    fn add(&mut self, id: SessionId, now: Monotonic) {
        if self.sessions.is_empty() {
            let is_storm = now.since(self.retried_at) <= self.pause;
            self.pause = if is_storm { (self.pause * 2).min(PAUSE_MAX) } else { PAUSE_FIRST };
            // Up to a quarter more, by the clock's last digits: shards don't retry in step.
            let jitter = self.pause / 256 * (now.0 % 64) as u32;
            self.retry_at = now + self.pause + jitter;
        }
        self.sessions.push(id);
    }

    /// Who is to be tried again now.
    fn take_due(&mut self, now: Monotonic) -> Vec<SessionId> {
        if self.sessions.is_empty() || now < self.retry_at {
            return Vec::new();
        }
        self.retried_at = now;
        std::mem::take(&mut self.sessions)
    }

    /// How long until somebody is to be tried again.
    pub(super) fn wait(&self, now: Monotonic) -> Option<Duration> {
        (!self.sessions.is_empty()).then(|| self.retry_at.since(now))
    }
}

impl Shard {
    /// The kernel has put off the send to `id`.
    pub(super) fn put_off(&mut self, id: SessionId) {
        self.stats.sends_retried.increment();
        if let Some(conn) = self.conns.get_mut(id)
            && !std::mem::replace(&mut conn.is_put_off, true)
        {
            self.put_off.add(id, self.now);
        }
    }

    /// Tries again what has waited long enough; it goes out with the next turn's volleys.
    pub(super) fn send_put_off(&mut self) {
        for id in self.put_off.take_due(self.now) {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.is_put_off = false;
                self.hub.handle_writable(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SessionId = SessionId { index: 0, generation: 0 };

    #[test]
    fn pauses_double_in_a_storm_and_begin_anew_after_it() {
        let mut put_off = PutOff::default();
        let mut now = Monotonic(5_000_000_000);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            put_off.add(ID, now);
            assert!(put_off.take_due(now).is_empty(), "not at once");
            let wait = put_off.wait(now).unwrap();
            assert!(wait >= put_off.pause && wait < put_off.pause * 5 / 4);
            pauses.push(put_off.pause.as_millis());
            now = now + wait;
            assert_eq!(put_off.take_due(now), [ID]);
            assert_eq!(put_off.wait(now), None);
            now = now + Duration::from_millis(2);
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 640, 640]);
        put_off.add(ID, now + Duration::from_secs(1));
        assert_eq!(put_off.pause, PAUSE_FIRST);
    }
}
