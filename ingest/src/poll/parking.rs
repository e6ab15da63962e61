//! Where answers are kept that can't be used.
//!
//! What a source says wrong is parked with its bytes, once a minute for each reason: a device that
//! is wrong at all says so ten times a second. A source that ails (no connection, too late, 5xx)
//! parks nothing, for there is nothing to look at. A value that brokers refuse as it is counts as
//! what a source says wrong. Whether the whole answer is kept where one part
//! of it is wrong, its harvest says ([`ParkedAs`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use touchline_core::dead::{DeadLetter, DeadLetters};
use touchline_core::time::Timestamp;

use super::{Failure, ParkedAs, Trouble};

/// Between two letters of one reason.
const PARK_EVERY: Duration = Duration::from_secs(60);

/// Parks what one source says wrong.
pub(super) struct Parking {
    source: Box<str>,
    parked_as: ParkedAs,
    dead: Arc<dyn DeadLetters>,
    /// When each reason was parked last.
    parked: HashMap<&'static str, Timestamp>,
}

impl Parking {
    /// Of `source`, of which nothing has been parked.
    pub fn new(source: &str, parked_as: ParkedAs, dead: Arc<dyn DeadLetters>) -> Self {
        Self { source: source.into(), parked_as, dead, parked: HashMap::new() }
    }

    /// Parks what came at `now`, unless the source merely ails or said as much a moment ago.
    pub fn park(&mut self, failure: Failure, now: Timestamp, correlation: &str) {
        if !is_own_fault(failure.trouble) {
            return;
        }
        self.keep(DeadLetter {
            desk: self.parked_as.desk,
            stream: self.parked_as.stream,
            source: self.source.clone(),
            reason: failure.trouble.as_str(),
            detail: failure.why,
            attempts: 1,
            correlation: correlation.into(),
            received_at: now,
            raw: failure.raw.into(),
        });
    }

    /// Keeps a letter, unless one of its reason was kept a moment ago.
    pub fn keep(&mut self, letter: DeadLetter) {
        let (last, now) = (self.parked.get(letter.reason), letter.received_at);
        // A clock that was set back parks again.
        let is_near = last.is_some_and(|last| now >= *last && now < last.plus(PARK_EVERY));
        if !is_near {
            self.parked.insert(letter.reason, now);
            self.dead.park(letter);
        }
    }
}

/// Whether the answer is wrong, rather than late or missing.
fn is_own_fault(trouble: Trouble) -> bool {
    matches!(
        trouble,
        Trouble::BadJson | Trouble::BadReading | Trouble::ContentType | Trouble::TooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use touchline_core::dead::Desk;
    use touchline_core::event::Stream;

    #[derive(Default)]
    struct Shelf(Mutex<Vec<DeadLetter>>);

    impl DeadLetters for Shelf {
        fn park(&self, letter: DeadLetter) {
            self.0.lock().unwrap().push(letter);
        }
    }

    fn failure(trouble: Trouble) -> Failure {
        Failure { raw: b"<html>".to_vec(), ..Failure::new(trouble, "why") }
    }

    #[test]
    fn fault_26_a_minute_has_one_letter_of_each_reason_and_none_of_what_merely_ails() {
        let shelf = Arc::new(Shelf::default());
        let parked_as = ParkedAs { desk: Desk::Sensor, stream: Stream::Sensor, is_whole: true };
        let mut parking = Parking::new("emirates", parked_as, shelf.clone());
        for second in 0..61 {
            for (trouble, _) in Trouble::ALL {
                parking.park(failure(trouble), Timestamp(second * 1_000_000), "c");
            }
        }
        let letters = shelf.0.lock().unwrap();
        let mut reasons: Vec<_> = letters.iter().map(|it| it.reason).collect();
        reasons.sort_unstable();
        let twice = |reason| [reason; 2];
        let want = ["bad_json", "bad_reading", "content_type", "too_large"].map(twice).concat();
        assert_eq!(reasons, want, "at 0 s and at 60 s");
        assert_eq!((letters[0].desk, &letters[0].raw[..]), (Desk::Sensor, &b"<html>"[..]));
    }
}
