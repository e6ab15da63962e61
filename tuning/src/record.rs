//! What was there before: the record of each apply, on disk before anything is touched.
//!
//! A record is a JSON file in the state folder, numbered in the order of the applies. It is written
//! beside its name, synced, and renamed; so it is there whole or not at all, and once an apply has
//! begun it is there. Reverting takes the newest first and removes each record that is undone.
//!
//! A record that can't be read is named and passed over: what the others hold is put back all the
//! same, and an apply, which would forget what that one had set, is refused.
//!
//! The folder itself is locked while somebody applies or reverts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, lchown,
    symlink,
};
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
    /// Folders that were made for the records themselves, the outermost first.
    #[serde(default)]
    pub folders: Vec<PathBuf>,
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

/// A file, or the link that stands in its place, with its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Text where it is text, so that a person can read the record.
    pub text: Option<String>,
    /// Otherwise its bytes.
    pub bytes: Option<Vec<u8>>,
    /// Permissions.
    pub mode: u32,
    /// User and group.
    #[serde(default)]
    pub owner: Option<(u32, u32)>,
    /// Where it leads, if it is a symbolic link.
    #[serde(default)]
    pub link: Option<PathBuf>,
}

impl Content {
    /// What stands at `path`, links not followed; `None` where nothing does.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match Self::try_read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(named(path, &error)),
        }
    }

    fn try_read(path: &Path) -> io::Result<Self> {
        let facts = fs::symlink_metadata(path)?;
        let bare = Self {
            text: None,
            bytes: None,
            mode: facts.permissions().mode() & 0o7777,
            owner: Some((facts.uid(), facts.gid())),
            link: None,
        };
        if facts.is_symlink() {
            return Ok(Self { link: Some(fs::read_link(path)?), ..bare });
        }
        Ok(match String::from_utf8(fs::read(path)?) {
            Ok(text) => Self { text: Some(text), ..bare },
            Err(error) => Self { bytes: Some(error.into_bytes()), ..bare },
        })
    }

    /// Whether `now` is this in every respect. A record of an older version knows no owner.
    pub fn is_like(&self, now: &Self) -> bool {
        let is_owned = self.owner.is_none() || self.owner == now.owner;
        let has_mode = self.link.is_some() || self.mode == now.mode;
        self.link == now.link && self.bytes() == now.bytes() && is_owned && has_mode
    }

    /// Puts it at `path`, whole or not at all.
    ///
    /// # Errors
    /// The system's.
    pub fn put(&self, path: &Path) -> io::Result<()> {
        let Some(target) = &self.link else {
            return write_owned(path, self.bytes(), self.mode, self.owner);
        };
        let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
        fs::create_dir_all(folder)?;
        let beside = beside(path);
        let _ = fs::remove_file(&beside);
        symlink(target, &beside)?;
        if let Some((user, group)) = self.owner {
            lchown(&beside, Some(user), Some(group))?;
        }
        fs::rename(&beside, path)?;
        sync_folder(folder)
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
        let before = Content::read(path)?;
        Ok(Self { path: path.to_owned(), before, folders: missing_above(path) })
    }
}

/// Folders above `path` that there aren't, the outermost first.
fn missing_above(path: &Path) -> Vec<PathBuf> {
    let above = path.ancestors().skip(1);
    let missing = above.take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let mut folders: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    folders.reverse();
    folders
}

fn named(path: &Path, error: &dyn std::error::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
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
    /// `WouldBlock` while somebody else has it; the system's.
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

/// Writes a file so that it holds all of `bytes` or what it held before, and syncs it. Folders
/// above it are made.
///
/// # Errors
/// The system's.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_owned(path, bytes, mode, None)
}

fn write_owned(path: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let beside = beside(path);
    let _ = fs::remove_file(&beside);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    file.write_all(bytes)?;
    if let Some((user, group)) = owner {
        fchown(&file, Some(user), Some(group))?;
    }
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
