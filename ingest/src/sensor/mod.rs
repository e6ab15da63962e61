//! Sensors: values polled over HTTP, ten times a second if need be.
//!
//! How a source is asked is [`poll`](crate::poll)'s. Here readings are found in its answers by a
//! [`Mapping`], and it is decided which of them are news.
//!
//! | module | what it holds |
//! |---|---|
//! | [`mapping`] | from any JSON to readings |
//! | [`values`] | which readings are news |
//! | `skew` | what devices' clocks are off by |
//! | `readings` | all of these: from an answer to events |
//! | `again` | an answer that was kept because it could not be used |

mod again;
pub mod mapping;
mod readings;
mod skew;
#[cfg(test)]
mod testing;
pub mod values;

pub use mapping::Mapping;
pub use values::ValueRules;

use std::time::Instant;

use crate::clock::Clock;
use crate::outbound::SourceError;
use crate::poll::{self, Ask, At, Harvest as _, Poller, Trial, TrialError, Trouble};
use readings::Readings;

/// One source of sensor values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorSource {
    /// How it is asked.
    pub ask: Ask,
    /// Which readings are news.
    pub rules: ValueRules,
    /// How readings are found.
    pub mapping: Mapping,
    /// Different sets of teams within half an hour to an hour (R23).
    pub routes_max: usize,
}

/// Has `poller` follow `sources`.
///
/// # Errors
/// The first source that can't be followed.
pub fn follow(poller: &mut Poller, sources: Vec<SensorSource>) -> Result<(), SourceError> {
    let with_readings = |source: SensorSource| (source.ask.clone(), move || Readings::of(&source));
    poller.follow(sources.into_iter().map(with_readings).collect())
}

/// Asks `source` once, and publishes nothing.
///
/// # Errors
/// See [`TrialError`].
pub async fn try_sensor(source: &SensorSource, clock: &Clock) -> Result<Trial, TrialError> {
    let raw = poll::ask_once(&source.ask, clock).await?;
    let mut troubles = Vec::new();
    let mut note = |trouble: Trouble, why: &dyn std::fmt::Display| {
        troubles.push((trouble.as_str(), why.to_string()));
    };
    let at = At::new(clock(), Instant::now(), poll::CORRELATION);
    let mut readings = Readings::of(source);
    let harvested = readings.read(&raw, &at, &mut note);
    let events = harvested.map_err(TrialError::Failure)?.news;
    let skew_us = readings.skew().filter(|by| by.abs() > values::TRUSTED_US);
    Ok(Trial { events, troubles, skew_us })
}
