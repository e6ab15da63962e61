//! `--kafka --trouble`: brokers are killed and come back, by a schedule that is told beforehand.
//!
//! One after the other first, which sockets should not notice; then all for a while, which they are
//! told of as `degraded` while nodes take webhooks into their spools; then from the beginning.
//!
//! # What it leaves out
//! Whether anything was lost: followers count that, and the status line says it.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Stop;
use super::brokers::Brokers;
use super::meter::Meter;
use crate::limits::demo::{BROKERS, BROKERS_BACK_MAX};

/// Brokers that are taken away by turns, and end with whoever holds the last of these.
pub type Shared = Arc<Mutex<Brokers>>;

/// Before the first outage, and after each: brokers choose leaders, copies catch up.
const CALM: Duration = Duration::from_secs(10);
/// Between two looks whether brokers are back.
const LOOK: Duration = Duration::from_millis(200);

/// Who is taken away, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outage {
    brokers: RangeInclusive<u16>,
    lasts: Duration,
}

impl Outage {
    const fn of(first: u16, last: u16, lasts_s: u64) -> Self {
        Self { brokers: first..=last, lasts: Duration::from_secs(lasts_s) }
    }

    fn names(&self) -> String {
        match self.brokers.clone().count() {
            1 => format!("Broker {}", self.brokers.start()),
            _ => "All brokers".to_owned(),
        }
    }

    fn begins(&self) -> String {
        let (names, lasts_s) = (self.names(), self.lasts.as_secs());
        let what = match self.brokers.clone().count() {
            1 => "killed, and nobody should notice",
            _ => "killed, and spools take over",
        };
        format!("{names}: {what}; back in {lasts_s} s.")
    }
}

/// One round, of about two minutes. The last outage lasts several times as long as a webhook may
/// wait for brokers.
const ROUND: [Outage; BROKERS as usize + 1] =
    [Outage::of(1, 1, 8), Outage::of(2, 2, 8), Outage::of(3, 3, 8), Outage::of(1, BROKERS, 20)];

/// The schedule, for a person.
pub fn describe() -> String {
    let [one, .., all] = &ROUND;
    format!(
        "Brokers are killed: each of {BROKERS} for {} s, then all for {} s, {} s apart; again.",
        one.lasts.as_secs(),
        all.lasts.as_secs(),
        CALM.as_secs()
    )
}

/// Plays round after round until told to stop; `meter` is told of each step.
pub async fn play(brokers: Shared, meter: Meter, mut stop: Stop) {
    for outage in ROUND.iter().cycle() {
        if stop.sleep(CALM).await {
            return;
        }
        meter.note(outage.begins());
        let away = outage.brokers.clone();
        meter.count(|totals| totals.brokers_away = away.clone().count() as u64);
        at_them(&brokers, move |it| away.for_each(|broker| it.take_away(broker))).await;
        if stop.sleep(outage.lasts).await {
            return;
        }
        bring_back(&brokers, outage, &meter, &mut stop).await;
    }
}

/// Starts those of `outage` again, and waits until they listen.
async fn bring_back(brokers: &Shared, outage: &Outage, meter: &Meter, stop: &mut Stop) {
    let (back, names) = (outage.brokers.clone(), outage.names());
    let started =
        at_them(brokers, move |it| back.into_iter().try_for_each(|n| it.bring_back(n))).await;
    if let Some(Err(error)) = started {
        meter.note(format!("{names} can't be started again: {error:#}"));
        return;
    }
    let begun = Instant::now();
    loop {
        let back = outage.brokers.clone();
        let all_listen = at_them(brokers, move |it| back.into_iter().all(|n| it.listens(n))).await;
        if all_listen == Some(true) {
            break;
        }
        if stop.sleep(LOOK).await {
            return;
        }
        if begun.elapsed() > BROKERS_BACK_MAX {
            let max_s = BROKERS_BACK_MAX.as_secs();
            meter.note(format!("{names}: started again, and still silent after {max_s} s."));
            return;
        }
    }
    meter.count(|totals| totals.brokers_away = 0);
    meter.note(format!("{names}: back after {:.0} s more.", begun.elapsed().as_secs_f64()));
}

/// Processes are started and ended where nobody waits for it. `None`: everything ends.
async fn at_them<T: Send + 'static>(
    brokers: &Shared,
    act: impl FnOnce(&mut Brokers) -> T + Send + 'static,
) -> Option<T> {
    let brokers = Arc::clone(brokers);
    tokio::task::spawn_blocking(move || act(&mut lock(&brokers))).await.ok()
}

fn lock(brokers: &Mutex<Brokers>) -> MutexGuard<'_, Brokers> {
    brokers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_takes_each_away_once_and_then_all_and_is_told_beforehand() {
        let (all, single) = ROUND.split_last().unwrap();
        let firsts: Vec<u16> = single.iter().map(|outage| *outage.brokers.start()).collect();
        assert_eq!(firsts, (1..=BROKERS).collect::<Vec<_>>());
        assert!(single.iter().all(|outage| outage.brokers.clone().count() == 1));
        assert_eq!(all.brokers, 1..=BROKERS);
        let told = describe();
        assert!(told.contains("for 8 s, then all for 20 s") && told.len() <= 80, "{told}");
        assert!(single[1].begins().starts_with("Broker 2: killed"), "{}", single[1].begins());
        assert!(all.begins().ends_with("back in 20 s."), "{}", all.begins());
    }
}
