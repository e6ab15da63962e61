//! One receiver thread: up to 19,400 WebSocket clients on one epoll set.
//!
//! Everything a delivery costs here is paid for by the core that also runs the other clients, and
//! late reading looks like a late server. So: one scratch buffer for all sockets, edge-triggered
//! readiness, one `recv` and one clock read for everything a socket has, frame heads only, and the
//! [`Stamp`](crate::stamp::Stamp) at a fixed place.
//!
//! It is never woken by a delivery: when nothing is left to read it sleeps half a millisecond and
//! looks again. Over loopback a wake-up is paid for by whoever sends (in a virtual machine it can
//! cost more than the send itself), which no real client does to its server. Latencies are
//! therefore up to half a millisecond too long, for server and floor alike.
//!
//! # Invariants
//! - A descriptor belongs to this thread's table: no other thread may use it.
//! - A socket reads until it is empty before it is left, or the edge would be lost; one that reads
//!   slowly isn't in the epoll set at all.

mod coming;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, TryRecvError};

use super::back::Returns;
use super::conn::{Conn, Phase, take};
use super::crowd::Client;
use super::ended::{Ended, WITHOUT_CLOSE};
use super::order::{Manner, Order, Progress};
use super::tally::Tally;
use crate::limits::READ_BYTES_MAX;
use crate::schedule::{Plan, Window};
use crate::sys::{self, Epoll, Ready};

/// How long a worker with nothing to read sleeps before it looks again.
const NAP_NS: u64 = 500_000;
/// How often slow clients read.
const SLOW_TICK_NS: u64 = 20_000_000;
/// How often a worker says what the run looks like.
const REPORT_NS: u64 = 500_000_000;

/// How a connection ends whose server sends more in one frame than we read: by our fault.
const TOO_LARGE: u16 = 1009;

/// What one `recv` came to.
enum Step {
    /// Bytes; there may be more.
    Read(usize),
    /// Bytes; there are no more.
    ReadLast,
    /// There were none.
    Nothing,
    /// The connection has ended.
    Ended(Ended),
}

/// A receiver thread's state.
pub struct Worker {
    index: u8,
    orders: Receiver<Order>,
    progress: Arc<Progress>,
    epoll: Epoll,
    manner: Option<Arc<Manner>>,
    waiting: VecDeque<Client>,
    shaking: usize,
    conns: Vec<Conn>,
    returns: Returns,
    /// Live clients that read slowly.
    slow: Vec<usize>,
    slow_at_ns: u64,
    report_at_ns: u64,
    plan: Option<Arc<Plan>>,
    clock_ahead_ns: i64,
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
            manner: None,
            waiting: VecDeque::new(),
            shaking: 0,
            conns: Vec::new(),
            returns: Returns::new(u64::from(index) + 1),
            slow: Vec::new(),
            slow_at_ns: 0,
            report_at_ns: 0,
            plan: None,
            clock_ahead_ns: 0,
            tally: Tally::idle(),
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
            self.read_slowly();
            self.report();
        }
        Ok(())
    }

    /// The controller's time.
    fn now_ns(&self) -> u64 {
        sys::now_ns().wrapping_add_signed(self.clock_ahead_ns)
    }

    fn take_orders(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Connect(manner, clients)) => {
                    self.manner = Some(manner);
                    self.waiting.extend(clients);
                }
                Ok(Order::Record(plan, windows, clock_ahead_ns)) => {
                    self.tally = self.tally_of(&windows, &plan);
                    self.plan = Some(plan);
                    self.clock_ahead_ns = clock_ahead_ns;
                    // It was counted by the clock of before.
                    self.report_at_ns = 0;
                    for conn in &mut self.conns {
                        (conn.next, conn.told) = (Default::default(), None);
                    }
                }
                Ok(Order::Leave(within_ns)) => self.leave(within_ns),
                Ok(Order::Finish(reply)) => {
                    self.count_missing();
                    // A controller that stopped waiting has ended the run; nothing is left to tell.
                    let _ = reply.send(std::mem::replace(&mut self.tally, Tally::idle()));
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// An empty tally that can tell which event is which.
    fn tally_of(&self, windows: &[Window], plan: &Plan) -> Tally {
        let tally = Tally::new(windows, plan);
        let message = self.manner.as_ref().map(|manner| &manner.dialogue.message);
        let is_numbered = message.is_some_and(|message| message.sequence.is_some());
        if is_numbered { tally.with_numbers_of(plan) } else { tally }
    }

    /// What clients should have by now and don't.
    fn count_missing(&mut self) {
        let Some(plan) = self.plan.take() else { return };
        let returns = self.manner.as_ref().is_some_and(|manner| manner.returns);
        for conn in &mut self.conns {
            conn.count_missing(&plan, returns, &mut self.tally.counts);
        }
    }

    fn handle_ready(&mut self, index: usize, events: u32) {
        let Some(manner) = self.manner.as_ref() else { return };
        let conn = &mut self.conns[index];
        let Some(fd) = conn.fd.as_ref().map(AsRawFd::as_raw_fd) else { return };
        if conn.phase == Phase::Connecting && events & libc::EPOLLOUT as u32 != 0 {
            conn.phase = Phase::Shaking;
            let request = conn.request(&manner.dialogue, &manner.target.to_string());
            // It is the first call that the kernel tells why nobody has answered.
            if let Err(error) = sys::send(fd, &request) {
                return self.end(index, &Ended::Failed(error.kind()));
            }
        }
        let readable = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
        if events & readable != 0 {
            self.read(index, fd, usize::MAX);
        }
    }

    /// Reads until nothing is left, or until `bytes_max` have been read.
    fn read(&mut self, index: usize, fd: i32, mut bytes_max: usize) {
        while bytes_max > 0 {
            match self.read_once(index, fd, bytes_max) {
                Step::Ended(how) => return self.end(index, &how),
                Step::Read(got) => {
                    bytes_max -= got;
                    self.note_ready(index, fd);
                }
                Step::ReadLast => return self.note_ready(index, fd),
                Step::Nothing => return,
            }
        }
    }

    fn read_once(&mut self, index: usize, fd: i32, bytes_max: usize) -> Step {
        let clock_ahead_ns = self.clock_ahead_ns;
        let (conn, Some(manner)) = (&mut self.conns[index], &self.manner) else {
            return Step::Nothing;
        };
        let kept = conn.rest.len();
        self.scratch[..kept].copy_from_slice(&conn.rest);
        let room = (self.scratch.len() - kept).min(bytes_max);
        if room == 0 {
            return Step::Ended(Ended::Closed(TOO_LARGE));
        }
        match sys::recv(fd, &mut self.scratch[kept..kept + room]) {
            Ok(0) => Step::Ended(Ended::Closed(WITHOUT_CLOSE)),
            Ok(got) => {
                let now_ns = sys::now_ns().wrapping_add_signed(clock_ahead_ns);
                let bytes = &self.scratch[..kept + got];
                match take(conn, &manner.dialogue, &mut self.tally, bytes, now_ns) {
                    Err(how) => Step::Ended(how),
                    Ok(()) if got < room => Step::ReadLast,
                    Ok(()) => Step::Read(got),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Nothing,
            Err(error) => Step::Ended(Ended::Failed(error.kind())),
        }
    }

    /// Lets slow clients read what their line would have carried since they last did.
    fn read_slowly(&mut self) {
        let (now_ns, Some(manner)) = (sys::now_ns(), &self.manner) else { return };
        if self.slow.is_empty() || now_ns < self.slow_at_ns + SLOW_TICK_NS {
            return;
        }
        let passed_ns = (now_ns - self.slow_at_ns).min(2 * SLOW_TICK_NS);
        let bytes_max = u64::from(manner.slow_bytes_per_s) * passed_ns / 1_000_000_000;
        self.slow_at_ns = now_ns;
        for index in std::mem::take(&mut self.slow) {
            let fd = self.conns[index].fd.as_ref().map(AsRawFd::as_raw_fd);
            if let Some(fd) = fd.filter(|_| self.conns[index].phase == Phase::Live) {
                self.slow.push(index);
                self.read(index, fd, bytes_max as usize);
            }
        }
    }

    /// Says how far it is, for whoever watches.
    fn report(&mut self) {
        self.progress.delivered.store(self.tally.counts.delivered, Relaxed);
        let now_ns = self.now_ns();
        if now_ns < self.report_at_ns {
            return;
        }
        self.report_at_ns = now_ns + REPORT_NS;
        let (p50_us, p99_us) = self.tally.timeline.latest_us(now_ns).unwrap_or_default();
        self.progress.p50_us.store(p50_us, Relaxed);
        self.progress.p99_us.store(p99_us, Relaxed);
    }
}
