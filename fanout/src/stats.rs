//! What a shard counts: written by its thread alone, read by scrapes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use touchline_core::metrics::{Counter, Gauge, Histogram};
use touchline_core::proxy::BadProxyHeader;
use touchline_core::time::Monotonic;
use touchline_core::ws::{CloseCode, Refusal};

use crate::hub::HubStats;

/// Numbers of one shard. Kept in a [`Padded`](touchline_core::metrics::Padded), so that shards
/// share no cache line.
#[derive(Debug, Default)]
pub struct ShardStats {
    /// Connections open now, handshakes and closes under way included.
    pub connections: Gauge,
    /// Handshakes that became sessions.
    pub opened: Counter,
    /// Sessions that ended, by [`CloseCode::index`].
    pub closed: [Counter; CloseCode::ALL.len()],
    /// Requests that became none, by [`Refusal::index`].
    pub refused: [Counter; Refusal::ALL.len()],
    /// Connections that ended before their request was complete, by no doing of ours.
    pub handshakes_lost: Counter,
    /// Events handed to the kernel, counted for each socket.
    pub deliveries: Counter,
    /// Sends that took something.
    pub sends: Counter,
    /// Sends that found the socket full.
    pub sends_blocked: Counter,
    /// Bytes handed to the kernel.
    pub sent_bytes: Counter,
    /// From durable to handed to the kernel; of each send, its oldest event.
    pub delivery_latency: Histogram,
    /// From the first to the last socket of one event.
    pub broadcast_spread: Histogram,
    /// From occurred to handed to the kernel, by stream; of each send, its oldest event.
    pub event_age: [Histogram; 4],
    /// `gap` messages, in the order of `HoleReason::ALL`.
    pub gaps: [Counter; 4],
    /// Events that a later one replaced.
    pub conflated: Counter,
    /// Sessions that a policy ended.
    pub slow_closed: Counter,
    /// Resumes answered from memory, from the log, and not whole.
    pub resumes: [Counter; 3],
    /// Batches that were missed and reread from the log (R26).
    pub rereads: Counter,
    /// Reads of the log that failed, or gave nothing where something was announced. They are tried
    /// again, ever more slowly.
    pub reads_failed: Counter,
    /// Records in a lane that the log doesn't have.
    pub poison: Counter,
    /// Batches that a full mailbox refused, as often as the shard has noticed it.
    pub mailbox_overflows: Counter,
    /// Topics in memory.
    pub topics: Gauge,
    /// Memory of all windows.
    pub windows_bytes: Gauge,
    /// Sessions that wait for the log.
    pub catching_up: Gauge,
    /// Faulty client messages that were answered by an `error`.
    pub soft_errors: Counter,
    /// Sessions that ended because handling them panicked.
    pub session_panics: Counter,
    /// Times that accepting had to pause or shed for want of descriptors or memory (FAULTS 41).
    pub accept_shortages: Counter,
    /// Rings that failed and were replaced (FAULTS 42).
    pub ring_failures: Counter,
    /// Sends that the kernel put off for reasons of its own (FAULTS 42).
    pub sends_retried: Counter,
    /// Times that the shard could not be pinned to the core that the plan names: it runs wherever
    /// it may, and its deliveries jitter.
    pub pin_failures: Counter,
    /// Thousandths of the last second that the shard was busy.
    pub busy_permille: Gauge,
    /// A trusted proxy's connection that did not say whose it is, for the log.
    pub bad_proxies: BadProxies,
    /// Whether all that the log had at the start has been taken in.
    pub is_ready: AtomicBool,
    /// Whether a drain is done: no connection is left.
    pub is_drained: AtomicBool,
    beat: AtomicU64,
    life: AtomicU8,
    io_uring: AtomicBool,
}

/// A trusted proxy's connection that was closed, as it did not say whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadProxy {
    /// Where it came from.
    pub proxy: SocketAddr,
    /// What was wrong.
    pub wrong: BadProxyHeader,
}

/// The first of them since somebody took one: a shard writes no line of its own, for whoever reads
/// those may be slow, and it waits for nobody.
#[derive(Debug, Default)]
pub struct BadProxies(Mutex<Option<BadProxy>>);

impl BadProxies {
    /// The one that is kept, if there is one.
    pub fn take(&self) -> Option<BadProxy> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps `bad`, unless one is kept already, or being taken.
    pub(crate) fn note(&self, bad: impl FnOnce() -> Option<BadProxy>) {
        if let Ok(mut kept) = self.0.try_lock()
            && kept.is_none()
        {
            *kept = bad();
        }
    }
}

/// Whether a shard runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Life {
    /// It does.
    Running = 0,
    /// It was told to stop, and did.
    Stopped = 1,
    /// It panicked outside of any session. Its sockets are closed, its listener is gone.
    Dead = 2,
}

impl ShardStats {
    /// When the shard last showed that it lives: at least once a second while it does.
    pub fn beat(&self) -> Monotonic {
        Monotonic(self.beat.load(Relaxed))
    }

    /// Whether it runs.
    pub fn life(&self) -> Life {
        match self.life.load(Relaxed) {
            0 => Life::Running,
            1 => Life::Stopped,
            _ => Life::Dead,
        }
    }

    /// Whether the shard runs and has shown it within `age_max`: what `/readyz` asks.
    pub fn is_alive(&self, now: Monotonic, age_max: Duration) -> bool {
        self.life() == Life::Running && now.since(self.beat()) <= age_max
    }

    /// `io_uring` or `epoll`, for `io_backend_info`.
    pub fn backend(&self) -> &'static str {
        if self.io_uring.load(Relaxed) { "io_uring" } else { "epoll" }
    }

    pub(crate) fn set_beat(&self, now: Monotonic) {
        self.beat.store(now.0, Relaxed);
    }

    pub(crate) fn set_life(&self, life: Life) {
        self.life.store(life as u8, Relaxed);
    }

    pub(crate) fn set_backend(&self, io_uring: bool) {
        self.io_uring.store(io_uring, Relaxed);
    }

    /// Takes over what the hub counts for itself.
    pub(crate) fn take_hub(&self, hub: &HubStats) {
        self.deliveries.set_total(hub.deliveries);
        self.sent_bytes.set_total(hub.sent_bytes);
        self.conflated.set_total(hub.conflated);
        self.slow_closed.set_total(hub.slow_closed);
        self.rereads.set_total(hub.rereads);
        self.reads_failed.set_total(hub.reads_failed);
        self.poison.set_total(hub.poison);
        for (counter, total) in self.gaps.iter().zip(hub.gaps) {
            counter.set_total(total);
        }
        let resumes = &hub.resumes;
        let resumes = [resumes.from_memory, resumes.from_log, resumes.not_recovered];
        for (counter, total) in self.resumes.iter().zip(resumes) {
            counter.set_total(total);
        }
        self.topics.set(hub.topics as i64);
        self.windows_bytes.set(hub.windows_bytes as i64);
        self.catching_up.set(hub.catching_up as i64);
    }
}
