//! What `compare` and `run` have kept, put in order: a chapter for each workload, an entry for
//! whoever took part.
//!
//! Runs belong together when host, scenario and setup are the same, whichever file they stand in.
//! A failure names its scenario alone and joins the chapter that was written to last.
//!
//! # What counts
//! A run in which the generator had nearly its whole core for itself says more about the generator:
//! it is kept, but figures are made of the others. An entry that has no others is shown and
//! compared with nobody.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::axis::percentile_at;
use super::load;
use super::names::question;
use super::stretch::{self, Stretch};
use crate::probe::Host;
use crate::report::kept::{Failure, Kept, Line};
use crate::run::Run;
use crate::setup::Setup;
use crate::target::Subject;

/// All that was measured.
#[derive(Default)]
pub struct Study {
    /// Where: usually one.
    pub hosts: Vec<Host>,
    /// In the order in which they were measured.
    pub chapters: Vec<Chapter>,
    /// Everybody who takes part anywhere: floors, Touchline, the others.
    pub subjects: Vec<Subject>,
}

/// A workload and what became of it.
pub struct Chapter {
    /// The scenario's name.
    pub name: String,
    /// What it asks.
    pub question: String,
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

/// A subject in a chapter.
pub struct Entry {
    /// Whose numbers these are.
    pub subject: Subject,
    /// All of its runs that came to an end.
    pub runs: Vec<Run>,
    /// Why others didn't.
    pub failures: Vec<String>,
}

/// Points of a distribution.
const POINTS: usize = 240;

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
            let host = || at.context("a results file begins with its host, and one doesn\u{2019}t");
            match line {
                Line::Host(host) => at = Some(self.host(host.clone())),
                Line::Run(kept) => {
                    let chapter = self.chapter(host()?, &kept.row, Some(&kept.setup));
                    chapter.entry(&kept.run.subject).runs.push(kept.run.clone());
                }
                Line::Failure(Failure { row, subject, why, .. }) => {
                    self.chapter(host()?, row, None).entry(subject).failures.push(why.clone());
                }
                Line::Row(_) => {}
            }
        }
        Ok(())
    }

    fn host(&mut self, host: Host) -> usize {
        self.hosts.iter().position(|known| *known == host).unwrap_or_else(|| {
            self.hosts.push(host);
            self.hosts.len() - 1
        })
    }

    fn chapter(&mut self, host: usize, name: &str, setup: Option<&Setup>) -> &mut Chapter {
        let fits = |chapter: &Chapter| {
            let same =
                setup.is_none() || chapter.setup.is_none() || chapter.setup.as_ref() == setup;
            chapter.host == host && chapter.name == name && same
        };
        let index = self.chapters.iter().rposition(fits).unwrap_or_else(|| {
            let (name, question) = (name.to_owned(), question(name));
            let (setup, stretches, entries) = (None, Vec::new(), Vec::new());
            self.chapters.push(Chapter { name, question, host, setup, stretches, entries });
            self.chapters.len() - 1
        });
        let chapter = &mut self.chapters[index];
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
    }

    /// Classes that say how `subject` is drawn: the same everywhere on the page.
    pub fn look(&self, subject: &Subject) -> String {
        let is_peer = |subject: &&Subject| matches!(subject, Subject::Peer(_));
        match subject {
            Subject::Floor(kind) => format!("floor {}", kind.as_str()),
            Subject::Variant(_) => "floor volley".into(),
            Subject::Touchline => "touchline".into(),
            Subject::Peer(_) => {
                let peers = self.subjects.iter().filter(is_peer);
                let index = peers.take_while(|known| *known != subject).count();
                format!("peer p{}", index % 7)
            }
        }
    }
}

impl Chapter {
    fn entry(&mut self, subject: &Subject) -> &mut Entry {
        let index = self.entries.iter().position(|entry| entry.subject == *subject);
        let index = index.unwrap_or_else(|| {
            let (runs, failures) = (Vec::new(), Vec::new());
            self.entries.push(Entry { subject: subject.clone(), runs, failures });
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

impl Entry {
    /// Runs in which the generator wasn't the limit; all of them if it always was.
    pub fn counted(&self) -> Vec<&Run> {
        let sound: Vec<&Run> = self.runs.iter().filter(|run| !run.is_limited()).collect();
        if sound.is_empty() { self.runs.iter().collect() } else { sound }
    }

    /// How many runs the generator limited.
    pub fn limited(&self) -> usize {
        self.runs.iter().filter(|run| run.is_limited()).count()
    }

    /// Whether it may be compared with others at all.
    pub fn is_compared(&self) -> bool {
        self.runs.is_empty() || self.limited() < self.runs.len()
    }

    /// Whether every delivery arrived in each run that counts, and it never gave up.
    pub fn is_whole(&self) -> bool {
        let whole = |run: &&Run| run.harvest.counts.delivered >= run.expected;
        self.failures.is_empty() && self.counted().iter().all(whole)
    }

    /// The run whose p99 in `window` lies in the middle: to be shown for all of them. Of an even
    /// number, the better of the two in the middle.
    pub fn typical(&self, window: usize) -> Option<&Run> {
        let p99_us = |run: &Run| run.harvest.windows.get(window).map_or(0, |w| w.latency.p99);
        let mut runs = self.counted();
        runs.sort_by_key(|run| p99_us(run));
        runs.get(runs.len().saturating_sub(1) / 2).copied()
    }

    /// All latencies of a window, over all runs that count: for each place on the axis of
    /// percentiles, the share of deliveries that were as quick and the milliseconds they took.
    /// Ends where fewer deliveries are left than one.
    pub fn distribution(&self, window: usize) -> Vec<(f64, f64)> {
        let mut merged: BTreeMap<u64, u64> = BTreeMap::new();
        let runs = self.counted();
        let windows = runs.iter().filter_map(|run| run.harvest.windows.get(window));
        for (value_us, count) in windows.flat_map(|window| &window.buckets) {
            *merged.entry(*value_us).or_default() += count;
        }
        let total = merged.values().sum::<u64>() as f64;
        let mut buckets = merged.into_iter();
        let (mut value_us, mut reached) = (0, 0);
        let shares = (0..=POINTS).map(|step| percentile_at(step as f64 / POINTS as f64));
        let shares = shares.take_while(|share| (1.0 - share) * total >= 0.999);
        let point = |share: f64| {
            let rank = (share * total).ceil().max(1.0) as u64;
            while let Some((value, count)) = (reached < rank).then(|| buckets.next()).flatten() {
                value_us = value;
                reached += count;
            }
            (share, value_us as f64 / 1e3)
        };
        shares.map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::names::title;
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
        let axum = chapter.entries.iter().find(|entry| title(&entry.subject) == "axum").unwrap();
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
        let study = fixture::study();
        let entry = |name: &str| {
            let entries = &study.chapters[0].entries;
            entries.iter().find(|entry| title(&entry.subject) == name).unwrap()
        };
        let nats = entry("nats");
        assert_eq!((nats.limited(), nats.counted().len(), nats.is_compared()), (3, 3, false));
        assert!(entry("axum").is_compared() && entry("axum").is_whole());
        assert!(!entry("Bun").is_whole(), "it lost one");
        let mut mixed = Entry {
            subject: Subject::Touchline,
            runs: entry("Touchline").runs.clone(),
            failures: Vec::new(),
        };
        mixed.runs[0].generator.of_a_core = 0.99;
        assert_eq!((mixed.counted().len(), mixed.is_compared()), (2, true));
    }
}
