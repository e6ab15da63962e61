//! Files as they were, and files written whole.
//!
//! What stands in the way of a file of ours is remembered with all that a revert needs: bytes or,
//! of a symbolic link, where it leads; mode and owner; and the folders that there weren't.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{
    MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, lchown, symlink,
};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

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
pub fn missing_above(path: &Path) -> Vec<PathBuf> {
    let above = path.ancestors().skip(1);
    let missing = above.take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let mut folders: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    folders.reverse();
    folders
}

fn named(path: &Path, error: &dyn std::error::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
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

/// Makes names in a folder durable.
///
/// # Errors
/// The system's.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

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
