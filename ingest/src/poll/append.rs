//! One append of what is news, and what the log made of it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use touchline_core::event::Event;
use touchline_core::log::{AppendError, Outcome};
use touchline_core::time::Timestamp;

use super::{PollStats, Trouble};
use crate::outbound::split;
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
    /// Brokers refuse them for what they are: they are never tried again.
    pub unfit: Vec<Event>,
    /// Brokers refused them together, as they do with batches: whose fault it is shows when each
    /// goes alone, one after the other's answer.
    pub alone: VecDeque<Event>,
}

/// One of the places that appends may take. It is given back by the log's answer, and also where
/// the log drops the reply without one.
pub(super) struct Place {
    /// `None`: answered.
    events: Option<Vec<Event>>,
    /// Go alone afterwards.
    alone: VecDeque<Event>,
    received_at: Timestamp,
    stats: Arc<PollStats>,
    answering: mpsc::Sender<Answer>,
}

impl Place {
    /// Of `events`, which came at `received_at`, as what goes `alone` after them did.
    pub fn new(
        events: Vec<Event>,
        alone: VecDeque<Event>,
        received_at: Timestamp,
        stats: Arc<PollStats>,
        answering: mpsc::Sender<Answer>,
    ) -> Self {
        Self { events: Some(events), alone, received_at, stats, answering }
    }

    /// Counts the log's answer, and gives the place back with what is to be done.
    pub fn answer(mut self, answer: Result<Vec<Outcome>, AppendError>) {
        self.settle(answer);
    }

    fn settle(&mut self, answer: Result<Vec<Outcome>, AppendError>) {
        let Some(events) = self.events.take() else { return };
        let (received_at, alone) = (self.received_at, std::mem::take(&mut self.alone));
        let mut settled = Answer { received_at, alone, ..Answer::default() };
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
                (settled.reused, settled.others) = split(events, &which);
            }
            Err(AppendError::Refused(which)) if !which.is_empty() => {
                let is_alone = events.len() == 1;
                // The others are in; which of them were before isn't said.
                let (named, taken) = split(events, &which);
                self.stats.count_published(taken.len() as u64);
                if is_alone {
                    self.stats.count(Trouble::LogRefused, 1);
                    settled.unfit = named;
                } else {
                    settled.alone.extend(named);
                }
            }
            Err(_) => {
                settled.refused = events;
                settled.refused.extend(settled.alone.drain(..));
                self.stats.count(Trouble::LogRefused, settled.refused.len() as u64);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn settled(answer: Result<Vec<Outcome>, AppendError>) -> (Answer, u64) {
        let stats = Arc::new(PollStats::new("feed", Instant::now()));
        let (answering, mut answers) = mpsc::channel(1);
        let event = |id: &str| Event::sample(id, "ars");
        let alone = VecDeque::from([event("c"), event("d")]);
        let events = vec![event("a"), event("b")];
        let place = Place::new(events, alone, Timestamp(7), Arc::clone(&stats), answering);
        place.answer(answer);
        (answers.try_recv().unwrap(), stats.troubles_of(Trouble::LogRefused))
    }

    fn ids<'e>(events: impl IntoIterator<Item = &'e Event>) -> String {
        events.into_iter().map(|event| &*event.id).collect()
    }

    #[test]
    fn what_waits_to_go_alone_is_tried_again_with_the_rest_where_the_log_is_away() {
        let (answer, refused) = settled(Err(AppendError::Busy));
        assert_eq!(
            (ids(&answer.refused), ids(&answer.alone), refused),
            ("abcd".into(), "".into(), 4)
        );
    }

    #[test]
    fn what_brokers_refuse_among_others_goes_alone_after_those_that_wait() {
        let (answer, refused) = settled(Err(AppendError::Refused(vec![1])));
        assert_eq!((ids(&answer.refused), ids(&answer.alone)), ("".into(), "cdb".into()));
        assert_eq!((answer.unfit.len(), refused), (0, 0), "nobody knows yet whose fault it is");
    }
}
