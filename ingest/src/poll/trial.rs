//! One answer, looked at and not published: `touchline source test`.

use touchline_core::event::Event;

use super::fetch::Fetcher;
use super::{Ask, Failure};
use crate::clock::Clock;
use crate::outbound::SourceError;

/// What would become of what a source says.
#[derive(Debug, Default)]
pub struct Trial {
    /// What would be published.
    pub events: Vec<Event>,
    /// What can't be: the reason's word, and a sentence.
    pub troubles: Vec<(&'static str, String)>,
    /// What its clock is behind ours, microseconds, where that is more than the network's delay.
    pub skew_us: Option<i64>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The source can't be asked as configured.
    #[error("{0}")]
    Source(#[from] SourceError),
    /// It didn't answer as it should.
    #[error("{}: {}", .0.trouble.as_str(), .0.why)]
    Failure(Failure),
}

/// What a trial's events are known by.
pub(crate) const CORRELATION: &str = "source-test";

/// The bytes of one answer.
pub(crate) async fn ask_once(ask: &Ask, clock: &Clock) -> Result<Vec<u8>, TrialError> {
    Fetcher::new(ask)?.fetch(clock).await.map_err(TrialError::Failure)
}
