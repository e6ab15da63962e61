//! Whether a row's target was met, by one rule for all rows.
//!
//! # The rule
//! The target is about the true median, of which a handful of runs tells little: with five, the
//! range from least to greatest holds it in 15 of 16 cases. So a target is *met* where every run
//! that counts lies within it (of a server at its very edge that would be said once in 32 times),
//! *missed* where every run lies outside, and else *not told apart*, with the side on which the
//! median lies. Three of five within is no proof: of a coin one expects as much.
//!
//! A run in which the generator may have been the limit doesn't count, and fewer than three tell
//! nothing. What must never happen is no matter of medians: one run in which an event was lost
//! or repeated without a word, limited or not, has missed; so has a counted one in which a client
//! was thrown out or whatever else was promised not to happen.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::run::Run;
use crate::stats::Figure;

/// Fewer runs than these tell nothing.
const RUNS_MIN: usize = 3;

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// By every run.
    Met,
    /// By every run, or by one in which happened what must not.
    Missed,
    /// Neither is proven; why.
    NotTold(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Met => f.write_str("met"),
            Self::Missed => f.write_str("missed"),
            Self::NotTold(why) => write!(f, "not told apart: {why}"),
        }
    }
}

/// Gathers what a row's runs say about its target.
pub struct Judge {
    all: usize,
    verdict: Verdict,
}

impl Judge {
    /// Of a row of which `all` runs were made.
    pub fn new(all: usize) -> Self {
        Self { all, verdict: Verdict::Met }
    }

    /// Of these runs of the server: nothing lost or repeated in any, and those that count whole.
    pub fn of(runs: &[Run]) -> Self {
        let is_true = |run: &Run| run.harvest.counts.lost + run.harvest.counts.repeated == 0;
        Self::new(runs.len())
            .fact(runs.iter().all(is_true))
            .fact(counted(runs).iter().all(|run| run.is_whole()))
    }

    /// What must be so in every run.
    pub fn fact(mut self, is_so: bool) -> Self {
        if !is_so {
            self.verdict = Verdict::Missed;
        }
        self
    }

    /// What must hold or nothing is told, by nobody's fault.
    pub fn needs(self, holds: bool, why: &str) -> Self {
        let said = if holds { Verdict::Met } else { Verdict::NotTold(why.into()) };
        self.and(said)
    }

    /// What is asked of the median: `values` of the runs that count lie `within` the target.
    pub fn median(
        self,
        values: impl IntoIterator<Item = f64>,
        within: impl Fn(f64) -> bool,
    ) -> Self {
        let said = self.of_median(values, within);
        self.and(said)
    }

    /// What is asked of the median of something that can't be seen, but isn't less than `low` nor
    /// more than `high`: met where `high` is within, missed where `low` isn't.
    pub fn median_between(
        self,
        low: impl IntoIterator<Item = f64>,
        high: impl IntoIterator<Item = f64>,
        within: impl Fn(f64) -> bool,
    ) -> Self {
        let said = match (self.of_median(low, &within), self.of_median(high, &within)) {
            (Verdict::Missed, _) => Verdict::Missed,
            (_, Verdict::Met) => Verdict::Met,
            (Verdict::NotTold(why), _) => Verdict::NotTold(why),
            (Verdict::Met, Verdict::NotTold(why)) => {
                Verdict::NotTold(format!("by the upper bound {why}"))
            }
            (Verdict::Met, Verdict::Missed) => {
                Verdict::NotTold("within by the lower bound, outside by the upper".into())
            }
        };
        self.and(said)
    }

    fn of_median(
        &self,
        values: impl IntoIterator<Item = f64>,
        within: impl Fn(f64) -> bool,
    ) -> Verdict {
        let values: Vec<f64> = values.into_iter().collect();
        let inside = values.iter().filter(|value| within(**value)).count();
        match (values.len(), inside) {
            (count, _) if count < RUNS_MIN => {
                let said = format!("{count} of {} runs count, {RUNS_MIN} must", self.all);
                Verdict::NotTold(said)
            }
            (_, 0) => Verdict::Missed,
            (count, inside) if inside == count => Verdict::Met,
            (count, inside) => {
                let median = Figure::of(values.iter().copied()).median;
                let side = if within(median) { "within" } else { "outside" };
                Verdict::NotTold(format!("median {side}, {inside} of {count} runs within"))
            }
        }
    }

    fn and(mut self, said: Verdict) -> Self {
        self.verdict = match (self.verdict, said) {
            (Verdict::Missed, _) | (_, Verdict::Missed) => Verdict::Missed,
            (Verdict::NotTold(why), _) => Verdict::NotTold(why),
            (Verdict::Met, said) => said,
        };
        self
    }

    /// What came of all that.
    pub fn verdict(self) -> Verdict {
        self.verdict
    }
}

/// Runs in which the generator wasn't the limit.
pub fn counted(runs: &[Run]) -> Vec<&Run> {
    runs.iter().filter(|run| !run.is_limited()).collect()
}

/// Pairs of runs of two cases in which it wasn't in either.
pub fn counted_pairs<'a>(
    a: &'a [Run],
    b: &'a [Run],
) -> impl Iterator<Item = (&'a Run, &'a Run)> + Clone {
    a.iter().zip(b).filter(|(a, b)| !a.is_limited() && !b.is_limited())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::fixture;
    use crate::target::Subject;

    fn said(values: &[f64]) -> String {
        Judge::new(5).median(values.iter().copied(), |value| value < 10.0).verdict().to_string()
    }

    #[test]
    fn a_target_is_met_or_missed_by_every_run_and_else_not_told() {
        assert_eq!(said(&[1.0, 2.0, 9.9, -80.0, 3.0]), "met");
        assert_eq!(said(&[10.0, 12.0, f64::INFINITY]), "missed");
        let posts = said(&[8.4, -80.0, 32.0, 5.0, 20.0]);
        assert_eq!(posts, "not told apart: median within, 3 of 5 runs within");
        assert!(said(&[8.0, 11.0, 12.0]).contains("median outside, 1 of 3"));
        assert_eq!(said(&[1.0, 2.0]), "not told apart: 2 of 5 runs count, 3 must");
    }

    #[test]
    fn what_lies_between_two_bounds_is_met_where_the_upper_one_is() {
        let said = |low: f64, high: [f64; 3]| {
            let judge = Judge::new(3).median_between([low; 3], high, |value| value < 10.0);
            judge.verdict().to_string()
        };
        assert_eq!(said(1.0, [9.0; 3]), "met");
        assert_eq!(said(11.0, [12.0; 3]), "missed");
        assert_eq!(
            said(1.0, [12.0; 3]),
            "not told apart: within by the lower bound, outside by the upper"
        );
        let some = said(1.0, [8.0, 9.0, 96.0]);
        assert_eq!(some, "not told apart: by the upper bound median within, 2 of 3 runs within");
    }

    #[test]
    fn runs_that_the_generator_limited_do_not_count_but_a_loss_in_them_does() {
        let mut runs = vec![fixture::run(Subject::Touchline, 5); 5];
        for run in &mut runs[..3] {
            run.generator.of_a_core = 0.98;
        }
        let judge = |runs: &[Run]| {
            let p99 = counted(runs).into_iter().map(|run| run.cpu_us).collect::<Vec<_>>();
            Judge::of(runs).median(p99, |value| value < 10.0).verdict()
        };
        assert!(judge(&runs).to_string().contains("2 of 5 runs count"), "{}", judge(&runs));
        runs[2].generator.of_a_core = 0.5;
        assert_eq!(judge(&runs), Verdict::Met);
        runs[0].harvest.counts.repeated = 1;
        assert_eq!(judge(&runs), Verdict::Missed, "repeated in a run that doesn't count");
        runs[0].harvest.counts.repeated = 0;
        runs[0].harvest.counts.closed.insert(1006, 1);
        assert_eq!(judge(&runs), Verdict::Met, "thrown out where the clients were the limit");
        runs[4].harvest.counts.closed.insert(1006, 1);
        assert_eq!(judge(&runs), Verdict::Missed);
    }
}
