//! Charts of bars: for each figure that matters in a chapter a bar for each subject.

use super::bars::{self, Bar, Bars};
use super::entry::Entry;
use super::measure::{
    ARRIVED, AWAY_P50, AWAY_P99, CONNECTS, CPU, CPU_EVENT, CPU_USER, DRAINED, DURABLE, KERNEL,
    Measure, POST_P99, PROCESS, RATE, SPREAD, floor_of, is_behind,
};
use super::node::{Element, el};
use super::study::{Chapter, Kind, Study};
use super::words::{number, percent, range};
use crate::stats::Figure;
use crate::target::Subject;

/// Charts of bars.
pub fn draw(study: &Study, chapter: &Chapter) -> Vec<Element> {
    let chart = |title: &str, measure, caption| bars_of(chapter, title, measure, caption);
    match chapter.kind() {
        Kind::Idle => vec![
            chart("Memory a socket", &PROCESS, split("bytes", ["process", "kernel"])),
            chart("Connects", &CONNECTS, plain("1/s")),
        ],
        Kind::Flood => vec![
            chart("Events made durable", &DURABLE, plain("events/s")),
            chart("99 of 100 webhooks answered within", &POST_P99, plain("ms")),
            chart("CPU an event", &CPU_EVENT, split("\u{b5}s", ["user", "kernel"])),
        ],
        Kind::FanOut => fan_out(study, chapter),
    }
}

/// Charts of a chapter with deliveries: what matters always, and what only sometimes does.
fn fan_out(study: &Study, chapter: &Chapter) -> Vec<Element> {
    let chart = |title: &str, measure, caption| bars_of(chapter, title, measure, caption);
    let is_idle_here = |other: &Chapter| other.kind() == Kind::Idle && other.host == chapter.host;
    let of_phase = match chapter.window_name() {
        Some(name) => format!("ms, phase \u{201c}{name}\u{201d}"),
        None => "ms".into(),
    };
    let mut charts = vec![chart("CPU a delivery", &CPU, split("\u{b5}s", ["user", "kernel"]))];
    if chapter.has_returns() {
        let parts = split("s after the connection was lost", ["half", "99 of 100"]);
        charts.push(chart("Back again", &AWAY_P99, parts));
    }
    charts.push(chart("First socket to last", &SPREAD, plain(&of_phase)));
    if falls_short(chapter) {
        charts.push(chart("Delivered share", &ARRIVED, plain("% of what was offered")));
    }
    if is_behind(chapter) {
        charts.push(chart("Queues empty again", &DRAINED, plain("s after the last event")));
    }
    if is_told_apart(chapter, &RATE) {
        charts.push(chart("Deliveries", &RATE, plain("1,000/s")));
    }
    if !study.chapters.iter().any(is_idle_here) {
        let caption = split("bytes", ["process", "kernel"]);
        charts.push(chart("Memory a socket", &PROCESS, caption));
    }
    charts
}

/// Whether figures differ by more than noise: a row of equal bars says nothing.
fn is_told_apart(chapter: &Chapter, measure: &Measure) -> bool {
    let figures =
        chapter.entries.iter().filter_map(|entry| measure.figure(entry, chapter.window()));
    Figure::of(figures.map(|figure| figure.median)).range_share() > 0.05
}

/// Whether anybody gave up or delivered so little that a bar would show it.
fn falls_short(chapter: &Chapter) -> bool {
    chapter.entries.iter().any(|entry| {
        let share = ARRIVED.figure(entry, chapter.window()).map_or(1.0, |share| share.low);
        !entry.failures.is_empty() || share < 0.99
    })
}

fn plain(unit: &str) -> Vec<Element> {
    vec![el("span").text(unit)]
}

/// Which part of a bar is what.
fn split(unit: &str, parts: [&str; 2]) -> Vec<Element> {
    let part = |(index, name): (usize, &str)| {
        let swatch = el("span").class(format!("swatch part{index}"));
        el("span").with(swatch).text(name)
    };
    let parts = parts.into_iter().enumerate().map(part);
    plain(unit).into_iter().chain(parts).collect()
}

/// One figure of all entries, the best at the top, below them who isn't ranked, and at the bottom
/// who has none.
fn bars_of(chapter: &Chapter, title: &str, measure: &Measure, caption: Vec<Element>) -> Element {
    let window = chapter.window();
    // Beside others, a floor is a line to compare them with.
    let is_floor = |entry: &&Entry| matches!(entry.subject, Subject::Floor(_));
    let floors_alone = chapter.entries.iter().all(|entry| is_floor(&entry));
    let mut rows: Vec<(bool, f64, Bar)> = chapter
        .entries
        .iter()
        .filter(|entry| floors_alone || !is_floor(entry))
        .map(|entry| {
            let (value, bar) = bar(entry, measure, window);
            (entry.is_false(), value, bar)
        })
        .collect();
    let sign = if measure.is_least_best() { 1.0 } else { -1.0 };
    rows.sort_by(|(a_false, a, _), (b_false, b, _)| match (a.is_nan(), b.is_nan()) {
        (false, false) => a_false.cmp(b_false).then((sign * a).total_cmp(&(sign * b))),
        (a, b) => a.cmp(&b),
    });
    let bars: Vec<Bar> = rows.into_iter().map(|(.., bar)| bar).collect();
    let reference = reference(chapter, measure).filter(|_| !floors_alone);
    let ends = bars.iter().flat_map(|bar| {
        let range = bar.range.map(|range| range.high);
        bar.ends.last().copied().into_iter().chain(range)
    });
    let floor = reference.iter().map(|(value, _)| *value);
    let values: Vec<f64> = ends.chain(floor).collect();
    let is_split = bars.iter().any(|bar| bar.ends.len() > 1);
    let axis = match (is_split, measure.head == ARRIVED.head) {
        (_, true) => super::axis::Axis::Even(100.0),
        (true, _) => super::axis::Axis::even(values),
        (false, false) => bars::fitting_axis(&values),
    };
    bars::draw(Bars { title: title.into(), caption, axis, bars, reference })
}

/// The floor's figure, drawn as the bars are, and how it is written.
fn reference(chapter: &Chapter, measure: &Measure) -> Option<(f64, String)> {
    let floor = floor_of(measure, chapter).filter(|_| measure.head != ARRIVED.head)?;
    let text = format!("floor {}", (measure.show)(floor));
    if measure.head != PROCESS.head {
        return Some((floor, text));
    }
    let kernel = floor_of(&KERNEL, chapter).unwrap_or(0.0);
    Some((floor + kernel, format!("{text} + {}", number(kernel))))
}

/// An entry's bar, and by what it is sorted.
fn bar(entry: &Entry, measure: &Measure, window: usize) -> (f64, Bar) {
    let (title, look) = (entry.title.clone(), entry.look.clone());
    let gave_up = match entry.failures.len() {
        0 => String::new(),
        times => format!("gave up {times} of {}", times + entry.runs.len()),
    };
    let Some(figure) = measure.figure(entry, window) else {
        let lacking = match measure.head == AWAY_P99.head {
            true => "nobody was away, or not all came back",
            false => "not measured",
        };
        let text = if gave_up.is_empty() { lacking.into() } else { gave_up };
        let (ends, range, aside) = (Vec::new(), None, String::new());
        return (f64::NAN, Bar { title, look, ends, range, text, aside });
    };
    let also = |measure: &Measure| measure.figure(entry, window).unwrap_or_default().median;
    let mut range_of_bar = Some(figure);
    let mut text = (measure.show)(figure.median);
    let ends = match measure.head {
        _ if measure.is_cpu() => vec![also(&CPU_USER), figure.median],
        head if head == AWAY_P99.head => {
            text = format!("{} / {text}", number(also(&AWAY_P50)));
            vec![also(&AWAY_P50), figure.median]
        }
        head if head == PROCESS.head => {
            range_of_bar = None;
            text = format!("{text} + {}", number(also(&KERNEL)));
            vec![figure.median, figure.median + also(&KERNEL)]
        }
        head if head == ARRIVED.head => {
            range_of_bar = None;
            text = format!("{} %", percent(figure.median));
            vec![figure.median * 100.0]
        }
        _ => vec![figure.median],
    };
    let mut notes: Vec<String> = Vec::new();
    if entry.counted().len() > 1 && range_of_bar.is_some() {
        notes.push(range(&figure, measure.show));
    }
    if !entry.is_compared() {
        notes.push("not compared".into());
    }
    if entry.is_false() {
        notes.push("not ranked: lost or repeated events".into());
    }
    notes.extend((!gave_up.is_empty()).then_some(gave_up));
    let is_sound = entry.is_compared() && !entry.is_false();
    let muted = if is_sound { "" } else { " muted" };
    let (look, aside) = (format!("{look}{muted}"), notes.join(", "));
    (figure.median, Bar { title, look, ends, range: range_of_bar, text, aside })
}
