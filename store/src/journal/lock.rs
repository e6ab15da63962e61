//! One process at a time: a lock on a file of the folder, which the kernel lets go of when the
//! process ends, however it ends. The file names the process, for whoever is turned away.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::options::OpenError;

/// Held for as long as the journal is open.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
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
    named.map_err(folder)?;
    Ok(FolderLock { _file: file })
}
