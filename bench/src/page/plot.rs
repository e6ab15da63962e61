//! What all pictures with lines share: a field between two axes, values written beside it, and the
//! name of each line at its end.
//!
//! Names stand where lines end, so nobody has to look for colours in a legend; where lines end
//! close together their names move apart, and a thin line leads back. Every picture is drawn two
//! times, once for a desk and once for a phone, and the style sheet shows one of them: letters keep
//! their size, and what is left out on a phone is left out on purpose.

use super::axis::Axis;
use super::node::{Element, coordinate, el};
use super::words::tick;

/// Where on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Across a desktop's page.
    Wide,
    /// Half of that.
    Half,
    /// A phone's.
    Narrow,
}

/// Width of a letter, about.
pub const LETTER: f64 = 6.6;
/// From one name to the next at least.
const NAME: f64 = 14.5;
/// Below a field: ticks, and what the axis is.
pub const BELOW: f64 = 38.0;

impl Room {
    /// Of a picture.
    pub fn width(self) -> f64 {
        match self {
            Self::Wide => 1080.0,
            Self::Half => 524.0,
            Self::Narrow => 350.0,
        }
    }

    /// Whether there is little of it.
    pub fn is_narrow(self) -> bool {
        self == Self::Narrow
    }

    /// An empty picture.
    pub fn svg(self, height: f64, what: &str) -> Element {
        let class = if self.is_narrow() { "plot narrow" } else { "plot wide" };
        el("svg")
            .class(class)
            .set("viewBox", format!("0 0 {} {height}", self.width()))
            .set("role", "img")
            .set("aria-label", what)
    }
}

/// Where lines may be.
#[derive(Clone, Copy, Debug)]
pub struct Plot {
    /// Edges, in the picture's units.
    pub left: f64,
    /// See `left`.
    pub right: f64,
    /// See `left`.
    pub top: f64,
    /// See `left`.
    pub bottom: f64,
    /// The level axis.
    pub across: Axis,
    /// The upright one.
    pub up: Axis,
}

/// The end of a line, and what it is called.
pub struct End {
    /// Its name.
    pub title: String,
    /// Its classes.
    pub look: String,
    /// Where, as values of the axes.
    pub at: (f64, f64),
}

impl Plot {
    /// A field from `top` to `bottom` that leaves room for names of `letters` letters on its right
    /// and for the ticks of its upright axis, followed by `unit`, on its left.
    pub fn new(
        room: Room,
        [top, bottom]: [f64; 2],
        [across, up]: [Axis; 2],
        unit: &str,
        letters: usize,
    ) -> Self {
        let ticks = up.ticks(ticks_max(bottom - top));
        let widest = ticks.iter().map(|value| tick(*value).chars().count()).max().unwrap_or(1);
        let left = (widest + unit.chars().count()) as f64 * LETTER + 9.0;
        let names = if letters == 0 { 10.0 } else { letters as f64 * LETTER + 22.0 };
        Self { left, right: room.width() - names, top, bottom, across, up }
    }

    /// Where `value` lies on the level axis.
    pub fn x(&self, value: f64) -> f64 {
        self.left + self.across.place(value) * (self.right - self.left)
    }

    /// Where `value` lies on the upright axis.
    pub fn y(&self, value: f64) -> f64 {
        self.bottom - self.up.place(value) * (self.bottom - self.top)
    }

    /// A line through `points`; a single one is a dot where line ends are round.
    pub fn path(&self, points: &[(f64, f64)]) -> String {
        let point = |(index, (x, y)): (usize, &(f64, f64))| {
            let letter = if index == 0 { 'M' } else { 'L' };
            format!("{letter}{} {}", coordinate(self.x(*x)), coordinate(self.y(*y)))
        };
        let path: String = points.iter().enumerate().map(point).collect();
        if points.len() == 1 { path + "h.01" } else { path }
    }

    /// Values of the upright axis, the topmost followed by `unit`.
    pub fn rows(&self, unit: &str) -> Vec<Element> {
        let ticks = self.up.ticks(ticks_max(self.bottom - self.top));
        let top = ticks.last().copied();
        let row = |value: f64| {
            let y = self.y(value);
            let line = el("path").set("d", format!("M{:.1} {y:.1}H{:.1}", self.left, self.right));
            let label = el("text").set("text-anchor", "end").at("x", self.left - 8.0);
            let unit = if top == Some(value) { unit } else { "" };
            let label = label.at("y", y + 4.0).text(tick(value) + unit);
            el("g").class("tick").with(line).with(label)
        };
        ticks.iter().copied().map(row).collect()
    }

    /// Values of the level axis, as they are written.
    pub fn columns<'a>(&self, ticks: impl IntoIterator<Item = (f64, &'a str)>) -> Vec<Element> {
        let column = |(value, text): (f64, &str)| {
            let x = self.x(value);
            let line = format!("M{x:.1} {:.1}V{:.1}", self.top, self.bottom + 4.0);
            let label = el("text").set("text-anchor", "middle").at("x", x);
            let label = label.at("y", self.bottom + 18.0).text(text);
            el("g").class("tick").with(el("path").set("d", line)).with(label)
        };
        ticks.into_iter().map(column).collect()
    }

    /// What the level axis is, below its values.
    pub fn unit(&self, text: &str) -> Element {
        let middle = f64::midpoint(self.left, self.right);
        let what = el("text").class("unit").set("text-anchor", "middle").at("x", middle);
        what.at("y", self.bottom + 34.0).text(text)
    }

    /// A name at the end of each line.
    pub fn names(&self, ends: &[End]) -> Vec<Element> {
        let place = |end: &End| (self.x(end.at.0), self.y(end.at.1));
        let mut sorted: Vec<(&End, (f64, f64))> = ends.iter().map(|e| (e, place(e))).collect();
        sorted.sort_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b));
        let wanted: Vec<f64> = sorted.iter().map(|(_, (_, y))| *y).collect();
        let places = apart(&wanted, NAME, [self.top, self.bottom]);
        let left = self.right + 16.0;
        let name = |((end, (x, y)), place): (&(&End, (f64, f64)), f64)| {
            let lead = format!("M{x:.1} {y:.1}L{:.1} {place:.1}", left - 3.0);
            let text = el("text").at("x", left).at("y", place + 4.0).text(end.title.clone());
            let lead = el("path").class("lead").set("d", lead);
            el("g").class(format!("label {}", end.look)).with(lead).with(text)
        };
        sorted.iter().zip(places).map(name).collect()
    }
}

/// Ticks of an upright axis of this height.
fn ticks_max(height: f64) -> usize {
    ((height / 45.0) as usize).clamp(2, 8)
}

/// The longest of these names, in letters.
pub fn longest<'a>(names: impl IntoIterator<Item = &'a str>) -> usize {
    names.into_iter().map(|name| name.chars().count()).max().unwrap_or(0)
}

/// In which order lines are drawn: whatever comes last lies on top.
pub fn depth(look: &str) -> u8 {
    match look {
        look if look.starts_with("touchline") => 2,
        look if look.starts_with("floor") => 1,
        _ => 0,
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
    fn a_lonely_point_is_a_dot() {
        let axes = [Axis::Even(10.0), Axis::Even(10.0)];
        let plot = Plot::new(Room::Narrow, [0.0, 100.0], axes, "", 0);
        assert!(plot.path(&[(5.0, 5.0)]).ends_with("50h.01"));
        assert_eq!(plot.path(&[(0.0, 0.0), (10.0, 10.0)]).matches('L').count(), 1);
    }
}
