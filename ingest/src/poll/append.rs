//! One append of what is news, and what the log made of it.

use std::sync::Arc;

use tokio::sync::mpsc;
use touchline_core::event::Event;
use touchline_core::log::{AppendError, Outcome};
use touchline_core::time::Timestamp;

use super::{PollStats, Trouble};
use crate::tally::Tally;

/// What came of one append; what is news to the log isn't in it.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// When its events came.
    pub received_at: Timestamp,
    /// May be tried again.
    pub refused: Vec<Event>,
    /// The log knows their ids under other content (R15).
    pub reused: Vec<Event>,
    /// The log has them already.
    pub known: Vec<Event>,
    /// Were refused for those beside them: they go again at once.
    pub others: Vec<Event>,
}

/// One of the places that appends may take. It is given back by the log's answer, and also where
/// the log drops the reply without one.
pub(super) struct Place {
    /// `None`: answered.
    events: Option<Vec<Event>>,
    received_at: Timestamp,
    stats: Arc<PollStats>,
    answering: mpsc::Sender<Answer>,
}

impl Place {
    /// Of `events`, which came at `received_at`.
    pub fn new(
        events: Vec<Event>,
        received_at: Timestamp,
        stats: Arc<PollStats>,
        answering: mpsc::Sender<Answer>,
    ) -> Self {
        Self { events: Some(events), received_at, stats, answering }
    }

    /// Counts the log's answer, and gives the place back with what is to be done.
    pub fn answer(mut self, answer: Result<Vec<Outcome>, AppendError>) {
        self.settle(answer);
    }

    fn settle(&mut self, answer: Result<Vec<Outcome>, AppendError>) {
        let Some(events) = self.events.take() else { return };
        let mut settled = Answer { received_at: self.received_at, ..Answer::default() };
        match answer {
            Ok(outcomes) => {
                let tally = Tally::of(&outcomes);
                self.stats.count_published(tally.accepted);
                self.stats.count_unchanged(tally.duplicates);
                self.stats.count(Trouble::TooOld, tally.too_old);
                let known = events.into_iter().zip(outcomes);
                let known = known.filter(|(_, outcome)| *outcome == Outcome::Duplicate);
                settled.known = known.map(|(event, _)| event).collect();
            }
            Err(AppendError::IdReused(which)) if !which.is_empty() => {
                self.stats.count(Trouble::IdReused, which.len() as u64);
                for (n, event) in events.into_iter().enumerate() {
                    let is_reused = which.contains(&n);
                    let list = if is_reused { &mut settled.reused } else { &mut settled.others };
                    list.push(event);
                }
            }
            Err(_) => {
                self.stats.count(Trouble::LogRefused, events.len() as u64);
                settled.refused = events;
            }
        }
        // As many places as appends may be under way; none where nobody follows any more.
        let _ = self.answering.try_send(settled);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settle(Err(AppendError::Closed));
    }
}
