//! What the journal asks of a disk. Nothing else in this crate touches a file while the log is
//! being written.
//!
//! The journal writes whole blocks at block boundaries, one call at a time, from one thread. That
//! is little enough to be the same over direct I/O ([`dma`]), over `pwrite` and
//! `fdatasync` ([`plain`]), and over a simulated disk that loses, tears and refuses on purpose (in
//! the tests). Readers use [`ReadDisk`], plain `pread` from threads of their own.
//!
//! # What an implementation owes
//! - After [`Disk::sync_data`] has returned `Ok`, all that was written to the file survives a power
//!   cut.
//! - After [`Disk::sync_dir`] has returned `Ok`, so do the names made, changed and removed before
//!   it.
//! - An error says that nothing is known; the journal decides what that means.

pub mod dma;
pub mod plain;

use std::io;

/// The writing side: one thread, one call at a time.
pub trait Disk {
    /// A file open for writing.
    type File;

    /// Names and lengths of all files of the folder.
    fn list(&mut self) -> io::Result<Vec<(String, u64)>>;
    /// Makes an empty file; fails where there is one of that name.
    fn create(&mut self, name: &str) -> io::Result<Self::File>;
    /// Opens a file that exists, for writing.
    fn open(&mut self, name: &str) -> io::Result<Self::File>;
    /// Writes whole blocks at a block's boundary, all of them or an error.
    fn write_at(&mut self, file: &mut Self::File, offset: u64, blocks: &[u8]) -> io::Result<()>;
    /// Sets the file's length.
    fn truncate(&mut self, file: &mut Self::File, len: u64) -> io::Result<()>;
    /// Makes the file's content and length durable.
    fn sync_data(&mut self, file: &mut Self::File) -> io::Result<()>;
    /// Gives a file another name, in place of what had that name.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes the folder's names durable.
    fn sync_dir(&mut self) -> io::Result<()>;
}

/// The reading side, from any thread.
pub trait ReadDisk: Send + Sync + 'static {
    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>>;
}

/// A file open for reading.
pub trait ReadAt: Send {
    /// Its length now.
    fn size(&self) -> io::Result<u64>;
    /// Reads into `buf` from `offset`; fewer bytes only at the file's end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
}

/// Whether `error` says that the medium can't give back what lies there: a bad sector, a checksum
/// of the file system or of the bus.
pub fn is_unreadable(error: &io::Error) -> bool {
    use libc::{EBADMSG, EILSEQ, EIO, ENODATA, EUCLEAN};
    matches!(error.raw_os_error(), Some(EIO | ENODATA | EBADMSG | EILSEQ | EUCLEAN))
}

/// Whether `error` says that the host is short of something, before any disk was asked: descriptors
/// or memory. A sync itself never fails so.
pub fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// Whether `error` says that the disk or a quota is full: the one failure that goes away by itself
/// (R13).
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
