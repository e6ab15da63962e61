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
//! | `skew` | what devices' clocks are off by |
//! | `readings` | the two of them: from an answer to events |
//! | `parking` | answers that can't be used: where they are kept, and how they come again |
//! | `fetch` | one request, and what its answer must be like |
//! | `follow` | ticks, breaker, log; it follows polled partners as well |
//! | `append` | what the log makes of what is news |
//! | `task` | the task that follows, and follows again if it fails |
//! | [`stats`] | what is counted |
//! | [`trial`] | one answer, looked at and not published |

mod append;
mod fetch;
pub(crate) mod follow;
pub mod mapping;
mod parking;
mod readings;
mod skew;
pub mod stats;
mod task;
pub mod trial;
pub mod values;

pub use crate::outbound::{SourceError, Surroundings};
pub use fetch::Failure;
pub use mapping::Mapping;
pub use stats::{SensorStats, Trouble};
pub use values::ValueRules;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::breaker::BreakerRules;
use crate::broadcast::{BroadcastState, Polled};
use crate::outbound::Hidden;
use follow::{Follower, Harvest};
use parking::Parking;
use readings::Readings;

/// One source of sensor values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorSource {
    /// Its name: the events' `source`.
    pub name: Box<str>,
    /// Where it is asked.
    pub url: Hidden,
    /// How often. Default 100 ms.
    pub interval: Duration,
    /// How long one request may take, connecting included; 2 s at most. Default 80 ms.
    pub timeout: Duration,
    /// Sent with each request; their values are secrets.
    pub headers: Vec<(Box<str>, Hidden)>,
    /// Bytes of an answer, unpacked. Default 256 KiB.
    pub body_bytes_max: usize,
    /// Which readings are news.
    pub rules: ValueRules,
    /// How readings are found.
    pub mapping: Mapping,
    /// When it is left alone.
    pub breaker: BreakerRules,
}

/// What any source that is polled is asked, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its name: the events' `source`.
    pub name: Box<str>,
    /// Where it is asked.
    pub url: Hidden,
    /// How often.
    pub interval: Duration,
    /// How long one request may take, connecting included.
    pub timeout: Duration,
    /// Sent with each request; their values are secrets.
    pub headers: Vec<(Box<str>, Hidden)>,
    /// Bytes of an answer, unpacked.
    pub body_bytes_max: usize,
    /// When it is left alone.
    pub breaker: BreakerRules,
}

impl SensorSource {
    /// What of it is asked.
    pub fn ask(&self) -> Ask {
        Ask {
            name: self.name.clone(),
            url: self.url.clone(),
            interval: self.interval,
            timeout: self.timeout,
            headers: self.headers.clone(),
            body_bytes_max: self.body_bytes_max,
            breaker: self.breaker,
        }
    }
}

/// Sources that are followed. Dropping it ends their tasks.
pub struct Sensors {
    stats: Vec<Arc<SensorStats>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Sensors {
    /// Follows `sources`, by tasks of the runtime it is called on.
    ///
    /// # Errors
    /// The first source that can't be followed.
    pub fn start(sources: Vec<SensorSource>, around: &Surroundings) -> Result<Self, SourceError> {
        let (stop, _) = watch::channel(false);
        let mut all = Self { stats: Vec::new(), stop, tasks: JoinSet::new() };
        let count = sources.len().max(1) as u32;
        for (n, source) in sources.into_iter().enumerate() {
            // Spread over the interval: hundreds of sources don't ask at the same moment.
            let delay = source.interval * n as u32 / count;
            let (ask, dead) = (source.ask(), Arc::clone(&around.dead));
            let parking = move |name: &str| Parking::of_sensor(name, Arc::clone(&dead));
            all.follow(ask, move || Readings::of(&source), parking, delay, around)?;
        }
        Ok(all)
    }

    /// Follows partners that are polled as well, each as it is agreed with it in `webhooks` at the
    /// time.
    ///
    /// # Errors
    /// The first that can't be followed.
    pub fn add_partners(
        &mut self,
        partners: Vec<Ask>,
        webhooks: &BroadcastState,
        around: &Surroundings,
    ) -> Result<(), SourceError> {
        let count = partners.len().max(1) as u32;
        for (n, ask) in partners.into_iter().enumerate() {
            let delay = ask.interval * n as u32 / count;
            let (name, webhooks) = (ask.name.clone(), webhooks.clone());
            let dead = Arc::clone(&around.dead);
            let parking = move |name: &str| Parking::of_partner(name, Arc::clone(&dead));
            self.follow(ask, move || Polled::new(&name, &webhooks), parking, delay, around)?;
        }
        Ok(())
    }

    fn follow<H: Harvest>(
        &mut self,
        ask: Ask,
        harvest: impl Fn() -> H + Send + 'static,
        parking: impl Fn(&str) -> Parking + Send + 'static,
        delay: Duration,
        around: &Surroundings,
    ) -> Result<(), SourceError> {
        let counted = Arc::new(SensorStats::new(&ask.name, Instant::now()));
        let (stats, around) = (Arc::clone(&counted), around.clone());
        let make = move || {
            let (harvest, parking) = (harvest(), parking(&ask.name));
            Follower::new(ask.clone(), harvest, parking, Arc::clone(&stats), around.clone())
        };
        let first = make()?;
        self.tasks.spawn(task::follow(
            first,
            make,
            Arc::clone(&counted),
            delay,
            self.stop.subscribe(),
        ));
        self.stats.push(counted);
        Ok(())
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
