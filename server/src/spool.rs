//! The spool: a journal of its own in front of Kafka (R18).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use touchline_core::dead::DeadLetters;
use touchline_core::log::EventLog;
use touchline_ingest::clock::system_clock;
use touchline_ingest::kafka::KafkaLog;
use touchline_ingest::spool::{SpoolOptions, SpoolStats, SpooledLog};
use touchline_store::journal::{Journal, JournalOptions};

use crate::start_error::StartError;

/// The journal's folder, below the data folder.
pub const SPOOL_FOLDER: &str = "spool";
/// What says how far it has been handed on; it stands in that folder.
const CURSOR_FILE: &str = "handed-on";

/// How it is kept, as configured.
#[derive(Clone, Debug)]
pub struct SpoolSettings {
    /// Its journal.
    pub journal: JournalOptions,
    /// Bytes of events that may wait in it.
    pub bytes_max: u64,
    /// Age of its oldest event past which sources are refused.
    pub age_max: Duration,
    /// Dedupe window of each stream.
    pub windows: [Duration; 4],
}

/// A journal and what hands its events on.
pub struct Spool {
    journal: Arc<Journal>,
    spooled: Arc<SpooledLog>,
}

impl Spool {
    /// Opens it in front of `kafka`.
    pub fn open(
        settings: &SpoolSettings,
        kafka: &Arc<KafkaLog>,
        dead: Arc<dyn DeadLetters>,
    ) -> Result<Self, StartError> {
        let cursor_file: PathBuf = settings.journal.dir.join(CURSOR_FILE);
        let opened = Journal::open(settings.journal.clone());
        let (journal, report) = opened.map_err(StartError::Spool)?;
        // Until it is known what was handed on.
        journal.hold_from(0);
        for (file, offset) in &report.quarantined {
            tracing::error!(%file, offset, "a damaged segment of the spool was set aside");
        }
        let held = Arc::clone(&journal);
        let options = SpoolOptions {
            cursor_file,
            bytes_max: settings.bytes_max,
            age_max: settings.age_max,
            windows: settings.windows,
            clock: Arc::new(system_clock),
            needed_from: Arc::new(move |seq| held.hold_from(seq)),
        };
        let log: Arc<dyn EventLog> = kafka.clone();
        let spooled = SpooledLog::open(log, journal.clone(), dead, options);
        let spooled = spooled.map_err(|error| StartError::SpoolState(error.to_string()))?;
        let waiting = spooled.stats().events;
        tracing::info!(waiting, disk = &*report.backend, "the spool is open");
        Ok(Self { journal, spooled })
    }

    /// The log as sources and readers see it.
    pub fn events(&self) -> Arc<dyn EventLog> {
        self.spooled.clone()
    }

    /// What it holds and has done.
    pub fn stats(&self) -> SpoolStats {
        self.spooled.stats()
    }

    /// Ends it; before the log it stands in front of.
    pub fn close(&self) {
        let left = self.spooled.close();
        if left > 0 {
            tracing::warn!(
                events = left,
                "these events were acknowledged and stand on this host's disk alone: start this \
                 node again, with its data folder, to hand them on to Kafka"
            );
        }
        if !self.journal.close() {
            tracing::error!("the spool's disk took too long; what was acknowledged is on it");
        }
    }
}
