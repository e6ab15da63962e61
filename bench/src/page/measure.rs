//! What is measured, as data: one list from which table, charts and rankings are made.
//!
//! # Who can be the best
//! Floors are the yardstick and compete with nobody. Neither does a subject whose runs were limited
//! by the generator, nor one that gave up; and figures of deliveries are those of the deliveries
//! that arrived, so only a subject with all of them competes there: whoever drops half is quick
//! with the rest. A subject whose median lies within the range of the best one is level with it.

use super::study::{Chapter, Entry};
use super::words::{number, percent};
use crate::run::Run;
use crate::stats::Figure;
use crate::target::Subject;

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
    of: fn(&Run, usize) -> Option<f64>,
}

/// Where nobody's median is farther from the best than this share of it, all are alike.
const ALIKE_SHARE: f64 = 0.02;

/// How a subject stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nobody is better.
    Best,
    /// Its median lies within the range of the best.
    Level,
    /// Neither, or it isn't compared.
    None,
}

const fn latency(
    head: &'static str,
    note: &'static str,
    of: fn(&Run, usize) -> Option<f64>,
) -> Measure {
    let show = number;
    Measure { head, unit: "ms", note, show, least_is_best: true, of_deliveries: true, of }
}

/// Half of the deliveries were quicker.
pub const P50: Measure = latency(
    "p50",
    "from the time an event was due to the client's read \
    returning",
    |run, at| Some(run.harvest.windows.get(at)?.latency.p50 as f64 / 1e3),
);
/// 99 of 100 were.
pub const P99: Measure =
    latency("p99", "likewise; 99 of 100 deliveries were quicker", |run, at| {
        Some(run.harvest.windows.get(at)?.latency.p99 as f64 / 1e3)
    });
/// The slowest delivery.
pub const MAX: Measure = latency("max", "the slowest delivery of a run", |run, at| {
    Some(run.harvest.windows.get(at)?.latency.max as f64 / 1e3)
});
/// When everybody has it.
pub const LAST: Measure = latency(
    "last socket",
    "from the time an event was due until every \
    socket had it; median of a run's events",
    |run, at| Some(run.harvest.windows.get(at)?.last_us[1] as f64 / 1e3),
);
/// How long some know it and others don't.
pub const SPREAD: Measure =
    latency("first to last", "from an event's first receipt to its last", |run, at| {
        Some(run.harvest.windows.get(at)?.spread_us[1] as f64 / 1e3)
    });
/// Pace.
pub const RATE: Measure = Measure {
    head: "deliveries",
    unit: "1,000/s",
    note: "what arrived, over the time from the first event to the last receipt",
    show: number,
    least_is_best: false,
    of_deliveries: false,
    of: |run, at| {
        let seen = run.harvest.windows.get(at)?;
        Some(seen.latency.count as f64 / seen.took_s.max(1e-9) / 1e3)
    },
};
/// Completeness.
pub const ARRIVED: Measure = Measure {
    head: "arrived",
    unit: "%",
    note: "deliveries, against those of a perfect server, warm-up included",
    show: percent,
    least_is_best: false,
    of_deliveries: false,
    of: |run, _| {
        (run.expected > 0).then(|| run.harvest.counts.delivered as f64 / run.expected as f64)
    },
};
/// Price of a delivery.
pub const CPU: Measure = Measure {
    head: "CPU a delivery",
    unit: "\u{b5}s",
    note: "the server's processes and the kernel's thread of their core, user and kernel",
    show: number,
    least_is_best: true,
    of_deliveries: true,
    of: |run, _| (run.cpu_us > 0.0).then_some(run.cpu_us),
};
/// The part of it outside of the kernel.
pub const CPU_USER: Measure =
    Measure { of: |run, _| (run.cpu_us > 0.0).then_some(run.cpu_us * run.cpu.user_share), ..CPU };
/// Price of a connection, to the process.
pub const PROCESS: Measure = Measure {
    head: "process",
    unit: "B/socket",
    note: "resident memory that came with the clients, all of them idle",
    show: number,
    least_is_best: true,
    of_deliveries: false,
    of: |run, _| Some(run.user_bytes_per_socket()),
};
/// Price of a connection, to the kernel.
pub const KERNEL: Measure = Measure {
    head: "kernel",
    unit: "B/socket",
    note: "slab memory that came with the clients, both ends of each connection",
    of: |run, _| Some(run.kernel_bytes_per_socket()),
    ..PROCESS
};
/// How fast a crowd comes in.
pub const CONNECTS: Measure = Measure {
    head: "connects",
    unit: "1/s",
    note: "sockets, over the time from the first connect to the last subscription",
    show: number,
    least_is_best: false,
    of_deliveries: false,
    of: |run, _| Some(run.connects_per_s()),
};

/// Columns of a table, from left to right. Without load some have nothing to say.
pub fn columns(chapter: &Chapter) -> Vec<&'static Measure> {
    const LOADED: [&Measure; 7] = [&P50, &P99, &MAX, &LAST, &RATE, &ARRIVED, &CPU];
    const ALWAYS: [&Measure; 3] = [&PROCESS, &KERNEL, &CONNECTS];
    let loaded = if chapter.is_loaded() { &LOADED[..] } else { &[] };
    loaded.iter().chain(&ALWAYS).copied().collect()
}

impl Measure {
    /// Over all runs of `entry` that count; `None` where it wasn't measured.
    pub fn figure(&self, entry: &Entry, window: usize) -> Option<Figure> {
        let values: Vec<f64> =
            entry.counted().iter().filter_map(|run| (self.of)(run, window)).collect();
        (!values.is_empty()).then(|| Figure::of(values))
    }

    /// Whether less is better.
    pub fn is_least_best(&self) -> bool {
        self.least_is_best
    }

    /// Whoever competes, best first.
    pub fn ranking<'a>(&self, chapter: &'a Chapter) -> Vec<(&'a Entry, Figure)> {
        let window = chapter.window();
        let competes = |entry: &&Entry| {
            let is_floor = matches!(entry.subject, Subject::Floor(_));
            let is_sound = entry.is_compared() && entry.failures.is_empty();
            !is_floor && is_sound && (!self.of_deliveries || entry.is_whole())
        };
        let entries = chapter.entries.iter().filter(competes);
        let mut ranking: Vec<(&Entry, Figure)> =
            entries.filter_map(|entry| Some((entry, self.figure(entry, window)?))).collect();
        let sign = if self.least_is_best { 1.0 } else { -1.0 };
        ranking.sort_by(|(_, a), (_, b)| (sign * a.median).total_cmp(&(sign * b.median)));
        ranking
    }

    /// How each entry of the chapter stands. Where all are alike, nobody is marked.
    pub fn marks(&self, chapter: &Chapter) -> Vec<Mark> {
        let ranking = self.ranking(chapter);
        let Some((_, best)) = ranking.first() else {
            return vec![Mark::None; chapter.entries.len()];
        };
        let stands = |figure: &Figure| match figure.median {
            median if (self.show)(median) == (self.show)(best.median) => Mark::Best,
            median if (best.low..=best.high).contains(&median) => Mark::Level,
            _ => Mark::None,
        };
        // A single delivery that never came is a difference.
        let alike = if self.head == ARRIVED.head { 0.0 } else { ALIKE_SHARE };
        let alike = best.median.abs() * alike;
        let differs = |figure: &Figure| (figure.median - best.median).abs() > alike;
        let is_told_apart = ranking.iter().any(|(_, figure)| differs(figure));
        let mark = |entry: &Entry| {
            let place = ranking.iter().find(|(other, _)| other.subject == entry.subject);
            place.filter(|_| is_told_apart).map_or(Mark::None, |(_, figure)| stands(figure))
        };
        chapter.entries.iter().map(mark).collect()
    }
}

/// The better floor, in whatever `measure` counts.
pub fn floor_of(measure: &Measure, chapter: &Chapter) -> Option<f64> {
    let floors = chapter.entries.iter().filter(|entry| matches!(entry.subject, Subject::Floor(_)));
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
    use super::super::study::title;
    use super::*;

    #[test]
    fn only_who_delivered_everything_and_was_not_limited_can_be_best() {
        let study = fixture::study();
        let chapter = &study.chapters[0];
        let names = |measure: &Measure| -> Vec<String> {
            measure.ranking(chapter).iter().map(|(entry, _)| title(&entry.subject)).collect()
        };
        assert_eq!(names(&CPU), ["Touchline", "axum"], "Bun lost one, nats was limited");
        assert_eq!(names(&PROCESS), ["Touchline", "Bun", "axum"]);
        let marks = CPU.marks(chapter);
        let best = marks.iter().position(|mark| *mark == Mark::Best).unwrap();
        assert_eq!(chapter.entries[best].subject, Subject::Touchline);
        assert_eq!(marks[best + 1..].iter().filter(|mark| **mark == Mark::Level).count(), 1);
        assert!(PROCESS.marks(chapter).iter().all(|mark| *mark == Mark::None), "all are alike");
        assert_eq!(floor_of(&CPU, chapter), Some(5.0));
    }

    #[test]
    fn an_idle_chapter_has_no_columns_of_deliveries() {
        let mut study = fixture::study();
        let chapter = &mut study.chapters[0];
        assert_eq!(columns(chapter).len(), 10);
        chapter.setup.as_mut().unwrap().phases.clear();
        let heads: Vec<&str> = columns(chapter).iter().map(|measure| measure.head).collect();
        assert_eq!(heads, ["process", "kernel", "connects"]);
    }
}
