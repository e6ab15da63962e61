//! A chapter of the page: one workload, its answer in a line or three, pictures, the plain table,
//! and what keeps the figures from being believed.
//!
//! The question is the headline, as its scenario asks it. Below it stands who did best by how much
//! (whoever that is, and where Touchline stands if it is somebody else), so that the pictures need
//! no interpretation of ours.

use super::bars::{self, Bar, Bars};
use super::curve::{self, Curve, Room};
use super::measure::{
    ARRIVED, CONNECTS, CPU, CPU_USER, KERNEL, LAST, Measure, P99, PROCESS, RATE, SPREAD, floor_of,
};
use super::node::{Element, el};
use super::study::{Chapter, Entry, Study, title};
use super::words::{count, list, number, percent, range, tick, whole};
use super::{doubt, table};
use crate::receive::crowd::Crowd;
use crate::schedule::Following;
use crate::setup::Setup;
use crate::stats::Figure;
use crate::target::Subject;

/// All of it.
pub fn draw(study: &Study, index: usize) -> Element {
    let chapter = &study.chapters[index];
    let mut place = vec![chapter.name.clone()];
    place.extend(chapter.setup.iter().map(described));
    place.push(format!("{} of each", count(chapter.pairs(), "run")));
    if study.hosts.len() > 1 {
        place.push(format!("host {}", chapter.host + 1));
    }
    let head = el("header")
        .with(el("p").class("place").text(place.join(" \u{b7} ")))
        .with(el("h2").text(chapter.question.clone()));
    let section = el("section").set("id", format!("chapter-{}", index + 1)).with(head);
    section
        .with_all(podium(chapter))
        .with_all(doubts(chapter))
        .with_all(latencies(study, chapter))
        .with(el("div").class("grid").with_all(pictures(study, chapter)))
        .with(table::draw(study, chapter))
        .with(key(chapter))
}

/// The setup in words.
fn described(setup: &Setup) -> String {
    let Setup { crowd, pad, phases, .. } = setup;
    let Crowd { sockets, teams, following, stalled, .. } = crowd;
    let mut words = vec![count(*sockets, "socket")];
    words.push(match (teams, following) {
        (1, _) => "one team".into(),
        (_, Following::Even) => format!("{teams} teams of like size"),
        (_, Following::Zipf) => format!("{teams} teams by Zipf\u{2019}s law"),
        (_, Following::Hundredths) => {
            format!("{teams} teams: all but the first have one socket in a hundred each")
        }
    });
    if *stalled > 0 {
        words.push(format!("{} of them never read", whole(*stalled as u64)));
    }
    if *pad > 0 {
        words.push(format!("{} bytes more in each event", whole(*pad as u64)));
    }
    let paces = phases.iter().skip(1).map(|phase| {
        let seconds = tick((phase.seconds * 10.0).round() / 10.0);
        format!("{} events/s for {seconds} s", tick(phase.rate(*teams).round()))
    });
    let paces: Vec<String> = paces.collect();
    match paces.len() {
        0 => words.push("nothing published".into()),
        1..=3 => words.push(format!("{} after a warm-up", list(&paces))),
        many => words.push(format!("{many} stretches after a warm-up; the busiest is shown")),
    }
    words.join(", ")
}

/// Who did best in what matters most.
fn podium(chapter: &Chapter) -> Option<Element> {
    let measures: &[(&str, &Measure)] = match chapter.is_loaded() {
        true => {
            &[("Least CPU a delivery", &CPU), ("Lowest p99", &P99), ("First to reach all", &LAST)]
        }
        false => {
            &[("Least memory in its process", &PROCESS), ("Fastest to let a crowd in", &CONNECTS)]
        }
    };
    let steps: Vec<Element> =
        measures.iter().filter_map(|(what, measure)| step(chapter, what, measure)).collect();
    (!steps.is_empty()).then(|| el("div").class("podium").with_all(steps))
}

fn step(chapter: &Chapter, what: &str, measure: &Measure) -> Option<Element> {
    let ranking = measure.ranking(chapter);
    let ((best, figure), others) = ranking.split_first()?;
    let name = |entry: &Entry| title(&entry.subject);
    let is_ours = |entry: &Entry| entry.subject == Subject::Touchline;
    let mut then: Vec<String> = others
        .iter()
        .take(2)
        .map(|(entry, figure)| format!("{} {}", name(entry), (measure.show)(figure.median)))
        .collect();
    let ours = others.iter().position(|(entry, _)| is_ours(entry));
    if let Some(place) = ours.filter(|place| *place >= 2) {
        let value = (measure.show)(others[place].1.median);
        then.push(format!("Touchline is {} of {} with {value}", place + 2, ranking.len()));
    }
    let floor = floor_of(measure, chapter).filter(|floor| *floor > 0.0 && chapter.is_loaded());
    let against =
        floor.map(|floor| format!("{} \u{d7} the floor. ", number(figure.median / floor)));
    let then = if then.is_empty() { String::new() } else { format!("Then {}.", then.join(", ")) };
    let unit = el("small").text(format!(" {}", measure.unit));
    let look = if is_ours(best) { "touchline" } else { "peer" };
    let value = el("p").class(format!("value {look}")).text((measure.show)(figure.median));
    let who = el("p").class("who").with(el("strong").text(name(best)));
    let note = el("p").class("note").text(against.unwrap_or_default() + &then);
    let head = el("p").class("what").text(what);
    Some(el("div").with(head).with(value.with(unit)).with(who).with(note))
}

fn doubts(chapter: &Chapter) -> Option<Element> {
    let doubts = doubt::of(chapter);
    let items = doubts.iter().map(|text| el("li").text(text.clone()));
    let list = el("ul").with_all(items);
    let aside = el("aside").class("doubts").with(el("h3").text("Doubts")).with(list);
    (!doubts.is_empty()).then_some(aside)
}

fn latencies(study: &Study, chapter: &Chapter) -> Option<Element> {
    let curve = |entry: &Entry| {
        let muted = if entry.is_compared() { "" } else { " muted" };
        let look = format!("{}{muted}", study.look(&entry.subject));
        let points = entry.distribution(chapter.window());
        Curve { title: title(&entry.subject), look, points }
    };
    let curves: Vec<Curve> = chapter.entries.iter().map(curve).collect();
    let curves: Vec<Curve> = curves.into_iter().filter(|curve| curve.points.len() > 1).collect();
    if curves.is_empty() {
        return None;
    }
    let note = "from the time an event was due to the client\u{2019}s read returning, all runs \
        together; only what arrived can be counted";
    let caption = el("figcaption")
        .with(el("strong").text("Latency of all deliveries"))
        .with(el("span").text(note));
    let pictures = [Room::Wide, Room::Narrow].map(|room| curve::draw(&curves, room));
    Some(el("figure").class("latency").with(caption).with_all(pictures))
}

/// Charts of bars.
fn pictures(study: &Study, chapter: &Chapter) -> Vec<Element> {
    let chart = |title: &str, measure, caption| bars_of(study, chapter, title, measure, caption);
    let elsewhere = |other: &Chapter| !other.is_loaded() && other.host == chapter.host;
    let mut charts = Vec::new();
    if chapter.is_loaded() {
        charts.push(chart("CPU a delivery", &CPU, split("\u{b5}s", ["user", "kernel"])));
        charts.push(chart("First socket to last", &SPREAD, plain("ms")));
        if falls_short(chapter) {
            charts.push(chart("Delivered share", &ARRIVED, plain("% of what was offered")));
        }
        if is_told_apart(chapter, &RATE) {
            charts.push(chart("Deliveries", &RATE, plain("1,000/s")));
        }
    }
    if !study.chapters.iter().any(elsewhere) || !chapter.is_loaded() {
        let caption = split("bytes", ["process", "kernel"]);
        charts.push(chart("Memory a socket", &PROCESS, caption));
    }
    if !chapter.is_loaded() {
        charts.push(chart("Connects", &CONNECTS, plain("1/s")));
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

/// One figure of all entries, the best at the top, those without one at the bottom.
fn bars_of(
    study: &Study,
    chapter: &Chapter,
    title: &str,
    measure: &Measure,
    caption: Vec<Element>,
) -> Element {
    let window = chapter.window();
    // Beside others, a floor is a line to compare them with.
    let is_floor = |entry: &&Entry| matches!(entry.subject, Subject::Floor(_));
    let floors_alone = chapter.entries.iter().all(|entry| is_floor(&entry));
    let mut rows: Vec<(f64, Bar)> = chapter
        .entries
        .iter()
        .filter(|entry| floors_alone || !is_floor(entry))
        .map(|entry| bar(study, entry, measure, window))
        .collect();
    let sign = if measure.is_least_best() { 1.0 } else { -1.0 };
    rows.sort_by(|(a, _), (b, _)| match (a.is_nan(), b.is_nan()) {
        (false, false) => (sign * a).total_cmp(&(sign * b)),
        (a, b) => a.cmp(&b),
    });
    let bars: Vec<Bar> = rows.into_iter().map(|(_, bar)| bar).collect();
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
fn bar(study: &Study, entry: &Entry, measure: &Measure, window: usize) -> (f64, Bar) {
    let (title, look) = (title(&entry.subject), study.look(&entry.subject));
    let gave_up = match entry.failures.len() {
        0 => String::new(),
        times => format!("gave up {times} of {}", times + entry.runs.len()),
    };
    let Some(figure) = measure.figure(entry, window) else {
        let text = if gave_up.is_empty() { "not measured".into() } else { gave_up };
        let (ends, range, aside) = (Vec::new(), None, String::new());
        return (f64::NAN, Bar { title, look, ends, range, text, aside });
    };
    let also = |measure: &Measure| measure.figure(entry, window).unwrap_or_default().median;
    let mut range_of_bar = Some(figure);
    let mut text = (measure.show)(figure.median);
    let ends = match measure.head {
        head if head == CPU.head => vec![also(&CPU_USER), figure.median],
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
    notes.extend((!gave_up.is_empty()).then_some(gave_up));
    let muted = if entry.is_compared() { "" } else { " muted" };
    let (look, aside) = (format!("{look}{muted}"), notes.join(", "));
    (figure.median, Bar { title, look, ends, range: range_of_bar, text, aside })
}

/// What the table's signs mean.
fn key(chapter: &Chapter) -> Element {
    let mut text =
        "\u{25cf} best in its column, \u{25cb} level with it: its median lies within the \
        range of the best."
            .to_owned();
    if chapter.is_loaded() {
        text += " Floors don\u{2019}t compete, nor does whoever gave up; in latency and CPU, only \
            who delivered everything does.";
    }
    el("p").class("key").text(text)
}
