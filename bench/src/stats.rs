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
}
