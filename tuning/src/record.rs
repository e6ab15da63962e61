//! What was there before: the record of each apply, on disk before anything is touched.
//!
//! A record is a JSON file in the state folder, numbered in the order of the applies. It is written
//! beside its name, synced, and renamed; so it is there whole or not at all, and once an apply has
//! begun it is there. Reverting takes the newest first and removes each record that is undone.
//!
//! The folder itself is locked while somebody applies or reverts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::plan::{Change, Limit};

/// One apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Seconds since 1970.
    pub made_at_s: u64,
    /// Whether the apply came to its end.
    pub complete: bool,
    /// Values.
    pub live: Vec<Change>,
    /// Limits.
    pub limits: Vec<Limit>,
    /// Files.
    pub files: Vec<FileBefore>,
}

/// A file as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileBefore {
    /// Which.
    pub path: PathBuf,
    /// `None`: there was none.
    pub before: Option<Content>,
    /// Folders above it that there weren't, the outermost first.
    pub folders: Vec<PathBuf>,
}

/// Bytes and mode of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Text where it is text, so that a person can read the record.
    pub text: Option<String>,
    /// Otherwise its bytes.
    pub bytes: Option<Vec<u8>>,
    /// Permissions.
    pub mode: u32,
}

impl Content {
    fn read(path: &Path) -> io::Result<Self> {
        let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
        Ok(match String::from_utf8(fs::read(path)?) {
            Ok(text) => Self { text: Some(text), bytes: None, mode },
            Err(error) => Self { text: None, bytes: Some(error.into_bytes()), mode },
        })
    }

    /// What stood in the file.
    pub fn bytes(&self) -> &[u8] {
        match (&self.text, &self.bytes) {
            (Some(text), _) => text.as_bytes(),
            (None, Some(bytes)) => bytes,
            (None, None) => &[],
        }
    }
}

impl FileBefore {
    /// Looks at a file that is about to be written.
    ///
    /// # Errors
    /// The system's, but for a file that isn't there.
    pub fn look(path: &Path) -> io::Result<Self> {
        let before = match Content::read(path) {
            Ok(content) => Some(content),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let above = path.ancestors().skip(1);
        let missing = above.take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let mut folders: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        folders.reverse();
        Ok(Self { path: path.to_owned(), before, folders })
    }
}

/// The state folder, locked.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    lock: File,
}

/// Closing alone would not give the lock back while a child between fork and exec has a copy of the
/// descriptor.
impl Drop for Store {
    fn drop(&mut self) {
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

impl Store {
    /// Opens it, with everything above it.
    ///
    /// # Errors
    /// `WouldBlock` while somebody else has it; the system's.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = File::open(folder)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            match io::Error::from(error).kind() {
                ErrorKind::WouldBlock => {
                    io::Error::new(ErrorKind::WouldBlock, "another apply or revert is under way")
                }
                _ => error.into(),
            }
        })?;
        Ok(Self { folder: folder.to_owned(), lock })
    }

    /// Writes a record; it is durable when this returns.
    ///
    /// # Errors
    /// The system's.
    pub fn save(&self, number: u32, record: &Record) -> io::Result<()> {
        let text = serde_json::to_string_pretty(record)? + "\n";
        write_whole(&file_of(&self.folder, number), text.as_bytes(), 0o600)?;
        // The folder's own name, should it be new.
        match self.folder.parent() {
            Some(parent) => sync_folder(parent),
            None => Ok(()),
        }
    }

    /// Forgets a record that is undone; the folder too, after the last.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, number: u32) -> io::Result<()> {
        fs::remove_file(file_of(&self.folder, number))?;
        sync_folder(&self.folder)?;
        // It stays where something else is in it.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }
}

/// The records of a state folder, the oldest first; none where there is no folder.
///
/// # Errors
/// The system's, and `InvalidData` for a file that isn't a record, with its name.
pub fn list(folder: &Path) -> io::Result<Vec<(u32, Record)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut records = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_json = path.extension().is_some_and(|end| end == "json");
        let (Ok(number), true) = (stem.parse(), is_json) else { continue };
        let record = serde_json::from_slice(&fs::read(&path)?);
        let named = |error| io::Error::new(ErrorKind::InvalidData, format!("{path:?}: {error}"));
        records.push((number, record.map_err(named)?));
    }
    records.sort_by_key(|(number, _)| *number);
    Ok(records)
}

/// Where a record lies.
pub fn file_of(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:04}.json"))
}

/// Writes a file so that it holds all of `bytes` or what it held before, and syncs it. Folders
/// above it are made.
///
/// # Errors
/// The system's.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let beside = beside(path);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    file.write_all(bytes)?;
    // A mask may have taken from the mode, and an earlier try may have left another.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder(folder)
}

/// Where a file is written before it takes its name.
pub fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order_and_strangers_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/tune");
        assert!(list(&folder).unwrap().is_empty());
        let store = Store::open(&folder).unwrap();
        for number in [2, 1, 10] {
            let record = Record { made_at_s: number.into(), ..Record::default() };
            store.save(number, &record).unwrap();
        }
        fs::write(folder.join("notes.txt"), "not ours").unwrap();
        fs::write(folder.join(".0003.json.new"), "torn").unwrap();
        let numbers: Vec<u32> = list(&folder).unwrap().iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 10]);
        fs::write(folder.join("0004.json"), "{").unwrap();
        assert!(list(&folder).unwrap_err().to_string().contains("0004.json"));
    }

    #[test]
    fn two_cannot_have_the_folder_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(Store::open(dir.path()).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(store);
        assert!(Store::open(dir.path()).is_ok());
    }

    #[test]
    fn a_file_that_is_not_text_is_kept_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, [0xff, 0, 7]).unwrap();
        let before = FileBefore::look(&path).unwrap();
        let json = serde_json::to_string(&before).unwrap();
        let back: FileBefore = serde_json::from_str(&json).unwrap();
        assert_eq!(back.before.unwrap().bytes(), [0xff, 0, 7]);
        let missing = FileBefore::look(&dir.path().join("a/b/c")).unwrap();
        assert_eq!(missing.folders, [dir.path().join("a"), dir.path().join("a/b")]);
    }
}
