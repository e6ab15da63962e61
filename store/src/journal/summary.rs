//! The checkpoint: what a start needs to know of a segment that is full, without reading it.
//!
//! A sealed segment gets a file beside it with its sparse index and, for each record, the entry of
//! the dedupe window. All summaries of the window and the newest segment together are the window: a
//! start reads 29 bytes for each record and rereads one segment. A summary is written once, under
//! another name, synced, and renamed; it carries checksums, and a bad or missing one only means
//! that its segment is read whole.

use std::io;

use touchline_core::event::{Content, Identity, Stream};
use touchline_core::log::Epoch;
use touchline_core::time::Timestamp;

use super::dedupe::Entry;
use super::disk::{Disk, ReadAt};
use super::format::{u16_at, u32_at, u64_at};
use super::view::IndexEntry;
use crate::limits::BLOCK_BYTES;

const MAGIC: [u8; 8] = *b"\xffTL-SUM\n";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 64;
const INDEX_BYTES: usize = 16;
const ID_BYTES: usize = 29;

/// What a summary holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Life of the log its segment belongs to.
    pub epoch: Epoch,
    /// First sequence of the segment.
    pub first: u64,
    /// First sequence of the next one.
    pub next: u64,
    /// Sparse index.
    pub index: Vec<IndexEntry>,
    /// Entries of the dedupe window, in log order. Empty when only the index was asked for.
    pub ids: Vec<(Stream, Entry)>,
}

/// Name of the summary of the segment that begins at `first`.
pub fn name_of(first: u64) -> String {
    format!("{first:020}.ids")
}

/// Writes the summary of a segment. Takes it in parts, as its writer has them.
pub fn write<D: Disk>(
    disk: &mut D,
    epoch: Epoch,
    range: (u64, u64),
    index: &[IndexEntry],
    ids: &[(Stream, Entry)],
) -> io::Result<()> {
    let name = name_of(range.0);
    replace_file(disk, &name, &encode(epoch, range, index, ids))
}

/// Puts `blocks` durably in place of the file `name`, whole or not at all.
pub fn replace_file<D: Disk>(disk: &mut D, name: &str, blocks: &[u8]) -> io::Result<()> {
    let fresh = format!("{name}.tmp");
    match disk.remove(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = disk.create(&fresh)?;
    disk.write_at(&mut file, 0, blocks)?;
    disk.sync_data(&mut file)?;
    drop(file);
    disk.rename(&fresh, name)?;
    disk.sync_dir()
}

fn encode(
    epoch: Epoch,
    range: (u64, u64),
    index: &[IndexEntry],
    ids: &[(Stream, Entry)],
) -> Vec<u8> {
    let mut out = vec![0; HEAD_BYTES];
    for entry in index {
        out.extend_from_slice(&entry.seq.to_le_bytes());
        out.extend_from_slice(&entry.offset.to_le_bytes());
    }
    let ids_at = out.len();
    out.reserve(ids.len() * ID_BYTES + BLOCK_BYTES);
    for (stream, entry) in ids {
        out.push(*stream as u8);
        out.extend_from_slice(&entry.identity().0.to_le_bytes());
        out.extend_from_slice(&entry.content().0.to_le_bytes());
        out.extend_from_slice(&((entry.time().0 / 1_000_000) as u32).to_le_bytes());
    }
    let index_sum = crc32c::crc32c(&out[HEAD_BYTES..ids_at]);
    let ids_sum = crc32c::crc32c(&out[ids_at..]);
    let head = &mut out[..HEAD_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..10].copy_from_slice(&VERSION.to_le_bytes());
    head[12..16].copy_from_slice(&index_sum.to_le_bytes());
    head[16..24].copy_from_slice(&epoch.0.to_le_bytes());
    head[24..32].copy_from_slice(&range.0.to_le_bytes());
    head[32..40].copy_from_slice(&range.1.to_le_bytes());
    head[40..44].copy_from_slice(&(index.len() as u32).to_le_bytes());
    head[44..48].copy_from_slice(&(ids.len() as u32).to_le_bytes());
    head[48..52].copy_from_slice(&ids_sum.to_le_bytes());
    let sum = crc32c::crc32c(&head[..HEAD_BYTES - 4]);
    head[HEAD_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
    out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
    out
}

/// Reads a summary, with its entries or only its index. `None` if it isn't whole.
pub fn read(file: &dyn ReadAt, with_ids: bool) -> io::Result<Option<Summary>> {
    let mut head = [0; HEAD_BYTES];
    if file.read_at(0, &mut head)? < HEAD_BYTES
        || head[..8] != MAGIC
        || u16_at(&head, 8) != VERSION
        || crc32c::crc32c(&head[..HEAD_BYTES - 4]) != u32_at(&head, HEAD_BYTES - 4)
    {
        return Ok(None);
    }
    let index_len = u32_at(&head, 40) as usize * INDEX_BYTES;
    let ids_len = if with_ids { u32_at(&head, 44) as usize * ID_BYTES } else { 0 };
    if file.size()? < (HEAD_BYTES + index_len + ids_len) as u64 {
        return Ok(None);
    }
    let mut body = vec![0; index_len + ids_len];
    if file.read_at(HEAD_BYTES as u64, &mut body)? < body.len() {
        return Ok(None);
    }
    let (index, ids) = body.split_at(index_len);
    let sound = crc32c::crc32c(index) == u32_at(&head, 12)
        && (!with_ids || crc32c::crc32c(ids) == u32_at(&head, 48));
    if !sound {
        return Ok(None);
    }
    let index = index
        .chunks_exact(INDEX_BYTES)
        .map(|raw| IndexEntry { seq: u64_at(raw, 0), offset: u64_at(raw, 8) })
        .collect();
    let ids = ids.chunks_exact(ID_BYTES).map(decode_id).collect::<Option<Vec<_>>>();
    Ok(ids.map(|ids| Summary {
        epoch: Epoch(u64_at(&head, 16)),
        first: u64_at(&head, 24),
        next: u64_at(&head, 32),
        index,
        ids,
    }))
}

fn decode_id(raw: &[u8]) -> Option<(Stream, Entry)> {
    let stream = *Stream::ALL.get(usize::from(raw[0]))?;
    let identity = Identity(u128::from(u64_at(raw, 1)) | u128::from(u64_at(raw, 9)) << 64);
    let time = Timestamp(i64::from(u32_at(raw, 25)) * 1_000_000);
    Some((stream, Entry::new(identity, Content(u64_at(raw, 17)), time)))
}
