//! What the log made of one append, in numbers.

use touchline_core::log::Outcome;

/// What became of the events of one append; of a webhook's body, the answer of its 202.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Durable now.
    pub accepted: u64,
    /// Durable before.
    pub duplicates: u64,
    /// Acknowledged, not shown (R16).
    pub too_old: u64,
}

impl Tally {
    /// Counts `outcomes`.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut tally = Self::default();
        for outcome in outcomes {
            match outcome {
                Outcome::Accepted(_) | Outcome::Spooled => tally.accepted += 1,
                Outcome::Duplicate => tally.duplicates += 1,
                Outcome::TooOld => tally.too_old += 1,
            }
        }
        tally
    }
}
