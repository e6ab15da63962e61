//! Medians and intervals of a handful of runs.
//!
//! With five runs the range from least to greatest holds the true median in 15 of 16 cases (1 - 2 /
//! 2^5), whatever the distribution; so the range is what is printed, and nothing is assumed to be
//! normal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A figure over all runs of a case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Half of the runs were below.
    pub median: f64,
    /// The least.
    pub low: f64,
    /// The greatest.
    pub high: f64,
}

impl Figure {
    /// Of these runs; zeros when there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
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
    /// would make any slope look certain. So the time is cut into 20 stretches, and the line is laid
    /// through their means (batch means; Law and Kelton, Simulation Modeling and Analysis, 9.5.3).
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let stretch = points.len() / STRETCHES;
        if stretch < 2 {
            return None;
        }
        let mean = |chunk: &[(f64, f64)]| {
            let (x, y) = chunk.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
            (x / chunk.len() as f64, y / chunk.len() as f64)
        };
        let means: Vec<(f64, f64)> =
            points.chunks_exact(stretch).take(STRETCHES).map(mean).collect();
        let (slope, error) = least_squares(&means)?;
        Some(Self { per_s: slope, error: error * T })
    }
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
            size if size >= 1_000.0 => 0,
            size if size >= 10.0 => 1,
            _ => 2,
        };
        let Self { median, low, high } = self;
        write!(f, "{median:.digits$} ({low:.digits$} to {high:.digits$})")
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
    fn a_slope_is_found_and_how_far_off_it_may_be() {
        // Saw teeth of a period that no stretch divides, on a line.
        let points = |per_s: f64| -> Vec<(f64, f64)> {
            (0..1_000)
                .map(|at| (f64::from(at), per_s * f64::from(at) + f64::from(at % 7)))
                .collect()
        };
        let flat = Slope::of(&points(0.0)).unwrap();
        assert!(flat.per_s.abs() <= flat.error && flat.error < 0.001, "{flat:?}");
        let steep = Slope::of(&points(0.5)).unwrap();
        assert!((steep.per_s - 0.5).abs() <= steep.error && steep.error < 0.001, "{steep:?}");
        assert_eq!(Slope::of(&points(1.0)[..39]), None, "too few looks");
        assert_eq!(least_squares(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), Some((2.0, 0.0)));
        assert_eq!(least_squares(&[(1.0, 1.0), (1.0, 3.0), (1.0, 5.0)]), None);
    }
}
