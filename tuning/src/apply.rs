//! Carries a plan out: records, sets, reads again, keeps.
//!
//! 1. The record of everything that may be touched is on disk, synced.
//! 2. Values are set one after the other; one that the kernel refuses doesn't stop the others.
//! 3. Each is read again: what counts is what the kernel says now.
//! 4. What took is written into the files that keep it. What didn't is not: a boot would fail at it
//!    as well.
//! 5. The record is marked complete. A revert doesn't ask for that.

use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::files::{FileBefore, write_whole};
use crate::plan::{Change, Plan, Wish, read_spot, says, write_spot};
use crate::reading::Spot;
use crate::record::{Record, Store, list};
use crate::root::Root;
use crate::settings::Settings;

/// Mode of the files that keep settings.
const FILE_MODE: u32 = 0o644;

/// What became of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// A sysctl, a file, a command.
    pub what: String,
    /// How it went.
    pub took: Took,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Took {
    /// It says so now.
    Yes,
    /// The system refused it.
    Refused(String),
    /// It was taken, and yet reads otherwise.
    Otherwise(String),
    /// With the next start of the service.
    NextStart,
}

impl Outcome {
    /// Whether it didn't take.
    pub fn is_bad(&self) -> bool {
        matches!(self.took, Took::Refused(_) | Took::Otherwise(_))
    }
}

/// Writes a value to a place. A parameter so that tests can let it fail, or end, half-way.
pub type Writer<'a> = &'a mut dyn FnMut(&Spot, &str) -> io::Result<()>;

/// Applies `plan`, with its record in the folder `state`.
///
/// # Errors
/// Before anything was touched: the record could not be written. What fails later is an outcome.
pub fn apply(root: &Root, plan: &Plan, wish: &Wish, state: &Path) -> io::Result<Vec<Outcome>> {
    apply_with(root, plan, wish, state, &mut |spot, value| write_spot(root, spot, value))
}

/// The same with another hand on the host.
///
/// # Errors
/// See [`apply`].
pub fn apply_with(
    root: &Root,
    plan: &Plan,
    wish: &Wish,
    state: &Path,
    write: Writer,
) -> io::Result<Vec<Outcome>> {
    let files = plan.files.iter().map(|(path, _)| FileBefore::look(path));
    let files = files.collect::<io::Result<_>>()?;
    let store = Store::open(state)?;
    let earlier = list(state)?.whole()?;
    let number = earlier.last().map_or(1, |(number, _)| number + 1);
    // Somebody may have set it between the plan and the answer to the question.
    let as_now = |change: &Change| {
        let before = read_spot(root, &change.spot).unwrap_or_else(|_| change.before.clone());
        Change { before, ..change.clone() }
    };
    let all = plan.live.iter().chain(&plan.steering).chain(&plan.adopted);
    let mut record = Record {
        made_at_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
        complete: false,
        kept: wish.keep,
        live: all.map(as_now).collect(),
        limits: plan.limits.clone(),
        files,
        folders: store.made().to_vec(),
    };
    store.save(number, &record)?;

    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut taken = Vec::new();
    for (n, change) in plan.live.iter().enumerate() {
        let refused = write(&change.spot, &change.after).err();
        let took = match refused {
            Some(error) => Took::Refused(error.to_string()),
            None => read_again(root, &change.spot, &change.after),
        };
        // The first of the record are those of the plan.
        record.live[n].took = Some(took == Took::Yes);
        if took == Took::Yes {
            taken.push(change.clone());
        }
        outcomes.push(Outcome { what: change.spot.name(), took });
    }
    if wish.keep {
        let earlier: Vec<Record> = earlier.into_iter().map(|(_, record)| record).collect();
        taken.extend(plan.adopted.iter().cloned());
        let settings = Settings::of(root, &earlier, &taken, &plan.limits);
        outcomes.extend(settings.limits_of(&plan.limits).iter().map(|limit| Outcome {
            what: format!("{}={}", limit.directive, limit.value),
            took: Took::NextStart,
        }));
        outcomes.extend(write_files(plan, &settings, wish));
    }
    record.complete = true;
    store.save(number, &record)?;
    Ok(outcomes)
}

fn read_again(root: &Root, spot: &Spot, value: &str) -> Took {
    match read_spot(root, spot) {
        Ok(raw) if says(&raw, spot, value) => Took::Yes,
        Ok(raw) => Took::Otherwise(raw.trim().to_owned()),
        Err(error) => Took::Otherwise(error.to_string()),
    }
}

/// Only files that the plan has named, and the record therefore knows.
fn write_files(plan: &Plan, settings: &Settings, wish: &Wish) -> Vec<Outcome> {
    let known = |path: &Path| plan.files.iter().any(|(other, _)| other == path);
    let files = settings.files(&wish.etc).into_iter().filter(|(path, _)| known(path));
    let write = |(path, text): (std::path::PathBuf, String)| {
        let took = match write_whole(&path, text.as_bytes(), FILE_MODE) {
            Ok(()) => Took::Yes,
            Err(error) => Took::Refused(error.to_string()),
        };
        Outcome { what: path.display().to_string(), took }
    };
    files.map(write).collect()
}

#[cfg(test)]
mod tests;
