//! The journal's logic, over any [`Disk`], without threads; its clock is one of its
//! options.
//!
//! An [`Engine`] belongs to one thread. [`Engine::commit`] takes all appends that have gathered,
//! judges each (R14 to R16), writes what is new as one group, syncs it, and says what became of
//! each append. While it does so nothing else happens, which is all that group commit and pending
//! twins need: whatever arrives meanwhile makes the next group.
//!
//! # Invariants
//! - The watermark moves only after a sync has succeeded (R11), and each group carries it (R12).
//! - A failed group leaves no trace: not in the dedupe window, not in the sequence, not below the
//!   watermark.
//! - After a write or sync has failed for another reason than room nothing is written any more
//!   (R13). A new segment that can't be made has lost nothing: that is tried again, like a full
//!   disk.
//!
//! # What it leaves out
//! Queues, replies and timers ([`super::writer`]), reading ([`super::reader`]).

mod recover;
mod scan;
mod segments;

pub use recover::Recovered;
pub use scan::{Scan, scan};
pub use segments::parse_name;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use touchline_core::event::{Event, Stream};
use touchline_core::limits::SEQ_MAX;
use touchline_core::log::{AppendError, Lane, Outcome, Position, Record};
use touchline_core::time::Timestamp;

use super::clock::LogTime;
use super::dedupe::{Dedupe, Entry};
use super::disk::{self, Disk};
use super::format::GroupBuffer;
use super::options::{JournalOptions, SKEW};
use super::stats::{add, set};
use super::view::{IndexEntry, Mode, Segment, Shared};
use crate::limits::{FULL_ROOM_BYTES, INDEX_STRIDE_BYTES};

/// A batch that wants to become durable.
#[derive(Clone, Debug)]
pub struct Append {
    /// What it brings.
    pub events: Vec<Event>,
    /// When its source handed it over.
    pub received_at: Timestamp,
    /// It was received earlier and comes again: its time says nothing about the host's clock.
    pub is_again: bool,
}

/// What became of one append.
pub type Verdict = Result<Vec<Outcome>, AppendError>;

/// What became of a commit.
#[derive(Debug)]
pub struct Commit {
    /// One for each append, in order.
    pub verdicts: Vec<Verdict>,
    /// What is now durable and new, by position. To be published before anybody is answered.
    pub records: Vec<Record>,
    /// Sequences that became durable: `from..next`.
    pub from: u64,
    /// One above the watermark.
    pub next: u64,
}

/// The writing half of a journal.
pub struct Engine<D: Disk> {
    disk: D,
    options: JournalOptions,
    shared: Arc<Shared>,
    active: Option<Active<D::File>>,
    /// One above the watermark: the sequence the next record gets.
    next: u64,
    /// The highest watermark that stands in the log.
    proven: u64,
    log_time: LogTime,
    dedupe: Dedupe,
    group: GroupBuffer,
}

/// The segment that is written to.
struct Active<F> {
    file: F,
    segment: Arc<Segment>,
    epoch: touchline_core::log::Epoch,
    /// Where the next group goes.
    end: u64,
    indexed: u64,
    /// For its summary.
    ids: Vec<(Stream, Entry)>,
}

/// Why a group could not be made durable.
enum WriteError {
    /// Nothing was lost by it, and it may pass: no room, or no descriptor for a new segment.
    Passing(io::Error),
    /// What the disk holds now is not known (R13).
    Failed(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        if disk::is_full(&error) { Self::Passing(error) } else { Self::Failed(error) }
    }
}

impl<D: Disk> Engine<D> {
    /// What it shares with readers.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The disk, for tests that misuse it.
    pub fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// Makes all that is new in `appends` durable, as one group, or none of it.
    pub fn commit(&mut self, appends: Vec<Append>) -> Commit {
        let from = self.next;
        self.tick();
        for append in &appends {
            if !append.is_again && self.log_time.off_by(append.received_at).is_none() {
                self.log_time.take_in(append.received_at);
            }
        }
        let before = self.dedupe.savepoint();
        self.group.clear();
        let (mut records, mut ids) = (Vec::new(), Vec::new());
        let refusal = self.refusal();
        let mut verdicts: Vec<Verdict> = appends
            .into_iter()
            .map(|append| match &refusal {
                Some(error) => Err(error.clone()),
                None => self.stage(append, &mut records, &mut ids),
            })
            .collect();
        if !records.is_empty()
            && let Err(error) = self.write_group(from + records.len() as u64, ids)
        {
            self.dedupe.rollback(before);
            let error = self.fail(error);
            records.clear();
            verdicts = verdicts.into_iter().map(|verdict| after_failure(verdict, &error)).collect();
        }
        self.count(&verdicts, records.len() as u64);
        Commit { verdicts, records, from, next: self.next }
    }

    /// Writes that all so far is durable, if that doesn't stand in the log yet. An idle journal
    /// does it soon, a full one to learn whether there is room again.
    pub fn prove(&mut self) {
        if self.proven >= self.next && self.shared.mode() == Mode::Writable {
            return;
        }
        if matches!(self.shared.mode(), Mode::ReadOnly | Mode::Closed) {
            return;
        }
        let full = self.shared.mode() == Mode::DiskFull;
        let room = if full { self.find_room() } else { Ok(()) };
        self.group.clear();
        match room.and_then(|()| self.write_group(self.next, Vec::new())) {
            Ok(()) => {
                self.shared.set_mode(Mode::Writable);
                add(&self.shared.stats.proofs, 1);
            }
            Err(error) => {
                self.fail(error);
            }
        }
    }

    /// Whether a full disk has room for more than the proof: takes it, and gives it back. Otherwise
    /// a few free blocks would open and shut the door to sources in turns.
    fn find_room(&mut self) -> Result<(), WriteError> {
        self.ensure_active()?;
        let Some(active) = &mut self.active else { return Ok(()) };
        self.disk.write_at(&mut active.file, active.end, &vec![0; FULL_ROOM_BYTES])?;
        Ok(self.disk.truncate(&mut active.file, active.end)?)
    }

    /// Whether [`Engine::prove`] has something to do.
    pub fn unproven(&self) -> bool {
        self.proven < self.next
    }

    fn refusal(&self) -> Option<AppendError> {
        match self.shared.mode() {
            Mode::Writable if self.next + (1 << 20) > SEQ_MAX => Some(AppendError::ReadOnly),
            Mode::Writable => None,
            Mode::DiskFull => Some(AppendError::DiskFull),
            Mode::ReadOnly => Some(AppendError::ReadOnly),
            Mode::Closed => Some(AppendError::Closed),
        }
    }

    /// Judges one append, and adds what is new in it to the group. Refused, it leaves no trace.
    fn stage(
        &mut self,
        append: Append,
        records: &mut Vec<Record>,
        ids: &mut Vec<(Stream, Entry)>,
    ) -> Verdict {
        if !append.is_again && self.log_time.off_by(append.received_at).is_some() {
            // Judged by a wrong clock all might be too old, acknowledged and never shown.
            return Err(AppendError::Busy);
        }
        let savepoint = self.dedupe.savepoint();
        let stamp = self.log_time.stamp();
        let (mut outcomes, mut reused) = (Vec::with_capacity(append.events.len()), Vec::new());
        let mut seq = self.next + records.len() as u64;
        for (index, event) in append.events.iter().enumerate() {
            let (identity, content) = (event.identity(), event.content());
            outcomes.push(match self.dedupe.find(identity) {
                Some(known) if known == content => Outcome::Duplicate,
                Some(_) => {
                    reused.push(index);
                    Outcome::Duplicate
                }
                None if self.is_too_old(event, append.received_at) => Outcome::TooOld,
                None => {
                    let entry = Entry::new(identity, content, stamp);
                    if self.dedupe.insert(event.stream, entry).is_err() {
                        self.dedupe.rollback(savepoint);
                        return Err(AppendError::DedupeFull);
                    }
                    let position = Position { lane: Lane(0), seq };
                    seq += 1;
                    Outcome::Accepted(position)
                }
            });
        }
        if !reused.is_empty() {
            self.dedupe.rollback(savepoint);
            return Err(AppendError::IdReused(reused));
        }
        for (event, outcome) in append.events.into_iter().zip(&outcomes) {
            if let Outcome::Accepted(position) = *outcome {
                self.group.push(position.seq, stamp, &event, append.received_at);
                let entry = Entry::new(event.identity(), event.content(), stamp);
                ids.push((event.stream, entry));
                records.push(Record { position, received_at: append.received_at, event });
            }
        }
        Ok(outcomes)
    }

    /// R16. What has left the window is always too old: see [`super::clock`]. Sensor values are
    /// judged by their age where they are shown (R20).
    fn is_too_old(&self, event: &Event, received_at: Timestamp) -> bool {
        let window = self.options.dedupe_windows[event.stream as usize];
        event.stream != Stream::Sensor
            && event.occurred_at < received_at.minus(window.saturating_sub(SKEW))
    }

    /// Writes and syncs the group; then all below `next` is durable.
    fn write_group(&mut self, next: u64, ids: Vec<(Stream, Entry)>) -> Result<(), WriteError> {
        self.ensure_active()?;
        let Some(active) = &mut self.active else { return Ok(()) };
        let stamp = self.log_time.stamp();
        let (head, blocks) = self.group.finish(active.epoch, self.next, self.next, stamp);
        self.disk.write_at(&mut active.file, active.end, blocks)?;
        let started = Instant::now();
        self.disk.sync_data(&mut active.file).map_err(WriteError::Failed)?;
        self.shared.stats.fsync.record(started.elapsed());
        if active.end >= active.indexed + INDEX_STRIDE_BYTES || active.indexed == 0 {
            let entry = IndexEntry { seq: head.first, offset: active.end };
            active.segment.extent.push(entry);
            active.indexed = active.end;
        }
        active.end += head.span_bytes();
        active.ids.extend(ids);
        active.segment.extent.bytes.store(active.end, std::sync::atomic::Ordering::Relaxed);
        let stats = &self.shared.stats;
        add(&stats.fsyncs, 1);
        add(&stats.groups, 1);
        add(&stats.size_bytes, head.span_bytes());
        add(&stats.written_bytes, head.span_bytes());
        add(&stats.record_bytes, u64::from(head.bytes));
        (self.proven, self.next) = (head.proven, next);
        Ok(())
    }

    /// What a failure means for the log (R13), and what those are told whose events were in the
    /// group.
    fn fail(&mut self, error: WriteError) -> AppendError {
        match error {
            WriteError::Passing(error) => {
                if self.shared.mode() == Mode::Writable {
                    tracing::warn!(%error, "the journal has no room: sources get 503 for now");
                }
                self.shared.set_mode(Mode::DiskFull);
                if let Some(active) = &mut self.active {
                    // What was written of the group isn't acknowledged and will be written over;
                    // cutting it off only spares the next start a torn tail.
                    let _ = self.disk.truncate(&mut active.file, active.end);
                }
                AppendError::DiskFull
            }
            WriteError::Failed(error) => {
                tracing::error!(%error, "the journal could not be written: it is read-only until restart");
                self.shared.set_mode(Mode::ReadOnly);
                AppendError::Unknown(error.to_string().into())
            }
        }
    }

    fn count(&self, verdicts: &[Verdict], records: u64) {
        let stats = &self.shared.stats;
        add(&stats.records, records);
        for verdict in verdicts {
            add(&stats.appends, 1);
            let Ok(outcomes) = verdict else {
                add(&stats.appends_failed, 1);
                continue;
            };
            let of = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count() as u64;
            add(&stats.duplicates, of(Outcome::Duplicate));
            add(&stats.too_old, of(Outcome::TooOld));
        }
        set(&stats.dedupe_entries, self.dedupe.entries() as u64);
        set(&stats.dedupe_bytes, self.dedupe.memory_bytes() as u64);
    }

    /// Lets time pass, and the dedupe window forget what is past it.
    fn tick(&mut self) {
        let now = self.options.clock.now();
        self.log_time.tick(now);
        self.shared.set_clock_off(self.log_time.off_by(now.wall));
        self.dedupe.expire(self.log_time.for_window());
    }

    /// Housekeeping that may wait: retention and expiry.
    pub fn tidy(&mut self) {
        self.tick();
        self.retain();
        set(&self.shared.stats.dedupe_entries, self.dedupe.entries() as u64);
    }

    /// Closed for good: everything proven, and what was seen written down.
    pub fn close(&mut self) {
        self.prove();
        if self.shared.mode() == Mode::Writable
            && let Err(error) = self.write_meta()
        {
            tracing::warn!(%error, "the journal could not note its end");
        }
        self.shared.set_mode(Mode::Closed);
    }

    fn window_max(&self) -> Duration {
        self.options.window_max()
    }
}

/// In a group that failed an append fails too, also one whose id was refused: the twin it was held
/// against may be gone (R14). Spared is what needed nothing of the group: all of it was too old, or
/// there was no room in the window.
fn after_failure(verdict: Verdict, error: &AppendError) -> Verdict {
    match verdict {
        Ok(outcomes) if outcomes.iter().all(|outcome| *outcome == Outcome::TooOld) => Ok(outcomes),
        Ok(_) | Err(AppendError::IdReused(_)) => Err(error.clone()),
        Err(other) => Err(other),
    }
}
