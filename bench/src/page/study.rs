//! What `compare` and `run` have kept, put in order: a chapter for each workload, an entry for
//! whoever took part.
//!
//! Runs belong together when host, scenario, question and setup are the same, whichever file they
//! stand in. A host is the same at each commit and whoever is measured on it: what was built of
//! several commits is several entries of one chapter.
//! A failure names its scenario alone and joins the chapter that was written to last.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::entry::{Build, Entry};
use super::load;
use super::names;
use super::stretch::{self, Stretch};
use crate::probe::Host;
use crate::report::kept::{Kept, Line};
use crate::setup::Setup;
use crate::target::Subject;

/// All that was measured.
#[derive(Default)]
pub struct Study {
    /// Where: usually one. With the versions of all that was measured there.
    pub hosts: Vec<Host>,
    /// Of each of them the commits at which was measured.
    pub commits: Vec<Vec<String>>,
    /// In the order in which they were measured.
    pub chapters: Vec<Chapter>,
    /// Everybody who takes part anywhere: floors, Touchline, the others.
    pub subjects: Vec<Subject>,
    /// What products are, as their files said when they were measured.
    pub(super) products: BTreeMap<String, String>,
    /// What was built of each subject, the latest last.
    pub(super) builds: Vec<(Subject, Build)>,
}

/// A workload and what became of it.
pub struct Chapter {
    /// The scenario's name.
    pub name: String,
    /// What it asks.
    pub question: String,
    /// Whether that is what was asked when it was measured, or what the tree asks now.
    is_asked: bool,
    /// Index of its host.
    pub host: usize,
    /// What was done, unless nobody came as far as that.
    pub setup: Option<Setup>,
    /// What of it is measured on its own.
    pub stretches: Vec<Stretch>,
    /// Floors, Touchline, the others.
    pub entries: Vec<Entry>,
}

/// What a chapter's figures are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sockets that get nothing.
    Idle,
    /// Webhooks, and nobody who listens.
    Flood,
    /// Deliveries.
    FanOut,
}

impl Study {
    /// Out of what was kept.
    ///
    /// # Errors
    /// When nothing was measured.
    pub fn of(kept: &Kept) -> Result<Self> {
        let mut study = Self::default();
        kept.files.iter().try_for_each(|lines| study.add(lines))?;
        anyhow::ensure!(!study.chapters.is_empty(), "there is no run in these files");
        study.arrange();
        Ok(study)
    }

    /// Adds what a file holds.
    fn add(&mut self, lines: &[Line]) -> Result<()> {
        let mut at = None;
        for line in lines {
            let here = || at.context("a results file begins with its host, and one doesn\u{2019}t");
            match line {
                Line::Host(host) => at = Some((self.host(host), host)),
                Line::Run(kept) => {
                    self.describe(&kept.run.subject, kept.product.as_ref());
                    let of = (kept.row.as_str(), kept.question.as_ref());
                    let entry = self.entry(here()?, of, Some(&kept.setup), &kept.run.subject);
                    entry.runs.push(kept.run.clone());
                }
                Line::Failure(kept) => {
                    self.describe(&kept.subject, kept.product.as_ref());
                    let of = (kept.row.as_str(), kept.question.as_ref());
                    let entry = self.entry(here()?, of, None, &kept.subject);
                    entry.failures.push(kept.why.clone());
                }
                Line::Row(_) => {}
            }
        }
        Ok(())
    }

    /// Keeps what a product is; the first word counts.
    fn describe(&mut self, subject: &Subject, what: Option<&String>) {
        if let (Subject::Peer(name), Some(what)) = (subject, what) {
            self.products.entry(name.clone()).or_insert_with(|| what.clone());
        }
    }

    /// The same host at another commit, or with others on it, is the same.
    fn host(&mut self, host: &Host) -> usize {
        let bare = |host: &Host| Host { versions: Vec::new(), commit: None, ..host.clone() };
        let index = self.hosts.iter().position(|known| bare(known) == bare(host));
        let index = index.unwrap_or_else(|| {
            self.hosts.push(bare(host));
            self.commits.push(Vec::new());
            self.hosts.len() - 1
        });
        let (known, commits) = (&mut self.hosts[index], &mut self.commits[index]);
        let new = host.versions.iter().filter(|version| !known.versions.contains(version));
        let new: Vec<String> = new.cloned().collect();
        known.versions.extend(new);
        let commit = host.commit.clone().unwrap_or_else(|| "unknown".into());
        if !commits.contains(&commit) {
            commits.push(commit);
        }
        index
    }

    fn entry(
        &mut self,
        (at, host): (usize, &Host),
        of: (&str, Option<&String>),
        setup: Option<&Setup>,
        subject: &Subject,
    ) -> &mut Entry {
        let build = Build::of(subject, host);
        let built = (subject.clone(), build.clone());
        if !self.builds.contains(&built) {
            self.builds.push(built);
        }
        self.chapter(at, of, setup).entry(subject, build)
    }

    fn chapter(
        &mut self,
        host: usize,
        (name, question): (&str, Option<&String>),
        setup: Option<&Setup>,
    ) -> &mut Chapter {
        let fits = |chapter: &Chapter| {
            let is_same =
                setup.is_none() || chapter.setup.is_none() || chapter.setup.as_ref() == setup;
            let asks = question.is_none_or(|asked| !chapter.is_asked || chapter.question == *asked);
            chapter.host == host && chapter.name == name && is_same && asks
        };
        let index = self.chapters.iter().rposition(fits).unwrap_or_else(|| {
            let (name, question) = (name.to_owned(), names::question(name));
            let (setup, stretches, entries) = (None, Vec::new(), Vec::new());
            let is_asked = false;
            let chapter = Chapter { name, question, is_asked, host, setup, stretches, entries };
            self.chapters.push(chapter);
            self.chapters.len() - 1
        });
        let chapter = &mut self.chapters[index];
        if let Some(question) = question {
            (chapter.question, chapter.is_asked) = (question.clone(), true);
        }
        if let (None, Some(setup)) = (&chapter.setup, setup) {
            chapter.stretches = stretch::of(setup);
            chapter.setup = Some(setup.clone());
        }
        chapter
    }

    /// Floors first, then Touchline, then the others as they came.
    fn arrange(&mut self) {
        let rank = |subject: &Subject| match subject {
            Subject::Floor(_) | Subject::Variant(_) => 0,
            Subject::Touchline => 1,
            Subject::Peer(_) => 2,
        };
        for chapter in &mut self.chapters {
            chapter.entries.sort_by_key(|entry| rank(&entry.subject));
            for entry in &chapter.entries {
                if !self.subjects.contains(&entry.subject) {
                    self.subjects.push(entry.subject.clone());
                }
            }
        }
        self.subjects.sort_by_key(rank);
        let mut chapters = std::mem::take(&mut self.chapters);
        for entry in chapters.iter_mut().flat_map(|chapter| &mut chapter.entries) {
            entry.title = self.title_of(&entry.subject, &entry.build);
            let builds = self.builds_of(&entry.subject);
            let is_earlier = builds.last().is_some_and(|last| **last != entry.build);
            let earlier = if is_earlier { " earlier" } else { "" };
            entry.look = format!("{}{earlier}", self.look(&entry.subject));
        }
        self.chapters = chapters;
    }
}

impl Chapter {
    fn entry(&mut self, subject: &Subject, build: Build) -> &mut Entry {
        let is_it = |entry: &Entry| entry.subject == *subject && entry.build == build;
        let index = self.entries.iter().position(is_it).unwrap_or_else(|| {
            let (title, look, runs, failures) = Default::default();
            let subject = subject.clone();
            self.entries.push(Entry { subject, build, title, look, runs, failures });
            self.entries.len() - 1
        });
        &mut self.entries[index]
    }

    /// What its figures are about.
    pub fn kind(&self) -> Kind {
        match &self.setup {
            Some(setup) if setup.flood.is_some() => Kind::Flood,
            Some(setup) if !setup.phases.is_empty() => Kind::FanOut,
            _ => Kind::Idle,
        }
    }

    /// Whether anything was fanned out.
    pub fn is_loaded(&self) -> bool {
        self.kind() == Kind::FanOut
    }

    /// Whether anybody lost its connection and was to come back.
    pub fn has_returns(&self) -> bool {
        let mut runs = self.entries.iter().flat_map(|entry| &entry.runs);
        runs.any(|run| run.harvest.away.count > 0 || run.harvest.counts.left > 0)
    }

    /// The window that is looked at where there are several: the greatest load of a ramp that
    /// everybody carries; the first in which something happens to everybody; else the busiest.
    pub fn window(&self) -> usize {
        if stretch::is_ramp(&self.stretches) {
            return load::carried_by_all(self);
        }
        let acts = self.setup.as_ref().map_or(&[][..], |setup| &setup.acts);
        let first_act_s = acts.iter().map(|act| act.at_s).min_by(f64::total_cmp);
        let has_act = |stretch: &Stretch| {
            first_act_s.is_some_and(|at| (stretch.from_s..stretch.to_s()).contains(&at))
        };
        self.stretches.iter().position(has_act).unwrap_or_else(|| {
            let busier = |best: (usize, f64), (index, rate)| {
                if rate > best.1 { (index, rate) } else { best }
            };
            self.stretches.iter().map(|stretch| stretch.rate).enumerate().fold((0, 0.0), busier).0
        })
    }

    /// What that window is called, where there are several.
    pub fn window_name(&self) -> Option<&str> {
        let stretch = self.stretches.get(self.window())?;
        (self.stretches.len() > 1).then_some(&stretch.name)
    }

    /// Most runs that anybody made.
    pub fn pairs(&self) -> usize {
        let tries = |entry: &Entry| entry.runs.len() + entry.failures.len();
        self.entries.iter().map(tries).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn pairs_of_several_files_make_one_chapter_and_one_distribution() {
        let (mut study, lines) = (Study::default(), fixture::lines());
        let lines = fixture::kept_of(&lines).files.remove(0);
        study.add(&lines).unwrap();
        study.add(&lines).unwrap();
        study.arrange();
        assert_eq!((study.hosts.len(), study.chapters.len()), (1, 1));
        let chapter = &study.chapters[0];
        assert_eq!((chapter.pairs(), chapter.entries.len(), chapter.window()), (6, 6, 0));
        let axum = chapter.entries.iter().find(|entry| entry.title == "axum").unwrap();
        let points = axum.distribution(0);
        let at = |share: f64| points.iter().find(|(point, _)| *point >= share).unwrap().1;
        assert_eq!((at(0.0), at(0.49), at(0.51), at(0.99)), (8.0, 8.0, 80.0, 80.0));
        let last = points.last().unwrap().0;
        assert!((last - 0.9999).abs() < 1e-6, "360,000 deliveries reach 99.99 %: {last}");
    }

    #[test]
    fn another_setup_or_host_is_another_chapter() {
        let (mut study, lines) = (Study::default(), fixture::lines());
        let mut add = |text: &str| study.add(&fixture::kept_of(text).files[0]).unwrap();
        add(&lines);
        add(&lines.replace("\"sockets\":1000", "\"sockets\":2000"));
        add(&lines.replace("\"cores\":2", "\"cores\":4"));
        assert_eq!((study.hosts.len(), study.chapters.len()), (2, 3));
        assert_eq!([0, 1, 2].map(|index| study.chapters[index].host), [0, 0, 1]);
    }

    #[test]
    fn a_limited_run_counts_only_for_who_has_no_other() {
        let mut study = fixture::study();
        let entry = |name: &str| {
            let entries = &study.chapters[0].entries;
            entries.iter().find(|entry| entry.title == name).unwrap()
        };
        let nats = entry("nats");
        assert_eq!((nats.limited(), nats.counted().len(), nats.is_compared()), (3, 3, false));
        assert!(entry("axum").is_compared() && entry("axum").is_whole());
        assert!(!entry("Bun").is_whole(), "it lost one");
        for run in &mut study.of_title("Touchline")[..1] {
            run.generator.of_a_core = 0.99;
        }
        let entries = &study.chapters[0].entries;
        let mixed = entries.iter().find(|entry| entry.title == "Touchline").unwrap();
        assert_eq!((mixed.counted().len(), mixed.is_compared()), (2, true));
    }
}
