//! The disk by ordinary files: `pwrite` and `fdatasync` from the calling thread.
//!
//! Used where io_uring is forbidden, and for every read. Reads go through the page cache, also
//! where writes don't: the kernel drops the pages that a direct write has passed by.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Disk, ReadAt, ReadDisk};

/// A folder of ordinary files.
#[derive(Clone, Debug)]
pub struct PlainDisk {
    dir: PathBuf,
}

impl PlainDisk {
    /// The files of `dir`, which must exist.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }
}

impl Disk for PlainDisk {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        list(&self.dir)
    }

    fn create(&mut self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(self.dir.join(name))
    }

    fn open(&mut self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.dir.join(name))
    }

    fn write_at(&mut self, file: &mut File, offset: u64, blocks: &[u8]) -> io::Result<()> {
        file.write_all_at(blocks, offset)
    }

    fn truncate(&mut self, file: &mut File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn sync_data(&mut self, file: &mut File) -> io::Result<()> {
        file.sync_data()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        sync_dir(&self.dir)
    }
}

impl ReadDisk for PlainDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        Ok(Box::new(File::open(self.dir.join(name))?))
    }
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match FileExt::read_at(self, &mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// Names and lengths of the files of `dir`; what isn't a file, or has no name in UTF-8, isn't ours.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
            files.push((name, meta.len()));
        }
    }
    Ok(files)
}

/// Makes the names in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
