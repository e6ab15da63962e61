//! The sources that are asked rather than listened to: a thread of their own, with a runtime of its
//! own, so that a slow device never holds up a webhook.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;
use touchline_ingest::broadcast::{self, BroadcastState};
use touchline_ingest::outbound::{SourceError, Surroundings};
use touchline_ingest::poll::{PollStats, Poller};
use touchline_ingest::sensor;
use touchline_ingest::social::{Social, SocialStats};

use crate::config::Options;
use crate::start_error::StartError;

/// For requests under way at a stop; a device's answer is at most 2 s away. A partner that may take
/// longer is not waited for.
const STOP_MAX: Duration = Duration::from_secs(3);

/// Followed sources.
pub struct FollowedSources {
    polled: Vec<Arc<PollStats>>,
    social: Vec<Arc<SocialStats>>,
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

/// What runs on the thread.
struct Started {
    poller: Poller,
    social: Social,
}

impl Started {
    fn begin(
        options: &Options,
        webhooks: &BroadcastState,
        around: &Surroundings,
    ) -> Result<Self, SourceError> {
        let mut poller = Poller::new(around);
        sensor::follow(&mut poller, options.sensors.clone())?;
        broadcast::follow(&mut poller, options.polled.clone(), webhooks)?;
        let social = Social::start(options.social.clone(), around)?;
        Ok(Self { poller, social })
    }

    async fn stop(self) {
        tokio::join!(self.poller.stop(), self.social.stop());
    }
}

impl FollowedSources {
    /// Follows them, partners as it is agreed with them in `webhooks`. Without any there is no
    /// thread.
    pub(crate) fn start(
        options: &Options,
        webhooks: &BroadcastState,
        around: &Surroundings,
    ) -> Result<Self, StartError> {
        if options.sensors.is_empty() && options.polled.is_empty() && options.social.is_empty() {
            let (polled, social, running) = (Vec::new(), Vec::new(), Mutex::default());
            return Ok(Self { polled, social, running });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Thread)?;
        let started = runtime.block_on(async { Started::begin(options, webhooks, around) });
        let started = started.map_err(StartError::Source)?;
        let (polled, social) = (started.poller.stats().to_vec(), started.social.stats().to_vec());
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                let _ = stopped.await;
                let _ = tokio::time::timeout(STOP_MAX, started.stop()).await;
            });
            runtime.shutdown_timeout(Duration::from_millis(100));
        };
        let thread = Builder::new().name("sources".into()).spawn(run);
        let running = Mutex::new(Some((stop, thread.map_err(StartError::Thread)?)));
        Ok(Self { polled, social, running })
    }

    /// What each social source has done.
    pub fn social(&self) -> &[Arc<SocialStats>] {
        &self.social
    }

    /// What each source that is polled has done: sensors, then partners.
    pub fn polled(&self) -> &[Arc<PollStats>] {
        &self.polled
    }

    /// Ends them, and waits for it.
    pub fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = running {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}
