//! A subject in a chapter, and whether its figures can be ranked.
//!
//! # What counts
//! A run in which the generator had nearly its whole core for itself says more about the generator:
//! it is kept, but figures are made of the others. An entry that has no others is shown and
//! compared with nobody.

use std::collections::BTreeMap;

use super::axis::percentile_at;
use super::names::name_and_version;
use crate::probe::Host;
use crate::report::telling;
use crate::run::Run;
use crate::target::Subject;

/// A subject in a chapter.
pub struct Entry {
    /// Whose numbers these are.
    pub subject: Subject,
    /// As what it was built.
    pub build: Build,
    /// What it is called; with its build, where there are several.
    pub title: String,
    /// Its classes.
    pub look: String,
    /// All of its runs that came to an end.
    pub runs: Vec<Run>,
    /// Why others didn't.
    pub failures: Vec<String>,
}

/// What a subject was built of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The tree's commit.
    pub commit: String,
    /// What it says of itself, with a digest where there is one.
    pub version: String,
}

impl Build {
    /// Of `subject` as it was measured on `host`.
    pub fn of(subject: &Subject, host: &Host) -> Self {
        let known = host.versions.iter().map(|text| name_and_version(text));
        let name = match subject {
            Subject::Floor(_) | Subject::Variant(_) => "touchline-bench",
            Subject::Touchline => "touchline",
            Subject::Peer(name) => name,
        };
        let mut version =
            known.filter(|(of, _)| *of == name).map(|(_, version)| version.to_owned());
        let commit = host.commit.clone().unwrap_or_else(|| "unknown".into());
        Self { commit, version: version.next_back().unwrap_or_default() }
    }
}

/// Points of a distribution.
const POINTS: usize = 240;

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

    /// Whether it is a floor, which is a measure for others.
    pub fn is_floor(&self) -> bool {
        matches!(self.subject, Subject::Floor(_))
    }

    /// Whether every delivery arrived in each run that counts, and it never gave up.
    pub fn is_whole(&self) -> bool {
        let whole = |run: &&Run| run.harvest.counts.delivered >= run.expected;
        self.failures.is_empty() && self.counted().iter().all(whole)
    }

    /// Whether in any of its runs events were repeated, or missing without a word: such figures
    /// are of another task than that of the others.
    pub fn is_false(&self) -> bool {
        self.runs.iter().any(telling::is_false)
    }

    /// Whether it can be ranked.
    pub fn competes(&self) -> bool {
        let is_sound = self.is_compared() && self.failures.is_empty();
        !self.is_floor() && is_sound && !self.is_false()
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
