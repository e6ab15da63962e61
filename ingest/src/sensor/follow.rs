//! The task that follows one source.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use touchline_core::dead::DeadLetters;
use touchline_core::event::Event;
use touchline_core::log::EventLog;
use touchline_core::time::Timestamp;

use super::SensorSource;
use super::fetch::{Answer, Failure, Fetcher};
use super::parking::Parking;
use super::stats::{SensorStats, Trouble};
use super::values::{Values, Verdict};
use crate::breaker::{Breaker, BreakerState};
use crate::broadcast::Clock;
use crate::limits::SENSOR_APPENDS_MAX;

/// Events that the log has refused.
type Refused = Vec<Event>;

/// Follows one source.
pub(super) struct Follower {
    source: SensorSource,
    fetcher: Fetcher,
    log: Arc<dyn EventLog>,
    stats: Arc<SensorStats>,
    clock: Clock,
    values: Values,
    breaker: Breaker,
    /// Where the log's answers come in; what was taken comes back empty.
    answers: mpsc::Receiver<Refused>,
    answering: mpsc::Sender<Refused>,
    parking: Parking,
    appends: usize,
    tick: u64,
}

impl Follower {
    pub fn new(
        source: SensorSource,
        fetcher: Fetcher,
        log: Arc<dyn EventLog>,
        stats: Arc<SensorStats>,
        clock: Clock,
        dead: Arc<dyn DeadLetters>,
    ) -> Self {
        let (answering, answers) = mpsc::channel(SENSOR_APPENDS_MAX);
        Self {
            values: Values::new(&source.name, source.rules),
            breaker: Breaker::new(source.breaker),
            parking: Parking::new(&source.name, dead),
            source,
            fetcher,
            log,
            stats,
            clock,
            answers,
            answering,
            appends: 0,
            tick: 0,
        }
    }

    /// Polls at every tick until it is told to stop.
    pub async fn run(mut self, delay: Duration, mut stop: watch::Receiver<bool>) {
        let mut ticks = interval_at(Instant::now() + delay, self.source.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut last: Option<Instant> = None;
        loop {
            let at = tokio::select! {
                _ = stop.changed() => return,
                at = ticks.tick() => at,
            };
            let missed = last.map_or(0, |last| missed(at - last, self.source.interval));
            last = Some(at);
            self.take_answers();
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

    async fn poll(&mut self) {
        let fetched = self.fetcher.fetch().await;
        let received_at = (self.clock)();
        self.tick = u64::try_from(received_at.0 / 1_000).unwrap_or(0);
        let correlation = format!("{}-{}", self.source.name, self.tick);
        let readings =
            fetched.and_then(|Answer { value, raw }| match self.source.mapping.readings(&value) {
                Ok(readings) => Ok((readings, raw)),
                Err(error) => Err(Failure { raw, ..Failure::new(Trouble::BadReading, error) }),
            });
        let (readings, mut raw) = match readings {
            Ok(readings) => readings,
            Err(failure) => return self.fail(failure, received_at, &correlation),
        };
        if self.breaker.state(Instant::now().into_std()) != BreakerState::Closed {
            tracing::info!(source = &*self.source.name, "a sensor source is back");
        }
        self.breaker.succeeded();
        self.stats.set_good(received_at);
        let mut news = Vec::new();
        for reading in readings {
            let verdict = match &reading {
                Ok(reading) => self.values.judge(reading, received_at, self.tick, &correlation),
                Err(error) => {
                    tracing::debug!(source = &*self.source.name, %error, "a reading is dropped");
                    self.stats.count(Trouble::BadReading, 1);
                    // The whole answer: a reading that is torn out says less. The first of them
                    // takes it, the gate keeps the others back.
                    let failure = Failure {
                        raw: std::mem::take(&mut raw),
                        ..Failure::new(Trouble::BadReading, error)
                    };
                    self.parking.park(failure, received_at, &correlation);
                    continue;
                }
            };
            match verdict {
                Verdict::News(event) => news.push(*event),
                Verdict::Unchanged => self.stats.count_unchanged(),
                Verdict::TooOld => self.stats.count(Trouble::TooOld, 1),
                Verdict::Backwards => self.stats.count(Trouble::Backwards, 1),
                Verdict::Standing => self.stats.count(Trouble::Standing, 1),
                Verdict::Full => self.stats.count(Trouble::TooManyKeys, 1),
            }
        }
        if let Some(skew) = self.values.skew() {
            self.stats.set_skew(skew);
        }
        self.publish(news, received_at);
    }

    fn fail(&mut self, failure: Failure, received_at: Timestamp, correlation: &str) {
        self.stats.count(failure.trouble, 1);
        let now = Instant::now().into_std();
        let was = self.breaker.state(now);
        self.breaker.failed(now, rand::random());
        if was == BreakerState::Closed && self.breaker.state(now) == BreakerState::Open {
            let (source, why) = (&*self.source.name, &*failure.why);
            tracing::warn!(source, why, "a sensor source fails; it is asked more rarely now");
        }
        self.parking.park(failure, received_at, correlation);
    }

    /// Hands what is news to the log, and doesn't wait: the answer is looked at with a later tick.
    fn publish(&mut self, news: Vec<Event>, received_at: Timestamp) {
        if news.is_empty() {
            return;
        }
        if self.appends >= SENSOR_APPENDS_MAX {
            return self.stats.count(Trouble::LogBehind, news.len() as u64);
        }
        self.appends += 1;
        news.iter().for_each(|event| self.values.keep(event, received_at));
        let (answering, stats, kept) =
            (self.answering.clone(), Arc::clone(&self.stats), news.clone());
        let reply = Box::new(move |answer: Result<Vec<_>, _>| {
            let refused = match answer {
                Ok(_) => {
                    stats.count_published(kept.len() as u64);
                    Vec::new()
                }
                Err(_) => {
                    stats.count(Trouble::LogRefused, kept.len() as u64);
                    kept
                }
            };
            // As many places as appends may be under way.
            let _ = answering.try_send(refused);
        });
        self.log.append(news, received_at, reply);
    }

    fn take_answers(&mut self) {
        while let Ok(refused) = self.answers.try_recv() {
            self.appends -= 1;
            refused.iter().for_each(|event| self.values.forget(event));
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
