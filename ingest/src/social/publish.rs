//! One append of posts, and what became of each.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;
use touchline_core::dead::DeadLetter;
use touchline_core::event::Event;
use touchline_core::log::{AppendError, EventLog, Outcome};
use touchline_core::time::Timestamp;

use super::stats::{Fate, SocialStats, Trouble};
use crate::outbound::{split, unfit_letter};

/// One append under way.
pub(super) struct Append {
    log: Arc<dyn EventLog>,
    events: Vec<Event>,
    received_at: Timestamp,
    answered: oneshot::Receiver<Answer>,
}

/// What the log has not taken.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// The ids of posts that may be tried again when the stream repeats them.
    pub refused: Vec<Box<str>>,
    /// Of posts that brokers will never take.
    pub unfit: Vec<DeadLetter>,
}

type Answer = Result<Vec<Outcome>, AppendError>;

impl Append {
    /// Hands `events` to the log, at once: appends reach it in the order in which they begin.
    pub fn begin(log: &Arc<dyn EventLog>, events: Vec<Event>, received_at: Timestamp) -> Self {
        let answered = append(log, events.clone(), received_at);
        Self { log: Arc::clone(log), events, received_at, answered }
    }

    /// Waits for the answer, counts it, and sees to those that were refused for others' sake.
    pub async fn settle(self, stats: Arc<SocialStats>) -> Left {
        let Self { log, mut events, received_at, mut answered } = self;
        let (mut rest, mut left) = (VecDeque::new(), Left::default());
        loop {
            match answered.await.unwrap_or(Err(AppendError::Closed)) {
                Ok(outcomes) => {
                    outcomes.iter().for_each(|outcome| stats.count_fate(fate(*outcome), 1));
                }
                Err(AppendError::IdReused(which)) if !which.is_empty() => {
                    // Posts that were edited refuse the whole batch (R15): once more without them.
                    let (edited, others) = split(events, &which);
                    stats.count(Trouble::IdReused, edited.len() as u64);
                    stats.count_fate(Fate::Duplicate, edited.len() as u64);
                    rest.push_front(others);
                }
                Err(AppendError::Refused(which)) if !which.is_empty() => {
                    let is_alone = events.len() == 1;
                    let (named, taken) = split(events, &which);
                    stats.count_fate(Fate::Published, taken.len() as u64);
                    if is_alone {
                        count_refused(&stats, 1);
                        let letters = named.iter().map(|event| unfit_letter(event, received_at));
                        left.unfit.extend(letters);
                    } else {
                        // Brokers refuse batches: whose fault it is shows when each goes alone.
                        rest.extend(named.into_iter().map(|event| vec![event]));
                    }
                }
                Err(_) => {
                    let all = events.into_iter().chain(rest.drain(..).flatten());
                    left.refused = all.map(|event| event.id).collect();
                    count_refused(&stats, left.refused.len() as u64);
                }
            }
            let next = std::iter::from_fn(|| rest.pop_front()).find(|it| !it.is_empty());
            let Some(next) = next else { return left };
            answered = append(&log, next.clone(), received_at);
            events = next;
        }
    }
}

fn count_refused(stats: &SocialStats, posts: u64) {
    stats.count(Trouble::LogRefused, posts);
    stats.count_fate(Fate::Refused, posts);
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
