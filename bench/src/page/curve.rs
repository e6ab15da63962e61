//! Latency of all deliveries: how long, against how many were quicker.
//!
//! Both axes are in decades: the upper percentiles, in which a crowd waits, get as much room as the
//! many quick deliveries.

use super::axis::{Axis, PERCENTILES};
use super::node::{Element, el};
use super::plot::{self, BELOW, End, Plot, Room, depth};
use super::words::number;

/// A subject's line.
pub struct Curve {
    /// Its name.
    pub title: String,
    /// Its classes.
    pub look: String,
    /// Share of deliveries, and milliseconds within which they came; upward.
    pub points: Vec<(f64, f64)>,
}

const TOP: f64 = 12.0;

/// The picture.
pub fn draw(curves: &[Curve], room: Room) -> Element {
    let height = if room.is_narrow() { 390.0 } else { 430.0 };
    let unit = if room.is_narrow() { "" } else { " ms" };
    let names: Vec<String> = curves.iter().map(|curve| label(curve, room)).collect();
    let letters = plot::longest(names.iter().map(String::as_str));
    let axes = [Axis::Nines, axis(curves)];
    let plot = Plot::new(room, [TOP, height - BELOW], axes, unit, letters);
    let mut sorted: Vec<&Curve> = curves.iter().collect();
    sorted.sort_by_key(|curve| depth(&curve.look));
    let path = |curve: &Curve| el("path").class(&curve.look).set("d", plot.path(&curve.points));
    let ends = curves.iter().zip(names).filter_map(|(curve, title)| {
        Some(End { title, look: curve.look.clone(), at: *curve.points.last()? })
    });
    let ends: Vec<End> = ends.collect();
    room.svg(height, "Latency by percentile, a line for each subject")
        .with_all(plot.rows(unit))
        .with_all(columns(&plot, room))
        .with(el("g").class("lines").with_all(sorted.into_iter().map(path)))
        .with_all(plot.names(&ends))
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
    match room.is_narrow() {
        false => format!("{}  {} ms", curve.title, number(last_ms)),
        true => curve.title.clone(),
    }
}

/// Values of the level axis.
fn columns(plot: &Plot, room: Room) -> Vec<Element> {
    let shown = PERCENTILES.iter().filter(|(share, _)| !room.is_narrow() || *share != 0.5);
    let shown = shown.map(|(share, text)| match room.is_narrow() {
        true => (*share, text.trim_end_matches(" %")),
        false => (*share, *text),
    });
    let what = match room.is_narrow() {
        true => "ms, against % of deliveries that were quicker",
        false => "of deliveries were quicker",
    };
    plot.columns(shown).into_iter().chain([plot.unit(what)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
