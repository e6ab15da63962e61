//! Going through a segment group by group, past whatever is damaged.
//!
//! A [`Walk`] serves everybody who reads segments: recovery, readers, `log verify`, `log dump`. It
//! reads ahead in large pieces, names each bad place once, and goes on at the next group head that
//! belongs to the segment, because groups start on block boundaries and a head can be told from
//! anything else.
//!
//! What the disk can't read (a bad sector) is tried once more, and then stands for zeros, which
//! pass no checksum: it is damage like any other, as small as a block.
//!
//! It judges heads only. Records are judged by [`super::format::records`], by whoever wants them.

use std::io;
use std::ops::Range;

use touchline_core::log::Epoch;

use super::disk::{self, ReadAt};
use super::format::{Fault, GroupHead, HeadFault, SegmentHead};
use crate::limits::{BLOCK_BYTES, GROUP_HEAD_BYTES};

const READ_AHEAD_BYTES: usize = 256 << 10;

/// What comes next in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A group whose head is sound; [`Walk::body`] gives its records.
    Group {
        /// Where its head stands.
        offset: u64,
        /// The head.
        head: GroupHead,
    },
    /// Something else stands where a group should.
    Bad {
        /// Where.
        offset: u64,
        /// What is wrong.
        fault: Fault,
        /// The next sound head, at which the walk goes on.
        resume: Option<u64>,
    },
    /// The file ends here, between two groups.
    End {
        /// Its length.
        offset: u64,
    },
}

/// Goes through one segment.
pub struct Walk {
    file: Box<dyn ReadAt>,
    len: u64,
    at: u64,
    epoch: Option<Epoch>,
    next_seq: u64,
    body: (u64, usize),
    buffer: Vec<u8>,
    buffer_at: u64,
    unreadable: Option<u64>,
}

impl Walk {
    /// Reads `file` as it is now; what is written later is not seen.
    pub fn new(file: Box<dyn ReadAt>) -> io::Result<Self> {
        let len = file.size()?;
        Ok(Self {
            file,
            len,
            at: BLOCK_BYTES as u64,
            epoch: None,
            next_seq: 0,
            body: (0, 0),
            buffer: Vec::new(),
            buffer_at: 0,
            unreadable: None,
        })
    }

    /// Length of the file.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// The first block that was met and couldn't be read. A crash leaves none such.
    pub fn unreadable(&self) -> Option<u64> {
        self.unreadable
    }

    /// The segment's head. From here on only groups of its epoch count.
    pub fn head(&mut self) -> io::Result<Result<SegmentHead, HeadFault>> {
        let block = self.bytes(0, BLOCK_BYTES)?;
        let head = SegmentHead::decode(block);
        if let Ok(head) = &head {
            self.expect(head.epoch, head.first);
        }
        Ok(head)
    }

    /// Only groups of `epoch` from `seq` on belong here. Zero, which no life has, stands for one
    /// that isn't known.
    pub fn expect(&mut self, epoch: Epoch, seq: u64) {
        self.epoch = (epoch.0 != 0).then_some(epoch);
        self.next_seq = seq;
    }

    /// Goes on at `offset`, where a group's head must stand.
    pub fn seek(&mut self, offset: u64) {
        self.at = offset;
    }

    /// What comes next.
    pub fn step(&mut self) -> io::Result<Step> {
        let offset = self.at;
        if offset >= self.len {
            return Ok(Step::End { offset: self.len });
        }
        match self.head_at(offset)? {
            Ok(head) => {
                self.body = (offset + GROUP_HEAD_BYTES as u64, head.bytes as usize);
                self.at = offset + head.span_bytes();
                self.next_seq = head.next();
                Ok(Step::Group { offset, head })
            }
            Err(fault) => {
                let resume = self.find_head(offset + BLOCK_BYTES as u64)?;
                self.at = resume.unwrap_or(self.len);
                Ok(Step::Bad { offset, fault, resume })
            }
        }
    }

    /// Records of the group that [`Walk::step`] gave last; fewer bytes than its head says where the
    /// file ends.
    pub fn body(&mut self) -> io::Result<&[u8]> {
        let (offset, len) = self.body;
        self.bytes(offset, len)
    }

    fn head_at(&mut self, offset: u64) -> io::Result<Result<GroupHead, Fault>> {
        let (epoch, next_seq) = (self.epoch, self.next_seq);
        let head = GroupHead::decode(self.bytes(offset, GROUP_HEAD_BYTES)?);
        Ok(head.and_then(|head| {
            let ours = epoch.is_none_or(|epoch| epoch == head.epoch) && head.first >= next_seq;
            if ours { Ok(head) } else { Err(Fault::Foreign) }
        }))
    }

    fn find_head(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut at = from;
        while at < self.len {
            if self.head_at(at)?.is_ok() {
                return Ok(Some(at));
            }
            at += BLOCK_BYTES as u64;
        }
        Ok(None)
    }

    /// Up to `len` bytes from `offset`, read ahead.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let len = len.min(self.len.saturating_sub(offset) as usize);
        let held = offset >= self.buffer_at
            && offset + len as u64 <= self.buffer_at + self.buffer.len() as u64;
        if !held {
            let ahead = len.max(READ_AHEAD_BYTES).min(self.len.saturating_sub(offset) as usize);
            self.fill(offset, ahead)?;
        }
        let start = (offset - self.buffer_at) as usize;
        let end = (start + len).min(self.buffer.len());
        Ok(self.buffer.get(start..end).unwrap_or_default())
    }

    /// Reads `len` bytes from `offset` into the buffer: at once, or where that fails by blocks.
    fn fill(&mut self, offset: u64, len: usize) -> io::Result<()> {
        self.buffer.resize(len, 0);
        self.buffer_at = offset;
        let read = match self.read_twice(offset, 0..len) {
            Err(error) if disk::is_unreadable(&error) => self.fill_by_blocks(offset)?,
            read => read?,
        };
        self.buffer.truncate(read);
        Ok(())
    }

    fn fill_by_blocks(&mut self, offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < self.buffer.len() {
            let at = offset + done as u64;
            let end = (at + 1).next_multiple_of(BLOCK_BYTES as u64) - offset;
            let end = self.buffer.len().min(end as usize);
            match self.read_twice(at, done..end) {
                Err(error) if disk::is_unreadable(&error) => {
                    self.unreadable.get_or_insert(at);
                    self.buffer[done..end].fill(0);
                }
                Err(error) => return Err(error),
                Ok(read) if read < end - done => return Ok(done + read),
                Ok(_) => {}
            }
            done = end;
        }
        Ok(done)
    }

    fn read_twice(&mut self, at: u64, range: Range<usize>) -> io::Result<usize> {
        match self.file.read_at(at, &mut self.buffer[range.clone()]) {
            Err(error) if disk::is_unreadable(&error) => {
                self.file.read_at(at, &mut self.buffer[range])
            }
            read => read,
        }
    }
}
