//! Why a start can't be: each reason one sentence for the person who started it.
//!
//! A sentence names what is in the way, whose it is, and the key and the variable that move ours.
//! Which exit code belongs to which reason, the command line knows.
//!
//! # What it leaves out
//! Mistakes in the configuration's text: those are [`ConfigError`](crate::config::ConfigError)s.

use std::net::SocketAddr;
use std::path::PathBuf;

use touchline_fanout::StartError as FanoutError;
use touchline_fanout::plan::PlanError;
use touchline_ingest::kafka;
use touchline_ingest::outbound::SourceError;
use touchline_store::journal::OpenError;

use crate::config::layers::variable_of;
use crate::ports::Holder;

/// Why it doesn't start. Each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody has the port.
    #[error(
        "the {port} port {address} is taken{}: stop that one, or move ours with `listen.{port}` \
         ({})",
        held_by(holder),
        variable_of(&format!("listen.{port}"))
    )]
    PortTaken {
        /// `stream`, `api` or `admin`.
        port: &'static str,
        /// As configured.
        address: SocketAddr,
        /// Who, if the system tells us.
        holder: Option<Holder>,
    },
    /// The system doesn't let us have it.
    #[error(
        "the {port} port {address} can't be opened ({error}): choose another with `listen.{port}` \
         ({})",
        variable_of(&format!("listen.{port}"))
    )]
    Port {
        /// `stream`, `api` or `admin`.
        port: &'static str,
        /// As configured.
        address: SocketAddr,
        /// The system's word.
        error: std::io::Error,
    },
    /// The spool's journal.
    #[error("the spool: {0}")]
    Spool(OpenError),
    /// What the spool holds.
    #[error("{0}")]
    SpoolState(String),
    /// The data folder.
    #[error(
        "the data folder {} can't be written ({error}): give it to the user that runs touchline, \
         or choose another with `node.data_dir` ({})",
        folder.display(),
        variable_of("node.data_dir")
    )]
    DataFolder {
        /// Which.
        folder: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// The journal.
    #[error("{0}")]
    Journal(OpenError),
    /// A source.
    #[error("{0}")]
    Source(SourceError),
    /// Kafka.
    #[error("{0}")]
    Kafka(kafka::OpenError),
    /// The configured number of shards can't hold the configured number of connections.
    #[error("`node.shards`: {0}")]
    Plan(PlanError),
    /// The host can't run it at all.
    #[error("{0}")]
    Host(PlanError),
    /// The shards.
    #[error("{0}")]
    Fanout(FanoutError),
    /// Threads.
    #[error("the system gives us no thread ({0}): raise its limit on processes (`ulimit -u`)")]
    Thread(std::io::Error),
}

fn held_by(holder: &Option<Holder>) -> String {
    match holder {
        Some(Holder { pid, command }) => format!(" by process {pid} ({command})"),
        None => " by another user's process".into(),
    }
}
