//! Dead letters of this node: who keeps them, and how they are replayed.
//!
//! [`open`] starts the keeper before anything else that may park. [`Replayer`] reads a letter's
//! bytes again as its adapter would, and hands what they hold to the log; only the running node may
//! do that. The admin port ([`http`]) and `touchline dlq replay` ask it. Where the log is Kafka a
//! [`courier`] shows letters to all nodes.
//!
//! # What a replay promises
//! - It goes through validation again, by the adapter that gave up on it.
//! - Its age is judged by when the letter first came (R16), however late it is replayed.
//! - It is appended once: the letter is marked before the log is asked, the log's dedupe window
//!   answers repeats, and what that window can't vouch for any more is not appended unless somebody
//!   says `late`, and so that it was never taken by another way.
//! - A log that takes nothing is no letter's fault: the replay stops, and the letter stays as it
//!   was.

mod answer;
pub mod courier;
pub mod http;
mod readers;
mod replay;
pub mod which;

pub use answer::{Answer, Ask, Outcome, ReplayError, Run, Wanted};
pub use readers::Readers;
pub use replay::Replayer;
pub use which::Which;

use std::sync::Arc;

use touchline_store::dead::DeadKeeper;

use crate::config::Options;
use crate::start_error::StartError;

/// Starts the keeper. A file that can't be used doesn't end a start: it is told, and tried again.
pub(crate) fn open(options: &Options) -> Result<Arc<DeadKeeper>, StartError> {
    DeadKeeper::start(options.dead.clone()).map(Arc::new).map_err(StartError::Thread)
}
