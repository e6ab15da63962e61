//! What is measured, as data: one list from which table, charts and rankings are made.
//!
//! # Who can be the best
//! Floors are the yardstick and compete with nobody. Neither does a subject whose runs were limited
//! by the generator, nor one that gave up; and figures of deliveries are those of the deliveries
//! that arrived, so only a subject with all of them competes there: whoever drops half is quick
//! with the rest. Whoever lost events without a word or sent them twice competes nowhere.

use super::entry::Entry;
use super::study::{Chapter, Kind};
use super::words::number;
use crate::run::Run;
use crate::stats::{ALIKE_SHARE, Figure};

pub use super::measures::*;

/// Something that is measured in each run.
pub struct Measure {
    /// What it is called above its column.
    pub head: &'static str,
    /// In what it is counted.
    pub unit: &'static str,
    /// What it is, in a sentence for the notes.
    pub note: &'static str,
    /// How a value is written.
    pub show: fn(f64) -> String,
    least_is_best: bool,
    of_deliveries: bool,
    of_window: bool,
    alike: f64,
    of: fn(&Run, usize) -> Option<f64>,
}

/// How a subject stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nobody's median is better.
    Best,
    /// It isn't told from the best.
    Level,
    /// It is, or it isn't compared.
    None,
}

/// From a run and the index of a window.
pub type Of = fn(&Run, usize) -> Option<f64>;

impl Measure {
    /// Of which the least is best.
    pub const fn less_is_better(
        head: &'static str,
        unit: &'static str,
        note: &'static str,
        of: Of,
    ) -> Self {
        let (show, alike) = (number as fn(f64) -> String, ALIKE_SHARE);
        let (least_is_best, of_deliveries, of_window) = (true, false, false);
        Self { head, unit, note, show, least_is_best, of_deliveries, of_window, alike, of }
    }

    /// Of which the most is best.
    pub const fn more_is_better(
        head: &'static str,
        unit: &'static str,
        note: &'static str,
        of: Of,
    ) -> Self {
        Self { least_is_best: false, ..Self::less_is_better(head, unit, note, of) }
    }

    /// Only who delivered everything competes.
    pub const fn of_deliveries(self) -> Self {
        Self { of_deliveries: true, ..self }
    }

    /// Different from phase to phase.
    pub const fn of_window(self) -> Self {
        Self { of_window: true, ..self }
    }

    /// Counted rather than measured: nothing is so small that it is nothing.
    pub const fn exact(self) -> Self {
        Self { alike: 0.0, ..self }
    }

    /// Written in another way.
    pub const fn shown(self, show: fn(f64) -> String) -> Self {
        Self { show, ..self }
    }
}

/// Columns of a table, from left to right: what the chapter is about, and what it has to say.
pub fn columns(chapter: &Chapter) -> Vec<&'static Measure> {
    const LOADED: [&Measure; 9] = [&P50, &P99, &P9999, &MAX, &LAST, &SPREAD, &RATE, &ARRIVED, &CPU];
    const RETURNS: [&Measure; 3] = [&RETURNED, &AWAY_P50, &AWAY_P99];
    const FLOOD: [&Measure; 6] =
        [&DURABLE, &POST_P50, &POST_P99, &POST_SLOWEST, &PUT_OFF, &CPU_EVENT];
    const SOCKETS: [&Measure; 3] = [&PROCESS, &KERNEL, &CONNECTS];
    // A crowd that comes back is timed on its way; what a socket takes is in the picture.
    let rest = if chapter.has_returns() { &RETURNS } else { &SOCKETS };
    match chapter.kind() {
        Kind::Idle => SOCKETS.to_vec(),
        Kind::Flood => FLOOD.to_vec(),
        Kind::FanOut if is_behind(chapter) => [&LOADED[..], &[&DRAINED], rest].concat(),
        Kind::FanOut => [&LOADED[..], rest].concat(),
    }
}

/// Whether anybody was more than a second behind when the last event had come.
pub fn is_behind(chapter: &Chapter) -> bool {
    let mut drained = chapter.entries.iter().filter_map(|entry| DRAINED.figure(entry, 0));
    drained.any(|drained| drained.median > 1.0)
}

impl Measure {
    /// Over all runs of `entry` that count; `None` where it wasn't measured.
    pub fn figure(&self, entry: &Entry, window: usize) -> Option<Figure> {
        let values: Vec<f64> =
            entry.counted().iter().filter_map(|run| (self.of)(run, window)).collect();
        (!values.is_empty()).then(|| Figure::of(values))
    }

    /// Up to which share figures are alike.
    pub fn alike(&self) -> f64 {
        self.alike
    }

    /// Whether it differs from phase to phase.
    pub fn is_of_window(&self) -> bool {
        self.of_window
    }

    /// Whether it is CPU, which is split.
    pub fn is_cpu(&self) -> bool {
        [CPU.head, CPU_EVENT.head].contains(&self.head)
    }

    /// Whether less is better.
    pub fn is_least_best(&self) -> bool {
        self.least_is_best
    }

    /// Whoever competes, best first.
    pub fn ranking<'a>(&self, chapter: &'a Chapter) -> Vec<(&'a Entry, Figure)> {
        let window = chapter.window();
        let competes =
            |entry: &&Entry| entry.competes() && (!self.of_deliveries || entry.is_whole());
        let entries = chapter.entries.iter().filter(competes);
        let mut ranking: Vec<(&Entry, Figure)> =
            entries.filter_map(|entry| Some((entry, self.figure(entry, window)?))).collect();
        let sign = if self.least_is_best { 1.0 } else { -1.0 };
        ranking.sort_by(|(_, a), (_, b)| (sign * a.median).total_cmp(&(sign * b.median)));
        ranking
    }

    /// How each entry of the chapter stands. Where nobody is told from the best, nobody is marked.
    pub fn marks(&self, chapter: &Chapter) -> Vec<Mark> {
        let ranking = self.ranking(chapter);
        let none = || vec![Mark::None; chapter.entries.len()];
        let Some((_, best)) = ranking.first() else { return none() };
        let is_less = |figure: &Figure| figure.median < best.median;
        let is_worse = |figure: &Figure| {
            is_less(figure) != self.least_is_best && best.is_told_from(figure, self.alike)
        };
        let is_shown = |entry: &&Entry| !entry.is_floor() && entry.is_compared();
        let shown = chapter.entries.iter().filter(is_shown);
        let mut figures = shown.filter_map(|entry| self.figure(entry, chapter.window()));
        if !figures.any(|figure| is_worse(&figure)) {
            return none();
        }
        let stands = |figure: &Figure| match figure {
            figure if (self.show)(figure.median) == (self.show)(best.median) => Mark::Best,
            figure if is_worse(figure) => Mark::None,
            _ => Mark::Level,
        };
        let mark = |entry: &Entry| {
            let place = ranking.iter().find(|(other, _)| std::ptr::eq(*other, entry));
            place.map_or(Mark::None, |(_, figure)| stands(figure))
        };
        chapter.entries.iter().map(mark).collect()
    }
}

/// The better floor, in whatever `measure` counts.
pub fn floor_of(measure: &Measure, chapter: &Chapter) -> Option<f64> {
    let floors = chapter.entries.iter().filter(|entry| entry.is_floor());
    let medians = floors.filter_map(|entry| measure.figure(entry, chapter.window()));
    let medians = medians.map(|figure| figure.median);
    match measure.least_is_best {
        true => medians.min_by(f64::total_cmp),
        false => medians.max_by(f64::total_cmp),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::study::Study;
    use super::*;
    use crate::target::Subject;

    #[test]
    fn only_who_delivered_everything_and_was_not_limited_can_be_best() {
        let mut study = fixture::study();
        let names = |study: &Study, measure: &Measure| -> Vec<String> {
            let ranking = measure.ranking(&study.chapters[0]);
            ranking.iter().map(|(entry, _)| entry.title.clone()).collect()
        };
        assert_eq!(names(&study, &CPU), ["Touchline", "axum"], "Bun lost one, nats was limited");
        assert_eq!(names(&study, &PROCESS), ["Touchline", "axum"]);
        let marks = CPU.marks(&study.chapters[0]);
        assert!(marks.iter().all(|mark| *mark == Mark::None), "6 to 8 and 8 overlap: {marks:?}");
        for run in study.of_title("axum") {
            run.cpu_us = 12.0;
        }
        let chapter = &study.chapters[0];
        let marks = CPU.marks(chapter);
        let best = marks.iter().position(|mark| *mark == Mark::Best).unwrap();
        assert_eq!(chapter.entries[best].subject, Subject::Touchline);
        assert_eq!(marks.iter().filter(|mark| **mark != Mark::None).count(), 1, "{marks:?}");
        assert!(PROCESS.marks(chapter).iter().all(|mark| *mark == Mark::None), "all are alike");
        assert_eq!(floor_of(&CPU, chapter), Some(5.0));
    }

    #[test]
    fn who_repeats_events_is_ranked_nowhere_and_who_delivers_none_has_no_latency() {
        let mut study = fixture::study();
        for run in study.of_title("axum") {
            (run.cpu_us, run.harvest.counts.repeated) = (0.5, 90_000);
        }
        let chapter = &study.chapters[0];
        for measure in [&CPU, &PROCESS, &ARRIVED, &DRAINED, &RATE] {
            let ranking = measure.ranking(chapter);
            assert!(ranking.iter().all(|(entry, _)| entry.title != "axum"), "{}", measure.head);
        }
        for run in study.of_title("axum") {
            run.harvest.counts.delivered = 0;
            run.harvest.windows[0].latency = Default::default();
        }
        let axum = study.chapters[0].entries.iter().find(|entry| entry.title == "axum").unwrap();
        for measure in [&P50, &P99, &P9999, &MAX, &LAST, &SPREAD, &CPU, &CPU_USER] {
            assert_eq!(measure.figure(axum, 0), None, "{}", measure.head);
        }
        assert_eq!(ARRIVED.figure(axum, 0).unwrap().median, 0.0);
    }

    #[test]
    fn an_idle_chapter_has_no_columns_of_deliveries() {
        let mut study = fixture::study();
        let chapter = &mut study.chapters[0];
        assert_eq!(columns(chapter).len(), 12);
        chapter.setup.as_mut().unwrap().phases.clear();
        let heads: Vec<&str> = columns(chapter).iter().map(|measure| measure.head).collect();
        assert_eq!(heads, ["process", "kernel", "connects"]);
    }

    #[test]
    fn a_flood_is_about_webhooks_and_a_crash_about_coming_back() {
        let study = fixture::study_of(&fixture::flood());
        let chapter = &study.chapters[0];
        let heads: Vec<&str> = columns(chapter).iter().map(|measure| measure.head).collect();
        assert_eq!(heads, ["durable", "p50", "p99", "max", "put off", "CPU an event"]);
        assert_eq!(DURABLE.figure(&chapter.entries[0], 0).unwrap().median, 20_000.0);
        let study = fixture::study_of(&fixture::killed());
        let chapter = &study.chapters[0];
        assert_eq!(columns(chapter).last().unwrap().head, "back, p99");
        let ours = chapter.entries.iter().find(|e| e.subject == Subject::Touchline).unwrap();
        assert_eq!(RETURNED.figure(ours, 0).unwrap().median, 1.0);
        assert_eq!(AWAY_P99.figure(ours, 0).unwrap().median, 2.0);
    }
}
