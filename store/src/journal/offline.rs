//! Reading a journal's folder from outside: `touchline log verify`, `touchline log dump`,
//! `touchline tail`.
//!
//! Works while a server runs and on a folder that no server would open. It takes no lock and
//! changes nothing. What a running server has not yet proven is not shown: its last group, for
//! about 100 ms (R11).

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use touchline_core::log::{Epoch, Lane, Position, Record, record};
use touchline_core::time::Timestamp;

use super::disk::plain::PlainDisk;
use super::disk::{Disk, ReadDisk};
use super::engine::parse_name;
use super::format::{Fault, Found, HeadFault, records};
use super::meta::Meta;
use super::walk::{Step, Walk};
use crate::limits::GROUP_HEAD_BYTES;

/// What is said of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its file.
    pub file: Arc<str>,
    /// Life of the log, if its head can be read.
    pub epoch: Option<Epoch>,
    /// First sequence it may hold.
    pub first: u64,
    /// One above the last record, sound or not.
    pub next: u64,
    /// Sound records.
    pub records: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Whether a server has set it aside already.
    pub quarantined: bool,
    /// What is wrong with it, by offset.
    pub problems: Vec<Problem>,
}

/// One bad place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the file.
    pub offset: u64,
    /// What is wrong there.
    pub reason: Arc<str>,
    /// Whether it is only what a crash leaves at the end, or a server is just writing: beyond what
    /// is proven.
    pub unproven_tail: bool,
}

impl SegmentReport {
    /// Whether something that was acknowledged may be lost.
    pub fn is_damaged(&self) -> bool {
        self.problems.iter().any(|problem| !problem.unproven_tail)
    }
}

/// Checks every checksum of the folder, segment by segment, oldest first.
pub fn verify(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<SegmentReport>> + use<>> {
    let disk = PlainDisk::new(dir);
    let names = segments(dir)?;
    let seen = Meta::read(&disk)?.map_or(0, |meta| meta.seen);
    let firsts: Vec<u64> = names.iter().map(|(first, _, _)| *first).collect();
    Ok(names.into_iter().enumerate().map(move |(n, (first, name, quarantined))| {
        let following = firsts.get(n + 1).copied();
        verify_segment(&disk, first, &name, quarantined, following, seen)
    }))
}

fn segments(dir: &Path) -> io::Result<Vec<(u64, String, bool)>> {
    let mut names: Vec<_> = PlainDisk::new(dir)
        .list()?
        .into_iter()
        .filter_map(|(name, _)| {
            let (first, damaged_at) = parse_name(&name)?;
            Some((first, name, damaged_at.is_some()))
        })
        .collect();
    names.sort();
    Ok(names)
}

fn verify_segment(
    disk: &PlainDisk,
    first: u64,
    name: &str,
    quarantined: bool,
    following: Option<u64>,
    seen: u64,
) -> io::Result<SegmentReport> {
    let mut walk = Walk::new(disk.open(name)?)?;
    let mut report = SegmentReport {
        file: name.into(),
        epoch: None,
        first,
        next: first,
        records: 0,
        bytes: walk.size(),
        quarantined,
        problems: Vec::new(),
    };
    let mut proven = following.unwrap_or(seen);
    match walk.head()? {
        Ok(head) => report.epoch = Some(head.epoch),
        Err(fault) => report.add(0, &head_text(fault), 0),
    }
    loop {
        match walk.step()? {
            Step::Group { offset, head } => {
                proven = proven.max(head.proven);
                if head.first > report.next {
                    report.add(offset, "records are missing before this group", proven);
                }
                report.settle();
                report.next = report.next.max(head.first);
                for found in records(head, walk.body()?) {
                    report.take(offset, &found, proven);
                }
            }
            Step::Bad { offset, fault, .. } => report.add(offset, &fault.to_string(), proven),
            Step::End { .. } => break,
        }
    }
    if following.is_some_and(|following| report.next < following) {
        report.add(report.bytes, "records are missing at the end", proven);
    }
    Ok(report)
}

impl SegmentReport {
    fn add(&mut self, offset: u64, reason: &str, proven: u64) {
        let unproven_tail = self.next >= proven && offset > 0;
        self.problems.push(Problem { offset, reason: reason.into(), unproven_tail });
    }

    /// A group that can be read proves all before it: what seemed an unproven tail is damage.
    fn settle(&mut self) {
        self.problems.iter_mut().for_each(|problem| problem.unproven_tail = false);
    }

    fn take(&mut self, group: u64, found: &Found<'_>, proven: u64) {
        match found {
            Found::Record(raw) if record::decode(Bytes::copy_from_slice(raw.body)).is_ok() => {
                self.records += 1;
                self.next = raw.seq + 1;
            }
            Found::Record(raw) => {
                let at = group + (GROUP_HEAD_BYTES + raw.end - raw.body.len()) as u64;
                self.add(at, &Fault::Undecodable.to_string(), proven);
                self.next = raw.seq + 1;
            }
            Found::Bad { next, offset, fault, .. } => {
                let at = group + (GROUP_HEAD_BYTES + offset) as u64;
                self.add(at, &fault.to_string(), proven);
                self.next = *next;
            }
        }
    }
}

fn head_text(fault: HeadFault) -> String {
    match fault {
        HeadFault::Version(version) => format!("the segment has version {version}"),
        HeadFault::Endian => "the segment was written with the other byte order".into(),
        HeadFault::Unreadable(fault) => fault.to_string(),
    }
}

/// What a dump comes across.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dumped {
    /// A proven record.
    Record {
        /// Life of the log it was written in.
        epoch: Epoch,
        /// When the log took it.
        time: Timestamp,
        /// The record.
        record: Box<Record>,
    },
    /// Something that can't be read.
    Damage {
        /// The file.
        file: Arc<str>,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: Arc<str>,
    },
}

/// Gives all proven records of sequences `from..to` to `each`, by sequence, until it says `false`.
/// Returns where to go on: a tail calls again from there.
pub fn dump(
    dir: &Path,
    from: u64,
    to: u64,
    mut each: impl FnMut(Dumped) -> bool,
) -> io::Result<u64> {
    let disk = PlainDisk::new(dir);
    let names = segments(dir)?;
    let end = proven_end(&disk, &names)?.min(to);
    let mut next = from;
    for (n, (_, name, _)) in names.iter().enumerate() {
        let following = names.get(n + 1).map_or(u64::MAX, |(first, _, _)| *first);
        if following <= next || next >= end {
            continue;
        }
        let mut task = Dump { file: name.as_str().into(), next, end: end.min(following) };
        let go_on = task.run(&disk, name, &mut each)?;
        next = task.next;
        if !go_on {
            return Ok(next);
        }
    }
    Ok(next.max(end.min(to)).max(from))
}

/// One above the last proven sequence of the folder: where a tail that wants only what is new
/// begins.
pub fn end(dir: &Path) -> io::Result<u64> {
    proven_end(&PlainDisk::new(dir), &segments(dir)?)
}

/// The highest watermark that stands anywhere: in the newest segment's groups, in its head, in the
/// meta file.
fn proven_end(disk: &PlainDisk, names: &[(u64, String, bool)]) -> io::Result<u64> {
    let mut proven = Meta::read(disk)?.map_or(0, |meta| meta.seen);
    let Some((first, name, _)) = names.last() else { return Ok(proven) };
    proven = proven.max(*first);
    let mut walk = Walk::new(disk.open(name)?)?;
    if let Ok(head) = walk.head()? {
        proven = proven.max(head.proven);
    }
    loop {
        match walk.step()? {
            Step::Group { head, .. } => proven = proven.max(head.proven),
            Step::Bad { .. } => {}
            Step::End { .. } => return Ok(proven),
        }
    }
}

struct Dump {
    file: Arc<str>,
    next: u64,
    end: u64,
}

impl Dump {
    /// `false` once the caller has had enough.
    fn run(
        &mut self,
        disk: &PlainDisk,
        name: &str,
        each: &mut impl FnMut(Dumped) -> bool,
    ) -> io::Result<bool> {
        let mut walk = Walk::new(disk.open(name)?)?;
        let head = walk.head()?;
        if let Err(fault) = head
            && !each(self.damage(0, &head_text(fault)))
        {
            return Ok(false);
        }
        loop {
            match walk.step()? {
                Step::Group { head, .. } if head.first >= self.end => return Ok(true),
                Step::Group { offset, head } => {
                    for found in records(head, walk.body()?) {
                        if !self.take(head.epoch, offset, &found, each) {
                            return Ok(false);
                        }
                    }
                }
                Step::Bad { offset, fault, resume } => {
                    let behind_end = resume.is_none() && self.next >= self.end;
                    if !behind_end && !each(self.damage(offset, &fault.to_string())) {
                        return Ok(false);
                    }
                }
                Step::End { .. } => return Ok(true),
            }
        }
    }

    fn damage(&self, offset: u64, reason: &str) -> Dumped {
        Dumped::Damage { file: self.file.clone(), offset, reason: reason.into() }
    }

    fn take(
        &mut self,
        epoch: Epoch,
        group: u64,
        found: &Found<'_>,
        each: &mut impl FnMut(Dumped) -> bool,
    ) -> bool {
        let base = group + GROUP_HEAD_BYTES as u64;
        match found {
            Found::Record(raw) if raw.seq < self.next || raw.seq >= self.end => true,
            Found::Record(raw) => {
                self.next = raw.seq + 1;
                match record::decode(Bytes::copy_from_slice(raw.body)) {
                    Ok((event, received_at)) => {
                        let position = Position { lane: Lane(0), seq: raw.seq };
                        let record = Box::new(Record { position, received_at, event });
                        each(Dumped::Record { epoch, time: raw.time, record })
                    }
                    Err(error) => each(self.damage(base + raw.end as u64, &error.to_string())),
                }
            }
            Found::Bad { first, .. } if *first >= self.end => true,
            Found::Bad { next, offset, fault, .. } => {
                self.next = self.next.max((*next).min(self.end));
                each(self.damage(base + *offset as u64, &fault.to_string()))
            }
        }
    }
}
