//! The knobs: `knobs.toml`, parsed and validated once.
//!
//! The file is part of the binary, so a mistake in it is a mistake of ours: a test parses it, and
//! [`all`] panics on what that test would have shown. What a knob says is data; only what has to be
//! looked for (a NIC's interrupts, a quota of some group) is a named function in `probe`.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::condition;
use crate::probe;
use crate::wanted::{Amount, Unit, Wanted};

/// One thing of a host that may be good or bad for fan-out.
#[derive(Clone, Debug, PartialEq)]
pub struct Knob {
    /// What people type.
    pub id: String,
    /// The heading it stands under.
    pub group: String,
    /// What it is.
    pub title: String,
    /// Why fan-out cares.
    pub why: String,
    /// Where that can be read up, or was measured.
    pub source: String,
    /// What it costs to leave it.
    pub cost: String,
    /// Where its value stands.
    pub read: Read,
    /// How its numbers are meant.
    pub unit: Unit,
    /// Advice where it isn't met.
    pub wanted: Wanted,
    /// A problem where it isn't met.
    pub needed: Option<Wanted>,
    /// It concerns this host at all.
    pub when: Option<String>,
    /// The advice is worth giving.
    pub advise_when: Option<String>,
    /// The need is real.
    pub needed_when: Option<String>,
    /// How it is set.
    pub set: Set,
    /// A file that lists what may be written.
    pub choices: Option<String>,
    /// How it is undone, where that isn't writing back.
    pub undo: Option<String>,
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// By its name.
    Sysctl(String),
    /// A file, in which a word may be `[chosen]`.
    File {
        /// Which.
        path: String,
        /// Whether it is a list with a chosen word.
        bracketed: bool,
    },
    /// Files that must all be good.
    Files(String),
    /// A function in `probe`.
    Probe(String),
}

/// How a value is set, now and for the next boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Set {
    /// `/proc/sys`; sysctl.d.
    Sysctl,
    /// A file of `/sys` or `/proc`; the boot script.
    File,
    /// ethtool's netlink; the boot script.
    Nic,
    /// The systemd drop-in alone, by this directive.
    Limit(String),
    /// A person, by these commands.
    Hand(Vec<String>),
    /// Nobody.
    Never,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    knob: Vec<RawKnob>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKnob {
    id: String,
    group: String,
    title: String,
    why: String,
    source: String,
    cost: String,
    read: RawRead,
    #[serde(default)]
    unit: Unit,
    wanted: RawWanted,
    needed: Option<RawWanted>,
    when: Option<String>,
    advise_when: Option<String>,
    needed_when: Option<String>,
    set: String,
    limit: Option<String>,
    #[serde(default)]
    hand: Vec<String>,
    choices: Option<String>,
    undo: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRead {
    sysctl: Option<String>,
    file: Option<String>,
    files: Option<String>,
    probe: Option<String>,
    form: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWanted {
    #[serde(default)]
    told: bool,
    #[serde(default)]
    any: bool,
    is: Option<String>,
    one_of: Option<Vec<String>>,
    at_least: Option<RawAmount>,
    at_most: Option<RawAmount>,
    fields: Option<Vec<RawWanted>>,
    computed: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawAmount {
    Number(u64),
    Sum(Amount),
}

impl RawAmount {
    fn build(self) -> Amount {
        match self {
            Self::Number(number) => Amount::fixed(number as f64),
            Self::Sum(amount) => amount,
        }
    }
}

impl RawWanted {
    fn build(self) -> Result<Wanted, String> {
        let fields = match self.fields {
            Some(all) => Some(all.into_iter().map(Self::build).collect::<Result<_, _>>()?),
            None => None,
        };
        let ways = [
            self.told.then_some(Wanted::Told),
            self.any.then_some(Wanted::Any),
            self.is.map(Wanted::Is),
            self.one_of.filter(|words| !words.is_empty()).map(Wanted::OneOf),
            self.at_least.map(|amount| Wanted::AtLeast(amount.build())),
            self.at_most.map(|amount| Wanted::AtMost(amount.build())),
            fields.map(Wanted::Fields),
            self.computed.map(Wanted::Computed),
        ];
        only_one(ways.into_iter().flatten(), "what is wanted")
    }
}

impl RawRead {
    fn build(self) -> Result<Read, String> {
        let bracketed = match self.form.as_deref() {
            None => false,
            Some("bracketed") => true,
            Some(other) => return Err(format!("there is no form `{other}`")),
        };
        let ways = [
            self.sysctl.map(Read::Sysctl),
            self.file.map(|path| Read::File { path, bracketed }),
            self.files.map(Read::Files),
            self.probe.map(Read::Probe),
        ];
        let read = only_one(ways.into_iter().flatten(), "where to read")?;
        match &read {
            Read::Probe(name) if probe::find(name).is_none() => {
                Err(format!("there is no probe `{name}`"))
            }
            Read::File { path, .. } | Read::Files(path) if !path.starts_with('/') => {
                Err(format!("`{path}` is no path"))
            }
            _ => Ok(read),
        }
    }
}

fn only_one<T>(mut ways: impl Iterator<Item = T>, what: &str) -> Result<T, String> {
    match (ways.next(), ways.next()) {
        (Some(way), None) => Ok(way),
        _ => Err(format!("say {what} in exactly one way")),
    }
}

impl RawKnob {
    fn build(self) -> Result<Knob, String> {
        for text in [&self.title, &self.why, &self.source, &self.cost] {
            if text.trim().is_empty() {
                return Err("title, why, source and cost must say something".into());
            }
        }
        for condition in [&self.when, &self.advise_when, &self.needed_when].into_iter().flatten() {
            condition::find(condition).ok_or(format!("there is no condition `{condition}`"))?;
        }
        let read = self.read.build()?;
        let set = match (self.set.as_str(), self.limit) {
            ("sysctl", None) if matches!(read, Read::Sysctl(_)) => Set::Sysctl,
            ("file", None) => Set::File,
            ("nic", None) => Set::Nic,
            ("limit", Some(directive)) => Set::Limit(directive),
            ("hand", None) if !self.hand.is_empty() => Set::Hand(self.hand),
            ("never", None) => Set::Never,
            (set, _) => return Err(format!("`{set}` is no way to set it, or lacks its partner")),
        };
        Ok(Knob {
            id: self.id,
            group: self.group,
            title: self.title,
            why: self.why.trim().to_owned(),
            source: self.source,
            cost: self.cost,
            read,
            unit: self.unit,
            wanted: self.wanted.build()?,
            needed: self.needed.map(RawWanted::build).transpose()?,
            when: self.when,
            advise_when: self.advise_when,
            needed_when: self.needed_when,
            set,
            choices: self.choices,
            undo: self.undo,
        })
    }
}

fn parse(text: &str) -> Result<Vec<Knob>, String> {
    let raw: RawFile = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut knobs: Vec<Knob> = Vec::new();
    for one in raw.knob {
        let id = one.id.clone();
        let knob = one.build().map_err(|problem| format!("{id}: {problem}"))?;
        if knobs.iter().any(|earlier| earlier.id == id) {
            return Err(format!("{id} stands there twice"));
        }
        knobs.push(knob);
    }
    Ok(knobs)
}

/// All of them, in the order of the table.
///
/// # Panics
/// When `knobs.toml` is at fault, which a test shows first.
pub fn all() -> &'static [Knob] {
    static KNOBS: OnceLock<Vec<Knob>> = OnceLock::new();
    KNOBS.get_or_init(|| match parse(include_str!("../knobs.toml")) {
        Ok(knobs) => knobs,
        Err(problem) => panic!("knobs.toml: {problem}"),
    })
}

/// The knob that people mean by `id`.
pub fn find(id: &str) -> Option<&'static Knob> {
    all().iter().find(|knob| knob.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_sound_and_covers_every_corner_of_a_host() {
        assert!(all().len() >= 50);
        let named = [
            "nofile",
            "memlock",
            "io_uring",
            "seccomp",
            "conntrack",
            "thp",
            "numa",
            "governor",
            "c_states",
            "smt",
            "mitigations",
            "clock_source",
            "kernel",
            "ec2",
            "ena",
        ];
        for id in named {
            assert!(find(id).is_some(), "{id}");
        }
    }

    #[test]
    fn what_is_told_is_never_set() {
        for knob in all().iter().filter(|knob| knob.wanted == Wanted::Told) {
            assert_eq!(knob.set, Set::Never, "{}", knob.id);
            assert!(knob.needed.is_none());
        }
        assert_eq!(find("mitigations").unwrap().set, Set::Never);
    }

    #[test]
    fn mistakes_in_the_file_are_named_with_their_knob() {
        let good = "[[knob]]\nid = 'a'\ngroup = 'g'\ntitle = 't'\nwhy = 'w'\nsource = 's'\n\
                    cost = 'c'\nread = { sysctl = 'vm.a' }\nwanted = { is = '0' }\nset = 'sysctl'\n";
        assert_eq!(parse(good).unwrap().len(), 1);
        for (from, to, part) in [
            ("is = '0'", "is = '0', told = true", "a: say what is wanted in exactly one way"),
            ("sysctl = 'vm.a'", "probe = 'nothing'", "a: there is no probe `nothing`"),
            ("set = 'sysctl'", "set = 'hand'", "a: `hand` is no way to set it"),
            ("set = 'sysctl'", "set = 'sysctl'\nwhen = 'blue'", "a: there is no condition `blue`"),
            ("why = 'w'", "why = ''", "a: title, why, source and cost"),
            ("is = '0'", "is = '0', isnt = '1'", "isnt"),
        ] {
            let error = parse(&good.replace(from, to)).unwrap_err();
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(parse(&good.repeat(2)).unwrap_err().contains("a stands there twice"));
    }
}
