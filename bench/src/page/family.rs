//! Chapters that are one workload at several sizes.

use super::study::{Chapter, Study};
use super::words::whole;

/// With fewer sizes nothing grows.
pub const SIZES_MIN: usize = 3;

/// What is larger from size to size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Clients.
    Sockets,
    /// Threads of server and floor.
    Shards,
}

impl By {
    /// What is counted.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::Shards => "shards",
        }
    }

    /// How many of it; 0 where that isn't known.
    pub fn size(self, chapter: &Chapter) -> usize {
        let setup = chapter.setup.as_ref();
        match self {
            Self::Sockets => setup.map_or(0, |setup| setup.crowd.sockets),
            Self::Shards => setup.and_then(|setup| setup.shards).unwrap_or(0),
        }
    }

    /// Whether nothing else is different: rates may follow the sockets, where each has a team of
    /// its own size.
    fn is_all(self, a: &Chapter, b: &Chapter) -> bool {
        let other = if self == Self::Sockets { Self::Shards } else { Self::Sockets };
        let rest = |chapter: &Chapter| {
            let setup = chapter.setup.as_ref();
            let phases = setup.map_or(&[][..], |setup| &setup.phases);
            let phases: Vec<_> =
                phases.iter().map(|phase| (phase.name.clone(), phase.seconds.to_bits())).collect();
            let (pad, size) = (setup.map_or(0, |setup| setup.pad), other.size(chapter));
            (chapter.name.clone(), chapter.host, size, pad, phases)
        };
        rest(a) == rest(b)
    }
}

/// One workload at several sizes, the smallest first.
pub struct Family<'a> {
    /// The scenario's name.
    pub name: &'a str,
    /// What is larger from one to the next.
    pub by: By,
    /// One for each size.
    pub chapters: Vec<&'a Chapter>,
}

/// Every family of `study`.
pub fn all(study: &Study) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    let loaded = study.chapters.iter().filter(|chapter| chapter.is_loaded());
    let members = loaded.flat_map(|chapter| [(By::Sockets, chapter), (By::Shards, chapter)]);
    for (by, chapter) in members.filter(|(by, chapter)| by.size(chapter) > 0) {
        let same =
            |family: &&mut Family<'_>| family.by == by && by.is_all(family.chapters[0], chapter);
        match families.iter_mut().find(same) {
            Some(family) => family.chapters.push(chapter),
            None => families.push(Family { name: &chapter.name, by, chapters: vec![chapter] }),
        }
    }
    for family in &mut families {
        family.chapters.sort_by_key(|chapter| family.by.size(chapter));
        family.chapters.dedup_by_key(|chapter| family.by.size(chapter));
    }
    families.retain(|family| family.chapters.len() >= SIZES_MIN);
    families
}

impl Family<'_> {
    /// The sizes in words.
    pub fn sizes(&self) -> String {
        let ends = [self.chapters.first(), self.chapters.last()];
        let [least, most] =
            ends.map(|chapter| chapter.map_or(0, |chapter| self.by.size(chapter) as u64));
        format!("{} to {} {}", whole(least), whole(most), self.by.word())
    }

    /// What is asked of it.
    pub fn question(&self) -> &'static str {
        match self.by {
            By::Sockets => "what does a larger crowd cost?",
            By::Shards => "what do more shards cost?",
        }
    }
}
