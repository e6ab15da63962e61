//! What is measured, as data: one list from which table, charts and rankings are made.
//!
//! # Who can be the best
//! Floors are the yardstick and compete with nobody. Neither does a subject whose runs were limited
//! by the generator, nor one that gave up; and figures of deliveries are those of the deliveries
//! that arrived, so only a subject with all of them competes there: whoever drops half is quick
//! with the rest. A subject whose median lies within the range of the best one is level with it.

use super::study::{Chapter, Entry, Kind};
use super::words::{number, percent, rounded};
use crate::publish::Posted;
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
    of_window: bool,
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
    let (show, unit) = (number as fn(f64) -> String, "ms");
    let (least_is_best, of_deliveries, of_window) = (true, true, true);
    Measure { head, unit, note, show, least_is_best, of_deliveries, of_window, of }
}

/// Half of the deliveries were quicker.
pub const P50: Measure =
    latency("p50", "from the time an event was due to the client's read returning", |run, at| {
        Some(run.harvest.windows.get(at)?.latency.p50 as f64 / 1e3)
    });
/// 99 of 100 were.
pub const P99: Measure =
    latency("p99", "likewise; 99 of 100 deliveries were quicker", |run, at| {
        Some(run.harvest.windows.get(at)?.latency.p99 as f64 / 1e3)
    });
/// 9,999 of 10,000 were.
pub const P9999: Measure =
    latency("p99.99", "likewise; 9,999 of 10,000 deliveries were quicker", |run, at| {
        Some(run.harvest.windows.get(at)?.latency.p9999 as f64 / 1e3)
    });
/// The slowest delivery.
pub const MAX: Measure = latency("max", "the slowest delivery of a run", |run, at| {
    Some(run.harvest.windows.get(at)?.latency.max as f64 / 1e3)
});
/// When everybody has it.
pub const LAST: Measure = latency(
    "last socket",
    "from the time an event was due until every socket had it; median of a run's events",
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
    of_window: true,
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
    of_window: false,
    of: |run, _| {
        (run.expected > 0).then(|| run.harvest.counts.delivered as f64 / run.expected as f64)
    },
};
/// How long the queues took to empty.
pub const DRAINED: Measure = Measure {
    head: "drained",
    unit: "s",
    note: "from the last event's due time until everything had arrived, or was no longer waited for",
    show: number,
    least_is_best: true,
    of_deliveries: true,
    of_window: false,
    of: |run, _| (run.drained_s > 0.0).then_some(run.drained_s),
};
/// Price of a delivery.
pub const CPU: Measure = Measure {
    head: "CPU a delivery",
    unit: "\u{b5}s",
    note: "the server's processes and the kernel's thread of their core, user and kernel",
    show: number,
    least_is_best: true,
    of_deliveries: true,
    of_window: false,
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
    of_window: false,
    // Of a server elsewhere nothing is known.
    of: |run, _| (run.memory[1].rss_bytes > 0).then(|| run.user_bytes_per_socket()),
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
    of_window: false,
    of: |run, _| Some(run.connects_per_s()),
};

/// Half of those who lost their connection are back.
pub const AWAY_P50: Measure = Measure {
    head: "back, p50",
    unit: "s",
    note: "from the loss of a connection to the subscription on the next; half were sooner",
    of: |run, _| away_s(run, run.harvest.away.p50),
    of_deliveries: false,
    ..CPU
};
/// 99 of 100 are.
pub const AWAY_P99: Measure = Measure {
    head: "back, p99",
    note: "likewise; 99 of 100 were sooner",
    of: |run, _| away_s(run, run.harvest.away.p99),
    ..AWAY_P50
};
/// How many came back.
pub const RETURNED: Measure = Measure {
    head: "returned",
    unit: "%",
    note: "clients that were back, against connections that ended",
    of: |run, _| {
        let counts = &run.harvest.counts;
        let gone = counts.left + counts.closed.values().sum::<u64>();
        (gone > 0).then(|| counts.returned as f64 / gone as f64)
    },
    of_deliveries: false,
    ..ARRIVED
};
/// Pace of the way in.
pub const DURABLE: Measure = Measure {
    head: "durable",
    unit: "events/s",
    note: "events of webhooks that were answered 202, over the time from the first due time to \
           the last answer",
    show: rounded,
    of: |run, _| posted(run, |posted| posted.events as f64 / posted.seconds.max(1e-9)),
    ..CONNECTS
};
/// Half of the webhooks were answered sooner.
pub const POST_P50: Measure = Measure {
    head: "p50",
    note: "from the time a webhook\u{2019}s first event was due to its 202; half were quicker",
    of: |run, _| posted(run, |posted| posted.latency.p50 as f64 / 1e3),
    ..POST_P99
};
/// 99 of 100 were.
pub const POST_P99: Measure = Measure {
    head: "p99",
    unit: "ms",
    note: "likewise; 99 of 100 webhooks were answered sooner",
    of: |run, _| posted(run, |posted| posted.latency.p99 as f64 / 1e3),
    of_deliveries: false,
    ..CPU
};
/// The last to be answered.
pub const POST_SLOWEST: Measure = Measure {
    head: "max",
    note: "the webhook of a run that waited longest",
    of: |run, _| posted(run, |posted| posted.latency.max as f64 / 1e3),
    ..POST_P99
};
/// How often the server said later.
pub const PUT_OFF: Measure = Measure {
    head: "put off",
    unit: "attempts",
    note: "answers 429 and 503 and lost connections, each followed by another attempt",
    of: |run, _| posted(run, |posted| posted.retries as f64),
    ..POST_P99
};
/// Price of an event on its way in.
pub const CPU_EVENT: Measure = Measure { head: "CPU an event", of_deliveries: false, ..CPU };

fn posted(run: &Run, of: fn(&Posted) -> f64) -> Option<f64> {
    run.posted.as_ref().filter(|posted| posted.events > 0).map(of)
}

fn away_s(run: &Run, us: u64) -> Option<f64> {
    // Whoever lets few back in has a short queue: it counts where all are back.
    let counts = &run.harvest.counts;
    let are_back = counts.returned >= counts.left + counts.closed.values().sum::<u64>();
    (run.harvest.away.count > 0 && are_back).then_some(us as f64 / 1e6)
}

/// Columns of a table, from left to right: what the chapter is about, and what it has to say.
pub fn columns(chapter: &Chapter) -> Vec<&'static Measure> {
    const LOADED: [&Measure; 7] = [&P50, &P99, &MAX, &LAST, &RATE, &ARRIVED, &CPU];
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
        // A single delivery that never came, or a client, is a difference.
        let is_share = [ARRIVED.head, RETURNED.head].contains(&self.head);
        let alike = if is_share { 0.0 } else { ALIKE_SHARE };
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
    use super::super::names::title;
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
