//! Flags: upright lines across a picture, each with a word at its top, in as many lanes as it takes
//! to keep the words apart.

use super::node::{Element, coordinate, el};
use super::plot::LETTER;

/// Height of a lane.
pub const LANE: f64 = 15.0;
/// From a flag's line to its word, and from one word to the next at least.
const GAP: f64 = 5.0;

/// A line and its word.
pub struct Flag {
    /// Where, in the picture's units.
    pub x: f64,
    /// What.
    pub text: String,
    /// Its classes.
    pub look: String,
}

/// Where a flag's word stands.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spot {
    lane: usize,
    left: f64,
}

/// How many lanes these flags take.
pub fn lanes(flags: &[Flag], bounds: [f64; 2]) -> usize {
    spots(flags, bounds).iter().map(|spot| spot.lane + 1).max().unwrap_or(0)
}

/// The flags: words from `top` down, lines to `bottom`. A line begins beside its own word, so words
/// of the lanes above aren't crossed; those below are written over it.
pub fn draw(flags: &[Flag], bounds: [f64; 2], [top, bottom]: [f64; 2]) -> Vec<Element> {
    let spots = spots(flags, bounds);
    let y = |spot: &Spot| top + spot.lane as f64 * LANE;
    let look = |flag: &Flag| format!("flag {}", flag.look);
    let line = |(flag, spot): (&Flag, &Spot)| {
        let line = [flag.x, y(spot), bottom].map(coordinate);
        let line = format!("M{} {}V{}", line[0], line[1], line[2]);
        el("path").class(look(flag)).set("d", line)
    };
    let word = |(flag, spot): (&Flag, &Spot)| {
        let word = el("text").class(look(flag)).at("x", spot.left).at("y", y(spot) + 11.0);
        word.text(flag.text.clone())
    };
    let lines: Vec<Element> = flags.iter().zip(&spots).map(line).collect();
    lines.into_iter().chain(flags.iter().zip(&spots).map(word)).collect()
}

/// Each word goes to the right of its line where that is inside, else to its left, and into the
/// first lane in which it touches no other.
fn spots(flags: &[Flag], [left, right]: [f64; 2]) -> Vec<Spot> {
    let mut taken: Vec<(usize, [f64; 2])> = Vec::new();
    let spot = |flag: &Flag| {
        let width = flag.text.chars().count() as f64 * LETTER;
        let start = match flag.x + GAP + width <= right {
            true => flag.x + GAP,
            false => (flag.x - GAP - width).max(left),
        };
        let [from, to] = [start.min(flag.x), (start + width).max(flag.x)];
        let is_free = |lane: &usize| {
            let touches = |(of, span): &(usize, [f64; 2])| {
                of == lane && span[0] <= to + GAP && from <= span[1] + GAP
            };
            !taken.iter().any(touches)
        };
        let lane = (0..flags.len()).find(is_free).unwrap_or(0);
        taken.push((lane, [from, to]));
        Spot { lane, left: start }
    };
    flags.iter().map(spot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(x: f64, text: &str) -> Flag {
        Flag { x, text: text.into(), look: String::new() }
    }

    #[test]
    fn words_that_would_touch_take_a_lane_each() {
        let flags = [flag(10.0, "kill -9"), flag(30.0, "ready again"), flag(200.0, "calm")];
        let bounds = [0.0, 400.0];
        let lanes_of: Vec<usize> = spots(&flags, bounds).iter().map(|spot| spot.lane).collect();
        assert_eq!((lanes_of, lanes(&flags, bounds)), (vec![0, 1, 0], 2));
        assert_eq!(lanes(&[], bounds), 0);
    }

    #[test]
    fn a_word_without_room_on_its_right_stands_on_the_left() {
        let spots = spots(&[flag(390.0, "kill -9")], [0.0, 400.0]);
        assert!(spots[0].left < 390.0 - 7.0 * LETTER, "{spots:?}");
    }
}
