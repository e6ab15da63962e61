//! Medians and intervals of a handful of runs.
//!
//! With five runs the range from least to greatest holds the true median in 15 of 16 cases (1 - 2 /
//! 2^5), whatever the distribution; so the range is what is printed, and nothing is assumed to be
//! normal.
//!
//! # Told apart
//! Two figures are told apart where their ranges don't overlap and their medians differ by more
//! than [`ALIKE_SHARE`]: the one rule for everything that ranks ([`Figure::is_told_from`]). Of two
//! equals that would be said once in 126 times with five runs of each, once in 10 with three, and
//! always with one.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Medians that differ by less than this share of the smaller are alike: where memory lies and who
/// went first move them by as much.
pub const ALIKE_SHARE: f64 = 0.02;

/// A figure over all runs of a case. A run that never came to what is asked counts as infinite,
/// so that the order of the others stays what it is; JSON has no word for that but `null`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Half of the runs were below.
    #[serde(deserialize_with = "or_infinite")]
    pub median: f64,
    /// The least.
    #[serde(deserialize_with = "or_infinite")]
    pub low: f64,
    /// The greatest.
    #[serde(deserialize_with = "or_infinite")]
    pub high: f64,
}

fn or_infinite<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::INFINITY))
}

impl Figure {
    /// Of these runs; zeros when there are none. What divides nothing by nothing is no value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        values.sort_unstable_by(f64::total_cmp);
        let (Some(&low), Some(&high)) = (values.first(), values.last()) else {
            return Self::default();
        };
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Self { median, low, high }
    }

    /// Whether the two differ by more than chance, and by more than `alike` of the smaller.
    pub fn is_told_from(&self, other: &Self, alike: f64) -> bool {
        let overlap = self.low <= other.high && other.low <= self.high;
        let smaller = self.median.abs().min(other.median.abs());
        !overlap && (self.median - other.median).abs() > smaller * alike
    }

    /// How far apart least and greatest are, against the median.
    pub fn range_share(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.high - self.low) / self.median }
    }
}

/// How fast something grows, per second, and how far off that may be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slope {
    /// By least squares.
    pub per_s: f64,
    /// Half of the interval that holds the true slope in 95 of 100 cases.
    pub error: f64,
}

/// Stretches whose means a slope is laid through.
const STRETCHES: usize = 20;
/// Student's t with 18 degrees of freedom at 97.5 %.
const T: f64 = 2.101;

impl Slope {
    /// Of `points`, in order of their time; `None` where they are fewer than two for each stretch.
    ///
    /// A look at memory says much about the next look: counted as independent, thousands of them
    /// would make any slope look certain. So the time is cut into 20 stretches, and the line is
    /// laid through their means (batch means; Law and Kelton, Simulation Modeling and Analysis,
    /// 9.5.3). Memory that grows by steps leaves even these alike; the error is widened by what
    /// neighbours have in common, as of a process of first order (by `sqrt((1 + r) / (1 - r))`),
    /// and to what the slopes of the two halves are.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < 2 * STRETCHES {
            return None;
        }
        let mean = |index: usize| {
            let at = |index: usize| index * points.len() / STRETCHES;
            let part = &points[at(index)..at(index + 1)];
            let (x, y) = part.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
            (x / part.len() as f64, y / part.len() as f64)
        };
        let means: Vec<(f64, f64)> = (0..STRETCHES).map(mean).collect();
        let (slope, error) = least_squares(&means)?;
        let alike = resemblance(&means, slope).clamp(0.0, 0.95);
        let widened = error * ((1.0 + alike) / (1.0 - alike)).sqrt();
        // What goes on for the whole time goes on in each half of it; a step doesn't.
        let halves = means.chunks(STRETCHES / 2).filter_map(least_squares);
        let apart = halves.map(|(half, _)| (half - slope).abs()).fold(0.0, f64::max);
        Some(Self { per_s: slope, error: apart.max(widened * T) })
    }
}

/// How much what is left of a point beside its line says about what is left of the next one: their
/// correlation.
fn resemblance(points: &[(f64, f64)], slope: f64) -> f64 {
    let left: Vec<f64> = points.iter().map(|point| point.1 - slope * point.0).collect();
    let mean = left.iter().sum::<f64>() / left.len() as f64;
    let total: f64 = left.iter().map(|value| (value - mean).powi(2)).sum();
    let pairs: f64 = left.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    if total > 0.0 { pairs / total } else { 0.0 }
}

/// The slope of the line through `points`, and its standard error; `None` where there are fewer
/// than three, or all stand above one another.
pub fn least_squares(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if points.len() < 3 || spread <= 0.0 {
        return None;
    }
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
    let left = |point: &(f64, f64)| (point.1 - y - slope * (point.0 - x)).powi(2);
    let variance = points.iter().map(left).sum::<f64>() / (count - 2.0);
    Some((slope, (variance / spread).sqrt()))
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.median.abs() {
            f64::INFINITY => 1,
            size if size >= 1_000.0 => 0,
            size if size >= 10.0 => 1,
            _ => 2,
        };
        let word = |value: f64| match value.is_finite() {
            true => format!("{value:.digits$}"),
            false => "never".into(),
        };
        write!(f, "{} ({} to {})", word(self.median), word(self.low), word(self.high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle_of_its_range() {
        assert_eq!(Figure::of([3.0, 1.0, 2.0]), Figure { median: 2.0, low: 1.0, high: 3.0 });
        assert_eq!(Figure::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Figure::of([]), Figure::default());
        assert_eq!(Figure::of([2.0, 1.0, 3.0]).range_share(), 1.0);
        assert_eq!(Figure::of([5.5]).to_string(), "5.50 (5.50 to 5.50)");
        assert_eq!(Figure::of([12_345.6]).to_string(), "12346 (12346 to 12346)");
    }

    #[test]
    fn figures_are_told_apart_by_ranges_that_do_not_overlap() {
        let connects = Figure { median: 25_206.0, low: 21_806.0, high: 25_413.0 };
        let near = Figure { median: 22_405.0, low: 16_148.0, high: 24_348.0 };
        let far = Figure { median: 18_796.0, low: 15_000.0, high: 19_000.0 };
        let told = |a: &Figure, b: &Figure| a.is_told_from(b, ALIKE_SHARE);
        assert!(!told(&connects, &near) && !told(&near, &connects));
        assert!(told(&connects, &far) && told(&far, &connects));
        let [a, b] = [100.0, 101.0].map(|value| Figure::of([value]));
        assert!(!told(&a, &b) && a.is_told_from(&b, 0.0), "a percent is nothing");
    }

    #[test]
    fn what_never_came_is_kept_and_read_back() {
        let figure = Figure::of([5.0, f64::INFINITY, 10.0, f64::NAN]);
        assert_eq!(figure, Figure { median: 10.0, low: 5.0, high: f64::INFINITY });
        let kept = serde_json::to_string(&figure).unwrap();
        assert!(kept.contains("\"high\":null"), "{kept}");
        assert_eq!(serde_json::from_str::<Figure>(&kept).unwrap(), figure);
        assert_eq!(figure.to_string(), "10.0 (5.0 to never)");
        let never = Figure::of([f64::INFINITY; 3]).to_string();
        assert_eq!(never, "never (never to never)");
        assert!(serde_json::from_str::<Figure>("{\"median\":1.0,\"low\":1.0}").is_err());
    }

    #[test]
    fn a_slope_is_found_and_how_far_off_it_may_be() {
        // Saw teeth of a period that no stretch divides, on a line.
        let points = |per_s: f64| -> Vec<(f64, f64)> {
            let saw = |at: u32| (f64::from(at), per_s * f64::from(at) + f64::from(at % 7));
            (0..1_000).map(saw).collect()
        };
        let flat = Slope::of(&points(0.0)).unwrap();
        assert!(flat.per_s.abs() <= flat.error && flat.error < 0.003, "{flat:?}");
        let steep = Slope::of(&points(0.5)).unwrap();
        assert!((steep.per_s - 0.5).abs() <= steep.error && steep.error < 0.003, "{steep:?}");
        // One step in the middle of nothing is no growth that goes on.
        let step = |at: u32| (f64::from(at), if at < 500 { 0.0 } else { 20.0 });
        let step = Slope::of(&(0..1_000).map(step).collect::<Vec<_>>()).unwrap();
        assert!(step.per_s > 0.0 && step.per_s <= step.error, "{step:?}");
        assert_eq!(Slope::of(&points(1.0)[..39]), None, "too few looks");
        assert_eq!(least_squares(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), Some((2.0, 0.0)));
        assert_eq!(least_squares(&[(1.0, 1.0), (1.0, 3.0), (1.0, 5.0)]), None);
    }
}
