//! The task that follows one source: ticks, breaker, log. What is made of the answers is a
//! [`Harvest`]'s.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use touchline_core::event::Event;
use touchline_core::time::Timestamp;

use super::append::{Answer, Place};
use super::fetch::Fetcher;
use super::parking::Parking;
use super::{Ask, At, Failure, Harvest, PollStats, Trouble, tick_at};
use crate::breaker::{Breaker, BreakerState};
use crate::limits::{POLL_APPENDS_MAX, RETRY_AFTER_MAX};
use crate::outbound::{SourceError, Surroundings, unfit_letter};

/// Follows one source.
pub(super) struct Follower<H> {
    ask: Ask,
    fetcher: Fetcher,
    around: Surroundings,
    stats: Arc<PollStats>,
    harvest: H,
    /// Where answers go that can't be used.
    parking: Parking,
    breaker: Breaker,
    /// Where the log's answers come in; what was taken comes back empty.
    answers: mpsc::Receiver<Answer>,
    answering: mpsc::Sender<Answer>,
    appends: usize,
}

impl<H: Harvest> Follower<H> {
    pub fn new(
        ask: Ask,
        harvest: H,
        stats: Arc<PollStats>,
        around: Surroundings,
    ) -> Result<Self, SourceError> {
        let (answering, answers) = mpsc::channel(POLL_APPENDS_MAX);
        Ok(Self {
            fetcher: Fetcher::new(&ask)?,
            breaker: Breaker::new(ask.breaker),
            parking: Parking::new(&ask.name, H::PARKED, Arc::clone(&around.dead)),
            harvest,
            ask,
            around,
            stats,
            answers,
            answering,
            appends: 0,
        })
    }

    /// Polls at every tick until it is told to stop.
    pub async fn run(mut self, delay: Duration, mut stop: watch::Receiver<bool>) {
        let mut ticks = interval_at(Instant::now() + delay, self.ask.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut last: Option<Instant> = None;
        loop {
            let at = tokio::select! {
                _ = stop.changed() => return,
                Some(answer) = self.answers.recv() => {
                    self.settle(answer);
                    continue;
                }
                at = ticks.tick() => at,
            };
            let missed = last.map_or(0, |last| missed(at - last, self.ask.interval));
            last = Some(at);
            while let Ok(answer) = self.answers.try_recv() {
                self.settle(answer);
            }
            if !self.around.roster.is_mine(&self.ask.name) {
                self.stand_by();
                continue;
            }
            self.stats.set_assigned(true);
            if self.breaker.may_call(at.into_std()) {
                self.stats.count_poll(missed);
                self.poll().await;
            } else {
                self.stats.count_skipped();
            }
            let state = self.breaker.state(Instant::now().into_std());
            self.stats.set_breaker(state.number());
        }
    }

    /// Another node asks it. What we remember of it is out of date by the time it is ours again,
    /// and it isn't stale here.
    fn stand_by(&mut self) {
        if self.stats.is_assigned() {
            self.harvest.start_over();
            self.stats.set_still(None);
            self.breaker = Breaker::new(self.ask.breaker);
            self.stats.set_breaker(BreakerState::Closed.number());
        }
        self.stats.set_assigned(false);
        self.stats.set_good(Instant::now().into_std());
    }

    async fn poll(&mut self) {
        let fetched = self.fetcher.fetch(&self.around.clock).await;
        let (received_at, now) = ((self.around.clock)(), Instant::now().into_std());
        let source = &*self.ask.name;
        let correlation = format!("{source}-{}", tick_at(received_at));
        let at = At::new(received_at, now, &correlation);
        let (stats, harvest) = (&self.stats, &mut self.harvest);
        let (mut bad, mut dropped) = (None, 0_u64);
        let mut note = |trouble: Trouble, why: &dyn Display| {
            dropped += 1;
            tracing::debug!(source, reason = trouble.as_str(), %why, "an item is dropped");
            stats.count(trouble, 1);
            if trouble == Trouble::BadReading {
                bad.get_or_insert_with(|| why.to_string());
            }
        };
        let harvested = fetched.and_then(|raw| Ok((harvest.read(&raw, &at, &mut note)?, raw)));
        let (harvested, raw) = match harvested {
            Ok(harvested) => harvested,
            Err(failure) => return self.fail(failure, received_at, &correlation),
        };
        if self.breaker.state(now) != BreakerState::Closed {
            tracing::info!(source, "a source that is polled is back");
        }
        if let Some(why) = bad.filter(|_| H::PARKED.is_whole) {
            // The whole answer: a reading that is torn out says less.
            let failure = Failure { raw, ..Failure::new(Trouble::BadReading, why) };
            self.parking.park(failure, received_at, &correlation);
        }
        self.breaker.succeeded();
        // A source that answers and says nothing that can be used isn't well, whatever its line is.
        if dropped == 0 || harvested.unchanged > 0 || !harvested.news.is_empty() {
            self.stats.set_good(now);
        }
        self.stats.count_unchanged(harvested.unchanged);
        self.stats.count_restarts(harvested.restarts);
        if let Some(skew) = self.harvest.skew() {
            self.stats.set_skew(skew);
        }
        self.stats.set_still(self.harvest.still_since());
        self.publish(harvested.news, received_at);
    }

    fn fail(&mut self, failure: Failure, received_at: Timestamp, correlation: &str) {
        self.stats.count(failure.trouble, 1);
        let now = Instant::now().into_std();
        let was = self.breaker.state(now);
        self.breaker.failed(now, rand::random());
        if let Some(asked) = failure.retry_after {
            // A crowd that was told the same second doesn't come back in step.
            let asked = asked.min(RETRY_AFTER_MAX).mul_f64(1.0 + 0.1 * rand::random::<f64>());
            self.breaker.leave_alone(now + asked);
        }
        if was == BreakerState::Closed && self.breaker.state(now) == BreakerState::Open {
            let (source, why) = (&*self.ask.name, &*failure.why);
            tracing::warn!(source, why, "a source fails; it is asked more rarely now");
        }
        self.parking.park(failure, received_at, correlation);
    }

    /// Hands what is news to the log, and doesn't wait: the answer is looked at with a later tick.
    fn publish(&mut self, news: Vec<Event>, received_at: Timestamp) {
        if news.is_empty() {
            return;
        }
        if self.appends >= POLL_APPENDS_MAX {
            news.iter().for_each(|event| self.harvest.forget(event));
            return self.stats.count(Trouble::LogBehind, news.len() as u64);
        }
        news.iter().for_each(|event| self.harvest.keep(event));
        self.append(news, VecDeque::new(), received_at);
    }

    fn append(&mut self, events: Vec<Event>, alone: VecDeque<Event>, received_at: Timestamp) {
        self.appends += 1;
        let (stats, answering) = (Arc::clone(&self.stats), self.answering.clone());
        let place = Place::new(events.clone(), alone, received_at, stats, answering);
        self.around.log.append(events, received_at, Box::new(move |answer| place.answer(answer)));
    }

    fn settle(&mut self, answer: Answer) {
        self.appends -= 1;
        let reused = answer.reused.iter();
        reused.for_each(|event| self.harvest.reused(event, answer.received_at));
        answer.refused.iter().for_each(|event| self.harvest.forget(event));
        answer.unfit.iter().for_each(|event| self.give_up(event, answer.received_at));
        let again = answer.known.iter();
        let again = again.filter_map(|event| self.harvest.say_again(event, answer.received_at));
        // Of one answer only one of the two holds any.
        let mut more: Vec<Event> = again.chain(answer.others).collect();
        let mut alone = answer.alone;
        if more.is_empty() {
            more.extend(alone.pop_front());
        }
        // One append follows another, so that there are never more than there may be.
        if !more.is_empty() {
            self.append(more, alone, answer.received_at);
        }
    }

    /// Brokers will never take `event`: it stays known, so that it isn't tried again.
    fn give_up(&mut self, event: &Event, received_at: Timestamp) {
        let letter = unfit_letter(event, received_at);
        if let Some(letter) = self.harvest.unfit(event, letter) {
            self.parking.keep(letter);
        }
    }
}

/// Ticks that passed between two that were taken.
fn missed(between: Duration, interval: Duration) -> u64 {
    let passed = between.as_nanos() + interval.as_nanos() / 2;
    let ticks = passed / interval.as_nanos().max(1);
    u64::try_from(ticks.saturating_sub(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_that_passed_are_counted_whatever_the_jitter() {
        let ms = Duration::from_millis;
        let of = |between| missed(ms(between), ms(100));
        assert_eq!([of(100), of(98), of(103), of(200), of(430)], [0, 0, 0, 1, 3]);
    }
}
