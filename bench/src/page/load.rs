//! Latency over load, as numbers: from which load on is a subject no longer what it was?
//!
//! # The knee
//! Calm is the p99 at the least load. The knee is the greatest load up to which every step's p99
//! stays within three times the calm one and 99 % of what was due arrived in time: by the end of
//! its step, and a calm p99 more, since the last event of a step may take as long as any other.
//! A server that gathers what it sends gets slower by small steps long before it is full, and one
//! that is full is slower by orders of magnitude: three tells the one from the other.

use super::entry::Entry;
use super::stretch::{self, Stretch};
use super::study::Chapter;
use crate::run::Run;
use crate::stats::Figure;

/// A p99 above this many times the calm one is beyond the knee.
pub const KNEE: f64 = 3.0;
/// What arrived in time is called all from this share on.
pub const ARRIVED_MIN: f64 = 0.99;
/// The p99 that nobody should have to wait for, milliseconds: a glance lasts longer.
pub const LIMIT_MS: f64 = 50.0;

/// A subject at a load.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Index of the stretch.
    pub window: usize,
    /// Deliveries a second that were due.
    pub offered: f64,
    /// Of the runs that count, milliseconds.
    pub p99_ms: Figure,
    /// The share of what was due that arrived in time; median of the runs.
    pub arrived: f64,
}

impl Point {
    /// Whether all of it arrived in time.
    pub fn keeps_pace(&self) -> bool {
        self.arrived >= ARRIVED_MIN
    }
}

/// Where a line passes a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Crossing {
    /// Above it from the least load on.
    Before(f64),
    /// At this load.
    At(f64),
    /// Below it up to the greatest load.
    Beyond(f64),
}

/// `entry` at every load, the least first; loads of which nothing arrived are left out.
pub fn points(entry: &Entry, stretches: &[Stretch]) -> Vec<Point> {
    points_of(&entry.counted(), stretches)
}

fn points_of(runs: &[&Run], stretches: &[Stretch]) -> Vec<Point> {
    let order = stretch::by_load(stretches);
    let Some(calm) = order.first().copied() else { return Vec::new() };
    let point = |window: usize| {
        let p99s = runs.iter().filter_map(|run| p99_ms(run, window));
        let p99_ms = Figure::of(p99s);
        let arrived = runs.iter().map(|run| arrived(run, stretches, window, calm));
        let (arrived, offered) = (Figure::of(arrived).median, stretches[window].offered());
        (p99_ms.median > 0.0).then_some(Point { window, offered, p99_ms, arrived })
    };
    order.into_iter().filter_map(point).collect()
}

/// `None` where nothing arrived.
fn p99_ms(run: &Run, window: usize) -> Option<f64> {
    let latency = &run.harvest.windows.get(window)?.latency;
    (latency.count > 0).then_some(latency.p99 as f64 / 1e3)
}

/// The share of what was due in `window` that arrived in time. How much of it came too late isn't
/// known, only when the last of it came: a steady pace is assumed.
pub fn arrived(run: &Run, stretches: &[Stretch], window: usize, calm: usize) -> f64 {
    let (Some(seen), Some(stretch)) = (run.harvest.windows.get(window), stretches.get(window))
    else {
        return 0.0;
    };
    let share = seen.latency.count as f64 / stretch.due.max(1) as f64;
    let in_time_s = stretch.seconds + p99_ms(run, calm).unwrap_or(0.0) / 1e3;
    share.min(1.0) * (in_time_s / seen.took_s.max(1e-9)).min(1.0)
}

/// The last of `points` before the knee is passed; none if even the first isn't calm.
pub fn knee(points: &[Point]) -> Option<usize> {
    let calm_ms = points.first()?.p99_ms.median;
    let is_calm = |point: &&Point| point.p99_ms.median <= calm_ms * KNEE && point.keeps_pace();
    points.iter().take_while(is_calm).count().checked_sub(1)
}

/// The knee as a figure: where the medians have it, and where single runs do. The second: whether
/// it lies beyond all that was offered.
pub fn knee_figure(entry: &Entry, stretches: &[Stretch]) -> Option<(Figure, bool)> {
    let points = points(entry, stretches);
    let at = knee(&points)?;
    let of_run = |run: &&Run| {
        let points = points_of(&[*run], stretches);
        Some(points[knee(&points)?].offered)
    };
    let runs = Figure::of(entry.counted().iter().filter_map(of_run));
    let median = points[at].offered;
    let figure = Figure { median, low: runs.low.min(median), high: runs.high.max(median) };
    Some((figure, at + 1 == points.len()))
}

/// Where the p99 passes `limit_ms` for the first time, interpolated in decades of both.
pub fn crossing(points: &[Point], limit_ms: f64) -> Option<Crossing> {
    let (first, last) = (points.first()?, points.last()?);
    let is_above = |point: &Point| point.p99_ms.median > limit_ms;
    if is_above(first) {
        return Some(Crossing::Before(first.offered));
    }
    let pair = points.windows(2).find(|pair| is_above(&pair[1]));
    let at = |pair: &[Point]| {
        let ln = |point: &Point| (point.offered.ln(), point.p99_ms.median.max(1e-3).ln());
        let ((x0, y0), (x1, y1)) = (ln(&pair[0]), ln(&pair[1]));
        (x0 + (x1 - x0) * (limit_ms.ln() - y0) / (y1 - y0)).exp()
    };
    Some(pair.map_or(Crossing::Beyond(last.offered), |pair| Crossing::At(at(pair))))
}

/// The greatest load below everybody's knee, as a window.
pub fn carried_by_all(chapter: &Chapter) -> usize {
    let order = stretch::by_load(&chapter.stretches);
    let place = |entry: &Entry| {
        let points = points(entry, &chapter.stretches);
        let window = knee(&points).map(|at| points[at].window);
        let place = window.and_then(|window| order.iter().position(|at| *at == window));
        (!entry.runs.is_empty()).then_some(place.unwrap_or(0))
    };
    let place = chapter.entries.iter().filter_map(place).min().unwrap_or(0);
    order.get(place).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn point(offered: f64, p99_ms: f64, arrived: f64) -> Point {
        let p99_ms = Figure { median: p99_ms, low: p99_ms, high: p99_ms };
        Point { window: 0, offered, p99_ms, arrived }
    }

    #[test]
    fn the_knee_is_the_last_load_that_is_as_calm_as_the_first() {
        let calm = |p99_ms: f64| point(1.0, p99_ms, 1.0);
        assert_eq!(knee(&[calm(10.0), calm(12.0), calm(30.0), calm(31.0), calm(9.0)]), Some(2));
        assert_eq!(knee(&[calm(10.0), point(2.0, 10.0, 0.98), calm(10.0)]), Some(0), "late");
        assert_eq!(knee(&[point(1.0, 10.0, 0.5)]), None, "never calm");
        assert_eq!(knee(&[]), None);
    }

    #[test]
    fn a_limit_is_passed_between_two_loads() {
        let points = [(1.0, 5.0), (10.0, 20.0), (100.0, 80.0)].map(|(x, y)| point(x, y, 1.0));
        let passed = |limit_ms| crossing(&points, limit_ms).unwrap();
        assert!(matches!(passed(40.0), Crossing::At(x) if (x - 31.6).abs() < 0.1));
        assert_eq!(passed(4.0), Crossing::Before(1.0));
        assert_eq!(passed(80.0), Crossing::Beyond(100.0));
        assert_eq!(crossing(&[], 4.0), None);
    }

    #[test]
    fn a_ramp_shows_what_everybody_carries() {
        let study = fixture::study_of(&fixture::ramp());
        let chapter = &study.chapters[0];
        let entry = |subject| chapter.entries.iter().find(|e| e.subject == subject).unwrap();
        let ours = entry(crate::target::Subject::Touchline);
        let points = points(ours, &chapter.stretches);
        let loads: Vec<f64> = points.iter().map(|point| point.offered).collect();
        assert_eq!(loads, [5_000.0, 10_000.0, 20_000.0, 40_000.0, 80_000.0]);
        let late: Vec<bool> = points.iter().map(|point| !point.keeps_pace()).collect();
        assert_eq!(late, [false, false, false, false, true]);
        let (figure, is_last) = knee_figure(ours, &chapter.stretches).unwrap();
        assert_eq!((figure.median, is_last), (40_000.0, false));
        let peer = entry(crate::target::Subject::Peer("axum".into()));
        assert_eq!(knee_figure(peer, &chapter.stretches).unwrap().0.median, 20_000.0);
        assert_eq!((carried_by_all(chapter), chapter.window_name()), (2, Some("20")));
    }
}
