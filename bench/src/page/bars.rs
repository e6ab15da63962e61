//! Bars: a line of text for each subject, its figure at the end of it, and below it a bar.
//!
//! Names stand above their bars rather than beside them, so that a long name takes no width from
//! the picture and it can be read on a phone. The number is written out: the bar shows at a glance
//! what the number says exactly, and the axis below needs few marks. Whiskers are the least and the
//! greatest run. Where figures lie several decades apart, dots on an axis of decades take the place
//! of bars.

use super::axis::Axis;
use super::node::{Element, el};
use super::words;
use crate::stats::Figure;

/// One subject's.
pub struct Bar {
    /// Its name.
    pub title: String,
    /// Its classes.
    pub look: String,
    /// Ends of its parts, from nothing upward; none if it has nothing to show.
    pub ends: Vec<f64>,
    /// Least and greatest.
    pub range: Option<Figure>,
    /// What is written at its end.
    pub text: String,
    /// What is written before that, smaller.
    pub aside: String,
}

/// A chart.
pub struct Bars {
    /// What it shows.
    pub title: String,
    /// In what it is counted, and what is what.
    pub caption: Vec<Element>,
    /// Along which.
    pub axis: Axis,
    /// From the top.
    pub bars: Vec<Bar>,
    /// A value to compare all of them with, and what it is.
    pub reference: Option<(f64, String)>,
}

const WIDTH: f64 = 340.0;
/// Height of a subject.
const STEP: f64 = 31.0;
/// From a subject's top to its bar's.
const BAR_TOP: f64 = 16.0;
const BAR: f64 = 7.0;
/// Nearer to an edge than this, text is written from the edge.
const EDGE: f64 = 32.0;
/// Above this ratio of greatest to least, bars would be invisible or endless.
const DECADES_FROM: f64 = 40.0;

/// The axis on which all of `values` can be seen.
pub fn fitting_axis(values: &[f64]) -> Axis {
    let above = || values.iter().copied().filter(|value| *value > 0.0);
    let (low, high) = (above().fold(f64::INFINITY, f64::min), above().fold(0.0, f64::max));
    match high > low * DECADES_FROM {
        true => Axis::decades(above()),
        false => Axis::even(above()),
    }
}

/// The chart with its caption.
pub fn draw(chart: Bars) -> Element {
    let top = if chart.reference.is_some() { 22.0 } else { 2.0 };
    let bottom = top + chart.bars.len() as f64 * STEP;
    let at = |index: usize| top + index as f64 * STEP;
    let rows = chart.bars.iter().enumerate().map(|(index, bar)| chart.row(bar, at(index)));
    let lines = chart.reference.iter();
    let lines = lines.map(|(value, text)| chart.mark(*value, text, [top, bottom]));
    let picture = el("svg")
        .class("bars")
        .set("viewBox", format!("0 0 {WIDTH} {}", bottom + 18.0))
        .set("role", "img")
        .set("aria-label", &chart.title)
        .with_all(chart.ticks([top, bottom]))
        .with_all(rows)
        .with_all(lines);
    let title = el("strong").text(chart.title);
    let caption = el("figcaption").with(title).with(el("span").with_all(chart.caption));
    el("figure").with(caption).with(picture)
}

impl Bars {
    fn x(&self, value: f64) -> f64 {
        self.axis.place(value) * WIDTH
    }

    /// Name, figure, bar.
    fn row(&self, bar: &Bar, top: f64) -> Element {
        let name = el("text").class("name").at("y", top + 11.0).text(bar.title.clone());
        let aside = el("tspan").class("aside").text(format!("{}  ", bar.aside));
        let value = el("tspan").class("value").text(bar.text.clone());
        let figure = el("text").set("text-anchor", "end").at("x", WIDTH).at("y", top + 11.0);
        let figure = figure.with(aside).with(value);
        let track = el("rect").class("track").at("y", top + BAR_TOP).at("width", WIDTH);
        let row = el("g").class(&bar.look).with(track.at("height", BAR)).with(name).with(figure);
        let marks = match self.axis {
            Axis::Even(_) => self.parts(bar, top),
            Axis::Decades(..) | Axis::Nines => self.dot(bar, top),
        };
        row.with_all(marks).with_all(self.whisker(bar, top))
    }

    fn parts(&self, bar: &Bar, top: f64) -> Vec<Element> {
        let starts = std::iter::once(0.0).chain(bar.ends.iter().copied());
        let parts = starts.zip(&bar.ends).enumerate().map(|(index, (from, to))| {
            let (from, to) = (self.x(from), self.x(*to));
            let part = el("rect").class(format!("part{index}")).at("x", from);
            part.at("y", top + BAR_TOP).at("width", (to - from).max(0.0)).at("height", BAR)
        });
        parts.collect()
    }

    fn dot(&self, bar: &Bar, top: f64) -> Vec<Element> {
        let dot = |value: &f64| {
            let dot = el("circle").class("part0").at("cx", self.x(*value).clamp(4.0, WIDTH - 4.0));
            dot.at("cy", top + BAR_TOP + BAR / 2.0).at("r", 4.0)
        };
        bar.ends.last().map(dot).into_iter().collect()
    }

    fn whisker(&self, bar: &Bar, top: f64) -> Option<Element> {
        let range = bar.range.filter(|range| range.high > range.low)?;
        let (from, to) = (self.x(range.low), self.x(range.high));
        let middle = top + BAR_TOP + BAR / 2.0;
        let line = format!(
            "M{from:.1} {middle}H{to:.1}M{from:.1} {}v5M{to:.1} {}v5",
            middle - 2.5,
            middle - 2.5
        );
        Some(el("path").class("whisker").set("d", line))
    }

    /// The line to compare with crosses bars, not what is written above them.
    fn mark(&self, value: f64, text: &str, [top, bottom]: [f64; 2]) -> Element {
        let x = self.x(value).clamp(0.5, WIDTH - 0.5);
        let steps = ((bottom - top) / STEP).round() as usize;
        let pieces = (0..steps).map(|step| {
            let from = top + step as f64 * STEP + BAR_TOP - 3.0;
            format!("M{x:.1} {from}v{}", BAR + 6.0)
        });
        let anchor = anchor(x);
        let label = el("text").class("aside").set("text-anchor", anchor).at("x", x).at("y", 11.0);
        let line = el("path").set("d", pieces.collect::<String>());
        el("g").class("reference").with(label.text(text)).with(line)
    }

    fn ticks(&self, [top, bottom]: [f64; 2]) -> Vec<Element> {
        let tick = |value: f64| {
            let x = self.x(value);
            let line = format!("M{x:.1} {top}V{}", bottom + 2.0);
            let label = el("text").set("text-anchor", anchor(x)).at("x", x).at("y", bottom + 14.0);
            let line = el("path").set("d", line);
            el("g").class("tick").with(line).with(label.text(words::tick(value)))
        };
        self.axis.ticks(4).into_iter().map(tick).collect()
    }
}

/// What is written at an edge stays inside.
fn anchor(x: f64) -> &'static str {
    match x {
        x if x < EDGE => "start",
        x if x > WIDTH - EDGE => "end",
        _ => "middle",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_are_decades_apart_become_dots() {
        assert_eq!(fitting_axis(&[1.0, 0.0, 40.0]), Axis::Even(40.0));
        assert!(matches!(fitting_axis(&[1.0, 41.0]), Axis::Decades(..)));
        assert_eq!(fitting_axis(&[]), Axis::Even(1.0));
    }

    #[test]
    fn parts_lie_end_to_end_and_whiskers_where_they_were_measured() {
        let range = Some(Figure { median: 8.0, low: 6.0, high: 10.0 });
        let bar = Bar {
            title: "axum".into(),
            look: "peer p0".into(),
            ends: vec![2.0, 8.0],
            range,
            text: "8.00".into(),
            aside: String::new(),
        };
        let (title, reference) = ("CPU".into(), Some((5.0, "floor 5.00".into())));
        let axis = Axis::Even(10.0);
        let page = draw(Bars { title, caption: vec![], axis, bars: vec![bar], reference });
        let page = page.to_string();
        for piece in [
            "class=\"part0\" x=\"0\" y=\"38\" width=\"68\"",
            "class=\"part1\" x=\"68\" y=\"38\" width=\"204\"",
            "M204.0 41.5H340.0",
            "M170.0 35v13",
        ] {
            assert!(page.contains(piece), "{piece}: {page}");
        }
    }
}
