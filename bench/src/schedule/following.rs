//! How sockets are shared out over teams.

use serde::{Deserialize, Serialize};

/// How sockets are shared out over teams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Following {
    /// The same number for each.
    Even,
    /// The k-th team has a share of 1/k.
    Zipf,
    /// All but the first team have one socket in a hundred each, the first has the rest.
    Hundredths,
}

/// How many of `sockets` follow each of `teams`; adds up exactly, by largest remainder.
pub fn followers(following: Following, sockets: usize, teams: u32) -> Vec<usize> {
    let weight = |team: u32| match following {
        Following::Even => 1.0,
        Following::Zipf => 1.0 / f64::from(team + 1),
        Following::Hundredths if team == 0 => 101.0 - f64::from(teams.min(100)),
        Following::Hundredths => 1.0,
    };
    let total: f64 = (0..teams).map(weight).sum();
    let exact: Vec<f64> = (0..teams).map(|team| sockets as f64 * weight(team) / total).collect();
    let mut counts: Vec<usize> = exact.iter().map(|share| *share as usize).collect();
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()));
    let missing = sockets - counts.iter().sum::<usize>();
    for team in order.into_iter().cycle().take(missing) {
        counts[team] += 1;
    }
    counts
}
