//! Clients come, leave, are turned away, and come back.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::Relaxed;

use super::super::conn::{Conn, Phase};
use super::super::crowd::{Client, Reading};
use super::super::ended::{Ended, WITHOUT_CLOSE};
use super::super::order::Manner;
use super::Worker;
use crate::limits::{CONNECT_RETRIES_MAX, HANDSHAKES_MAX, SOCKETS_PER_TABLE_MAX};
use crate::sys;

/// A client that never reads has this much room in its kernel, so that it is blocked within a few
/// events.
const STALLED_RCVBUF: i32 = 2_048;

/// One that reads slowly: what a phone offers on a bad line.
const SLOW_RCVBUF: i32 = 16 << 10;

/// Within this time a client tries again that was turned away.
const CONNECT_RETRY_NS: u64 = 1_000_000_000;

/// Clients of one source address. The kernel looks for a free port one by one: with most of an
/// address's 28,000 in use towards one target, connecting becomes five times slower.
const CLIENTS_PER_ADDRESS: usize = 1_000;

const _: () = assert!(SOCKETS_PER_TABLE_MAX / CLIENTS_PER_ADDRESS < 250);

impl Worker {
    /// Opens connections of newcomers and of those whose time to come back has come.
    pub(super) fn connect_more(&mut self) {
        let Some(manner) = self.manner.clone() else { return };
        while self.shaking < HANDSHAKES_MAX {
            if let Some(client) = self.waiting.pop_front() {
                let index = self.conns.len();
                match self.open(&manner, client, index) {
                    Ok(fd) => self.conns.push(Conn::new(fd, client, manner.returns)),
                    Err(error) => {
                        self.fail(error.to_string());
                    }
                }
            } else if let Some(index) = self.returns.pop(self.now_ns()) {
                match self.open(&manner, self.conns[index].client, index) {
                    Ok(fd) => self.conns[index].reopen(fd),
                    Err(_) => self.put_off(index, WITHOUT_CLOSE),
                }
            } else {
                return;
            }
        }
    }

    fn open(
        &mut self,
        manner: &Manner,
        client: Client,
        index: usize,
    ) -> io::Result<std::os::fd::OwnedFd> {
        let rcvbuf = match client.reading {
            Reading::Prompt => None,
            Reading::Slow => Some(SLOW_RCVBUF),
            Reading::Never => Some(STALLED_RCVBUF),
        };
        let turn = index / CLIENTS_PER_ADDRESS;
        let source = match manner.sources.get(turn % manner.sources.len().max(1)) {
            Some(source) => *source,
            None if manner.target.ip().is_loopback() => {
                Ipv4Addr::new(127, 0, self.index + 1, 1 + turn as u8)
            }
            None => Ipv4Addr::UNSPECIFIED,
        };
        let fd = sys::connect(SocketAddrV4::new(source, 0), manner.target, rcvbuf)?;
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        self.epoll.add(fd.as_raw_fd(), events, index as u64)?;
        self.shaking += 1;
        Ok(fd)
    }

    /// Counts a client that has just been subscribed, for the first time or again.
    pub(super) fn note_ready(&mut self, index: usize, fd: i32) {
        let now_ns = self.now_ns();
        let conn = &mut self.conns[index];
        if conn.phase != Phase::Subscribed {
            return;
        }
        conn.phase = Phase::Live;
        if conn.lost_at_ns != 0 {
            self.tally.record_return(now_ns.saturating_sub(conn.lost_at_ns) / 1_000);
            conn.lost_at_ns = 0;
        }
        conn.attempts = 0;
        if conn.client.reading != Reading::Prompt {
            // Its readiness is of no interest any more; failing to say so would only cost wake-ups.
            let _ = self.epoll.remove(fd);
        }
        if conn.client.reading == Reading::Slow {
            self.slow.push(index);
        }
        self.shaking -= 1;
        self.progress.present.fetch_add(1, Relaxed);
    }

    /// Everybody closes and comes back later.
    pub(super) fn leave(&mut self, within_ns: u64) {
        let now_ns = self.now_ns();
        for (index, conn) in self.conns.iter_mut().enumerate() {
            if conn.phase == Phase::Live {
                conn.fd = None;
                (conn.phase, conn.lost_at_ns) = (Phase::Away, now_ns);
                self.tally.counts.left += 1;
                self.progress.present.fetch_sub(1, Relaxed);
                self.returns.within(index, now_ns, within_ns);
            }
        }
    }

    pub(super) fn end(&mut self, index: usize, how: &Ended) {
        let code = how.code();
        let now_ns = self.now_ns();
        let returns = self.manner.as_ref().is_some_and(|manner| manner.returns);
        let conn = &mut self.conns[index];
        (conn.fd, conn.code) = (None, code);
        if std::mem::replace(&mut conn.phase, Phase::Gone) == Phase::Live {
            *self.tally.counts.closed.entry(code).or_default() += 1;
            self.tally.counts.prompt_closed += u64::from(conn.client.reading == Reading::Prompt);
            self.progress.closed.fetch_add(1, Relaxed);
            self.progress.present.fetch_sub(1, Relaxed);
            if returns {
                (conn.phase, conn.lost_at_ns) = (Phase::Away, now_ns);
                self.returns.after_close(index, now_ns, code, 0);
            }
            return;
        }
        self.shaking -= 1;
        if conn.lost_at_ns != 0 {
            self.put_off(index, WITHOUT_CLOSE);
        } else if conn.attempts < CONNECT_RETRIES_MAX {
            // As any client would. Of a million, one or another is turned away.
            (conn.phase, conn.attempts) = (Phase::Away, conn.attempts + 1);
            if self.progress.retried.fetch_add(1, Relaxed) == 0 {
                eprintln!("a client came to nothing and tries again: {how}");
            }
            self.returns.within(index, now_ns, CONNECT_RETRY_NS);
        } else {
            self.fail(how.to_string());
        }
    }

    /// A client has given up; the first says why.
    fn fail(&self, why: String) {
        // Nobody who holds it panics.
        self.progress.why.lock().expect("a text is stored").get_or_insert(why);
        self.progress.failed.fetch_add(1, Relaxed);
    }

    /// A client could not come back: it tries again later.
    fn put_off(&mut self, index: usize, code: u16) {
        let now_ns = self.now_ns();
        let conn = &mut self.conns[index];
        conn.phase = Phase::Away;
        conn.attempts = conn.attempts.saturating_add(1);
        self.tally.counts.refused += 1;
        self.returns.after_close(index, now_ns, code, conn.attempts);
    }
}
