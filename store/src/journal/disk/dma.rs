//! The disk by direct I/O: glommio's DMA files, on an executor that belongs to the writer's thread.
//!
//! The journal's calls are synchronous, so each that needs the executor runs it until it is done;
//! between calls the ring is idle and the thread waits for work on a futex. Nobody else ever wakes
//! this executor. Blocks are copied once into an aligned buffer; against a sync that is nothing.
//! Names are changed by ordinary system calls: that is rare.
//!
//! Groups are written and synced by ordinary system calls too, two of them, past a second
//! descriptor of the file. The ring has nothing to overlap with one group in flight: a run of the
//! executor enters its rings ten times, and the kernel hands a sync, and a write that makes the
//! file longer, to a worker thread (`docs/decisions/journal-disk.md`).

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use glommio::io::{DmaFile, OpenOptions};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use super::Disk;
use super::plain;
use crate::limits::BLOCK_BYTES;

/// Registered with each of the executor's rings: enough for ordinary groups; larger ones use the
/// heap.
const IO_MEMORY_BYTES: usize = 256 << 10;
/// One write or sync is under way at a time.
const RING_DEPTH: usize = 16;
const PROBE_FILE: &str = "probe.tmp";

/// A folder written by direct I/O.
pub struct DmaDisk {
    executor: LocalExecutor,
    dir: PathBuf,
}

impl DmaDisk {
    /// The files of `dir`, which must exist. Writes and syncs a block first: an error says in one
    /// clause why direct I/O can't be used here.
    pub fn new(dir: &Path) -> Result<Self, String> {
        let made = catch_unwind(|| {
            LocalExecutorBuilder::new(Placement::Unbound)
                .name("journal")
                .io_memory(IO_MEMORY_BYTES)
                .ring_depth(RING_DEPTH)
                .make()
        });
        let executor = match made {
            Ok(Ok(executor)) => executor,
            Ok(Err(error)) => return Err(format!("the ring can't be set up: {error}")),
            Err(_) => return Err("the ring can't be set up".into()),
        };
        let mut disk = Self { executor, dir: dir.to_owned() };
        match catch_unwind(AssertUnwindSafe(|| disk.probe())) {
            Ok(Ok(())) => Ok(disk),
            Ok(Err(error)) => Err(format!("direct I/O fails in this folder: {error}")),
            Err(_) => Err("direct I/O fails in this folder".into()),
        }
    }

    fn probe(&mut self) -> io::Result<()> {
        let _ = self.remove(PROBE_FILE);
        let mut file = self.create(PROBE_FILE)?;
        let result =
            self.write_at(&mut file, 0, &[0; BLOCK_BYTES]).and_then(|()| self.sync_data(&mut file));
        drop(file);
        self.remove(PROBE_FILE)?;
        result
    }

    fn open_with(&self, options: &OpenOptions, name: &str) -> io::Result<DirectFile> {
        let path = self.dir.join(name);
        let dma = self.executor.run(async { options.dma_open(&path).await })?;
        let mut direct = std::fs::OpenOptions::new();
        let direct = direct.write(true).custom_flags(libc::O_DIRECT).open(&path)?;
        Ok(DirectFile { dma, direct })
    }
}

/// A file open for writing: as glommio has it, and a descriptor for system calls of our own.
pub struct DirectFile {
    dma: DmaFile,
    direct: File,
}

impl Disk for DmaDisk {
    type File = DirectFile;

    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        plain::list(&self.dir)
    }

    fn create(&mut self, name: &str) -> io::Result<DirectFile> {
        self.open_with(OpenOptions::new().write(true).create_new(true), name)
    }

    fn open(&mut self, name: &str) -> io::Result<DirectFile> {
        self.open_with(OpenOptions::new().write(true), name)
    }

    fn write_at(&mut self, file: &mut DirectFile, offset: u64, blocks: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < blocks.len() {
            let mut buffer = file.dma.alloc_dma_buffer(blocks.len() - done);
            buffer.as_bytes_mut().copy_from_slice(&blocks[done..]);
            let written = match file.direct.write_at(buffer.as_bytes(), offset + done as u64) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                written => written?,
            };
            // A write that ends within a block is done again from the block's start.
            let whole = written - written % BLOCK_BYTES;
            if whole == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            done += whole;
        }
        Ok(())
    }

    fn truncate(&mut self, file: &mut DirectFile, len: u64) -> io::Result<()> {
        file.direct.set_len(len)
    }

    fn sync_data(&mut self, file: &mut DirectFile) -> io::Result<()> {
        file.direct.sync_data()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        plain::sync_dir(&self.dir)
    }
}
