//! One answer of a source that is polled, looked at and not published: `touchline source test`.

use std::time::Instant;

use touchline_core::event::Event;

use super::fetch::Fetcher;
use super::follow::{At, Harvest, tick_at};
use super::readings::Readings;
use super::{Ask, Failure, SensorSource, SourceError, Trouble};
use crate::broadcast::{Context, Partner, say_errors, unfit_answer};
use crate::clock::Clock;

/// What would become of an answer.
#[derive(Debug, Default)]
pub struct Trial {
    /// What would be published.
    pub events: Vec<Event>,
    /// What can't be: the reason's word, and a sentence.
    pub troubles: Vec<(&'static str, String)>,
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

/// What its events are known by.
const CORRELATION: &str = "source-test";

/// Asks a sensor source once.
///
/// # Errors
/// See [`TrialError`].
pub async fn try_sensor(source: &SensorSource, clock: &Clock) -> Result<Trial, TrialError> {
    let raw = fetch(&source.ask(), clock).await?;
    let received_at = clock();
    let mut troubles = Vec::new();
    let mut note = |trouble: Trouble, why: &dyn std::fmt::Display| {
        troubles.push((trouble.as_str(), why.to_string()));
    };
    let (now, tick) = (Instant::now(), tick_at(received_at));
    let at = At { received_at, now, tick, correlation: CORRELATION };
    let harvested = Readings::of(source).read(&raw, &at, &mut note);
    let events = harvested.map_err(TrialError::Failure)?.news;
    Ok(Trial { events, troubles })
}

/// Asks a partner that is polled once.
///
/// # Errors
/// See [`TrialError`].
pub async fn try_partner(ask: &Ask, partner: &Partner, clock: &Clock) -> Result<Trial, TrialError> {
    let raw = fetch(ask, clock).await?;
    let context =
        Context { source: partner.name(), correlation: CORRELATION, trace: None, now: clock() };
    let items = partner.each_of(&raw, context);
    let items = items.map_err(|problem| TrialError::Failure(unfit_answer(problem, &raw)))?;
    let mut trial = Trial::default();
    for item in items {
        match item {
            Ok(event) => trial.events.push(event),
            Err(item) => {
                trial.troubles.push((Trouble::BadReading.as_str(), say_errors(&item.errors)));
            }
        }
    }
    Ok(trial)
}

async fn fetch(ask: &Ask, clock: &Clock) -> Result<Vec<u8>, TrialError> {
    Fetcher::new(ask)?.fetch(clock).await.map_err(TrialError::Failure)
}
