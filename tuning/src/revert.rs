//! Puts back what records say was there, the newest record first.
//!
//! It doesn't ask whether an apply came to its end: what reads as it did before is left alone, the
//! rest is written back exactly as it was read and read again. A record is forgotten once all of it
//! is back. One that isn't stays, and so do those before it, so that a second try finds the same
//! order.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::plan::{Change, read_spot, says, standing_spot, write_spot};
use crate::reading::{Spot, fields_of};
use crate::record::{FileBefore, Store, beside, list, write_whole};
use crate::root::Root;

/// What became of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// A sysctl, a file, a command.
    pub what: String,
    /// How it went.
    pub result: Back,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Back {
    /// It was as before.
    Untouched,
    /// It is as before again: from what, to what.
    Restored {
        /// Found.
        from: String,
        /// Written.
        to: String,
    },
    /// The interrupt, queue or device that it concerned is gone, and the value with it.
    Gone,
    /// It is not.
    Failed(String),
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reverted {
    /// Records that were found.
    pub records: usize,
    /// Each thing.
    pub undone: Vec<Undone>,
}

impl Reverted {
    /// Whether something is not as it was.
    pub fn is_bad(&self) -> bool {
        self.undone.iter().any(|one| matches!(one.result, Back::Failed(_)))
    }
}

/// Reverts everything that the folder `state` has records of. With `dry` it only says what it
/// would.
///
/// # Errors
/// Where the records can't be read, or somebody else has the folder.
pub fn revert(root: &Root, state: &Path, dry: bool) -> io::Result<Reverted> {
    let mut reverted = Reverted { records: list(state)?.len(), ..Reverted::default() };
    if reverted.records == 0 {
        return Ok(reverted);
    }
    let store = if dry { None } else { Some(Store::open(state)?) };
    // Read again under the lock.
    for (number, record) in list(state)?.into_iter().rev() {
        let live = record.live.iter().rev().map(|change| put_back(root, change, dry));
        let files = record.files.iter().rev().map(|file| restore(file, dry));
        let all: Vec<Undone> = files.chain(live).collect();
        let is_bad = all.iter().any(|one| matches!(one.result, Back::Failed(_)));
        reverted.undone.extend(all);
        if is_bad {
            break;
        }
        if let Some(store) = &store {
            store.remove(number)?;
        }
    }
    Ok(reverted)
}

fn put_back(root: &Root, change: &Change, dry: bool) -> Undone {
    let Some(spot) = standing_spot(root, change) else {
        return Undone { what: change.spot.name(), result: Back::Gone };
    };
    let what = spot.name();
    let result = match read_spot(root, &spot) {
        Ok(raw) if raw == change.before => Back::Untouched,
        Ok(raw) => write_back(root, &spot, &change.before, &raw, dry),
        Err(error) => Back::Failed(error.to_string()),
    };
    Undone { what, result }
}

fn write_back(root: &Root, spot: &Spot, as_read: &str, now: &str, dry: bool) -> Back {
    let bracketed = matches!(spot, Spot::File { bracketed: true, .. });
    // Of a list with a chosen word the kernel takes the word alone.
    let before = match bracketed {
        true => fields_of(as_read, true).join(" "),
        false => as_read.to_owned(),
    };
    let done =
        Back::Restored { from: fields_of(now, bracketed).join(" "), to: before.trim().to_owned() };
    if dry {
        return done;
    }
    if let Err(error) = write_spot(root, spot, &before) {
        return Back::Failed(error.to_string());
    }
    match read_spot(root, spot) {
        Ok(raw) if raw == as_read => done,
        Ok(raw) if bracketed && says(&raw, spot, &before) => done,
        Ok(raw) => Back::Failed(format!("it reads {}", raw.trim())),
        Err(error) => Back::Failed(error.to_string()),
    }
}

fn restore(file: &FileBefore, dry: bool) -> Undone {
    let what = file.path.display().to_string();
    let result = match try_restore(file, dry) {
        Ok(result) => result,
        Err(error) => Back::Failed(error.to_string()),
    };
    Undone { what, result }
}

fn try_restore(file: &FileBefore, dry: bool) -> io::Result<Back> {
    if !dry {
        // Of an apply that ended between writing and renaming.
        let _ = std::fs::remove_file(beside(&file.path));
    }
    let now = match std::fs::read(&file.path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let (from, to) = match (&now, &file.before) {
        (None, None) => return Ok(remove_folders(file, dry, Back::Untouched)),
        (Some(bytes), Some(before)) if bytes == before.bytes() => return Ok(Back::Untouched),
        (_, Some(before)) => {
            if !dry {
                write_whole(&file.path, before.bytes(), before.mode)?;
            }
            ("ours", "as it was")
        }
        (Some(_), None) => {
            if !dry {
                std::fs::remove_file(&file.path)?;
            }
            ("ours", "removed")
        }
    };
    let done = Back::Restored { from: from.into(), to: to.into() };
    Ok(remove_folders(file, dry, done))
}

/// Folders that were made for the file go with it, unless somebody else uses them by now.
fn remove_folders(file: &FileBefore, dry: bool, done: Back) -> Back {
    if file.before.is_none() && !dry {
        for folder in file.folders.iter().rev() {
            let _ = std::fs::remove_dir(folder);
        }
    }
    done
}
