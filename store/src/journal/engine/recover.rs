//! Opening a journal: what is there, what its end is worth, and what has to be repaired (R8, R12).
//!
//! 1. Every segment's head is read. Another version or byte order ends the start; an unreadable
//!    head is damage, except that of a newest segment with nothing in it, which was never finished
//!    and goes.
//! 2. The dedupe window is put together from the checkpoints of the segments that reach into it;
//!    one without a usable checkpoint is read whole, and gets a new one.
//! 3. The newest segment is read whole. A bad place that lies at or below the proven watermark, or
//!    has a sound group behind it, is damage: the segment is set aside and writing goes on in a new
//!    one. Any other is a torn tail: whole records are kept, the rest is cut and reported.
//! 4. What isn't proven may be in a cache only, also if it can be read: the last group, for a group
//!    proves those before it. It is written again, at the same place, and synced, before anybody
//!    sees it. Sectors then hold what they held or the same again.
//! 5. If the end lies below what was seen before, something is missing, and a new life begins.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use touchline_core::event::Stream;
use touchline_core::log::Epoch;
use touchline_core::time::Timestamp;

use super::scan::{End, Scan, Tail, scan};
use super::segments::{damaged_name_of, parse_name};
use super::{Active, Engine};
use crate::journal::clock::LogTime;
use crate::journal::dedupe::{Dedupe, Entry};
use crate::journal::disk::{self, Disk, ReadDisk};
use crate::journal::format::{GroupBuffer, HeadFault, SegmentHead, VERSION};
use crate::journal::meta::Meta;
use crate::journal::options::{JournalOptions, OpenError, OpenReport};
use crate::journal::stats::set;
use crate::journal::summary::{self, Summary};
use crate::journal::view::{Extent, Segment, Shared, View};
use crate::journal::walk::{Step, Walk};
use crate::limits::{BLOCK_BYTES, CLOCK_AHEAD_MAX, CLOCK_BEHIND_MAX};

/// An engine ready to write, and what its start found.
pub struct Recovered<D: Disk> {
    /// The engine.
    pub engine: Engine<D>,
    /// What was found and done.
    pub report: OpenReport,
}

/// A segment as its name and head describe it.
#[derive(Clone, Debug)]
struct Found {
    first: u64,
    name: String,
    bytes: u64,
    damaged_at: Option<u64>,
    head: Option<SegmentHead>,
}

struct Recovery<'a, D> {
    disk: D,
    reads: &'a dyn ReadDisk,
    options: JournalOptions,
    dedupe: Dedupe,
    report: OpenReport,
}

impl<D: Disk> Engine<D> {
    /// Opens the journal on `disk`. `fresh` is the epoch of a new life, should one begin.
    pub fn open(
        disk: D,
        reads: &dyn ReadDisk,
        options: JournalOptions,
        fresh: Epoch,
    ) -> Result<Recovered<D>, OpenError> {
        let dir = options.dir.clone();
        let dedupe = Dedupe::new(options.dedupe_windows, options.dedupe_entries_max);
        let report = OpenReport::default();
        let recovery = Recovery { disk, reads, options, dedupe, report };
        recovery.run(fresh).map_err(|fault| match fault {
            Refusal::Open(error) => error,
            Refusal::Io(error) => OpenError::Io { dir, error },
        })
    }
}

enum Refusal {
    Open(OpenError),
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<D: Disk> Recovery<'_, D> {
    fn run(mut self, fresh: Epoch) -> Result<Recovered<D>, Refusal> {
        let meta = Meta::read(self.reads)?;
        let mut found = self.find_segments()?;
        self.read_heads(&mut found, meta.map_or(Epoch(0), |meta| meta.epoch))?;
        let newest = found.pop();
        let mut segments = Vec::new();
        let mut before = found.into_iter().peekable();
        let newest_head = newest.as_ref().and_then(|newest| newest.head);
        let newest_at = newest_head.map_or(Timestamp(0), |head| head.opened_at);
        let window = self.options.window_max() + CLOCK_BEHIND_MAX + CLOCK_AHEAD_MAX;
        while let Some(segment) = before.next() {
            let following = before.peek().or(newest.as_ref()).map_or(u64::MAX, |next| next.first);
            let ended = before.peek().and_then(|next| next.head).map_or(newest_at, |h| h.opened_at);
            let needed = ended >= newest_at.minus(window);
            segments.push(self.take_sealed(&segment, following, needed)?);
        }
        let seen = meta.map_or(0, |meta| meta.seen);
        let end = match newest {
            Some(newest) => self.take_newest(newest, seen)?,
            None => End::default(),
        };
        self.finish(segments, end, meta, fresh)
    }

    fn find_segments(&mut self) -> Result<Vec<Found>, Refusal> {
        let mut found = Vec::new();
        for (name, bytes) in self.disk.list()? {
            if name.ends_with(".tmp") {
                self.disk.remove(&name)?;
            } else if let Some((first, damaged_at)) = parse_name(&name) {
                found.push(Found { first, name, bytes, damaged_at, head: None });
            }
        }
        // Should a segment stand there under both names, the one that was set aside is the older.
        found.sort_by_key(|found| (found.first, found.damaged_at.is_none()));
        Ok(found)
    }

    fn read_heads(&mut self, found: &mut Vec<Found>, epoch: Epoch) -> Result<(), Refusal> {
        for segment in found.iter_mut() {
            let mut walk = Walk::new(self.reads.open(&segment.name)?)?;
            match walk.head()? {
                Ok(head) if head.first == segment.first => segment.head = Some(head),
                Ok(_) | Err(HeadFault::Unreadable(_)) => {}
                Err(HeadFault::Version(found)) => {
                    let file = segment.name.clone();
                    return Err(Refusal::Open(OpenError::Version { file, found, known: VERSION }));
                }
                Err(HeadFault::Endian) => {
                    let file = segment.name.clone();
                    return Err(Refusal::Open(OpenError::Endian { file }));
                }
            }
        }
        if let Some(newest) = found.last()
            && newest.head.is_none()
            && newest.damaged_at.is_none()
            && !self.holds_a_group(&newest.name)?
        {
            self.report.torn_bytes += newest.bytes;
            self.disk.remove(&newest.name)?;
            found.pop();
        }
        let known = found.iter().filter_map(|segment| segment.head);
        let mut opened_at = known.map(|head| head.opened_at).max().unwrap_or_default();
        for segment in found.iter_mut().rev() {
            if segment.head.is_none() && segment.damaged_at.is_none() {
                self.set_aside(segment, 0)?;
            }
            // What can be known of a head that can't be read. Its time is never too early, so
            // retention keeps what lies before it for as long as it should.
            let first = segment.first;
            let guess = SegmentHead { epoch, first, proven: 0, opened_at };
            opened_at = segment.head.get_or_insert(guess).opened_at;
        }
        Ok(())
    }

    fn holds_a_group(&self, name: &str) -> io::Result<bool> {
        let mut walk = Walk::new(self.reads.open(name)?)?;
        let step = walk.step()?;
        let holds = matches!(step, Step::Group { .. } | Step::Bad { resume: Some(_), .. });
        Ok(holds || walk.unreadable().is_some())
    }

    fn set_aside(&mut self, segment: &mut Found, offset: u64) -> io::Result<()> {
        let name = damaged_name_of(segment.first, offset);
        self.disk.rename(&segment.name, &name)?;
        self.disk.sync_dir()?;
        (segment.name, segment.damaged_at) = (name, Some(offset));
        Ok(())
    }

    /// A segment that isn't the newest: its checkpoint, or if need be its records.
    fn take_sealed(
        &mut self,
        segment: &Found,
        following: u64,
        needed: bool,
    ) -> Result<Arc<Segment>, Refusal> {
        let Some(head) = segment.head else { return Ok(self.entry(segment, Vec::new())) };
        let known = self.read_summary(segment.first, needed)?.filter(|summary| {
            (summary.epoch, summary.first, summary.next) == (head.epoch, head.first, following)
        });
        let (index, ids) = match known {
            Some(summary) => (summary.index, summary.ids),
            None if needed => {
                let mut scan = scan(self.reads.open(&segment.name)?, &head)?;
                scan.settle_damage();
                self.report.segments_rebuilt += 1;
                self.report.records_scanned += scan.ids.len() as u64;
                let range = (head.first, following);
                let (index, ids) = (&scan.index, &scan.ids);
                if let Err(error) = summary::write(&mut self.disk, head.epoch, range, index, ids) {
                    tracing::warn!(%error, file = %segment.name, "no checkpoint for this segment");
                }
                (scan.index, scan.ids)
            }
            None => (Vec::new(), Vec::new()),
        };
        if needed {
            self.remember(&ids);
        }
        Ok(self.entry(segment, index))
    }

    fn read_summary(&self, first: u64, with_ids: bool) -> io::Result<Option<Summary>> {
        match self.reads.open(&summary::name_of(first)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => match summary::read(file?.as_ref(), with_ids) {
                Err(error) if disk::is_unreadable(&error) => Ok(None),
                read => read,
            },
        }
    }

    fn remember(&mut self, ids: &[(Stream, Entry)]) {
        for (stream, entry) in ids {
            if self.dedupe.find(entry.identity()).is_some() {
                // It was taken again, so by then the older one had left the window. (Times are cut
                // to seconds.)
                let then = entry.time().plus(Duration::from_secs(1)).minus(CLOCK_BEHIND_MAX);
                self.dedupe.expire(then);
            }
            if self.dedupe.find(entry.identity()).is_none() {
                self.dedupe.insert_known(*stream, *entry);
            }
        }
    }

    fn entry(
        &mut self,
        segment: &Found,
        index: Vec<crate::journal::view::IndexEntry>,
    ) -> Arc<Segment> {
        let name: Arc<str> = segment.name.as_str().into();
        if let Some(offset) = segment.damaged_at {
            self.report.quarantined.push((name.clone(), offset));
        }
        Arc::new(Segment {
            first: segment.first,
            name,
            opened_at: segment.head.map_or(Timestamp(0), |head| head.opened_at),
            damaged_at: segment.damaged_at,
            extent: Extent::new(segment.bytes, index),
        })
    }

    /// The newest segment: all of it is read, its end is judged and repaired.
    fn take_newest(&mut self, mut segment: Found, seen: u64) -> Result<End<D::File>, Refusal> {
        let Some(mut head) = segment.head else { return Ok(End::default()) };
        let mut scan = scan(self.reads.open(&segment.name)?, &head)?;
        head.opened_at = if head.opened_at == Timestamp(0) { scan.time } else { head.opened_at };
        segment.head = Some(head);
        let proven = scan.proven.max(seen);
        if scan.torn.is_some() && (proven > scan.next || segment.damaged_at.is_some()) {
            scan.settle_damage();
        }
        if let (Some((offset, _)), None) = (scan.damage, segment.damaged_at) {
            self.set_aside(&mut segment, offset)?;
        }
        let sound = segment.damaged_at.is_none();
        let file = self.repair(&segment, &mut scan, proven, sound)?;
        self.report.records_scanned += scan.ids.len() as u64;
        self.remember(&scan.ids);
        let entry = self.entry(&segment, std::mem::take(&mut scan.index));
        entry
            .extent
            .bytes
            .store(scan.end.max(BLOCK_BYTES as u64), std::sync::atomic::Ordering::Relaxed);
        let next = if sound { scan.next } else { scan.next.max(proven) };
        let active = sound.then(|| Active {
            indexed: entry.extent.entries().last().map_or(0, |entry| entry.offset),
            segment: entry.clone(),
            epoch: head.epoch,
            end: scan.end,
            ids: scan.ids,
            file,
        });
        Ok(End { next, proven: scan.proven, time: scan.time, newest: Some(entry), active })
    }

    /// Writes the unproven tail again, cuts what is torn, and syncs: from here on all that is left
    /// is durable.
    fn repair(
        &mut self,
        segment: &Found,
        scan: &mut Scan,
        proven: u64,
        sound: bool,
    ) -> Result<D::File, Refusal> {
        let mut file = self.disk.open(&segment.name)?;
        if let Some(head) = segment.head.filter(|head| sound && proven <= head.first) {
            // Nothing in it proves that it was ever synced: its head may be in a cache only.
            self.disk.write_at(&mut file, 0, &head.encode())?;
        }
        // The last group has nothing behind it that would prove it, also if it is a mere proof
        // itself.
        if let Some(tail) = scan.tail.take().filter(|tail| sound || tail.is_whole()) {
            self.report.records_rewritten +=
                tail.next().saturating_sub(proven.max(tail.head.first));
            scan.end = self.rewrite(&mut file, &tail, scan)?.max(scan.end);
        }
        if sound {
            if let Some((offset, _)) = scan.torn {
                self.report.torn_bytes += scan.len.saturating_sub(offset);
            }
            if scan.len > scan.end {
                self.disk.truncate(&mut file, scan.end)?;
            }
        }
        self.disk.sync_data(&mut file)?;
        Ok(file)
    }

    fn rewrite(&mut self, file: &mut D::File, tail: &Tail, scan: &Scan) -> io::Result<u64> {
        let mut group = GroupBuffer::default();
        group.copy_records(&tail.records, tail.count);
        let head = &tail.head;
        let time = if tail.is_whole() { head.time } else { scan.time };
        let (head, blocks) = group.finish(head.epoch, head.first, head.proven, time);
        self.disk.write_at(file, tail.offset, blocks)?;
        Ok(tail.offset + head.span_bytes())
    }

    /// Decides on the life of the log, and makes the engine.
    fn finish(
        mut self,
        mut segments: Vec<Arc<Segment>>,
        end: End<D::File>,
        meta: Option<Meta>,
        fresh: Epoch,
    ) -> Result<Recovered<D>, Refusal> {
        let seen = meta.map_or(0, |meta| meta.seen);
        let reason = match meta {
            None if end.newest.is_none() => Some("the journal is new"),
            None => Some("the journal's meta file is missing or damaged"),
            Some(_) if end.next < seen => Some("the journal ends below what was seen"),
            Some(_) => None,
        };
        let epoch = if reason.is_some() { fresh } else { meta.map_or(fresh, |meta| meta.epoch) };
        let next = end.next.max(seen);
        segments.extend(end.newest);
        // Names that an earlier process had no time to make durable.
        self.disk.sync_dir()?;
        let shared = Shared::new(epoch, View { segments }, next);
        let log_time = LogTime::start(self.options.clock.now(), end.time);
        let mut engine = Engine {
            disk: self.disk,
            group: GroupBuffer::default(),
            active: end.active.filter(|_| reason.is_none()),
            next,
            proven: end.proven,
            log_time,
            dedupe: self.dedupe,
            options: self.options,
            shared,
        };
        engine.tick();
        if reason.is_some() {
            Meta { epoch, seen: next }.write(&mut engine.disk)?;
        }
        for (file, offset) in &self.report.quarantined {
            engine.shared.set_damage(file.clone(), *offset);
        }
        engine.prove();
        engine.retain();
        let stats = &engine.shared.stats;
        set(&stats.dedupe_entries, engine.dedupe.entries() as u64);
        set(&stats.dedupe_bytes, engine.dedupe.memory_bytes() as u64);
        self.report.epoch = Some(epoch);
        self.report.epoch_reason = reason;
        (self.report.first, self.report.next) = (engine.shared.first(), next);
        self.report.dedupe_entries = engine.dedupe.entries();
        Ok(Recovered { engine, report: self.report })
    }
}
