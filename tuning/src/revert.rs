//! Puts back what records say was there, the newest record first.
//!
//! It doesn't ask whether an apply came to its end: what reads as it did before is left alone, the
//! rest is written back exactly as it was read and read again. Of what several applies have touched
//! only the oldest record knows what was there before all of them, so that one alone is written
//! back. One thing that can't be put back holds up nothing else: its record stays, with nothing but
//! that in it, and the next revert tries again. What is gone (a module's sysctl, a NIC, an
//! interrupt) took its value with it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::apply::Writer;
use crate::files::{Content, FileBefore, beside};
use crate::interrupts::standing_spot;
use crate::mask;
use crate::plan::{Change, read_spot, says, write_spot};
use crate::reading::{Spot, fields_of};
use crate::record::{Record, Store, list};
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
    /// The interrupt, device or module that it concerned is gone, and the value with it.
    Gone,
    /// It is not.
    Failed(String),
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reverted {
    /// Records that were found, damaged ones with them.
    pub records: usize,
    /// Each thing.
    pub undone: Vec<Undone>,
}

impl Reverted {
    /// Whether something is not as it was.
    pub fn is_bad(&self) -> bool {
        self.undone.iter().any(Undone::is_bad)
    }
}

impl Undone {
    /// Whether it is not as it was.
    pub fn is_bad(&self) -> bool {
        matches!(self.result, Back::Failed(_))
    }
}

/// Reverts everything that the folder `state` has records of. With `dry` it only says what it
/// would.
///
/// # Errors
/// Where the folder can't be read, or somebody else has it.
pub fn revert(root: &Root, state: &Path, dry: bool) -> io::Result<Reverted> {
    revert_with(root, state, dry, &mut |spot, value| write_spot(root, spot, value))
}

/// The same with another hand on the host.
///
/// # Errors
/// See [`revert`].
pub fn revert_with(root: &Root, state: &Path, dry: bool, write: Writer) -> io::Result<Reverted> {
    if list(state)?.is_empty() {
        return Ok(Reverted::default());
    }
    let store = if dry { None } else { Some(Store::open(state)?) };
    // Read again under the lock.
    let found = list(state)?;
    let mut undoing = Undoing { root, dry, write, undone: Vec::new(), is_rebuild_due: false };
    let mut made: Vec<PathBuf> = Vec::new();
    for folder in found.records.iter().flat_map(|(_, record)| &record.folders) {
        if !made.contains(folder) {
            made.push(folder.clone());
        }
    }
    let mut is_empty = found.damaged.is_empty();
    for (at, (number, record)) in found.records.iter().enumerate().rev() {
        let left = undoing.undo(record, &found.records[..at]);
        let Some(store) = &store else { continue };
        // Who made the folders must be known as long as something lies in them.
        let keeps_folders = at == 0 && !is_empty && !made.is_empty();
        if left.live.is_empty() && left.files.is_empty() && !keeps_folders {
            store.remove(*number)?;
        } else {
            is_empty = false;
            store.save(*number, &Record { folders: made.clone(), ..left })?;
        }
    }
    if let (Some(store), true) = (&store, is_empty) {
        store.close(&made);
    }
    let damaged = found.damaged.iter().map(|(path, why)| damaged(path, why));
    let undone = undoing.undone.into_iter().chain(damaged).collect();
    Ok(Reverted { records: found.len(), undone })
}

fn damaged(path: &Path, why: &str) -> Undone {
    let why = format!(
        "this record is damaged ({why}), and what it alone knew can't be put back. Look into it: \
         `before` is what to write to each `path` that it still names. Then remove it, and revert \
         again"
    );
    Undone { what: path.display().to_string(), result: Back::Failed(why) }
}

/// What goes from record to record.
struct Undoing<'a> {
    root: &'a Root,
    dry: bool,
    write: Writer<'a>,
    undone: Vec<Undone>,
    /// Rings or queues are not back. The next revert sets them, and the driver steering with them.
    is_rebuild_due: bool,
}

impl Undoing<'_> {
    /// Puts back what no older record knows better; the record with what is left of it.
    fn undo(&mut self, record: &Record, older: &[(u32, Record)]) -> Record {
        // What is to be undone no apply keeps any more.
        let mut left =
            Record { kept: false, live: Vec::new(), files: Vec::new(), ..record.clone() };
        let older = || older.iter().map(|(_, record)| record);
        for file in record.files.iter().rev() {
            if older().any(|record| record.files.iter().any(|other| other.path == file.path)) {
                continue;
            }
            let one = restore(file, self.dry);
            if one.is_bad() {
                left.files.insert(0, file.clone());
            }
            self.undone.push(one);
        }
        let is_ours = |change: &&Change| {
            !older().any(|record| record.live.iter().any(|other| other.is_same(change)))
        };
        // What a driver sets anew with rings and queues comes after them.
        let live = record.live.iter().rev().filter(is_ours);
        let (rebuilding, rest): (Vec<_>, Vec<_>) = live.partition(|change| change.spot.rebuilds());
        for change in rebuilding.into_iter().chain(rest) {
            let one = self.put_back(change);
            self.is_rebuild_due |= one.is_bad() && change.spot.rebuilds();
            if one.is_bad() || self.is_rebuild_due && change.steers() {
                left.live.insert(0, change.clone());
            }
            self.undone.push(one);
        }
        left
    }

    fn put_back(&mut self, change: &Change) -> Undone {
        let Some(spot) = standing_spot(self.root, change) else {
            return Undone { what: change.spot.name(), result: Back::Gone };
        };
        let what = spot.name();
        let result = match read_spot(self.root, &spot) {
            Ok(raw) if is_back(&raw, &spot, &change.before) => Back::Untouched,
            Ok(raw) => self.write_back(&spot, &change.before, &raw),
            Err(error) if is_gone(self.root, &spot, error.kind()) => Back::Gone,
            Err(error) => Back::Failed(error.to_string()),
        };
        Undone { what, result }
    }

    fn write_back(&mut self, spot: &Spot, as_read: &str, now: &str) -> Back {
        let bracketed = matches!(spot, Spot::File { bracketed: true, .. });
        // Of a list with a chosen word the kernel takes the word alone.
        let before = match bracketed {
            true => fields_of(as_read, true).join(" "),
            false => as_read.to_owned(),
        };
        let (from, to) = (fields_of(now, bracketed).join(" "), before.trim().to_owned());
        let done = Back::Restored { from, to };
        if self.dry {
            return done;
        }
        if let Err(error) = (self.write)(spot, &before) {
            return Back::Failed(error.to_string());
        }
        match read_spot(self.root, spot) {
            Ok(raw) if is_back(&raw, spot, as_read) => done,
            Ok(raw) => Back::Failed(format!("it reads {}", raw.trim())),
            Err(error) => Back::Failed(error.to_string()),
        }
    }
}

/// Whether what was read is what was there before: to the byte, but for a list with a chosen word
/// and a mask, which a larger host pads otherwise.
fn is_back(raw: &str, spot: &Spot, before: &str) -> bool {
    let bracketed = matches!(spot, Spot::File { bracketed: true, .. });
    raw == before || (bracketed || mask::stands_at(spot)) && says(raw, spot, before)
}

/// Whether what can't be read is not there any more. A `/proc` that isn't mounted says nothing.
fn is_gone(root: &Root, spot: &Spot, error: ErrorKind) -> bool {
    match spot {
        Spot::File { path, .. } => {
            let top: Vec<&str> = path.split('/').take(3).collect();
            error == ErrorKind::NotFound && root.exists(&top.join("/"))
        }
        Spot::Nic { nic, .. } => {
            let is_there = root.exists(&format!("/sys/class/net/{nic}"));
            root.exists("/sys/class/net") && (!is_there || error == ErrorKind::NotFound)
        }
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
    let now = Content::read(&file.path)?;
    let (from, to) = match (&now, &file.before) {
        (None, None) => return Ok(remove_folders(file, dry, Back::Untouched)),
        (Some(now), Some(before)) if before.is_like(now) => return Ok(Back::Untouched),
        (_, Some(before)) => {
            if !dry {
                before.put(&file.path)?;
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

#[cfg(test)]
mod tests;
