//! Connections that were refused and are held a moment longer.
//!
//! Whoever is refused gets his answer before he has sent his request. If the socket were closed at
//! once, the request would meet a closed port, and the reset that answers it may overtake the 503.
//! So a few refused sockets stay open for a second, with nothing left to send. The lobby has a
//! fixed size: in a storm the oldest leaves early.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use touchline_core::time::Monotonic;

use crate::limits::LOBBY_MAX;

const STAY: Duration = Duration::from_secs(1);

/// Refused connections, oldest first.
pub(super) struct Lobby(VecDeque<(OwnedFd, Monotonic)>);

impl Lobby {
    pub(super) fn new() -> Self {
        Self(VecDeque::with_capacity(LOBBY_MAX))
    }

    /// Answers `socket` and shows it out.
    pub(super) fn refuse(&mut self, socket: OwnedFd, response: &[u8], now: Monotonic) {
        dismiss(&socket, response);
        if self.0.len() == LOBBY_MAX {
            self.0.pop_front();
        }
        self.0.push_back((socket, now));
    }

    /// Closes those who have stayed long enough.
    pub(super) fn expire(&mut self, now: Monotonic) {
        while let Some((socket, since)) = self.0.front() {
            if now.since(*since) < STAY {
                return;
            }
            // What has been read doesn't make the kernel reset the connection.
            let _ = recv(socket.as_fd(), &mut [0u8; 4096][..], RecvFlags::DONTWAIT);
            self.0.pop_front();
        }
    }
}

/// Answers `socket`, as far as it takes it, and ends our side.
pub(super) fn dismiss(socket: &OwnedFd, response: &[u8]) {
    let _ = recv(socket.as_fd(), &mut [0u8; 4096][..], RecvFlags::DONTWAIT);
    let _ = send(socket.as_fd(), response, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    let _ = shutdown(socket.as_fd(), Shutdown::Write);
}
