//! What a receiver thread is told, and what it lets others see.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use super::crowd::Client;
use super::tally::Tally;
use crate::dialogue::Dialogue;
use crate::schedule::{Plan, Window};

/// How all clients of a worker behave.
pub struct Manner {
    /// Where they connect.
    pub target: SocketAddrV4,
    /// What they say.
    pub dialogue: Dialogue,
    /// Bytes a second of those that read slowly.
    pub slow_bytes_per_s: u32,
    /// Whether they come back.
    pub returns: bool,
    /// Addresses they come from; none: those of loopback, or whichever the kernel takes.
    pub sources: Vec<Ipv4Addr>,
}

/// What a worker is told.
pub enum Order {
    /// Connect these, a bounded number at a time.
    Connect(Arc<Manner>, Vec<Client>),
    /// Forget what was recorded and record a run in these windows. Its clock is ahead of ours by
    /// that many nanoseconds.
    Record(Arc<Plan>, Vec<Window>, i64),
    /// Close every connection; come back at some time within so many nanoseconds.
    Leave(u64),
    /// Send back what was recorded.
    Finish(Sender<Tally>),
}

/// What the other threads may look at meanwhile.
#[derive(Default)]
pub struct Progress {
    /// Clients that follow their team now.
    pub present: AtomicU64,
    /// Clients that failed before they ever did.
    pub failed: AtomicU64,
    /// Why the first of them did.
    pub why: Mutex<Option<String>>,
    /// Attempts that failed before that and were made again.
    pub retried: AtomicU64,
    /// Connections that ended after that.
    pub closed: AtomicU64,
    /// Events received in this run.
    pub delivered: AtomicU64,
    /// Median of the last whole second, microseconds.
    pub p50_us: AtomicU64,
    /// 99th percentile of the last whole second, microseconds.
    pub p99_us: AtomicU64,
}
