//! What is due: handshakes and messages that take too long, heartbeats, pongs that don't come,
//! stalls, closes.
//!
//! A session has one deadline, another while a message of its is incomplete, and, while its socket
//! is blocked, a look once a second; the wheel holds the earliest of them. A heartbeat is one ping
//! and one `mark`. What proves life afterwards is any byte from the peer, or that a blocked socket
//! takes bytes again; before a peer is called dead its socket is read once more. Silence is judged
//! only of who has been handed everything: while something is unsent, the ping may be among it, and
//! it is the stall's deadline that counts. A reader that is merely slow, because the host or the
//! network is, isn't dead.

use std::time::Duration;

use touchline_core::proxy::BadProxyHeader;
use touchline_core::ws::{CloseCode, Refusal};

use super::Shard;
use super::conn::{Input, Stage};
use crate::hub::SessionId;

/// How often a blocked session is judged by its streams' policies.
pub(super) const STALL_LOOK: Duration = Duration::from_secs(1);

impl Shard {
    pub(super) fn fire_timers(&mut self) {
        let now = self.session_now();
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.poll(now, &mut fired);
        for index in fired.drain(..) {
            if let Some(id) = self.conns.at(index) {
                self.guarded(id, |shard| shard.fire(id));
            }
        }
        self.fired = fired;
        self.close_condemned();
        self.send_put_off();
    }

    fn fire(&mut self, id: SessionId) {
        let now = self.session_now();
        let Some(conn) = self.conns.get_mut(id) else { return };
        if now >= conn.due() {
            match conn.stage {
                Stage::Handshake if matches!(conn.input, Input::Proxy(_)) => {
                    return self.drop_proxy(id, BadProxyHeader::Late);
                }
                Stage::Handshake => self.refuse(id, Refusal::Late),
                Stage::Closing => return self.forget(id, true),
                Stage::Open if now < conn.deadline => {
                    self.end(id, CloseCode::Policy, "a message took too long");
                }
                Stage::Open => self.beat(id),
            }
        }
        if self.hub.is_blocked(id) {
            self.hub.handle_stall(id, now);
            self.look_again(id);
        } else if let Some(conn) = self.conns.get(id) {
            self.wheel.set(id.index, conn.due());
        }
    }

    /// Sets the timer of a blocked session. A look that is due stays due: tries that go on failing
    /// must not put it off.
    pub(super) fn look_again(&mut self, id: SessionId) {
        let look = self.session_now() + STALL_LOOK;
        if let Some(conn) = self.conns.get(id) {
            self.wheel.set_no_later(id.index, look.min(conn.due()));
        }
    }

    /// A heartbeat is due, or the answer to the last one.
    fn beat(&mut self, id: SessionId) {
        let rules = &self.rules.sessions;
        let (heartbeat, pong_max) = (rules.heartbeat, rules.pong_max);
        let is_lagging = self.hub.is_lagging(id);
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.is_pinged && is_lagging {
            conn.deadline = self.now - self.lapse + pong_max;
            return;
        }
        if conn.is_pinged {
            // A shard that is behind may not have come to read the answer yet.
            self.read(id, false);
        }
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.stage == Stage::Open) else {
            return;
        };
        if conn.is_pinged {
            return self.end(id, CloseCode::NoPong, "no pong");
        }
        if conn.awaits_pong {
            conn.awaits_pong = false;
            conn.deadline = conn.deadline + heartbeat.saturating_sub(pong_max);
            return;
        }
        conn.is_pinged = true;
        conn.awaits_pong = true;
        conn.deadline = self.now - self.lapse + pong_max;
        self.hub.handle_heartbeat(id, &self.ping);
    }

    /// Ends the sessions that a policy has condemned.
    fn close_condemned(&mut self) {
        use crate::hub::CloseCause;
        while let Some((id, cause)) = self.hub.poll_close() {
            let (code, reason) = match cause {
                CloseCause::Slow => (CloseCode::Slow, "too far behind: come back and resume"),
                CloseCause::Hole => (CloseCode::Slow, "the log has a hole: come back and resume"),
                CloseCause::Stalled => (CloseCode::Slow, "took nothing for too long"),
                CloseCause::LogUnavailable => (CloseCode::TryLater, "the log can't be read now"),
            };
            self.end(id, code, reason);
        }
    }
}
