//! One append of posts, and what became of each.

use std::sync::Arc;

use tokio::sync::oneshot;
use touchline_core::event::Event;
use touchline_core::log::{AppendError, EventLog, Outcome};
use touchline_core::time::Timestamp;

use super::stats::{Fate, SocialStats, Trouble};

/// One append under way.
pub(super) struct Append {
    log: Arc<dyn EventLog>,
    events: Vec<Event>,
    received_at: Timestamp,
    answered: oneshot::Receiver<Answer>,
}

type Answer = Result<Vec<Outcome>, AppendError>;

impl Append {
    /// Hands `events` to the log, at once: appends reach it in the order in which they begin.
    pub fn begin(log: &Arc<dyn EventLog>, events: Vec<Event>, received_at: Timestamp) -> Self {
        let answered = append(log, events.clone(), received_at);
        Self { log: Arc::clone(log), events, received_at, answered }
    }

    /// Waits for the answer and counts it. Returns the ids of those that the log refused, and that
    /// may be tried again when the stream repeats them.
    pub async fn settle(mut self, stats: Arc<SocialStats>) -> Vec<Box<str>> {
        let mut answer = self.answered.await.unwrap_or(Err(AppendError::Closed));
        if let Err(AppendError::IdReused(which)) = &answer {
            // Posts that were edited refuse the whole batch (R15): once more without them.
            let mut n = 0..;
            self.events.retain(|_| n.next().is_some_and(|n| !which.contains(&n)));
            stats.count(Trouble::IdReused, which.len() as u64);
            stats.count_fate(Fate::Duplicate, which.len() as u64);
            if self.events.is_empty() {
                return Vec::new();
            }
            let again = append(&self.log, self.events.clone(), self.received_at);
            answer = again.await.unwrap_or(Err(AppendError::Closed));
        }
        if let Ok(outcomes) = answer {
            outcomes.iter().for_each(|outcome| stats.count_fate(fate(*outcome), 1));
            return Vec::new();
        }
        stats.count(Trouble::LogRefused, self.events.len() as u64);
        stats.count_fate(Fate::Refused, self.events.len() as u64);
        self.events.into_iter().map(|event| event.id).collect()
    }
}

fn append(
    log: &Arc<dyn EventLog>,
    events: Vec<Event>,
    received_at: Timestamp,
) -> oneshot::Receiver<Answer> {
    let (answer, answered) = oneshot::channel();
    let reply = Box::new(move |outcomes| drop(answer.send(outcomes)));
    log.append(events, received_at, reply);
    answered
}

fn fate(outcome: Outcome) -> Fate {
    match outcome {
        Outcome::Accepted(_) | Outcome::Spooled => Fate::Published,
        Outcome::Duplicate => Fate::Duplicate,
        Outcome::TooOld => Fate::TooOld,
    }
}
