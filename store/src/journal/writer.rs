//! The journal's threads: one that writes, one or more that read.
//!
//! The writer owns the [`Engine`]. It takes whatever has gathered, commits it as one group,
//! publishes what became durable, and only then answers (so a 202 is never older than the feed).
//! Between groups it writes the proof an idle journal owes, tries a full disk again, and tidies up.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use touchline_core::log::{AppendError, ReadError, ReadReply, ReadRequest};

use super::disk::{Disk, ReadDisk};
use super::engine::{Append, Engine, Recovered};
use super::options::{JournalOptions, OpenError, OpenReport};
use super::queue::{AppendQueue, ReadQueue, Waiting};
use super::reader;
use super::stats::add;
use super::view::{Mode, Shared};

/// How often retention and expiry are looked after.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// A full disk is tried again after at most this many times the first pause.
const FULL_RETRY_FACTOR_MAX: u32 = 50;

/// What [`super::Journal::open`] waits for.
pub type Opened = Result<(Arc<Shared>, OpenReport), OpenError>;

/// The writer's thread: opens the journal, says how that went, and works until the queue is closed.
pub fn run<D: Disk>(
    disk: D,
    reads: &dyn ReadDisk,
    options: JournalOptions,
    backend: &str,
    queue: &AppendQueue,
    opened: &SyncSender<Opened>,
) {
    let (idle_proof_after, full_retry) = (options.idle_proof_after, options.full_retry);
    let engine = match Engine::open(disk, reads, options, super::random_epoch()) {
        Ok(Recovered { engine, mut report }) => {
            report.backend = backend.into();
            let _ = opened.send(Ok((engine.shared().clone(), report)));
            engine
        }
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    let now = Instant::now();
    let mut writer = Writer {
        engine,
        idle_proof_after,
        full_retry,
        full_factor: 1,
        prove_at: None,
        tidy_at: now + TIDY_EVERY,
    };
    loop {
        match catch_unwind(AssertUnwindSafe(|| writer.turn(queue))) {
            Ok(true) => {}
            Ok(false) => return writer.engine.close(),
            Err(_) => return refuse_all(writer.engine.shared(), queue),
        }
    }
}

/// After a panic nobody knows what state the engine is in: nothing is written any more, and whoever
/// waits or comes is told so until the queue is closed.
fn refuse_all(shared: &Shared, queue: &AppendQueue) {
    tracing::error!("the journal's writer panicked: it is read-only until restart");
    shared.set_mode(Mode::ReadOnly);
    queue.done();
    loop {
        let work = queue.take(TIDY_EVERY);
        for waiting in work.group {
            guarded("an append's reply", || (waiting.reply)(Err(AppendError::ReadOnly)));
        }
        queue.done();
        if work.closing {
            return shared.set_mode(Mode::Closed);
        }
    }
}

struct Writer<D: Disk> {
    engine: Engine<D>,
    idle_proof_after: Duration,
    full_retry: Duration,
    full_factor: u32,
    prove_at: Option<Instant>,
    tidy_at: Instant,
}

impl<D: Disk> Writer<D> {
    /// One group, or what is due while there is none. `false` once the queue is closed and empty.
    fn turn(&mut self, queue: &AppendQueue) -> bool {
        let wake_at = self.prove_at.map_or(self.tidy_at, |at| at.min(self.tidy_at));
        let work = queue.take(wake_at.saturating_duration_since(Instant::now()));
        for damage in work.damage {
            self.engine.quarantine(damage.first, damage.offset);
        }
        if !work.group.is_empty() {
            self.commit(work.group);
            queue.done();
        }
        self.do_due(Instant::now());
        !work.closing
    }

    fn commit(&mut self, group: Vec<Waiting>) {
        let mut replies = Vec::with_capacity(group.len());
        let appends: Vec<Append> = group
            .into_iter()
            .map(|waiting| {
                replies.push((waiting.reply, waiting.since));
                waiting.append
            })
            .collect();
        let commit = self.engine.commit(appends);
        let shared = self.engine.shared();
        if commit.next > commit.from {
            shared.publish(commit.records, commit.from, commit.next);
        }
        for ((reply, since), verdict) in replies.into_iter().zip(commit.verdicts) {
            shared.stats.append.record(since.elapsed());
            guarded("an append's reply", || reply(verdict));
        }
    }

    fn do_due(&mut self, now: Instant) {
        let full = self.engine.shared().mode() == Mode::DiskFull;
        if self.prove_at.is_some_and(|at| now >= at) {
            self.prove_at = None;
            self.engine.prove();
            let still = self.engine.shared().mode() == Mode::DiskFull;
            self.full_factor =
                if full && still { (self.full_factor * 2).min(FULL_RETRY_FACTOR_MAX) } else { 1 };
            if full && !still {
                tracing::info!("the journal's disk has room again");
            }
        }
        if now >= self.tidy_at {
            self.engine.tidy();
            self.tidy_at = now + TIDY_EVERY;
        }
        if self.prove_at.is_none() {
            self.prove_at = match self.engine.shared().mode() {
                Mode::DiskFull => Some(now + jitter(self.full_retry * self.full_factor)),
                Mode::Writable if self.engine.unproven() => Some(now + self.idle_proof_after),
                _ => None,
            };
        }
    }
}

/// A reader's thread: until the queue is closed.
pub fn run_reader(shared: &Shared, disk: &dyn ReadDisk, reads: &ReadQueue, queue: &AppendQueue) {
    while let Some((request, reply)) = reads.take() {
        answer(shared, disk, request, reply, queue);
    }
}

fn answer(
    shared: &Shared,
    disk: &dyn ReadDisk,
    request: ReadRequest,
    reply: ReadReply,
    queue: &AppendQueue,
) {
    let mut found = Vec::new();
    let result = reader::read(shared, disk, request, &mut found);
    for damage in found {
        queue.report(damage);
    }
    add(&shared.stats.reads, 1);
    let result = result.map_err(|error: io::Error| ReadError::Io(error.to_string().into()));
    guarded("a read's reply", || reply(result));
}

/// A callback that panics must not take the log's thread with it.
pub fn guarded(what: &str, call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("{what} panicked");
    }
}

/// Between 75 % and 125 % of `pause`.
fn jitter(pause: Duration) -> Duration {
    let share = super::random_epoch().0 % 501;
    pause * 3 / 4 + pause * (share as u32) / 1000
}
