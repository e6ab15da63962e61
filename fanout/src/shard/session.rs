//! How a session ends.
//!
//! ```text
//! Open --(our reason: end)--------> Closing: last frame queued -> sent -> peer's Close -> shut
//! down -> peer's end Open --(peer's Close: echo)-----> Closing: echo queued -> sent -> shut down
//! -> peer's end any  --(peer's end, dead socket)-> gone Closing --(deadline)------------> gone, by
//! reset
//! ```
//! A close frame is best effort (R10): whatever hasn't gone out by the deadline is thrown away with
//! the socket.

use std::os::fd::AsFd;
use std::time::Duration;

use bytes::Bytes;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{Shutdown, shutdown};
use touchline_core::ws::{CloseCode, close_frame};

use super::Shard;
use super::conn::Stage;
use crate::hub::SessionId;

impl Shard {
    /// Ends a session for a reason of ours. One that is no session yet just goes.
    pub(super) fn end(&mut self, id: SessionId, code: CloseCode, reason: &str) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        match conn.stage {
            Stage::Handshake => self.forget(id, true),
            Stage::Closing => {}
            Stage::Open => {
                conn.code = code;
                self.begin_close(id, close_frame(code, reason));
            }
        }
    }

    /// Answers a request that doesn't become a session.
    pub(super) fn respond(&mut self, id: SessionId, response: Vec<u8>) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.close_is_seen = true;
            self.begin_close(id, response.into());
        }
    }

    /// Queues the last bytes of a connection and gives it a deadline.
    pub(super) fn begin_close(&mut self, id: SessionId, last: Bytes) {
        let deadline = self.session_now() + self.rules.sessions.close_max;
        let Some(conn) = self.conns.get_mut(id) else { return };
        let was_session = conn.stage == Stage::Open;
        conn.stage = Stage::Closing;
        conn.deadline = deadline;
        self.wheel.set(id.index, deadline);
        self.closes_unsent += 1;
        if was_session {
            self.stats.closed[conn.code.index()].increment();
        }
        self.hub.begin_close(id, last);
    }

    /// The last bytes of `id` have been handed to the kernel.
    pub(super) fn last_is_sent(&mut self, id: SessionId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !conn.last_is_sent {
            conn.last_is_sent = true;
            self.closes_unsent -= 1;
            self.finish_if_done(id);
        }
    }

    /// Both sides have said that they are done: ends our half, and waits for the peer to end its
    /// own.
    pub(super) fn finish_if_done(&mut self, id: SessionId) {
        let Some(conn) = self.conns.get(id) else { return };
        if conn.last_is_sent && conn.close_is_seen {
            let _ = shutdown(conn.socket.as_fd(), Shutdown::Write);
        }
    }

    /// The peer has ended its half, or is gone.
    pub(super) fn lose(&mut self, id: SessionId) {
        let Some(conn) = self.conns.get(id) else { return };
        match conn.stage {
            Stage::Handshake => self.stats.handshakes_lost.increment(),
            Stage::Open => self.stats.closed[CloseCode::Abnormal.index()].increment(),
            Stage::Closing => {}
        }
        self.forget(id, false);
    }

    /// Closes the socket, by a reset where there is no point in waiting for the peer, and forgets
    /// the session.
    pub(super) fn forget(&mut self, id: SessionId, by_reset: bool) {
        let Some(conn) = self.conns.remove(id) else { return };
        if by_reset {
            let _ = set_socket_linger(conn.socket.as_fd(), Some(Duration::ZERO));
        }
        if conn.stage == Stage::Closing && !conn.last_is_sent {
            self.closes_unsent -= 1;
        }
        self.wheel.cancel(id.index);
        self.ahead.forget(id);
        self.clients.forget(id);
        self.hub.close(id);
        self.admission.release(conn.ticket);
    }
}
