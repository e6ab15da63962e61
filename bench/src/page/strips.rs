//! Strips below a timeline: who was there and what the server took, on the same axis of time.
//!
//! Each strip begins at nothing, so that a line that looks flat is flat.

use super::axis::Axis;
use super::node::{Element, el};
use super::plot::{Plot, depth};
use super::timeline::Story;
use super::words::tick;
use crate::run::Beat;

/// What a strip shows.
struct Strip {
    name: &'static str,
    of: fn(&Beat) -> f64,
    /// The first beat knows nothing of the time before it.
    skip: usize,
}

const STRIPS: [Strip; 3] = [
    Strip { name: "clients that follow their team", of: |beat| beat.present as f64, skip: 0 },
    Strip { name: "cores the server uses", of: |beat| beat.cores, skip: 1 },
    Strip {
        name: "resident memory of the server, MiB",
        of: |beat| beat.rss_bytes as f64 / f64::from(1 << 20),
        skip: 0,
    },
];

/// Height of a strip.
const STRIP: f64 = 44.0;
/// Above it, for its name.
const ABOVE: f64 = 26.0;
/// How much higher than its highest value a strip is.
const SPARE: f64 = 1.08;

/// Letters of the widest tick.
pub fn letters(stories: &[Story<'_>]) -> usize {
    STRIPS.iter().map(|strip| tick(top(strip, stories)).chars().count()).max().unwrap_or(0)
}

/// The strips below `plot`, and where the last one ends; none where nobody looked.
pub fn draw(stories: &[Story<'_>], plot: &Plot) -> (Vec<Element>, f64) {
    if stories.iter().all(|story| story.run.beats.is_empty()) {
        return (Vec::new(), plot.bottom);
    }
    let mut bottom = plot.bottom;
    let strips = STRIPS.iter().map(|strip| {
        let (top, foot) = (bottom + ABOVE, bottom + ABOVE + STRIP);
        bottom = foot;
        strip.draw(stories, &Plot { top, bottom: foot, up: axis(strip, stories), ..*plot })
    });
    let strips = strips.collect();
    (strips, bottom)
}

fn values<'a>(strip: &'a Strip, stories: &'a [Story<'_>]) -> impl Iterator<Item = f64> + 'a {
    stories.iter().flat_map(|story| story.run.beats.iter().skip(strip.skip)).map(strip.of)
}

fn axis(strip: &Strip, stories: &[Story<'_>]) -> Axis {
    let Axis::Even(top) = Axis::even(values(strip, stories)) else { return Axis::Even(1.0) };
    Axis::Even(top * SPARE)
}

/// The greatest value that is written beside a strip.
fn top(strip: &Strip, stories: &[Story<'_>]) -> f64 {
    axis(strip, stories).ticks(2).last().copied().unwrap_or(0.0)
}

impl Strip {
    fn draw(&self, stories: &[Story<'_>], plot: &Plot) -> Element {
        let top = top(self, stories);
        let row = |value: f64| {
            let y = plot.y(value);
            let line = el("path").set("d", format!("M{:.1} {y:.1}H{:.1}", plot.left, plot.right));
            let label = el("text").set("text-anchor", "end").at("x", plot.left - 8.0);
            el("g").class("tick").with(line).with(label.at("y", y + 4.0).text(tick(value)))
        };
        let mut sorted: Vec<&Story<'_>> = stories.iter().collect();
        sorted.sort_by_key(|story| depth(&story.look));
        let line = |story: &Story<'_>| {
            let beats = story.run.beats.iter().skip(self.skip);
            let points: Vec<(f64, f64)> = beats.map(|beat| (beat.at_s, (self.of)(beat))).collect();
            el("path").class(&story.look).set("d", plot.path(&points))
        };
        let name = el("text").class("strip").at("x", plot.left).at("y", plot.top - 6.0);
        el("g")
            .with_all([0.0, top].map(row))
            .with(name.text(self.name))
            .with(el("g").class("lines told").with_all(sorted.into_iter().map(line)))
    }
}
