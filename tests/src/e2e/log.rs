//! What the log holds, as `touchline log dump --json` prints it, and the files it lies in.

use std::path::{Path, PathBuf};

use serde_json::Value;
use touchline_core::log::{Epoch, token::decode_position};

use super::server::run;

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Where it stands.
    pub seq: u64,
    /// The same as clients see it.
    pub pos: String,
    /// The log's life that `pos` belongs to.
    pub epoch: Epoch,
    /// Its topic.
    pub topic: String,
    /// Its teams.
    pub teams: Vec<String>,
    /// Source and id: what makes it one event.
    pub name: String,
    /// Its `data`.
    pub data: Value,
}

/// All of it, in order, from the folder of a journal. A server may run on it.
///
/// # Panics
/// When the command fails, as it does where something is damaged, or prints what can't be read.
pub fn dump(journal: &Path) -> Vec<Logged> {
    let output = run(&["log", "dump", "--json", journal.to_str().expect("a plain path")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("JSON is text").lines().map(read).collect()
}

fn read(line: &str) -> Logged {
    let json: Value = serde_json::from_str(line).expect("JSON");
    let text = |name: &str| json[name].as_str().expect("a text").to_owned();
    let pos = text("pos");
    let (epoch, position) = decode_position(&pos).expect("a position");
    let teams = json["teams"].as_array().expect("a list").iter();
    Logged {
        seq: position.seq,
        pos,
        epoch,
        topic: text("topic"),
        teams: teams.map(|team| team.as_str().expect("a text").to_owned()).collect(),
        name: format!("{}/{}", text("source"), text("id")),
        data: json["data"].clone(),
    }
}

/// The files of a journal that hold records, oldest first.
///
/// # Panics
/// When there is no such folder.
pub fn segments(journal: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(journal).expect("a journal");
    let mut files: Vec<_> = files
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "seg"))
        .collect();
    files.sort();
    files
}
