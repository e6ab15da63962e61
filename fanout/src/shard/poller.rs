//! Which sockets have something to say: one edge-triggered epoll set, and a nap in monoio until it
//! has.
//!
//! Everything a shard waits for is in one set: its listener, its doorbell's eventfd and all its
//! connections. Sockets enter it once and are never changed: edge-triggered for input, output and
//! hang-up at the same time, so that blocking and unblocking cost no system call. The set's own
//! descriptor is what the thread sleeps on, through monoio: by a poll request on io_uring, or
//! nested in monoio's epoll. `docs/decisions/inbound.md` has the alternatives and figures.
//!
//! # Invariants
//! - At most one wait on the set is pending in monoio. It outlives a nap that ended by time:
//!   dropping it would cost a cancellation, keeping it costs nothing.
//! - Events are fetched by `epoll_wait` without waiting; what monoio says is only that there are
//!   some.

use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use monoio::net::UnixStream;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::hub::SessionId;
use crate::limits::READY_MAX;

const LISTENER: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;

/// Something that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Connections wait to be accepted.
    Listener,
    /// Somebody rang.
    Bell,
    /// A connection.
    Session {
        /// Which one, if it is still there.
        id: SessionId,
        /// It has input, or its end.
        can_read: bool,
        /// It takes output again.
        can_write: bool,
        /// Its peer has sent all it will.
        is_ended: bool,
    },
}

/// The set.
pub(super) struct Poller {
    set: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { set, events: Vec::with_capacity(READY_MAX) })
    }

    pub(super) fn add_listener(&self, listener: &TcpListener) -> io::Result<()> {
        self.add(listener.as_fd(), LISTENER, EventFlags::IN)
    }

    pub(super) fn add_bell(&self, bell: BorrowedFd<'_>) -> io::Result<()> {
        self.add(bell, BELL, EventFlags::IN)
    }

    pub(super) fn add_session(&self, socket: BorrowedFd<'_>, id: SessionId) -> io::Result<()> {
        let key = u64::from(id.generation) << 32 | u64::from(id.index);
        self.add(socket, key, EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP)
    }

    fn add(&self, fd: BorrowedFd<'_>, key: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.set, fd, EventData::new_u64(key), flags | EventFlags::ET)?)
    }

    /// Fetches what is ready now, at most [`READY_MAX`]; answers whether there may be more.
    pub(super) fn fetch(&mut self, ready: &mut Vec<Ready>) -> io::Result<bool> {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.events.clear();
        let events = &mut self.events;
        let count = rustix::io::retry_on_intr(|| {
            epoll::wait(&self.set, rustix::buffer::spare_capacity(events), Some(&zero))
        })?;
        ready.extend(self.events.iter().map(ready_of));
        Ok(count == READY_MAX)
    }

    /// A way to sleep until something is ready. Call it within the runtime that will do the
    /// sleeping.
    pub(super) fn napper(&self) -> io::Result<Napper> {
        // monoio awaits readiness through its stream types; this one is never read or written.
        let stream = std::os::unix::net::UnixStream::from(self.set.try_clone()?);
        Ok(Napper { set: Rc::new(UnixStream::from_std(stream)?), pending: None })
    }
}

fn ready_of(event: &Event) -> Ready {
    let (flags, key) = (event.flags, event.data.u64());
    match key {
        LISTENER => Ready::Listener,
        BELL => Ready::Bell,
        key => {
            let gone = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
            Ready::Session {
                id: SessionId { index: key as u32, generation: (key >> 32) as u32 },
                can_read: flags.intersects(EventFlags::IN | gone),
                can_write: flags.contains(EventFlags::OUT),
                is_ended: flags.intersects(gone),
            }
        }
    }
}

/// Sleeps in monoio.
pub(super) struct Napper {
    set: Rc<UnixStream>,
    pending: Option<Pin<Box<dyn Future<Output = io::Result<()>>>>>,
}

impl Napper {
    /// Sleeps until the set has something, or `at_most` has passed.
    pub(super) async fn nap(&mut self, at_most: Duration) {
        let pending = self.pending.get_or_insert_with(|| {
            let set = Rc::clone(&self.set);
            Box::pin(async move { set.readable(false).await })
        });
        let mut timer = pin!(monoio::time::sleep(at_most));
        let is_ready = poll_fn(|context| {
            if pending.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            timer.as_mut().poll(context).map(|()| false)
        });
        if is_ready.await {
            self.pending = None;
        }
    }
}
