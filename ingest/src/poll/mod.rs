//! Asking over HTTP, again and again: what sensors and polled partners have in common.
//!
//! Each source is followed by a task of its own: at each tick it asks once, has a [`Harvest`] make
//! events of the answer, and hands what is news to the log. One request is in flight for each
//! source; a slow answer delays only itself, and ticks that pass meanwhile are counted, not made up
//! for. A source that fails again and again is left alone for a while
//! ([`Breaker`](crate::breaker::Breaker)), and as long as it asks for.
//!
//! | module | what it holds |
//! |---|---|
//! | `harvest` | what is made of answers: the one thing that sensors and partners differ in |
//! | `fetch` | one request, and what its answer must be like |
//! | `follow` | ticks, breaker, log |
//! | `append` | what the log makes of what is news |
//! | `parking` | where answers are kept that can't be used |
//! | `task` | the task that follows, and follows again if it fails |
//! | [`stats`] | what is counted |
//! | `trial` | one answer, looked at and not published |
//!
//! # What it leaves out
//! Who is asked, and for what: [`sensor`](crate::sensor) and [`broadcast`](crate::broadcast) know
//! this module, and it knows neither.

mod append;
mod fetch;
mod follow;
mod harvest;
mod parking;
pub mod stats;
mod task;
mod trial;

pub use fetch::Failure;
pub(crate) use harvest::{At, Harvest, Harvested, Note, ParkedAs, tick_at};
pub use stats::{PollStats, Trouble};
pub(crate) use trial::{CORRELATION, ask_once};
pub use trial::{Trial, TrialError};

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::breaker::BreakerRules;
use crate::outbound::{Hidden, SourceError, Surroundings};
use follow::Follower;

/// What a source that is polled is asked, and how often.
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

/// Follows sources that are polled, by tasks of the runtime it is used on. Dropping it ends them.
pub struct Poller {
    around: Surroundings,
    stats: Vec<Arc<PollStats>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Poller {
    /// One that follows none yet.
    pub fn new(around: &Surroundings) -> Self {
        let (stop, _) = watch::channel(false);
        Self { around: around.clone(), stats: Vec::new(), stop, tasks: JoinSet::new() }
    }

    /// Follows `sources` too, each with what makes its harvest. Their first requests are spread
    /// over the interval: hundreds of sources don't ask at the same moment.
    ///
    /// # Errors
    /// The first source that can't be followed.
    pub(crate) fn follow<H: Harvest>(
        &mut self,
        sources: Vec<(Ask, impl Fn() -> H + Send + 'static)>,
    ) -> Result<(), SourceError> {
        let count = sources.len().max(1) as u32;
        for (n, (ask, harvest)) in sources.into_iter().enumerate() {
            let delay = ask.interval * n as u32 / count;
            self.follow_one(ask, harvest, delay)?;
        }
        Ok(())
    }

    fn follow_one<H: Harvest>(
        &mut self,
        ask: Ask,
        harvest: impl Fn() -> H + Send + 'static,
        delay: Duration,
    ) -> Result<(), SourceError> {
        let counted = Arc::new(PollStats::new(&ask.name, Instant::now()));
        let (stats, around) = (Arc::clone(&counted), self.around.clone());
        let make =
            move || Follower::new(ask.clone(), harvest(), Arc::clone(&stats), around.clone());
        let first = make()?;
        let stop = self.stop.subscribe();
        self.tasks.spawn(task::follow(first, make, Arc::clone(&counted), delay, stop));
        self.stats.push(counted);
        Ok(())
    }

    /// What each has done, in the order in which they were given.
    pub fn stats(&self) -> &[Arc<PollStats>] {
        &self.stats
    }

    /// Ends all tasks, and waits for requests that are under way.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}
