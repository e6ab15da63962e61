//! Sensors: values polled over HTTP, ten times a second if need be.
//!
//! Each source is followed by a task of its own: at each tick it asks once, finds readings in the
//! answer by its [`Mapping`], and hands what is news to the log. One request is in flight for each
//! source; a slow answer delays only itself, and ticks that pass meanwhile are counted, not made up
//! for. A source that fails again and again is left alone for a while ([`Breaker`]).
//!
//! | module | what it holds |
//! |---|---|
//! | [`mapping`] | from any JSON to readings |
//! | [`values`] | which readings are news |
//! | `parking` | answers that can't be used: where they are kept, and how they come again |
//! | `fetch` | one request, and what its answer must be like |
//! | `follow` | the task: ticks, breaker, log |
//! | [`stats`] | what is counted |

mod fetch;
mod follow;
pub mod mapping;
mod parking;
pub mod stats;
pub mod values;

pub use fetch::Failure;
pub use mapping::Mapping;
pub use stats::{SensorStats, Trouble};
pub use values::ValueRules;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use touchline_core::dead::DeadLetters;
use touchline_core::log::EventLog;

use crate::breaker::BreakerRules;
use crate::broadcast::Clock;
use fetch::Fetcher;
use follow::Follower;

/// One source of sensor values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorSource {
    /// Its name: the events' `source`.
    pub name: Box<str>,
    /// Where it is asked.
    pub url: Box<str>,
    /// How often. Default 100 ms.
    pub interval: Duration,
    /// How long one request may take, connecting included; 2 s at most. Default 80 ms.
    pub timeout: Duration,
    /// Sent with each request; their values are secrets.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Bytes of an answer, unpacked. Default 256 KiB.
    pub body_bytes_max: usize,
    /// Which readings are news.
    pub rules: ValueRules,
    /// How readings are found.
    pub mapping: Mapping,
    /// When it is left alone.
    pub breaker: BreakerRules,
}

/// A source that can't be followed as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sensor source `{name}`: {why}")]
pub struct SourceError {
    /// Which.
    pub name: Box<str>,
    /// Why.
    pub why: Box<str>,
}

/// Sources that are followed. Dropping it ends their tasks.
pub struct Sensors {
    stats: Vec<Arc<SensorStats>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Sensors {
    /// Follows `sources` into `log`, by tasks of the runtime it is called on. Answers that can't be
    /// used are parked in `dead`.
    ///
    /// # Errors
    /// The first source that can't be followed.
    pub fn start(
        sources: Vec<SensorSource>,
        log: &Arc<dyn EventLog>,
        clock: &Clock,
        dead: &Arc<dyn DeadLetters>,
    ) -> Result<Self, SourceError> {
        let (stop, stopped) = watch::channel(false);
        let (mut stats, mut tasks) = (Vec::new(), JoinSet::new());
        let count = sources.len().max(1) as u32;
        for (n, source) in sources.into_iter().enumerate() {
            let fetcher = Fetcher::new(&source)?;
            let counted = Arc::new(SensorStats::new(&source.name, clock()));
            stats.push(Arc::clone(&counted));
            // Spread over the interval: hundreds of sources don't ask at the same moment.
            let delay = source.interval * n as u32 / count;
            let (log, clock, dead) = (Arc::clone(log), Arc::clone(clock), Arc::clone(dead));
            let follower = Follower::new(source, fetcher, log, counted, clock, dead);
            let stopped = stopped.clone();
            tasks.spawn(follower.run(delay, stopped));
        }
        Ok(Self { stats, stop, tasks })
    }

    /// What each has done.
    pub fn stats(&self) -> &[Arc<SensorStats>] {
        &self.stats
    }

    /// Ends all tasks, and waits for requests that are under way.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}
