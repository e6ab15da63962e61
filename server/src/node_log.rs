//! The log of this node: the journal, or Kafka.

use std::sync::Arc;
use std::time::Duration;

use touchline_core::log::{EventLog, LogHealthError, TailSink};
use touchline_ingest::kafka::KafkaLog;
use touchline_store::journal::Journal;

/// How long acknowledgements that are under way are waited for at a stop.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Which of the two, and the thing itself.
#[derive(Clone)]
pub enum NodeLog {
    /// Embedded.
    Journal(Arc<Journal>),
    /// Shared by several nodes.
    Kafka(Arc<KafkaLog>),
}

impl NodeLog {
    /// As its readers and writers see it.
    pub fn events(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Journal(journal) => journal.clone(),
            Self::Kafka(kafka) => kafka.clone(),
        }
    }

    /// From now on `sink` learns of every record.
    pub fn attach(&self, sink: Box<dyn TailSink>) {
        match self {
            Self::Journal(journal) => journal.attach(sink),
            Self::Kafka(kafka) => kafka.attach(sink),
        }
    }

    /// Whether it takes events.
    ///
    /// # Errors
    /// Why not, and whose turn it is.
    pub fn health(&self) -> Result<(), LogHealthError> {
        match self {
            Self::Journal(journal) => journal.health(),
            Self::Kafka(kafka) => kafka.health(),
        }
    }

    /// Finishes what is under way and ends its threads; says so if that took too long.
    pub fn close(&self) {
        match self {
            Self::Journal(journal) if !journal.close() => tracing::error!(
                "the disk took too long; what was acknowledged is on it all the same"
            ),
            Self::Kafka(kafka) if !kafka.close(CLOSE_MAX) => tracing::error!(
                "brokers took too long: sources were told that some events are unknown"
            ),
            _ => {}
        }
    }
}
