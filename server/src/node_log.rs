//! The log of this node: the journal, or Kafka, with or without a spool in front of it.

use std::sync::Arc;
use std::time::Duration;

use touchline_core::event::{Stream, StreamSet};
use touchline_core::log::{EventLog, LogHealthError, TailSink};
use touchline_ingest::kafka::KafkaLog;
use touchline_store::journal::Journal;

use crate::spool::Spool;

/// How long acknowledgements that are under way are waited for at a stop.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Which of them, and the thing itself.
#[derive(Clone)]
pub enum NodeLog {
    /// Embedded.
    Journal(Arc<Journal>),
    /// Shared by several nodes.
    Kafka(Arc<KafkaLog>),
    /// The same, and this host's disk while brokers are away.
    Spooled(Arc<KafkaLog>, Arc<Spool>),
}

impl NodeLog {
    /// As its readers and writers see it.
    pub fn events(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Journal(journal) => journal.clone(),
            Self::Kafka(kafka) => kafka.clone(),
            Self::Spooled(_, spool) => spool.events(),
        }
    }

    /// Kafka, where that is the log.
    pub fn kafka(&self) -> Option<&Arc<KafkaLog>> {
        match self {
            Self::Journal(_) => None,
            Self::Kafka(kafka) | Self::Spooled(kafka, _) => Some(kafka),
        }
    }

    /// From now on `sink` learns of every record.
    pub fn attach(&self, sink: Box<dyn TailSink>) {
        match self {
            Self::Journal(journal) => journal.attach(sink),
            Self::Kafka(kafka) | Self::Spooled(kafka, _) => kafka.attach(sink),
        }
    }

    /// Whether it takes events.
    ///
    /// # Errors
    /// Why not, and whose turn it is.
    pub fn health(&self) -> Result<(), LogHealthError> {
        self.events().health()
    }

    /// Why sessions get nothing new of some streams, and of which.
    pub fn degraded(&self) -> Option<(LogHealthError, StreamSet)> {
        use LogHealthError::{Broken, DiskFull, Mending, ReadOnly, Unreachable};
        // What reaches sessions is what brokers have, whatever a spool takes meanwhile.
        let health = self.kafka().map_or_else(|| self.health(), |kafka| kafka.health());
        let error = health.err()?;
        let takes_nothing =
            matches!(error, DiskFull | ReadOnly | Broken(_) | Mending(_) | Unreachable(..));
        // Of a journal only what sources send is held up; without brokers nothing comes at all.
        let streams = match self {
            Self::Journal(_) => StreamSet::EMPTY.with(Stream::Broadcast),
            _ => StreamSet::ALL,
        };
        takes_nothing.then_some((error, streams))
    }

    /// Finishes what is under way and ends its threads; says so if that took too long.
    pub fn close(&self) {
        if let Self::Spooled(_, spool) = self {
            spool.close();
        }
        match self {
            Self::Journal(journal) if !journal.close() => tracing::error!(
                "the disk took too long; what was acknowledged is on it all the same"
            ),
            Self::Kafka(kafka) | Self::Spooled(kafka, _) if !kafka.close(CLOSE_MAX) => {
                tracing::error!(
                    "brokers took too long: sources were told that some events are \
                                 unknown"
                );
            }
            _ => {}
        }
    }
}
