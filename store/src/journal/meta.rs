//! One block that outlives all segments: which life of the log this is, and how far it had got
//! (R8).
//!
//! It is replaced whole at each new segment and at the end, and read at the start: if the log's end
//! lies below what stands here, something was taken away behind our back, and a new life begins.

use std::io;

use touchline_core::log::Epoch;

use super::disk::{self, Disk, ReadDisk};
use super::format::{u16_at, u32_at, u64_at};
use super::summary::replace_file;
use crate::limits::BLOCK_BYTES;

/// Name of the file.
pub const NAME: &str = "meta";
const MAGIC: [u8; 8] = *b"\xffTL-META";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 32;

/// What is known of the log besides its segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Life of the log.
    pub epoch: Epoch,
    /// All below was durable when this was written.
    pub seen: u64,
}

impl Meta {
    /// Puts it durably in place of what was there.
    pub fn write<D: Disk>(&self, disk: &mut D) -> io::Result<()> {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        block.extend_from_slice(&MAGIC);
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&[0; 2]);
        block.extend_from_slice(&self.epoch.0.to_le_bytes());
        block.extend_from_slice(&self.seen.to_le_bytes());
        block.extend_from_slice(&crc32c::crc32c(&block).to_le_bytes());
        block.resize(BLOCK_BYTES, 0);
        replace_file(disk, NAME, &block)
    }

    /// What was written last; `None` if there is nothing whole.
    pub fn read(disk: &dyn ReadDisk) -> io::Result<Option<Self>> {
        let file = match disk.open(NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut head = [0; HEAD_BYTES];
        let read = match file.read_at(0, &mut head) {
            Err(error) if disk::is_unreadable(&error) => return Ok(None),
            read => read?,
        };
        let whole = read == HEAD_BYTES
            && head[..8] == MAGIC
            && u16_at(&head, 8) == VERSION
            && crc32c::crc32c(&head[..HEAD_BYTES - 4]) == u32_at(&head, HEAD_BYTES - 4);
        Ok(whole.then(|| Self { epoch: Epoch(u64_at(&head, 12)), seen: u64_at(&head, 20) }))
    }
}
