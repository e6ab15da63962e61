//! What was there before: the record of each apply, on disk before anything is touched.
//!
//! A record is a JSON file in the state folder, numbered in the order of the applies. It is written
//! beside its name, synced, and renamed; so it is there whole or not at all, and once an apply has
//! begun it is there. Reverting takes the newest first and removes each record that is undone.
//!
//! A record that can't be read is named and passed over: what the others hold is put back all the
//! same, and an apply, which would forget what that one had set, is refused.
//!
//! The folder itself is locked while somebody applies or reverts. It is nobody's but root's (or
//! whoever asks): who can write records says what root puts back.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use crate::files::{FileBefore, missing_above, sync_folder, write_whole};
use crate::plan::{Change, Limit};

/// One apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Seconds since 1970.
    pub made_at_s: u64,
    /// Whether the apply came to its end.
    pub complete: bool,
    /// Whether the files that a boot reads hold it. All did once that say nothing about it.
    #[serde(default = "yes")]
    pub kept: bool,
    /// Values, those that only a revert writes with them.
    pub live: Vec<Change>,
    /// Limits.
    pub limits: Vec<Limit>,
    /// Files.
    pub files: Vec<FileBefore>,
    /// Folders that were made for the records themselves, the outermost first.
    #[serde(default)]
    pub folders: Vec<PathBuf>,
}

fn yes() -> bool {
    true
}

/// The state folder, locked.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    lock: File,
    made: Vec<PathBuf>,
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
    /// `WouldBlock` while somebody else has it; `PermissionDenied` where others may write; the
    /// system's.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut made = missing_above(folder);
        if let Some(above) = folder.parent() {
            fs::create_dir_all(above)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => made.push(folder.to_owned()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let lock = File::open(folder)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            match io::Error::from(error).kind() {
                ErrorKind::WouldBlock => {
                    io::Error::new(ErrorKind::WouldBlock, "another apply or revert is under way")
                }
                _ => error.into(),
            }
        })?;
        let facts = lock.metadata()?;
        let is_owned = [0, geteuid().as_raw()].contains(&facts.uid());
        if !is_owned || facts.mode() & 0o022 != 0 {
            let fault = "others may write there what would be put back; give it to root, mode 0700";
            return Err(io::Error::new(ErrorKind::PermissionDenied, fault));
        }
        Ok(Self { folder: folder.to_owned(), lock, made })
    }

    /// Folders that opening has made, the outermost first.
    pub fn made(&self) -> &[PathBuf] {
        &self.made
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

    /// Forgets a record that is undone.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, number: u32) -> io::Result<()> {
        fs::remove_file(file_of(&self.folder, number))?;
        sync_folder(&self.folder)
    }

    /// After the last record: takes away what a save left that was cut short, and of the folders
    /// that were `made` those in which nothing else is.
    pub fn close(&self, made: &[PathBuf]) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') && name.ends_with(".json.new") {
                let _ = fs::remove_file(entry.path());
            }
        }
        let own = std::iter::once(&self.folder);
        for folder in own.chain(made.iter().rev().filter(|folder| **folder != self.folder)) {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// What a state folder holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// The records, the oldest first.
    pub records: Vec<(u32, Record)>,
    /// Files that should be records and can't be read, and why not.
    pub damaged: Vec<(PathBuf, String)>,
}

impl Listing {
    /// How many files there are.
    pub fn len(&self) -> usize {
        self.records.len() + self.damaged.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records, where all of them can be read.
    ///
    /// # Errors
    /// `InvalidData` with the file that can't be, and what to do about it.
    pub fn whole(self) -> io::Result<Vec<(u32, Record)>> {
        match self.damaged.first() {
            None => Ok(self.records),
            Some((path, why)) => {
                let path = path.display();
                let say = format!(
                    "{path} is damaged ({why}), and an apply would forget what that one had set; \
                     `touchline tune revert` puts back the rest and says what to do about it"
                );
                Err(io::Error::new(ErrorKind::InvalidData, say))
            }
        }
    }
}

/// What a state folder holds; nothing where there is no folder.
///
/// # Errors
/// The system's, for the folder.
pub fn list(folder: &Path) -> io::Result<Listing> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Listing::default()),
        Err(error) => return Err(error),
    };
    let mut found = Listing::default();
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_json = path.extension().is_some_and(|end| end == "json");
        let (Ok(number), true) = (stem.parse(), is_json) else { continue };
        let text = fs::read(&path).map_err(|error| error.to_string());
        let read = |text: Vec<u8>| serde_json::from_slice(&text).map_err(|it| it.to_string());
        match text.and_then(read) {
            Ok(record) => found.records.push((number, record)),
            Err(why) => found.damaged.push((path, why)),
        }
    }
    found.records.sort_by_key(|(number, _)| *number);
    found.damaged.sort();
    Ok(found)
}

/// Where a record lies.
pub fn file_of(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:04}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order_and_strangers_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/tune");
        assert!(list(&folder).unwrap().is_empty());
        assert!(!folder.exists(), "looking makes nothing");
        let store = Store::open(&folder).unwrap();
        for number in [2, 1, 10] {
            let record = Record { made_at_s: number.into(), ..Record::default() };
            store.save(number, &record).unwrap();
        }
        fs::write(folder.join("notes.txt"), "not ours").unwrap();
        fs::write(folder.join(".0003.json.new"), "torn").unwrap();
        let found = list(&folder).unwrap().whole().unwrap();
        assert_eq!(found.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 10]);
        fs::write(folder.join("0004.json"), "{").unwrap();
        assert_eq!((list(&folder).unwrap().records.len(), list(&folder).unwrap().len()), (3, 4));
        let refused = list(&folder).unwrap().whole().unwrap_err().to_string();
        assert!(refused.contains("0004.json is damaged (EOF"), "{refused}");
        assert!(refused.contains("`touchline tune revert`"), "{refused}");
    }

    #[test]
    fn a_folder_in_which_others_may_write_is_refused() {
        use std::os::unix::fs::{PermissionsExt as _, chown};
        let dir = tempfile::tempdir().unwrap();
        let allow = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode));
        let refused = || Store::open(dir.path()).unwrap_err().kind();
        allow(0o755).unwrap();
        Store::open(dir.path()).unwrap();
        allow(0o775).unwrap();
        assert_eq!(refused(), ErrorKind::PermissionDenied);
        allow(0o700).unwrap();
        if geteuid().is_root() {
            chown(dir.path(), Some(1234), None).unwrap();
            assert_eq!(refused(), ErrorKind::PermissionDenied, "the service's user");
        }
    }

    #[test]
    fn two_cannot_have_the_folder_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(Store::open(dir.path()).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(store);
        assert!(Store::open(dir.path()).is_ok());
    }
}
