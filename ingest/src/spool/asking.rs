//! Questions to a log: waiting for the answers, and telling where that takes long.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use touchline_core::event::Event;
use touchline_core::log::{AppendError, EventLog, Lane, Outcome, Position, ReadChunk, ReadRequest};
use touchline_core::time::Timestamp;

use crate::limits::SPOOL_READ_BYTES_MAX;

/// How long one answer of either log is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How soon whoever waits for one to read sees that the log is being closed.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often it is told that something holds up the spool.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How soon it is told first.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// What is said where the log ends before its answer.
const CLOSING: &str = "the log is being closed";

/// Something that is waited for without end, which is told now and then.
#[derive(Debug)]
pub(super) struct Waits {
    begin: Instant,
    tell_at: Cell<Instant>,
}

impl Waits {
    pub fn new(now: Instant) -> Self {
        Self { begin: now, tell_at: Cell::new(now + TELL_AFTER) }
    }

    /// For how many seconds it has lasted, where that is to be told.
    pub fn is_due(&self, now: Instant) -> Option<u64> {
        if now < self.tell_at.get() {
            return None;
        }
        self.tell_at.set(now + TELL_EVERY);
        Some(now.duration_since(self.begin).as_secs())
    }
}

/// Looks now and then whether it `is_so`, for so long at most; but not past the log's end.
pub(super) fn until(
    is_so: impl Fn() -> bool,
    most: Duration,
    is_closing: &AtomicBool,
) -> Result<bool, String> {
    let end = Instant::now() + most;
    loop {
        if is_so() {
            return Ok(true);
        }
        if is_closing.load(Ordering::Relaxed) {
            return Err(CLOSING.into());
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Appends, and waits for the answer, also where the log is being closed: it is about to come. One
/// that doesn't is unknown (R14).
pub(super) fn append(
    log: &dyn EventLog,
    events: &[Event],
    received_at: Timestamp,
) -> Result<Vec<Outcome>, AppendError> {
    let (tell, told) = sync_channel(1);
    let reply = Box::new(move |answer| drop(tell.try_send(answer)));
    log.append_in_order(events.to_vec(), received_at, reply);
    let silent = || AppendError::Unknown("the log did not answer in time".into());
    told.recv_timeout(ANSWER_MAX).unwrap_or_else(|_| Err(silent()))
}

/// Reads, and waits for the answer; but not past the log's end.
pub(super) fn read(
    log: &dyn EventLog,
    lane: Lane,
    from: u64,
    is_closing: &AtomicBool,
) -> Result<ReadChunk, String> {
    let (tell, told) = sync_channel(1);
    let from = Position { lane, seq: from };
    let request = ReadRequest { from, bytes_max: SPOOL_READ_BYTES_MAX };
    log.read(request, Box::new(move |answer| drop(tell.try_send(answer))));
    match answer(&told, is_closing)? {
        Ok(chunk) => Ok(chunk),
        Err(error) => Err(error.to_string()),
    }
}

fn answer<T>(told: &Receiver<T>, is_closing: &AtomicBool) -> Result<T, String> {
    let end = Instant::now() + ANSWER_MAX;
    loop {
        match told.recv_timeout(LOOK_EVERY) {
            Ok(answer) => return Ok(answer),
            Err(_) if is_closing.load(Ordering::Relaxed) => return Err(CLOSING.into()),
            Err(RecvTimeoutError::Timeout) if Instant::now() < end => {}
            Err(_) => return Err("no answer in time".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_after_some_seconds_and_then_once_a_minute() {
        let begin = Instant::now();
        let waits = Waits::new(begin);
        let told = (0..=130).filter_map(|s| waits.is_due(begin + Duration::from_secs(s)));
        assert_eq!(told.collect::<Vec<_>>(), [5, 65, 125]);
    }
}
