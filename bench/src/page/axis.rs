//! Axes: where a value lies, and which values are written beside it.
//!
//! Lengths are compared on an axis that begins at nothing; an axis in decades is for lines and
//! dots, never for bars, since the length of a bar would mean nothing there. The axis of
//! percentiles gives each further nine the same room: what is left above a percentile is in
//! decades, so that 99.9 lies as far from 99 as 99 from 90.

/// An axis of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Axis {
    /// From nothing to this.
    Even(f64),
    /// From the first to the second, both above 0, in decades.
    Decades(f64, f64),
    /// Shares of all deliveries, each further nine with the same room, up to 99.99 %.
    Nines,
}

/// Digits of ticks within a decade: the first list whose ticks are few enough is taken.
const DIGITS: [&[f64]; 3] = [&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
/// Digits where an axis is so short that those above would leave it nearly bare.
const DIGITS_FINE: &[f64] = &[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
/// An axis with fewer ticks than this is bare.
const TICKS_MIN: usize = 3;

impl Axis {
    /// From nothing to the greatest of `values`.
    pub fn even(values: impl IntoIterator<Item = f64>) -> Self {
        let top = values.into_iter().fold(0.0, f64::max);
        Self::Even(if top > 0.0 { top } else { 1.0 })
    }

    /// From a little below the least of `values` to a little above the greatest.
    pub fn decades(values: impl IntoIterator<Item = f64>) -> Self {
        let above = values.into_iter().filter(|value| *value > 0.0);
        let (low, high) = above.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| {
            (low.min(value), high.max(value))
        });
        match low <= high {
            true => Self::Decades(low / 1.15, high * 1.15),
            false => Self::Decades(1.0, 10.0),
        }
    }

    /// Where `value` lies, 0 to 1.
    pub fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Even(top) => value / top,
            Self::Decades(low, high) => (value.max(low) / low).ln() / (high / low).ln(),
            Self::Nines => percentile_place(value),
        };
        place.clamp(0.0, 1.0)
    }

    /// Round values along it, at most about `count`.
    pub fn ticks(self, count: usize) -> Vec<f64> {
        match self {
            Self::Even(top) => {
                let step = round_up(top / count.max(1) as f64);
                let steps = (top / step * 1.000_001).floor() as usize;
                (0..=steps).map(|index| index as f64 * step).collect()
            }
            Self::Decades(low, high) => {
                let choices = DIGITS.map(|digits| inside(digits, [low, high]));
                let few = choices.iter().find(|ticks| ticks.len() <= count);
                let ticks = few.unwrap_or(&choices[2]).clone();
                let fine = inside(DIGITS_FINE, [low, high]);
                let is_bare = ticks.len() < TICKS_MIN;
                if is_bare && fine.len() <= count { fine } else { ticks }
            }
            Self::Nines => PERCENTILES.iter().map(|(share, _)| *share).collect(),
        }
    }
}

/// These digits in every decade between `low` and `high`.
fn inside(digits: &[f64], [low, high]: [f64; 2]) -> Vec<f64> {
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let values =
        decades.flat_map(|decade| digits.iter().map(move |digit| digit * 10_f64.powi(decade)));
    values.filter(|value| (low..=high).contains(value)).collect()
}

/// The next of 1, 2, 5, 10, 20, 50 and so on.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * decade);
    steps.into_iter().find(|step| *step >= value * 0.999_999).unwrap_or(decade * 10.0)
}

/// Percentiles that are written beside their axis.
pub const PERCENTILES: [(f64, &str); 6] = [
    (0.0, "0"),
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
];

/// Where the share `below` of all deliveries lies, 0 to 1, on an axis that ends at 99.99 %.
pub fn percentile_place(below: f64) -> f64 {
    let left = (1.0 - below).max(1e-4);
    (-left.log10() / 4.0).clamp(0.0, 1.0)
}

/// The share of deliveries that lies at `place` of it.
pub fn percentile_at(place: f64) -> f64 {
    1.0 - 10_f64.powf(-4.0 * place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_axis_begins_at_nothing_and_is_marked_by_round_steps() {
        let axis = Axis::even([3.0, 8.4]);
        assert_eq!(axis.ticks(4), [0.0, 5.0]);
        assert_eq!(axis.ticks(5), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!((axis.place(0.0), axis.place(4.2), axis.place(99.0)), (0.0, 0.5, 1.0));
        assert_eq!(Axis::even([1.0]).ticks(4), [0.0, 0.5, 1.0]);
        assert_eq!(Axis::even([0.0]), Axis::Even(1.0), "nothing at all has an axis too");
    }

    #[test]
    fn an_axis_of_decades_gives_each_the_same_room() {
        let axis = Axis::Decades(1.0, 100.0);
        assert!((axis.place(10.0) - 0.5).abs() < 1e-9);
        assert_eq!(axis.place(0.0), 0.0, "what is below it lies at its end");
        assert_eq!(axis.ticks(7), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(axis.ticks(5), [1.0, 3.0, 10.0, 30.0, 100.0]);
        assert_eq!(axis.ticks(1), [1.0, 10.0, 100.0]);
        assert_eq!(Axis::decades([0.0]), Axis::Decades(1.0, 10.0));
        assert_eq!(Axis::Decades(52.0, 92.0).ticks(6), [60.0, 70.0, 80.0, 90.0], "never bare");
    }

    #[test]
    fn each_further_nine_is_as_far_from_the_last() {
        let places: Vec<f64> = PERCENTILES.iter().map(|(p, _)| percentile_place(*p)).collect();
        for (place, wanted) in places.iter().zip([0.0, 0.075_26, 0.25, 0.5, 0.75, 1.0]) {
            assert!((place - wanted).abs() < 1e-4, "{places:?}");
        }
        assert_eq!(percentile_place(1.0), 1.0);
        assert!((percentile_place(percentile_at(0.3)) - 0.3).abs() < 1e-9);
    }
}
