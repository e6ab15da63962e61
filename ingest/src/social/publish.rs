//! One append of posts, and what became of each.

use std::sync::Arc;

use tokio::sync::oneshot;
use touchline_core::event::Event;
use touchline_core::log::{AppendError, EventLog, Outcome};
use touchline_core::time::Timestamp;

use super::stats::{Fate, SocialStats, Trouble};

/// Hands `events` to the log and counts its answer. Returns the ids of those that it refused, and
/// that may be tried again when the stream repeats them.
pub(super) async fn publish(
    log: Arc<dyn EventLog>,
    mut events: Vec<Event>,
    received_at: Timestamp,
    stats: Arc<SocialStats>,
) -> Vec<Box<str>> {
    // A second time without posts that were edited: one of them refuses the whole batch (R15).
    for _ in 0..2 {
        match append(&log, events.clone(), received_at).await {
            Ok(outcomes) => {
                outcomes.iter().for_each(|outcome| stats.count_fate(fate(*outcome), 1));
                return Vec::new();
            }
            Err(AppendError::IdReused(which)) => {
                let mut n = 0..;
                events.retain(|_| n.next().is_some_and(|n| !which.contains(&n)));
                stats.count(Trouble::IdReused, which.len() as u64);
                stats.count_fate(Fate::Duplicate, which.len() as u64);
                if events.is_empty() {
                    return Vec::new();
                }
            }
            Err(_) => break,
        }
    }
    stats.count(Trouble::LogRefused, events.len() as u64);
    stats.count_fate(Fate::Refused, events.len() as u64);
    events.into_iter().map(|event| event.id).collect()
}

async fn append(
    log: &Arc<dyn EventLog>,
    events: Vec<Event>,
    received_at: Timestamp,
) -> Result<Vec<Outcome>, AppendError> {
    let (answer, answered) = oneshot::channel();
    let reply = Box::new(move |outcomes| drop(answer.send(outcomes)));
    log.append(events, received_at, reply);
    answered.await.unwrap_or(Err(AppendError::Closed))
}

fn fate(outcome: Outcome) -> Fate {
    match outcome {
        Outcome::Accepted(_) | Outcome::Spooled => Fate::Published,
        Outcome::Duplicate => Fate::Duplicate,
        Outcome::TooOld => Fate::TooOld,
    }
}
