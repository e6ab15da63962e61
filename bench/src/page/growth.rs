//! How cost grows: one workload at several sizes.
//!
//! Where the same scenario was measured with three numbers of sockets or more, or three numbers of
//! shards for the same sockets, its total cost is fitted by a power of that number: least squares
//! of log CPU over log size, over all runs that count. A fan-out costs one send a socket whatever
//! anybody does, so an exponent of 1 is what there is to be had, and anything worse than linear is
//! a defect: a list that is walked, a table that no longer fits a cache.
//!
//! Total cost is the server's CPU over the seconds of the schedule: where the rate of events is the
//! same at each size, its exponent is that of the CPU for an event; where it grows with the sockets
//! (so many teams more), the exponent says the same. More shards send no more: over them it ought
//! to be 0.

use super::axis::Axis;
use super::entry::{Build, Entry};
use super::family::{By, Family, SIZES_MIN};
use super::load::LIMIT_MS;
use super::measure::{CPU, Measure, P99};
use super::node::{Element, el};
use super::plot::{self, BELOW, End, Plot, Room, depth};
use super::study::{Chapter, Study};
use super::table::plain;
use super::words::{count, number, tick, whole};
use crate::limits::FULL_CORE_SHARE;
use crate::run::Run;
use crate::stats::{Figure, least_squares};
use crate::target::Subject;

/// An exponent up to this is linear: a cache that gets too small costs a few percent.
const LINEAR_MAX: f64 = 1.05;

/// A subject over sizes.
struct Trend<'a> {
    subject: &'a Subject,
    title: String,
    look: String,
    sizes: Vec<Size>,
    /// Of total cost over sockets, with its standard error.
    exponent: Option<(f64, f64)>,
}

/// A subject at a size.
struct Size {
    size: f64,
    cpu_us: Figure,
    p99_ms: Figure,
}

/// The family's section, `number`ed from 1.
pub fn draw(study: &Study, family: &Family<'_>, number: usize) -> Option<Element> {
    let trends = trends(study, family);
    if trends.is_empty() {
        return None;
    }
    let place = format!(
        "{} \u{b7} {} \u{b7} {} of each",
        family.name,
        family.sizes(),
        count(family.chapters.iter().map(|chapter| chapter.pairs()).max().unwrap_or(0), "run"),
    );
    let head = el("header").with(el("p").class("place").text(place)).with(el("h2").text(format!(
        "{}: {}",
        family.name,
        family.question()
    )));
    let by = family.by;
    let flat = match by {
        By::Sockets => "flat is linear; beside each name the exponent of its total CPU",
        By::Shards => "beside each name the exponent of its total CPU; 0 costs nothing",
    };
    let cpu = panel(&trends, by, ("CPU a delivery", flat), &CPU, |size| size.cpu_us);
    let sloped = match by {
        By::Sockets => {
            "one topic\u{2019}s p99 grows with its crowd: the dashed line is in proportion"
        }
        By::Shards => "all of them on one core",
    };
    let p99 = panel(&trends, by, ("p99", sloped), &P99, |size| size.p99_ms);
    let section = el("section").set("id", format!("growth-{number}")).with(head);
    let panels = el("div").class("panels").with(cpu).with(p99);
    Some(section.with(panels).with(figures(family, &trends)).with(key()))
}

fn trends<'a>(study: &'a Study, family: &Family<'_>) -> Vec<Trend<'a>> {
    // Another product's threads are its own affair.
    let concerns = |(subject, _): &(&Subject, &Build)| {
        family.by == By::Sockets || !matches!(subject, Subject::Peer(_))
    };
    let trend = |(subject, build): (&'a Subject, &'a Build)| {
        let (mut sizes, mut costs, mut look) = (Vec::new(), Vec::new(), String::new());
        for chapter in &family.chapters {
            let size = family.by.size(chapter) as f64;
            let is_it = |entry: &&Entry| entry.subject == *subject && entry.build == *build;
            let Some(entry) = chapter.entries.iter().find(is_it) else { continue };
            look.clone_from(&entry.look);
            let window = chapter.window();
            let figures = [&CPU, &P99].map(|measure| measure.figure(entry, window));
            if let [Some(cpu_us), Some(p99_ms)] = figures {
                sizes.push(Size { size, cpu_us, p99_ms });
                let cost = |run: &&Run| (size, cost(chapter, run));
                costs.extend(fitted(entry).iter().map(cost));
            }
        }
        let mut fitted: Vec<u64> = costs.iter().map(|(size, _)| *size as u64).collect();
        fitted.dedup();
        let exponent = (fitted.len() >= SIZES_MIN).then(|| exponent(&costs)).flatten();
        let title = study.title_of(subject, build);
        (sizes.len() > 1).then_some(Trend { subject, title, look, sizes, exponent })
    };
    study.builds().filter(concerns).filter_map(trend).collect()
}

/// Runs that say something about growth: everything arrived, and the core had room. A full one
/// can't take more, whatever it costs, and shares sends where it would fall behind.
fn fitted(entry: &Entry) -> Vec<&Run> {
    let is_whole = |run: &&Run| run.harvest.counts.delivered >= run.expected;
    let has_room = |run: &&Run| run.cpu.of_a_core < FULL_CORE_SHARE && !run.is_limited();
    entry.runs.iter().filter(is_whole).filter(has_room).collect()
}

/// The server's CPU for a second of what was measured, in cores.
fn cost(chapter: &Chapter, run: &Run) -> f64 {
    let seconds: f64 = chapter.stretches.iter().map(|stretch| stretch.seconds).sum();
    run.cpu.total_ns as f64 / 1e9 / seconds.max(1e-9)
}

/// The slope of log y over log x by least squares, and its standard error.
fn exponent(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let logs: Vec<(f64, f64)> = points
        .iter()
        .filter(|(x, y)| *x > 0.0 && *y > 0.0)
        .map(|(x, y)| (x.ln(), y.ln()))
        .collect();
    least_squares(&logs)
}

/// One figure over sockets, both in decades.
fn panel(
    trends: &[Trend<'_>],
    by: By,
    (title, note): (&str, &str),
    measure: &Measure,
    of: fn(&Size) -> Figure,
) -> Element {
    let caption = el("figcaption")
        .with(el("strong").text(title))
        .with(el("span").text(format!("{}; {note}", measure.unit)));
    let is_p99 = measure.head == P99.head;
    let pictures = [Room::Half, Room::Narrow].map(|room| picture(trends, by, room, (of, is_p99)));
    el("figure").class("growth").with(caption).with_all(pictures)
}

fn picture(
    trends: &[Trend<'_>],
    by: By,
    room: Room,
    (of, sloped): (fn(&Size) -> Figure, bool),
) -> Element {
    let height = 360.0;
    let all = || trends.iter().flat_map(|trend| &trend.sizes);
    let across = Axis::decades(all().map(|size| size.size));
    let up = Axis::decades(all().flat_map(|size| [of(size).low, of(size).high]));
    let up = if sloped { up } else { at_least_a_decade(up) };
    // Beside the CPU's lines stands how it grows: that is the answer.
    let name = |trend: &Trend<'_>| match trend.exponent.filter(|_| !sloped) {
        Some((slope, _)) => format!("{} {slope:.2}", trend.title),
        None => trend.title.clone(),
    };
    let names: Vec<String> = trends.iter().map(name).collect();
    let letters = plot::longest(names.iter().map(String::as_str));
    let plot = Plot::new(room, [12.0, height - BELOW], [across, up], "", letters);
    let points = |trend: &Trend<'_>| -> Vec<(f64, f64)> {
        trend.sizes.iter().map(|size| (size.size, of(size).median)).collect()
    };
    let mut sorted: Vec<&Trend<'_>> = trends.iter().collect();
    sorted.sort_by_key(|trend| depth(&trend.look));
    let paths = sorted
        .iter()
        .map(|trend| el("path").class(&trend.look).set("d", plot.path(&points(trend))));
    let dots = sorted.iter().map(|trend| {
        let dot = |size: &Size| dot(&plot, trend, size.size, of(size));
        el("g").class(format!("points {}", trend.look)).with_all(trend.sizes.iter().map(dot))
    });
    let ends = trends.iter().zip(names).filter_map(|(trend, title)| {
        let at = *points(trend).last()?;
        Some(End { title, look: trend.look.clone(), at })
    });
    let ends: Vec<End> = ends.collect();
    let ticks = sizes_written(&plot, all().map(|size| size.size));
    let guide = (sloped && by == By::Sockets).then(|| proportion(&plot, across)).flatten();
    room.svg(height, &format!("A figure over the number of {}, a line for each subject", by.word()))
        .with_all(plot.rows(""))
        .with_all(plot.columns(ticks.iter().map(|(at, text)| (*at, text.as_str()))))
        .with(plot.unit(by.word()))
        .with_all(guide)
        .with(el("g").class("lines").with_all(paths))
        .with_all(dots)
        .with_all(plot.names(&ends))
}

/// An axis on which a percent isn't a mountain.
fn at_least_a_decade(axis: Axis) -> Axis {
    let Axis::Decades(low, high) = axis else { return axis };
    let lacking = (10.0 / (high / low)).max(1.0).sqrt();
    Axis::Decades(low / lacking, high * lacking)
}

/// The sizes that were measured, where their words don't touch.
fn sizes_written(plot: &Plot, sizes: impl Iterator<Item = f64>) -> Vec<(f64, String)> {
    let mut sizes: Vec<f64> = sizes.collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let mut free_from = f64::NEG_INFINITY;
    let written = sizes.into_iter().filter_map(|size| {
        let text = tick(size);
        let (x, half) = (plot.x(size), text.chars().count() as f64 * plot::LETTER / 2.0);
        let is_free = x - half > free_from;
        if is_free {
            free_from = x + half + plot::LETTER;
        }
        is_free.then_some((size, text))
    });
    written.collect()
}

/// A line of slope 1 through the middle of the picture, cut off at its edges.
fn proportion(plot: &Plot, across: Axis) -> Option<Element> {
    let (Axis::Decades(from, to), Axis::Decades(low, high)) = (across, plot.up) else {
        return None;
    };
    let share = (low * high).sqrt() / (from * to).sqrt();
    let ends = [from.max(low / share), to.min(high / share)].map(|x| (x, x * share));
    Some(el("path").class("guide").set("d", plot.path(&ends)))
}

fn dot(plot: &Plot, trend: &Trend<'_>, size: f64, figure: Figure) -> Element {
    let (x, y) = (plot.x(size), plot.y(figure.median));
    let [low, high] = [figure.low, figure.high].map(|value| plot.y(value));
    let bar = el("path").class("range").set("d", format!("M{x:.1} {low:.1}V{high:.1}"));
    let said = format!("{}, {}: {}", trend.title, whole(size as u64), number(figure.median));
    let circle = el("circle").class("dot").at("cx", x).at("cy", y).at("r", 3.5);
    el("g").with(bar).with(circle.with(el("title").text(said)))
}

/// Exponents, and of each size the CPU a delivery and the p99.
fn figures(family: &Family<'_>, trends: &[Trend<'_>]) -> Element {
    let sizes = family.chapters.iter().map(|chapter| whole(family.by.size(chapter) as u64));
    let heads: Vec<String> = ["subject".to_owned(), "total CPU grows as".to_owned()]
        .into_iter()
        .chain(sizes.map(|size| format!("{size} {}", family.by.word())))
        .collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let row = |trend: &Trend<'_>| {
        let cell = |chapter: &&Chapter| {
            let of = family.by.size(chapter) as f64;
            let size = trend.sizes.iter().find(|size| size.size == of);
            size.map_or("\u{2013}".into(), |size| {
                let (cpu_us, p99_ms) = (number(size.cpu_us.median), number(size.p99_ms.median));
                format!("{cpu_us} \u{b5}s, {p99_ms} ms")
            })
        };
        let first = [trend.title.clone(), verdict(trend, family.by)];
        let cells = first.into_iter().chain(family.chapters.iter().map(cell)).collect();
        (trend.look.clone(), cells)
    };
    plain(&format!("{}: growth", family.name), &heads, trends.iter().map(row))
}

/// The exponent and what to think of it.
fn verdict(trend: &Trend<'_>, by: By) -> String {
    let Some((slope, error)) = trend.exponent else { return "too few sizes".into() };
    let judged = match (slope - 2.0 * error > LINEAR_MAX, trend.subject) {
        (false, _) => "",
        (true, Subject::Floor(_)) => ": the kernel is worse than linear",
        (true, _) => ": worse than linear, a defect",
    };
    format!("{}^{slope:.2} \u{b1} {error:.2}{judged}", by.word())
}

fn key() -> Element {
    let text = format!(
        "Of each size: CPU a delivery and p99. The exponent is the slope of log total CPU over log \
         size by least squares over all runs that count, with its standard error. 1 is linear; \
         up to {LINEAR_MAX}, within two errors, is called so, and anything worse is a defect. \
         Runs with a full core, or in which something was missing, are not fitted. Whether p99 is \
         tolerable is another question: {} ms is a glance.",
        tick(LIMIT_MS)
    );
    el("p").class("key").text(text)
}

#[cfg(test)]
mod tests {
    use super::super::{family, fixture};
    use super::*;

    #[test]
    fn an_exponent_is_found_and_judged() {
        let power =
            |exponent: f64| [1e3, 5e3, 1e4, 5e4].map(|x: f64| (x, 3.0 * x.powf(exponent))).to_vec();
        let (slope, error) = exponent(&power(1.3)).unwrap();
        assert!((slope - 1.3).abs() < 1e-9 && error < 1e-6, "{slope} {error}");
        assert_eq!(exponent(&power(1.0)[..2]), None, "two points lie on any line");
        assert_eq!(exponent(&[(5.0, 1.0), (5.0, 2.0), (5.0, 3.0)]), None, "one size");
    }

    #[test]
    fn three_sizes_of_a_workload_are_a_family() {
        let study = fixture::study_of(&fixture::sizes());
        let families = family::all(&study);
        assert_eq!(families.len(), 1);
        assert_eq!(families[0].sizes(), "1,000 to 10,000 sockets");
        let page = draw(&study, &families[0], 1).unwrap().to_string();
        assert!(page.contains("sockets^1.00 \u{b1} 0.00<"), "axum is linear: {page}");
        assert!(page.contains("sockets^1.30 \u{b1} 0.00: worse than linear"), "{page}");
        assert!(family::all(&fixture::study()).is_empty());
    }

    #[test]
    fn three_numbers_of_shards_are_one_too() {
        let study = fixture::study_of(&fixture::shards());
        let families = family::all(&study);
        assert_eq!(families.len(), 1);
        assert_eq!(families[0].sizes(), "1 to 9 shards");
        let page = draw(&study, &families[0], 1).unwrap().to_string();
        assert!(page.contains("shards^0.00 \u{b1} 0.00<"), "{page}");
        assert!(page.contains("what do more shards cost?"), "{page}");
    }
}
