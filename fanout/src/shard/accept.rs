//! Connections on their way in: accepted, refused, or put off.
//!
//! A refusal costs one `send` of bytes that were made at the start, and nothing is allocated for it
//! (FAULTS 13). When the table of descriptors is full, a descriptor held in reserve is given up for
//! as long as it takes to accept one connection and tell it so; without that they would wait
//! unanswered, and the listener would stay ready for ever (FAULTS 41).

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use touchline_core::time::Monotonic;
use touchline_core::ws::{CloseCode, Refusal};

use super::Shard;
use super::conn::{Conn, Input, Stage};
use super::lobby::dismiss;
use crate::admission::Ticket;
use crate::limits::ACCEPTS_MAX;
use crate::pace::Pace;

/// How long accepting rests when the host is short of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// The state of accepting.
pub(super) struct Door {
    /// Somebody may wait outside. Edge-triggered: it stays so until accepting has said that nobody
    /// does.
    knocked: bool,
    paused_until: Option<Monotonic>,
    /// A descriptor to give up when there is none left.
    reserve: Option<File>,
    /// Whether newcomers are let in; not while memory is short.
    is_open: bool,
    /// Refusals are answered without a thought.
    full: Vec<u8>,
    draining: Vec<u8>,
    address_full: Vec<u8>,
    no_memory: Vec<u8>,
}

impl Door {
    pub(super) fn new(retry_after_s: u32) -> Self {
        let mut door = Self {
            knocked: true,
            paused_until: None,
            reserve: reserve(),
            is_open: true,
            full: Vec::new(),
            draining: Vec::new(),
            address_full: Vec::new(),
            no_memory: Vec::new(),
        };
        door.set_retry_after(retry_after_s);
        door
    }

    /// Writes the refusals anew.
    pub(super) fn set_retry_after(&mut self, seconds: u32) {
        self.full = Refusal::Full.response(seconds);
        self.draining = Refusal::Draining.response(seconds);
        self.address_full = Refusal::AddressFull.response(seconds);
        self.no_memory = Refusal::NoMemory.response(seconds);
    }

    pub(super) fn set_open(&mut self, is_open: bool) {
        self.is_open = is_open;
    }

    pub(super) fn knock(&mut self) {
        self.knocked = true;
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    fn response(&self, refusal: Refusal) -> &[u8] {
        match refusal {
            Refusal::AddressFull => &self.address_full,
            Refusal::Draining => &self.draining,
            Refusal::NoMemory => &self.no_memory,
            _ => &self.full,
        }
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// What accepting came to.
enum Knock {
    Came(OwnedFd, IpAddr),
    Nobody,
    /// This one went away again; ask for the next.
    Left,
    /// No descriptor, or no memory.
    Shortage,
}

impl Shard {
    /// Accepts a turn's share; answers whether more may wait.
    pub(super) fn accept_some(&mut self) -> bool {
        if self.door.paused_until.is_some_and(|until| self.now < until) {
            return false;
        }
        self.door.paused_until = None;
        if !self.door.knocked {
            return false;
        }
        for _ in 0..ACCEPTS_MAX {
            match self.accept_one() {
                Knock::Came(socket, address) => self.receive(socket, address),
                Knock::Left => {}
                Knock::Nobody => {
                    self.door.knocked = false;
                    return false;
                }
                Knock::Shortage => {
                    self.shed();
                    return false;
                }
            }
        }
        true
    }

    fn accept_one(&mut self) -> Knock {
        let Some(listener) = &self.listener else { return Knock::Nobody };
        match acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok((socket, address)) => {
                let address = address.and_then(|address| SocketAddr::try_from(address).ok());
                let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                Knock::Came(socket, address.map_or(nowhere, |address| address.ip()))
            }
            Err(Errno::AGAIN) => Knock::Nobody,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Knock::Shortage,
            // The peer has given up, or the network says something about it: the next may be fine.
            Err(_) => Knock::Left,
        }
    }

    fn receive(&mut self, socket: OwnedFd, address: IpAddr) {
        let is_proxy = self.options.proxies.contains(address);
        let verdict = if self.drain.is_some() {
            Err(Refusal::Draining)
        } else if !self.door.is_open {
            Err(Refusal::NoMemory)
        } else if self.conns.open() >= self.options.plan.sessions_max {
            Err(Refusal::Full)
        } else if is_proxy {
            // Its client is judged once its header has said who that is.
            self.admission.enter()
        } else {
            self.admission.admit(address, &self.rules.addresses, self.now)
        };
        match verdict {
            Ok(ticket) if is_proxy => {
                self.welcome(socket, ticket, Input::Proxy(Box::default()));
            }
            Ok(ticket) => self.welcome(socket, ticket, Input::Handshake(Box::default())),
            Err(refusal) => {
                self.stats.refused[refusal.index()].increment();
                let response = self.door.response(refusal);
                self.lobby.refuse(socket, response, self.now);
            }
        }
    }

    fn welcome(&mut self, socket: OwnedFd, ticket: Ticket, input: Input) {
        let id = self.hub.open(self.session_now());
        if self.poller.add_session(socket.as_fd(), id).is_err() {
            self.hub.close(id);
            self.admission.release(ticket);
            self.stats.accept_shortages.increment();
            self.stats.refused[Refusal::Full.index()].increment();
            return dismiss(&socket, self.door.response(Refusal::Full));
        }
        let deadline = self.session_now() + self.rules.sessions.handshake_max;
        let conn = Conn {
            socket,
            generation: id.generation,
            stage: Stage::Handshake,
            is_pinged: false,
            awaits_pong: false,
            close_is_seen: false,
            last_is_sent: false,
            is_put_off: false,
            soft_errors: 0,
            code: CloseCode::Abnormal,
            ticket,
            deadline,
            messages: Pace::default(),
            input,
        };
        self.conns.insert(id, conn);
        self.wheel.set(id.index, deadline);
    }

    /// There is no descriptor for whoever waits: tells those it can, and rests a while.
    fn shed(&mut self) {
        self.stats.accept_shortages.increment();
        for _ in 0..ACCEPTS_MAX {
            if self.door.reserve.take().is_none() {
                break;
            }
            let knock = self.accept_one();
            if let Knock::Came(socket, _) = &knock {
                self.stats.refused[Refusal::Full.index()].increment();
                dismiss(socket, self.door.response(Refusal::Full));
            }
            let is_over = !matches!(knock, Knock::Came(..) | Knock::Left);
            drop(knock);
            self.door.reserve = reserve();
            if is_over {
                break;
            }
        }
        self.door.reserve = self.door.reserve.take().or_else(reserve);
        self.door.paused_until = Some(self.now + PAUSE);
    }
}
