//! The sources that are asked rather than listened to: a thread of their own, with a runtime of its
//! own, so that a slow device never holds up a webhook.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;
use touchline_core::dead::DeadLetters;
use touchline_core::log::EventLog;
use touchline_ingest::broadcast::{Clock, system_clock};
use touchline_ingest::sensor::{SensorSource, SensorStats, Sensors};

use crate::start_error::StartError;

/// For requests under way at a stop; a device's answer is at most 2 s away.
const STOP_MAX: Duration = Duration::from_secs(3);

/// Followed sources.
pub struct FollowedSources {
    sensors: Vec<Arc<SensorStats>>,
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl FollowedSources {
    /// Follows them into `log`; what can't be used is parked in `dead`. Without any there is no
    /// thread.
    pub(crate) fn start(
        sources: Vec<SensorSource>,
        log: Arc<dyn EventLog>,
        dead: Arc<dyn DeadLetters>,
    ) -> Result<Self, StartError> {
        if sources.is_empty() {
            return Ok(Self { sensors: Vec::new(), running: Mutex::default() });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Thread)?;
        let clock: Clock = Arc::new(system_clock);
        let started = runtime.block_on(async { Sensors::start(sources, &log, &clock, &dead) });
        let started = started.map_err(StartError::Source)?;
        let sensors = started.stats().to_vec();
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
        Ok(Self { sensors, running })
    }

    /// What each sensor source has done.
    pub fn sensors(&self) -> &[Arc<SensorStats>] {
        &self.sensors
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
