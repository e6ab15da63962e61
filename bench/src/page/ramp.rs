//! Latency over load: a picture with a line for each subject, its knee as a flag, and the same in
//! figures.
//!
//! A hollow point is a load that a subject didn't carry: less than 99 % of what was due arrived in
//! time. Bars at a point are the least and the greatest run.

use super::axis::Axis;
use super::entry::Entry;
use super::flags::{self, Flag, LANE};
use super::load::{self, ARRIVED_MIN, Crossing, KNEE, LIMIT_MS, Point};
use super::node::{Element, coordinate, el};
use super::plot::{self, BELOW, End, Plot, Room, depth};
use super::study::Chapter;
use super::table::plain;
use super::words::{number, rounded, tick, whole};

/// A subject's line.
struct Line {
    title: String,
    look: String,
    points: Vec<Point>,
    knee: Option<usize>,
}

/// Beside more lines than these, only Touchline's knee has a flag: the table has all of them.
const FLAGS_MAX: usize = 3;
/// Where loads are farther apart than this, they are drawn in decades.
const DECADES_FROM: f64 = 12.0;

/// Picture and figures of a ramp; nothing if nobody got anywhere.
pub fn draw(chapter: &Chapter) -> Option<Element> {
    let lines: Vec<Line> = chapter.entries.iter().filter_map(|e| line(chapter, e)).collect();
    if lines.is_empty() {
        return None;
    }
    let note = format!(
        "p99 of each step, against the deliveries a second that were due in it; hollow: less than \
         {} % of them arrived in time. The knee is the last step up to which p99 stays within {} \
         times that of the calmest step and everything arrives in time.",
        tick(ARRIVED_MIN * 100.0),
        tick(KNEE),
    );
    let title = el("strong").text("Latency over load");
    let caption = el("figcaption").with(title).with(el("span").text(note));
    let pictures = [Room::Wide, Room::Narrow].map(|room| picture(&lines, room));
    let figure = el("figure").class("latency").with(caption).with_all(pictures);
    Some(figure.with(figures(chapter)))
}

fn line(chapter: &Chapter, entry: &Entry) -> Option<Line> {
    let points = load::points(entry, &chapter.stretches);
    let muted = if entry.is_compared() { "" } else { " muted" };
    let look = format!("{}{muted}", entry.look);
    let knee = load::knee(&points);
    (!points.is_empty()).then(|| Line { title: entry.title.clone(), look, points, knee })
}

fn picture(lines: &[Line], room: Room) -> Element {
    let height = if room.is_narrow() { 390.0 } else { 470.0 };
    let unit = if room.is_narrow() { "" } else { " ms" };
    let letters = plot::longest(lines.iter().map(|line| line.title.as_str()));
    let axes = axes(lines);
    let mut plot = Plot::new(room, [12.0, height - BELOW], axes, unit, letters);
    let flags = knees(lines, &plot, room);
    let bounds = [plot.left, plot.right];
    let lanes = flags::lanes(&flags, bounds) as f64 * LANE;
    plot.top += lanes;
    let mut sorted: Vec<&Line> = lines.iter().collect();
    sorted.sort_by_key(|line| depth(&line.look));
    let paths = sorted.iter().map(|line| {
        let at: Vec<(f64, f64)> = line.points.iter().map(place).collect();
        el("path").class(&line.look).set("d", plot.path(&at))
    });
    let points = sorted.iter().map(|line| dots(line, &plot));
    let ends = lines.iter().filter_map(|line| {
        let at = line.points.last().map(place)?;
        Some(End { title: line.title.clone(), look: line.look.clone(), at })
    });
    let ends: Vec<End> = ends.collect();
    let what = if room.is_narrow() { "ms p99, against deliveries/s" } else { "deliveries/s due" };
    let ticks = plot.across.ticks(if room.is_narrow() { 4 } else { 8 });
    let ticks: Vec<(f64, String)> = ticks.into_iter().map(|x| (x, compact(x))).collect();
    room.svg(height, "99th percentile of latency over load, a line for each subject")
        .with_all(plot.rows(unit))
        .with_all(plot.columns(ticks.iter().map(|(x, text)| (*x, text.as_str()))))
        .with(plot.unit(what))
        .with_all(limit(&plot, room))
        .with_all(flags::draw(&flags, bounds, [12.0, plot.bottom]))
        .with(el("g").class("lines").with_all(paths))
        .with_all(points)
        .with_all(plot.names(&ends))
}

fn place(point: &Point) -> (f64, f64) {
    (point.offered, point.p99_ms.median)
}

/// Loads, and latencies with the limit among them.
fn axes(lines: &[Line]) -> [Axis; 2] {
    let points = || lines.iter().flat_map(|line| &line.points);
    let loads: Vec<f64> = points().map(|point| point.offered).collect();
    let least = loads.iter().copied().fold(f64::INFINITY, f64::min);
    let most = loads.iter().copied().fold(0.0, f64::max);
    let across = match most > least * DECADES_FROM {
        true => Axis::decades(loads),
        false => Axis::Even(most * 1.03),
    };
    let figures = points().flat_map(|point| [point.p99_ms.low, point.p99_ms.high]);
    [across, Axis::decades(figures.chain([LIMIT_MS]))]
}

/// The limit as a line.
fn limit(plot: &Plot, room: Room) -> Vec<Element> {
    let y = plot.y(LIMIT_MS);
    let line = format!("M{} {}H{}", coordinate(plot.left), coordinate(y), coordinate(plot.right));
    let text = if room.is_narrow() { String::new() } else { format!("{} ms", tick(LIMIT_MS)) };
    let word = el("text").set("text-anchor", "end").at("x", plot.right - 4.0).at("y", y - 5.0);
    vec![el("path").class("limit").set("d", line), word.class("aside").text(text)]
}

/// The points of a line with their ranges; each says what it is when a pointer rests on it.
fn dots(line: &Line, plot: &Plot) -> Element {
    let dot = |(index, point): (usize, &Point)| {
        let (x, y) = (plot.x(point.offered), plot.y(point.p99_ms.median));
        let [low, high] = [point.p99_ms.low, point.p99_ms.high].map(|ms| plot.y(ms));
        let kept = if point.keeps_pace() { "" } else { " hollow" };
        let is_knee = line.knee == Some(index);
        let size = if is_knee { 5.5 } else { 3.5 };
        let said = format!(
            "{}: {} deliveries/s due, p99 {} ms, {} % in time{}",
            line.title,
            whole(point.offered.round() as u64),
            number(point.p99_ms.median),
            number(point.arrived * 100.0),
            if is_knee { ": the knee" } else { "" },
        );
        let range = (high < low - 1.0).then(|| {
            let [x, low, high] = [x, low, high].map(coordinate);
            el("path").class("range").set("d", format!("M{x} {low}V{high}"))
        });
        let circle = el("circle").class(format!("dot{kept}")).at("cx", x).at("cy", y);
        let circle = circle.at("r", size).with(el("title").text(said));
        el("g").with_all(range).with(circle)
    };
    let look = format!("points {}", line.look);
    el("g").class(look).with_all(line.points.iter().enumerate().map(dot))
}

/// A flag at each knee, from the left.
fn knees(lines: &[Line], plot: &Plot, room: Room) -> Vec<Flag> {
    let is_shown = |line: &&Line| {
        let is_ours = line.look.starts_with("touchline");
        is_ours || lines.len() <= if room.is_narrow() { 1 } else { FLAGS_MAX }
    };
    let flag = |line: &Line| {
        let knee = line.knee?;
        let offered = line.points[knee].offered;
        let beyond = if knee + 1 == line.points.len() { "beyond " } else { "" };
        let text = match lines.len() {
            1 => format!("knee {beyond}{}/s", compact(offered)),
            _ => format!("{}: knee {beyond}{}/s", line.title, compact(offered)),
        };
        Some(Flag { x: plot.x(offered), text, look: line.look.clone() })
    };
    let mut flags: Vec<Flag> = lines.iter().filter(is_shown).filter_map(flag).collect();
    flags.sort_by(|a, b| a.x.total_cmp(&b.x));
    flags
}

/// A large number as it stands beside an axis.
fn compact(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", tick((value / 1e4).round() / 100.0)),
        value if value >= 1e4 => format!("{}k", tick((value / 100.0).round() / 10.0)),
        value => tick(value.round()),
    }
}

/// Knees and limits as a table.
fn figures(chapter: &Chapter) -> Element {
    let limit = format!("p99 passes {} ms at", tick(LIMIT_MS));
    let heads = ["subject", "calm p99", "knee", "", limit.as_str(), ""];
    let calm = |points: &[Point]| {
        points.first().map_or("\u{2013}".into(), |p| format!("{} ms", number(p.p99_ms.median)))
    };
    let row = |entry: &Entry| {
        let points = load::points(entry, &chapter.stretches);
        let events = |offered: f64| events(chapter, offered);
        let [knee, knee_events] = match load::knee_figure(entry, &chapter.stretches) {
            None => ["none: not even the calmest step arrives in time".into(), String::new()],
            Some((figure, is_last)) => {
                let sign = if is_last { "beyond " } else { "" };
                let range = match figure.high > figure.low * 1.001 {
                    true => format!(" ({}\u{2013}{})", compact(figure.low), compact(figure.high)),
                    false => String::new(),
                };
                let load = format!("{sign}{} deliveries/s{range}", rounded(figure.median));
                [load, events(figure.median)]
            }
        };
        let [passes, passes_events] = match load::crossing(&points, LIMIT_MS) {
            None => ["\u{2013}".into(), String::new()],
            Some(Crossing::Before(load)) => {
                [format!("above it already at {}", rounded(load)), String::new()]
            }
            Some(Crossing::Beyond(load)) => [format!("not up to {}", rounded(load)), String::new()],
            Some(Crossing::At(load)) => [format!("{} deliveries/s", rounded(load)), events(load)],
        };
        let name = entry.title.clone();
        let cells = vec![name, calm(&points), knee, knee_events, passes, passes_events];
        (entry.look.clone(), cells)
    };
    let rows = chapter.entries.iter().filter(|entry| !entry.runs.is_empty()).map(row);
    plain(&format!("{}: knees", chapter.name), &heads, rows)
}

/// A load in events.
fn events(chapter: &Chapter, offered: f64) -> String {
    let busiest = chapter.stretches.iter().max_by(|a, b| a.offered().total_cmp(&b.offered()));
    let share = busiest.map_or(0.0, |stretch| stretch.rate / stretch.offered().max(1e-9));
    format!("{} events/s", number(offered * share))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_ramp_marks_its_knees_and_what_was_not_carried() {
        let study = fixture::study_of(&fixture::ramp());
        let page = draw(&study.chapters[0]).unwrap().to_string();
        for piece in [
            "Touchline: knee 40k/s",
            "axum: knee 20k/s",
            "class=\"dot hollow\"",
            "80,000 deliveries/s due",
            "40,000 deliveries/s<",
            "40.0 events/s",
        ] {
            assert!(page.contains(piece), "{piece}: {page}");
        }
    }

    #[test]
    fn loads_are_written_short() {
        assert_eq!([950.0, 28_000.0, 7_000_000.0].map(compact), ["950", "28k", "7 M"]);
    }
}
