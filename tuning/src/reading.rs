//! What a knob's value is now: at one place or at several.
//!
//! A [`Place`] remembers the text exactly as it was read, because that is what a revert writes
//! back, and the fields of it, because they are what is judged.

use std::io::ErrorKind;

use serde::{Deserialize, Serialize};

use crate::condition::Scene;
use crate::ethtool::Field;
use crate::knob::{Knob, Read};
use crate::probe;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Values, with a word on them.
    Here(Vec<Place>, Option<String>),
    /// This host has no such thing, and why that is.
    Absent(String),
    /// It can't be known, and why not.
    Unknown(String),
}

/// Where a value can be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Spot {
    /// A file of `/proc` or `/sys`.
    File {
        /// Its absolute path.
        path: String,
        /// Whether the value is the `[chosen]` word of a list.
        #[serde(default)]
        bracketed: bool,
    },
    /// A setting of a network interface.
    Nic {
        /// Which interface.
        nic: String,
        /// Which setting.
        field: Field,
    },
}

impl Spot {
    /// Whether a driver may set anew where interrupts and packets go, once this is written.
    pub fn rebuilds(&self) -> bool {
        matches!(self, Self::Nic { field, .. } if field.rebuilds())
    }
}

/// A value at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// What it is called among others of the knob, as `eth0`.
    pub label: String,
    /// Where it can be written.
    pub spot: Option<Spot>,
    /// What was read, exactly.
    pub raw: String,
    /// What it says.
    pub fields: Vec<String>,
    /// The most that is possible there.
    pub max: Option<u64>,
    /// What the probe wants there.
    pub want: Option<String>,
}

impl Place {
    /// A value that nobody can write.
    pub fn told(value: impl Into<String>) -> Self {
        let raw = value.into();
        Self { fields: vec![raw.clone()], raw, ..Self::default() }
    }

    /// A value of a file, `raw` as it was read.
    pub fn of_file(path: &str, raw: String, bracketed: bool) -> Self {
        let fields = fields_of(&raw, bracketed);
        Self {
            spot: Some(Spot::File { path: path.into(), bracketed }),
            raw,
            fields,
            ..Self::default()
        }
    }

    /// The same, under a name of its own.
    #[must_use]
    pub fn called(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The same, with what the probe wants of it.
    #[must_use]
    pub fn wanting(mut self, want: impl Into<String>) -> Self {
        self.want = Some(want.into());
        self
    }
}

/// The words of a value; of a list with a chosen word that word alone.
pub fn fields_of(raw: &str, bracketed: bool) -> Vec<String> {
    let mut words = raw.split_whitespace();
    if bracketed && let Some(word) = words.clone().find(|word| word.starts_with('[')) {
        return vec![word.trim_matches(['[', ']']).to_owned()];
    }
    match bracketed {
        true => words.next().map(str::to_owned).into_iter().collect(),
        false => words.map(str::to_owned).collect(),
    }
}

/// The file of a sysctl.
pub fn sysctl_path(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}

/// Reads a knob.
pub fn read(knob: &Knob, scene: &Scene) -> Reading {
    match &knob.read {
        Read::Sysctl(name) => read_file(&sysctl_path(name), false, scene),
        Read::File { path, bracketed } => read_file(path, *bracketed, scene),
        Read::Files(pattern) => read_files(pattern, scene),
        Read::Probe(name) => match probe::find(name) {
            Some(probe) => probe(scene),
            None => Reading::Unknown(format!("there is no probe {name}")),
        },
    }
}

fn read_file(path: &str, bracketed: bool, scene: &Scene) -> Reading {
    match scene.root.raw(path) {
        Ok(raw) => Reading::Here(vec![Place::of_file(path, raw, bracketed)], None),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Reading::Absent(format!("there is no {path} here"))
        }
        Err(error) => Reading::Unknown(format!("{path}: {error}")),
    }
}

fn read_files(pattern: &str, scene: &Scene) -> Reading {
    let paths = scene.root.glob(pattern);
    let read = |path: &String| Some(Place::of_file(path, scene.root.raw(path).ok()?, false));
    let places: Vec<Place> = paths.iter().filter_map(read).collect();
    match (places.is_empty(), paths.is_empty()) {
        (false, _) => Reading::Here(places, None),
        (true, true) => Reading::Absent(format!("there is no {pattern} here")),
        (true, false) => Reading::Unknown(format!("{pattern} can't be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_word_stands_in_brackets_where_there_is_a_list() {
        assert_eq!(fields_of("always [madvise] never\n", true), ["madvise"]);
        assert_eq!(fields_of("never\n", true), ["never"]);
        assert_eq!(fields_of("4096\t131072\t6291456\n", false), ["4096", "131072", "6291456"]);
    }
}
