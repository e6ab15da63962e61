//! One process at a time: a lock on a file of the folder, which the kernel lets go of when the
//! process ends, however it ends. The file names the process, for whoever is turned away.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::disk;
use super::options::OpenError;

/// Held for as long as the journal is open.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
}

impl Drop for FolderLock {
    /// Lets go of it in so many words. Closing alone would not do: a child that another thread is
    /// about to start holds a copy of the descriptor until its exec, and the lock with it.
    fn drop(&mut self) {
        // A lock that can't be given back goes with the descriptor.
        let _ = self.file.unlock();
    }
}

/// Makes the folder if need be, and takes its lock.
pub fn take(dir: &Path) -> Result<FolderLock, OpenError> {
    let folder = |error| OpenError::Folder { dir: dir.to_owned(), error };
    std::fs::create_dir_all(dir).map_err(folder)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join("lock"))
        .map_err(folder)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "?" } else { pid.trim() };
            return Err(OpenError::Locked { dir: dir.to_owned(), pid: pid.into() });
        }
        Err(TryLockError::Error(error)) => return Err(folder(error)),
    }
    let named = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    match named {
        // The lock holds without a name in it, and a full disk keeps nobody from resuming (R13).
        Err(error) if !disk::is_full(&error) => Err(folder(error)),
        _ => Ok(FolderLock { file }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_free_once_its_lock_is_dropped_whoever_holds_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let lock = take(dir.path()).unwrap();
        assert!(matches!(take(dir.path()), Err(OpenError::Locked { .. })));
        // As a child has one between its fork and its exec.
        let _copy = lock.file.try_clone().unwrap();
        drop(lock);
        take(dir.path()).unwrap();
    }
}
