//! Reading a range of the log back (R4, R6, R7): plain `pread`, below the watermark, with every
//! hole named.
//!
//! A reader takes the list of segments and the watermark as they are when a read begins. What lies
//! below the watermark never changes any more, except that retention may remove it; then the hole
//! says so. Where the disk gives back something else than was written, the hole is as small as the
//! next sound record allows, and the writer is told which segment to set aside.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use touchline_core::log::{Epoch, record};
use touchline_core::log::{Hole, HoleReason, Lane, Position, ReadChunk, ReadRequest, Record};

use super::disk::{self, ReadDisk};
use super::format::{Found, GroupHead, RawRecord, records};
use super::view::{Segment, Shared};
use super::walk::{Step, Walk};
use crate::limits::{GROUP_HEAD_BYTES, READ_BYTES_MAX};

/// A segment that turned out to be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamageFound {
    /// First sequence of the segment.
    pub first: u64,
    /// Offset of the first bad place that was met.
    pub offset: u64,
}

/// Reads what `request` asks for. Adds to `found` what it sees of damage.
pub fn read(
    shared: &Shared,
    disk: &dyn ReadDisk,
    request: ReadRequest,
    found: &mut Vec<DamageFound>,
) -> io::Result<ReadChunk> {
    let Position { lane, seq: from } = request.from;
    let end = shared.next();
    let mut chunk = ReadChunk { lane, from, next: from, records: Vec::new(), holes: Vec::new() };
    if lane != Lane(0) || from >= end {
        return Ok(chunk);
    }
    let view = shared.view();
    let mut task = Task { chunk: &mut chunk, left: request.bytes_max.min(READ_BYTES_MAX), end };
    let first = view.segments.first().map_or(end, |segment| segment.first);
    task.skip_to(first.min(end), HoleReason::Retention);
    while !task.is_done() {
        let Some((segment, following)) = view.find(task.chunk.next) else { break };
        task.read_segment(shared, disk, segment, following.min(end), found)?;
    }
    Ok(chunk)
}

struct Task<'a> {
    chunk: &'a mut ReadChunk,
    left: usize,
    end: u64,
}

impl Task<'_> {
    fn is_done(&self) -> bool {
        self.chunk.next >= self.end || self.left == 0
    }

    /// All of `next..to` is missing.
    fn skip_to(&mut self, to: u64, reason: HoleReason) {
        let from = self.chunk.next;
        if from >= to {
            return;
        }
        match self.chunk.holes.last_mut() {
            Some(last) if last.to + 1 == from && last.reason == reason => last.to = to - 1,
            _ => self.chunk.holes.push(Hole { from, to: to - 1, reason }),
        }
        self.chunk.next = to;
    }

    /// Reads on in `segment`, which ends before `until`.
    fn read_segment(
        &mut self,
        shared: &Shared,
        disk: &dyn ReadDisk,
        segment: &Arc<Segment>,
        until: u64,
        found: &mut Vec<DamageFound>,
    ) -> io::Result<()> {
        let file = match open(shared, disk, segment)? {
            Opened::File(file) => file,
            Opened::Removed(first) => {
                self.skip_to(first.min(until), HoleReason::Retention);
                return Ok(());
            }
            Opened::Missing => {
                found.push(DamageFound { first: segment.first, offset: 0 });
                self.skip_to(until, HoleReason::Damaged);
                return Ok(());
            }
        };
        let mut walk = Walk::new(file)?;
        if let Some(damage) = self.start(&mut walk, segment)? {
            found.push(damage);
        }
        let mut bad = |offset| found.push(DamageFound { first: segment.first, offset });
        while !self.is_done() && self.chunk.next < until {
            match walk.step()? {
                Step::Group { head, .. } if head.first >= until => break,
                Step::Group { offset, head } => {
                    if head.first > self.chunk.next {
                        bad(offset);
                        self.skip_to(head.first, HoleReason::Damaged);
                    }
                    self.take_group(offset, head, walk.body()?, until, &mut bad);
                }
                Step::Bad { offset, .. } => bad(offset),
                Step::End { .. } => break,
            }
        }
        if !self.is_done() && self.chunk.next < until {
            bad(walk.size());
            self.skip_to(until, HoleReason::Damaged);
        }
        Ok(())
    }

    /// Reads the head and goes near `next`. With an unreadable head any epoch has to do.
    fn start(&self, walk: &mut Walk, segment: &Segment) -> io::Result<Option<DamageFound>> {
        let head = walk.head()?;
        let epoch: Option<Epoch> = head.ok().map(|head| head.epoch);
        if let (Some(epoch), Some(entry)) = (epoch, segment.extent.find(self.chunk.next)) {
            walk.expect(epoch, entry.seq);
            walk.seek(entry.offset);
        }
        Ok(epoch.is_none().then_some(DamageFound { first: segment.first, offset: 0 }))
    }

    fn take_group(
        &mut self,
        offset: u64,
        head: GroupHead,
        body: &[u8],
        until: u64,
        bad: &mut dyn FnMut(u64),
    ) {
        if head.next() <= self.chunk.next {
            return;
        }
        for found in records(head, body) {
            match found {
                Found::Record(raw) if raw.seq < self.chunk.next => {}
                Found::Record(raw) if raw.seq >= until || self.left == 0 => return,
                Found::Record(raw) => {
                    if !self.take_record(&raw) {
                        bad(offset + (GROUP_HEAD_BYTES + raw.end - raw.body.len()) as u64);
                        self.skip_to(raw.seq + 1, HoleReason::Damaged);
                    }
                }
                Found::Bad { next, offset: at, .. } if next > self.chunk.next => {
                    bad(offset + (GROUP_HEAD_BYTES + at) as u64);
                    self.skip_to(next.min(until), HoleReason::Damaged);
                }
                Found::Bad { .. } => {}
            }
        }
    }

    fn take_record(&mut self, raw: &RawRecord<'_>) -> bool {
        let Ok((event, received_at)) = record::decode(Bytes::copy_from_slice(raw.body)) else {
            return false;
        };
        let position = Position { lane: Lane(0), seq: raw.seq };
        self.chunk.records.push(Record { position, received_at, event });
        self.chunk.next = raw.seq + 1;
        self.left = self.left.saturating_sub(raw.body.len());
        true
    }
}

enum Opened {
    File(Box<dyn super::disk::ReadAt>),
    /// Retention has removed it since; the log now begins here.
    Removed(u64),
    Missing,
}

/// Opens a segment, which may just have been set aside under another name, or removed.
fn open(shared: &Shared, disk: &dyn ReadDisk, segment: &Segment) -> io::Result<Opened> {
    let mut name = segment.name.clone();
    for _ in 0..3 {
        match disk.open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if disk::is_unreadable(&error) => return Ok(Opened::Missing),
            file => return Ok(Opened::File(file?)),
        }
        let first = shared.first();
        if first > segment.first {
            return Ok(Opened::Removed(first));
        }
        match shared.view().find(segment.first) {
            Some((now, _)) => name = now.name.clone(),
            None => break,
        }
    }
    Ok(Opened::Missing)
}
