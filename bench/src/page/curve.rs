//! Latency of all deliveries: how long, against how many were quicker.
//!
//! Both axes are in decades: the upper percentiles, in which a crowd waits, get as much room as the
//! many quick deliveries. Every line carries its name at its end, so nobody has to look for colours
//! in a legend; where lines end close together their names move apart, and a thin line leads back.

use super::axis::{Axis, PERCENTILES, percentile_place};
use super::node::{Element, coordinate, el};
use super::words::{number, tick};

/// A subject's line.
pub struct Curve {
    /// Its name.
    pub title: String,
    /// Its classes.
    pub look: String,
    /// Share of deliveries, and milliseconds within which they came; upward.
    pub points: Vec<(f64, f64)>,
}

/// Where on the page.
#[derive(Clone, Copy)]
pub enum Room {
    /// Across a desktop's page.
    Wide,
    /// A phone's.
    Narrow,
}

/// Width of a letter of a label, about.
const LETTER: f64 = 6.6;
/// From one label to the next at least.
const LABEL: f64 = 14.5;
const TOP: f64 = 12.0;
const BELOW: f64 = 38.0;

/// Values of the upright axis, at most.
const TICKS: usize = 8;

/// Where lines may be.
struct Frame {
    left: f64,
    right: f64,
    bottom: f64,
    axis: Axis,
    /// What follows the topmost value of the upright axis.
    unit: &'static str,
    room: Room,
}

/// The picture.
pub fn draw(curves: &[Curve], room: Room) -> Element {
    let (width, height, class) = match room {
        Room::Wide => (1080.0, 430.0, "curves wide"),
        Room::Narrow => (350.0, 390.0, "curves narrow"),
    };
    let letters = curves.iter().map(|curve| label(curve, room).chars().count()).max();
    let labels = letters.unwrap_or(0) as f64 * LETTER + 22.0;
    let axis = axis(curves);
    let unit = if matches!(room, Room::Wide) { " ms" } else { "" };
    let letters = axis.ticks(TICKS).last().map_or(0, |ms| tick(*ms).len() + unit.len());
    let left = letters as f64 * LETTER + 9.0;
    let frame = Frame { left, right: width - labels, bottom: height - BELOW, axis, unit, room };
    let path = |curve: &Curve| el("path").class(&curve.look).set("d", frame.path(&curve.points));
    // Whatever is drawn last lies on top.
    let order = |curve: &&Curve| match &curve.look {
        look if look.starts_with("touchline") => 2,
        look if look.starts_with("floor") => 1,
        _ => 0,
    };
    let mut sorted: Vec<&Curve> = curves.iter().collect();
    sorted.sort_by_key(order);
    el("svg")
        .class(class)
        .set("viewBox", format!("0 0 {width} {height}"))
        .set("role", "img")
        .set("aria-label", "Latency by percentile, a line for each subject")
        .with_all(frame.rows())
        .with_all(frame.columns())
        .with(el("g").class("lines").with_all(sorted.into_iter().map(path)))
        .with_all(frame.labels(curves))
}

/// From what the quicker tenth took to what the slowest took.
fn axis(curves: &[Curve]) -> Axis {
    let shown = |curve: &Curve| {
        let first = curve.points.iter().find(|(share, _)| *share >= 0.1);
        [first.map(|(_, ms)| *ms), curve.points.last().map(|(_, ms)| *ms)]
    };
    Axis::decades(curves.iter().flat_map(shown).flatten())
}

fn label(curve: &Curve, room: Room) -> String {
    let last_ms = curve.points.last().map_or(0.0, |(_, ms)| *ms);
    match room {
        Room::Wide => format!("{}  {} ms", curve.title, number(last_ms)),
        Room::Narrow => curve.title.clone(),
    }
}

impl Frame {
    fn x(&self, share: f64) -> f64 {
        self.left + percentile_place(share) * (self.right - self.left)
    }

    fn y(&self, ms: f64) -> f64 {
        self.bottom - self.axis.place(ms) * (self.bottom - TOP)
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let point = |(index, (share, ms)): (usize, &(f64, f64))| {
            let letter = if index == 0 { 'M' } else { 'L' };
            format!("{letter}{} {}", coordinate(self.x(*share)), coordinate(self.y(*ms)))
        };
        points.iter().enumerate().map(point).collect()
    }

    /// Values of the upright axis.
    fn rows(&self) -> Vec<Element> {
        let ticks = self.axis.ticks(TICKS);
        let top = ticks.last().copied();
        let row = |ms: f64| {
            let y = self.y(ms);
            let line = el("path").set("d", format!("M{:.1} {y:.1}H{:.1}", self.left, self.right));
            let label =
                el("text").set("text-anchor", "end").at("x", self.left - 8.0).at("y", y + 4.0);
            let unit = if top == Some(ms) { self.unit } else { "" };
            el("g").class("tick").with(line).with(label.text(tick(ms) + unit))
        };
        ticks.iter().copied().map(row).collect()
    }

    /// Values of the level axis.
    fn columns(&self) -> Vec<Element> {
        let narrow = matches!(self.room, Room::Narrow);
        let shown = PERCENTILES.iter().filter(|(share, _)| !narrow || *share != 0.5);
        let column = |(share, text): &(f64, &str)| {
            let x = self.x(*share);
            let line = el("path").set("d", format!("M{x:.1} {TOP}V{:.1}", self.bottom + 4.0));
            let text = if narrow { text.trim_end_matches(" %") } else { text };
            let label = el("text").set("text-anchor", "middle").at("x", x);
            let label = label.at("y", self.bottom + 18.0).text(text);
            el("g").class("tick").with(line).with(label)
        };
        let what = el("text").class("unit").set("text-anchor", "middle");
        let what = what.at("x", f64::midpoint(self.left, self.right)).at("y", self.bottom + 34.0);
        let text = match narrow {
            true => "ms, against % of deliveries that were quicker",
            false => "of deliveries were quicker",
        };
        shown.map(column).chain([what.text(text)]).collect()
    }

    /// A name at the end of each line.
    fn labels(&self, curves: &[Curve]) -> Vec<Element> {
        let end =
            |curve: &Curve| curve.points.last().map(|(share, ms)| (self.x(*share), self.y(*ms)));
        let mut ends: Vec<(&Curve, (f64, f64))> =
            curves.iter().filter_map(|curve| Some((curve, end(curve)?))).collect();
        ends.sort_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b));
        let wanted: Vec<f64> = ends.iter().map(|(_, (_, y))| *y).collect();
        let places = apart(&wanted, LABEL, [TOP, self.bottom]);
        let left = self.right + 16.0;
        let name = |((curve, (x, y)), place): (&(&Curve, (f64, f64)), f64)| {
            let lead = format!("M{x:.1} {y:.1}L{:.1} {place:.1}", left - 3.0);
            let text = el("text").at("x", left).at("y", place + 4.0).text(label(curve, self.room));
            let look = format!("label {}", curve.look);
            el("g").class(look).with(el("path").class("lead").set("d", lead)).with(text)
        };
        ends.iter().zip(places).map(name).collect()
    }
}

/// Moves what lies too close together apart, within `bounds` if there is room. `wanted` ascends.
fn apart(wanted: &[f64], gap: f64, [top, bottom]: [f64; 2]) -> Vec<f64> {
    let mut places = wanted.to_vec();
    let mut limit = top;
    for place in &mut places {
        *place = place.max(limit);
        limit = *place + gap;
    }
    // Pushed down beyond the bottom: from there back up.
    let mut limit = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - gap;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_move_apart_and_stay_inside() {
        assert_eq!(apart(&[10.0, 50.0], 14.0, [0.0, 100.0]), [10.0, 50.0], "room enough");
        assert_eq!(apart(&[50.0, 51.0, 52.0], 14.0, [0.0, 100.0]), [50.0, 64.0, 78.0]);
        assert_eq!(apart(&[95.0, 96.0, 97.0], 14.0, [0.0, 100.0]), [72.0, 86.0, 100.0]);
    }

    #[test]
    fn a_line_rises_from_the_left_and_carries_its_name() {
        let points = vec![(0.0, 1.0), (0.1, 1.0), (0.99, 10.0), (0.9999, 100.0)];
        let curve = Curve { title: "a & b".into(), look: "peer p0".into(), points };
        let page = draw(&[curve], Room::Wide).to_string();
        assert!(page.contains("a &amp; b  100 ms") && page.contains("99.99 %"), "{page}");
        let path = page.split_once("class=\"lines\"").unwrap().1.split('"').nth(3).unwrap();
        let numbers: Vec<f64> =
            path.split(['M', 'L', ' ']).filter_map(|n| n.parse().ok()).collect();
        assert_eq!(numbers.len(), 8, "{path}");
        assert!(numbers[0] < numbers[4] && numbers[4] < numbers[6], "{path}");
        assert!(numbers[1] > numbers[5] && numbers[5] > numbers[7], "{path}");
    }
}
