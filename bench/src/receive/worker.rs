//! One receiver thread: up to 19,400 WebSocket clients on one epoll set.
//!
//! Everything a delivery costs here is paid for by the core that also runs the other clients, and
//! late reading looks like a late server. So: one scratch buffer for all sockets, edge-triggered
//! readiness, one `recv` and one clock read for everything a socket has, frame heads only, and the
//! [`Stamp`] at a fixed place. What is left of a frame that hasn't arrived whole is kept with its
//! socket.
//!
//! It is never woken by a delivery: when nothing is left to read it sleeps half a millisecond and
//! looks again. Over loopback a wake-up is paid for by whoever sends (in a virtual machine it can
//! cost more than the send itself), which no real client does to its server. Latencies are
//! therefore up to half a millisecond too long, for server and floor alike.
//!
//! # Invariants
//! - A descriptor belongs to this thread's table: no other thread may use it.
//! - A socket reads until it is empty before it is left, or the edge would be lost.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use super::tally::Tally;
use crate::dialogue::Dialogue;
use crate::frames::{self, OutOfStep};
use crate::limits::{HANDSHAKES_MAX, READ_BYTES_MAX, SOCKETS_PER_TABLE_MAX};
use crate::schedule::{Schedule, Window};
use crate::stamp::Stamp;
use crate::sys::{self, Epoll, Ready};

/// How long a worker with nothing to read sleeps before it looks again.
const NAP_NS: u64 = 500_000;
/// A client that never reads has this much room in its kernel, so that it is blocked within a few
/// events.
const STALLED_RCVBUF: i32 = 2_048;

/// Clients of one source address. The kernel looks for a free port one by one: with most of an
/// address's 28,000 in use towards one target, connecting becomes five times slower.
const CLIENTS_PER_ADDRESS: usize = 1_000;

const _: () = assert!(SOCKETS_PER_TABLE_MAX / CLIENTS_PER_ADDRESS < 250);

/// One client to be.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The team it follows.
    pub team: u32,
    /// Whether it stops reading once it is subscribed.
    pub stalled: bool,
}

/// What a worker is told.
pub enum Order {
    /// Connect these, a bounded number at a time.
    Connect(SocketAddrV4, Arc<Dialogue>, Vec<Client>),
    /// Forget what was recorded and record a run in these windows.
    Record(Arc<Schedule>, Vec<Window>),
    /// Send back what was recorded.
    Finish(Sender<Tally>),
}

/// What the other threads may look at meanwhile.
#[derive(Default)]
pub struct Progress {
    /// Clients that are subscribed.
    pub ready: AtomicU64,
    /// Clients whose connection failed before that.
    pub failed: AtomicU64,
    /// Connections that ended after that.
    pub closed: AtomicU64,
    /// Events received in this run.
    pub delivered: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Shaking,
    Subscribing,
    /// Has heard `subscribed`; the worker counts it once it is done with the read.
    Subscribed,
    Live,
    Stalled,
    Gone,
}

struct Conn {
    fd: Option<OwnedFd>,
    client: Client,
    phase: Phase,
    /// Lines of the dialogue that it has said.
    said: u8,
    next_seq: u32,
    rest: Vec<u8>,
}

/// A receiver thread's state.
pub struct Worker {
    index: u8,
    orders: Receiver<Order>,
    progress: Arc<Progress>,
    epoll: Epoll,
    target: Option<SocketAddrV4>,
    dialogue: Arc<Dialogue>,
    waiting: VecDeque<Client>,
    shaking: usize,
    conns: Vec<Conn>,
    schedule: Option<Arc<Schedule>>,
    tally: Tally,
    scratch: Vec<u8>,
}

impl Worker {
    /// The worker whose clients come from `127.0.{index + 1}.x`; call it on its own thread, after
    /// its descriptor table is its own.
    pub fn new(index: u8, orders: Receiver<Order>, progress: Arc<Progress>) -> io::Result<Self> {
        Ok(Self {
            index,
            orders,
            progress,
            epoll: Epoll::new()?,
            target: None,
            dialogue: Arc::default(),
            waiting: VecDeque::new(),
            shaking: 0,
            conns: Vec::new(),
            schedule: None,
            tally: Tally::new(&[], 0),
            scratch: vec![0; READ_BYTES_MAX],
        })
    }

    /// Runs until the senders of orders are gone.
    pub fn run(mut self) -> io::Result<()> {
        let mut ready = vec![Ready { events: 0, u64: 0 }; 1_024];
        while self.take_orders() {
            self.connect_more();
            let count = self.epoll.wait(&mut ready, 0)?;
            if count == 0 {
                sys::sleep_until(sys::now_ns() + NAP_NS);
            }
            for event in &ready[..count] {
                self.handle_ready(event.u64 as usize, event.events);
            }
            self.progress.delivered.store(self.tally.counts.delivered, Relaxed);
        }
        Ok(())
    }

    fn take_orders(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Connect(target, dialogue, clients)) => {
                    (self.target, self.dialogue) = (Some(target), dialogue);
                    self.waiting.extend(clients);
                }
                Ok(Order::Record(schedule, windows)) => {
                    self.tally = Tally::new(&windows, schedule.events());
                    self.schedule = Some(schedule);
                    self.conns.iter_mut().for_each(|conn| conn.next_seq = 0);
                }
                Ok(Order::Finish(reply)) => {
                    self.count_missing();
                    let empty = Tally::new(&[], 0);
                    // A controller that stopped waiting has ended the run; nothing is left to tell.
                    let _ = reply.send(std::mem::replace(&mut self.tally, empty));
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// What live clients should have by now and don't. Those that were closed are counted as
    /// closed: they may resume.
    fn count_missing(&mut self) {
        let Some(schedule) = self.schedule.take() else { return };
        for conn in self.conns.iter().filter(|conn| conn.phase == Phase::Live) {
            let expected = schedule.events_of(conn.client.team);
            self.tally.counts.lost += u64::from(expected.saturating_sub(conn.next_seq));
        }
    }

    fn connect_more(&mut self) {
        let Some(target) = self.target else { return };
        while self.shaking < HANDSHAKES_MAX {
            let Some(client) = self.waiting.pop_front() else { return };
            let rcvbuf = client.stalled.then_some(STALLED_RCVBUF);
            let host = 1 + (self.conns.len() / CLIENTS_PER_ADDRESS) as u8;
            let source = SocketAddrV4::new(Ipv4Addr::new(127, 0, self.index + 1, host), 0);
            let opened = sys::connect(source, target, rcvbuf).and_then(|fd| {
                let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
                self.epoll.add(fd.as_raw_fd(), events, self.conns.len() as u64)?;
                Ok(fd)
            });
            match opened {
                Ok(fd) => {
                    self.shaking += 1;
                    let (fd, phase) = (Some(fd), Phase::Connecting);
                    let rest = Vec::new();
                    self.conns.push(Conn { fd, client, phase, said: 0, next_seq: 0, rest });
                }
                Err(error) => {
                    eprintln!("a client can't connect to {target}: {error}");
                    self.progress.failed.fetch_add(1, Relaxed);
                }
            }
        }
    }

    fn handle_ready(&mut self, index: usize, events: u32) {
        let conn = &mut self.conns[index];
        let Some(fd) = conn.fd.as_ref().map(AsRawFd::as_raw_fd) else { return };
        if conn.phase == Phase::Connecting && events & libc::EPOLLOUT as u32 != 0 {
            let target = self.target.expect("a connecting client has a target");
            conn.phase = Phase::Shaking;
            // A failure shows as a hang-up of the same socket.
            let request = self.dialogue.request(&target.to_string(), conn.client.team);
            let _ = sys::send(fd, &request);
        }
        let readable = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
        if events & readable != 0 && conn.phase != Phase::Stalled {
            self.read(index, fd);
        }
    }

    fn read(&mut self, index: usize, fd: i32) {
        loop {
            let conn = &mut self.conns[index];
            let kept = conn.rest.len();
            self.scratch[..kept].copy_from_slice(&conn.rest);
            let room = self.scratch.len() - kept;
            match sys::recv(fd, &mut self.scratch[kept..]) {
                Ok(0) => return self.end(index, 1006),
                Ok(got) => {
                    let bytes = &self.scratch[..kept + got];
                    if let Err(code) = take(conn, &self.dialogue, &mut self.tally, bytes, fd) {
                        return self.end(index, code);
                    }
                    self.note_ready(index, fd);
                    if got < room || self.conns[index].phase == Phase::Stalled {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.end(index, 1006),
            }
        }
    }

    /// Counts a client that has just been subscribed.
    fn note_ready(&mut self, index: usize, fd: i32) {
        let conn = &mut self.conns[index];
        if conn.phase != Phase::Subscribed {
            return;
        }
        conn.phase = Phase::Live;
        if conn.client.stalled {
            conn.phase = Phase::Stalled;
            // Its readiness is of no interest any more; failing to say so would only cost wake-ups.
            let _ = self.epoll.remove(fd);
        }
        self.shaking -= 1;
        self.progress.ready.fetch_add(1, Relaxed);
    }

    fn end(&mut self, index: usize, code: u16) {
        let conn = &mut self.conns[index];
        conn.fd = None;
        if matches!(std::mem::replace(&mut conn.phase, Phase::Gone), Phase::Live | Phase::Stalled) {
            *self.tally.counts.closed.entry(code).or_default() += 1;
            self.progress.closed.fetch_add(1, Relaxed);
        } else {
            self.shaking -= 1;
            self.progress.failed.fetch_add(1, Relaxed);
        }
    }
}

/// Takes all whole frames out of `bytes`; keeps what is left. The error is the close code with
/// which it ended.
fn take(
    conn: &mut Conn,
    dialogue: &Dialogue,
    tally: &mut Tally,
    bytes: &[u8],
    fd: i32,
) -> Result<(), u16> {
    let now_ns = sys::now_ns();
    let mut at = 0;
    if conn.phase == Phase::Shaking {
        match bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            None => {
                conn.rest = bytes.to_vec();
                return Ok(());
            }
            Some(_) if !bytes.starts_with(b"HTTP/1.1 101") => return Err(1002),
            Some(end) => at = end + 4,
        }
        conn.phase = Phase::Subscribing;
        speak(conn, dialogue, None, fd);
    }
    tally.counts.bytes += bytes.len() as u64;
    while let Some(head) = frames::head(bytes, at).map_err(|OutOfStep| 1002_u16)? {
        let payload = &bytes[head.payload_at..head.end];
        at = head.end;
        match (head.opcode, Stamp::find(payload)) {
            (1 | 2, Some(_)) if dialogue.joins => {
                Stamp::all(payload).for_each(|stamp| take_event(conn, tally, stamp, now_ns));
            }
            (1 | 2, Some(stamp)) => take_event(conn, tally, stamp, now_ns),
            (1 | 2, None) => take_message(conn, dialogue, tally, payload, fd),
            (8, _) => return Err(payload.first_chunk().map_or(1005, |c| u16::from_be_bytes(*c))),
            (9, _) => drop(sys::send(fd, &frames::control(0xa, payload))),
            _ => {}
        }
    }
    conn.rest.clear();
    conn.rest.extend_from_slice(&bytes[at..]);
    if conn.rest.is_empty() && conn.rest.capacity() > 0 {
        conn.rest = Vec::new();
    }
    Ok(())
}

#[inline]
fn take_event(conn: &mut Conn, tally: &mut Tally, stamp: Stamp, now_ns: u64) {
    if stamp.seq == conn.next_seq {
        conn.next_seq += 1;
    } else if stamp.seq > conn.next_seq {
        tally.counts.lost += u64::from(stamp.seq - conn.next_seq);
        conn.next_seq = stamp.seq + 1;
    } else {
        tally.counts.repeated += 1;
        return;
    }
    tally.record(stamp, now_ns);
}

/// A message that is no event.
fn take_message(conn: &mut Conn, dialogue: &Dialogue, tally: &mut Tally, payload: &[u8], fd: i32) {
    if conn.phase == Phase::Subscribing {
        return speak(conn, dialogue, Some(payload), fd);
    }
    if let Some(pong) = dialogue.pong(payload) {
        let _ = sys::send(fd, &pong);
        return;
    }
    // Of Touchline's messages the `op` stands in the first bytes.
    let is = |op: &str| payload.windows(op.len()).take(16).any(|part| part == op.as_bytes());
    if is(r#""op":"gap""#) {
        tally.counts.gaps += 1;
    } else if is(r#""op":"error""#) {
        tally.counts.errors += 1;
    }
}

/// Says what is due after `heard` (`None`: the 101), and notes whether the client follows now.
fn speak(conn: &mut Conn, dialogue: &Dialogue, heard: Option<&[u8]>, fd: i32) {
    let due = dialogue.due(&mut conn.said, heard, conn.client.team);
    if !due.is_empty() {
        // A failure shows as a hang-up of the same socket.
        let _ = sys::send(fd, &due);
    }
    let holds = match heard {
        Some(message) => dialogue.is_subscribed_by(message),
        None => dialogue.subscribed.is_none(),
    };
    if holds {
        conn.phase = Phase::Subscribed;
    }
}

#[cfg(test)]
mod tests;
