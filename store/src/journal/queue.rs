//! The two queues in front of the journal's threads. Both are bounded, and both wake by a futex:
//! callers may be shard threads with a table of descriptors of their own, in which a descriptor of
//! ours would mean nothing.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use touchline_core::log::{AppendReply, ReadReply, ReadRequest};

use super::engine::Append;
use super::reader::DamageFound;
use super::view::lock;
use crate::limits::{GROUP_BYTES_TARGET, READS_WAITING_MAX};

/// An append that waits.
pub struct Waiting {
    /// What it brings.
    pub append: Append,
    /// Whom to tell.
    pub reply: AppendReply,
    /// When it came.
    pub since: Instant,
    bytes: usize,
}

/// Too much waits already, or the log has been closed. Gives the reply back.
pub enum Refused {
    /// Too many bytes, or for too long.
    Busy(AppendReply),
    /// Closed.
    Closed(AppendReply),
}

#[derive(Default)]
struct Appends {
    waiting: VecDeque<Waiting>,
    /// Of all that waits and of the group in flight.
    bytes: usize,
    in_flight: Option<(Instant, usize)>,
    damage: Vec<DamageFound>,
    closing: bool,
}

impl Appends {
    fn oldest(&self) -> Option<Instant> {
        let in_flight = self.in_flight.map(|(since, _)| since);
        in_flight.or_else(|| self.waiting.front().map(|waiting| waiting.since))
    }
}

/// Appends on their way to the writer.
#[derive(Default)]
pub struct AppendQueue {
    appends: Mutex<Appends>,
    arrived: Condvar,
}

/// What the writer is to do next.
pub struct Work {
    /// Appends for the next group.
    pub group: Vec<Waiting>,
    /// Damage that readers have found.
    pub damage: Vec<DamageFound>,
    /// Nothing more will come.
    pub closing: bool,
}

impl AppendQueue {
    /// Adds an append, unless more than `bytes_max` would wait or the oldest has waited for
    /// `age_max`.
    pub fn push(
        &self,
        append: Append,
        reply: AppendReply,
        bytes_max: usize,
        age_max: Duration,
    ) -> Result<(), Refused> {
        let bytes = append.events.iter().map(touchline_core::event::Event::size_bytes).sum();
        let since = Instant::now();
        let mut appends = lock(&self.appends);
        if appends.closing {
            return Err(Refused::Closed(reply));
        }
        let full = appends.bytes > 0 && appends.bytes + bytes > bytes_max;
        let late = appends.oldest().is_some_and(|oldest| since - oldest >= age_max);
        if full || late {
            return Err(Refused::Busy(reply));
        }
        appends.bytes += bytes;
        appends.waiting.push_back(Waiting { append, reply, since, bytes });
        drop(appends);
        self.arrived.notify_one();
        Ok(())
    }

    /// Tells the writer of damage.
    pub fn report(&self, damage: DamageFound) {
        let mut appends = lock(&self.appends);
        if !appends.damage.iter().any(|known| known.first == damage.first) {
            appends.damage.push(damage);
        }
        drop(appends);
        self.arrived.notify_one();
    }

    /// Nothing more is taken; what waits is still done.
    pub fn close(&self) {
        lock(&self.appends).closing = true;
        self.arrived.notify_one();
    }

    /// Waits up to `timeout` for something to do, and takes a group's worth of it.
    pub fn take(&self, timeout: Duration) -> Work {
        let appends = lock(&self.appends);
        let idle = |appends: &mut Appends| {
            appends.waiting.is_empty() && appends.damage.is_empty() && !appends.closing
        };
        let waited = self.arrived.wait_timeout_while(appends, timeout, idle);
        let mut appends = match waited {
            Ok((appends, _)) => appends,
            Err(poisoned) => poisoned.into_inner().0,
        };
        let (mut group, mut bytes) = (Vec::new(), 0);
        while bytes < GROUP_BYTES_TARGET
            && let Some(waiting) = appends.waiting.pop_front()
        {
            bytes += waiting.bytes;
            group.push(waiting);
        }
        appends.in_flight = group.first().map(|first| (first.since, bytes));
        let closing = appends.closing && appends.waiting.is_empty();
        Work { group, damage: std::mem::take(&mut appends.damage), closing }
    }

    /// The group that was taken last is done.
    pub fn done(&self) {
        let mut appends = lock(&self.appends);
        if let Some((_, bytes)) = appends.in_flight.take() {
            appends.bytes -= bytes;
        }
    }

    /// Bytes that wait, and for how long the oldest has.
    pub fn pending(&self) -> (usize, Duration) {
        let appends = lock(&self.appends);
        let age = appends.oldest().map_or(Duration::ZERO, |oldest| oldest.elapsed());
        (appends.bytes, age)
    }
}

#[derive(Default)]
struct Reads {
    waiting: VecDeque<(ReadRequest, ReadReply)>,
    closing: bool,
}

/// Reads on their way to the readers.
#[derive(Default)]
pub struct ReadQueue {
    reads: Mutex<Reads>,
    arrived: Condvar,
}

/// Why a read wasn't taken. Gives the reply back.
pub enum ReadRefused {
    /// Too many wait.
    Busy(ReadReply),
    /// Closed.
    Closed(ReadReply),
}

impl ReadQueue {
    /// Adds a read.
    pub fn push(&self, request: ReadRequest, reply: ReadReply) -> Result<(), ReadRefused> {
        let mut reads = lock(&self.reads);
        if reads.closing {
            return Err(ReadRefused::Closed(reply));
        }
        if reads.waiting.len() >= READS_WAITING_MAX {
            return Err(ReadRefused::Busy(reply));
        }
        reads.waiting.push_back((request, reply));
        drop(reads);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for a read; `None` once the queue is closed and empty.
    pub fn take(&self) -> Option<(ReadRequest, ReadReply)> {
        let reads = lock(&self.reads);
        let idle = |reads: &mut Reads| reads.waiting.is_empty() && !reads.closing;
        let mut reads = match self.arrived.wait_while(reads, idle) {
            Ok(reads) => reads,
            Err(poisoned) => poisoned.into_inner(),
        };
        reads.waiting.pop_front()
    }

    /// Nothing more is taken; what waits is still done.
    pub fn close(&self) {
        lock(&self.reads).closing = true;
        self.arrived.notify_all();
    }
}
