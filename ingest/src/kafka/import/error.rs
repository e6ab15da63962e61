//! Why a journal can't be moved in; each says what to do.

use rdkafka::error::KafkaError;

use super::super::options::OpenError;

/// Why a journal can't be moved in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The cluster.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// Events stand there already.
    #[error(
        "{topic}, partition {partition}, holds events already: a journal is moved into an empty \
         log only; take another log.kafka.topic_prefix, or delete the topics"
    )]
    NotEmpty {
        /// A topic that does.
        topic: String,
        /// And its partition.
        partition: i32,
    },
    /// All of it is in.
    #[error(
        "this journal was moved in already, up to sequence {next}, and the log has been written to \
         since: what the journal has got since then ({left} records) can't be told from that"
    )]
    Overtaken {
        /// How far.
        next: u64,
        /// What is left.
        left: u64,
    },
    /// Somebody else writes.
    #[error(
        "{topic}, partition {partition}, holds something at offset {offset} that isn't of this \
         journal: somebody else writes to the log; stop them, delete the topics and begin again"
    )]
    Foreign {
        /// Where.
        topic: String,
        /// Where.
        partition: i32,
        /// Where.
        offset: u64,
    },
    /// A node runs on the log.
    #[error("node {node} runs on this log (it said so {ago_s} s ago): stop it first, or wait")]
    NodeRuns {
        /// Its name.
        node: String,
        /// When it was heard of.
        ago_s: u64,
    },
    /// Another journal.
    #[error(
        "another journal (of epoch {journal}) is being moved into this log: run `touchline log \
         migrate` for that one to its end, or take another log.kafka.topic_prefix"
    )]
    Twin {
        /// Its epoch.
        journal: String,
    },
    /// Topics that were made anew, most likely.
    #[error("the log has changed while it was looked at: run it again")]
    Restless,
    /// Another life.
    #[error(
        "life {generation} of the log has begun meanwhile, which isn't the one that this journal \
         is moved into: stop whoever began it, delete the topics and begin again"
    )]
    Outlived {
        /// Its number.
        generation: u64,
    },
    /// A record isn't taken.
    #[error("sequence {seq} of the journal isn't taken: {error}; run it again once that is mended")]
    Refused {
        /// Which.
        seq: u64,
        /// Why.
        error: KafkaError,
    },
}
