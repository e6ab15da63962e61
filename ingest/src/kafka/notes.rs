//! What each node notes of how far it has read, so that a log that has lost something is found out
//! (R8).
//!
//! A [`Note`] says of every lane which offset was to be read next. It stands in two places: in
//! `touchline-meta`, where every node sees it, also one that has just got its disk; and in a file
//! of the node, which a cluster that was put back to an older copy of itself can't take with it. A
//! lane that ends below a note of the same life has lost what was acknowledged.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::lanes::Lanes;
use super::life::{Life, hex};

/// How far one node had read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Of the life.
    pub generation: u64,
    /// Of the life.
    #[serde(with = "hex")]
    pub epoch: u64,
    /// By lane.
    pub next: Vec<u64>,
    /// Whether the node goes on running, as far as it knows.
    #[serde(default)]
    pub is_open: bool,
}

impl Note {
    /// Key of a node's note in `touchline-meta`.
    pub fn key(node: &str) -> String {
        format!("seen/{node}")
    }

    /// What stands in `file`. A file that can't be read is told of and counts as none: the other
    /// place has the note as well.
    pub fn load(file: &Path) -> Option<Self> {
        let text = match std::fs::read(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            text => text,
        };
        let note = text.and_then(|text| serde_json::from_slice(&text).map_err(Into::into));
        note.inspect_err(|error| {
            tracing::warn!(file = %file.display(), %error, "how far this node has read can't be read");
        })
        .ok()
    }

    /// Puts it in place of what stands in `file`, whole or not at all.
    pub fn store(&self, file: &Path) -> std::io::Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let fresh = file.with_extension("new");
        std::fs::write(&fresh, serde_json::to_vec(self)?)?;
        std::fs::File::open(&fresh)?.sync_all()?;
        std::fs::rename(fresh, file)
    }
}

/// A log that ends below what was seen of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// The number that a new life must have at least.
    pub generation: u64,
    /// What is missing, in a sentence.
    pub why: String,
}

/// Compares what nodes have noted with where each lane ends.
pub(super) fn loss<'n>(
    life: &Life,
    lanes: &Lanes,
    notes: impl Iterator<Item = (&'n str, &'n Note)>,
    ends: &[u64],
) -> Option<Loss> {
    notes.filter_map(|note| loss_by(life, lanes, note, ends)).max_by_key(|loss| loss.generation)
}

fn loss_by(life: &Life, lanes: &Lanes, (who, note): (&str, &Note), ends: &[u64]) -> Option<Loss> {
    if note.generation > life.generation {
        let why = format!(
            "{who} has seen life {} of the log, and the cluster knows of {} only: it was put back \
             to an older copy",
            note.generation, life.generation
        );
        return Some(Loss { generation: note.generation + 1, why });
    }
    if note.epoch != life.epoch().0 {
        return None;
    }
    let (lane, topic, partition) = lanes.all().find(|(lane, ..)| {
        let lane = usize::from(lane.0);
        note.next.get(lane) > ends.get(lane)
    })?;
    let [noted, end] = [&note.next[..], ends].map(|list| list[usize::from(lane.0)]);
    let why = format!(
        "{topic}, partition {partition}, ends at {end} and {who} had read it up to {noted}: the \
         cluster has lost what it had acknowledged"
    );
    Some(Loss { generation: life.generation + 1, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(generation: u64) -> Life {
        let text = format!(r#"{{"generation":{generation},"epoch":"07","partitions":1}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn note(generation: u64, epoch: u64, next: [u64; 4]) -> Note {
        Note { generation, epoch, next: next.into(), is_open: true }
    }

    #[test]
    fn a_lane_that_ends_below_a_note_of_its_life_is_a_loss() {
        let lanes = Lanes::new("", 1);
        let found =
            |note: Note, ends: [u64; 4]| loss(&life(3), &lanes, [("a", &note)].into_iter(), &ends);
        assert_eq!(found(note(3, 7, [5, 0, 0, 9]), [5, 1, 0, 12]), None, "it has grown");
        assert_eq!(found(note(3, 8, [5, 0, 0, 9]), [0; 4]), None, "another cluster's");
        assert_eq!(found(note(2, 6, [5, 0, 0, 9]), [0; 4]), None, "an earlier life's");
        let loss = found(note(3, 7, [5, 0, 0, 9]), [5, 0, 0, 8]).unwrap();
        assert_eq!(loss.generation, 4);
        assert!(loss.why.starts_with("sensor-events, partition 0, ends at 8"), "{}", loss.why);
        let back = found(note(5, 9, [0; 4]), [0; 4]).unwrap();
        assert_eq!(back.generation, 6, "above every life that was ever seen");
    }
}
