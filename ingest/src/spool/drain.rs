//! The thread that hands on what the spool holds, oldest first.
//!
//! It reads the spool from its cursor, appends to the shared log in groups, and waits for each
//! group's answer before the next: order is kept without any trust in what a producer does after a
//! failure. A group of a thousand events every few milliseconds is more than sources send.
//!
//! What the log can't take at the moment is tried again without end, ever more rarely. What it
//! refuses for its own fault becomes a dead letter, and the rest goes on: an id that was used for
//! other content at once, a record that fails alone, again and again, while the log takes others,
//! after [`ATTEMPTS_MAX`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use touchline_core::dead::{DeadLetter, Desk};
use touchline_core::event::Event;
use touchline_core::log::{AppendError, EventLog, Lane, Outcome, Position, ReadChunk, ReadRequest};
use touchline_core::log::{Record, record};
use touchline_core::retry::{ATTEMPTS_MAX, Backoff};
use touchline_core::time::Timestamp;

use super::cursor::Cursor;
use super::twins::Twins;
use super::{Shared, size};
use crate::limits::{APPEND_EVENTS_MAX, SPOOL_READ_BYTES_MAX};

/// How often an idle spool is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long one answer of either log is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Records of one group were received within so long: they are handed on with the first one's time.
const GROUP_SPAN: Duration = Duration::from_secs(1);

/// The thread's own.
pub(super) struct Drain {
    shared: Arc<Shared>,
    cursor: Cursor,
    twins: Twins,
}

impl Drain {
    pub fn new(shared: Arc<Shared>, cursor: Cursor) -> Self {
        Self { shared, cursor, twins: Twins::default() }
    }

    /// Enters into the books what an earlier life has left.
    pub fn count_what_is_left(&self) -> Result<(), String> {
        let mut from = self.cursor.next();
        loop {
            let chunk = read(&*self.shared.spool, Lane(0), from, SPOOL_READ_BYTES_MAX)?;
            let mut ledger = self.shared.ledger();
            for Record { event, received_at, .. } in &chunk.records {
                ledger.enter(self.shared.lane(event), size(event), *received_at);
            }
            if chunk.next == from {
                let (events, bytes) = (ledger.events(), ledger.bytes());
                if events > 0 {
                    tracing::warn!(events, bytes, "the spool holds events of an earlier start");
                }
                return Ok(());
            }
            from = chunk.next;
        }
    }

    /// Hands on until the log is closed.
    pub fn run(mut self) {
        while !self.is_closing() {
            if self.shared.ledger().is_empty() {
                self.twins.forget();
                std::thread::sleep(LOOK_EVERY);
            } else if self.shared.log.health().is_err() {
                // What others appended meanwhile is to be looked at afresh.
                self.twins.forget();
                std::thread::sleep(LOOK_EVERY);
            } else {
                self.pass_on();
            }
        }
    }

    fn is_closing(&self) -> bool {
        self.shared.is_closing.load(Ordering::Relaxed)
    }

    /// One chunk of the spool.
    fn pass_on(&mut self) {
        let from = self.cursor.next();
        let chunk = match read(&*self.shared.spool, Lane(0), from, SPOOL_READ_BYTES_MAX) {
            Ok(chunk) => chunk,
            Err(why) => {
                tracing::error!(why, "the spool can't be read; what it holds waits");
                return self.rest(Duration::from_secs(1));
            }
        };
        for hole in &chunk.holes {
            let (from, to, reason) = (hole.from, hole.to, hole.reason.as_str());
            tracing::error!(from, to, reason, "events of the spool are lost: its disk has failed");
        }
        if chunk.next == from {
            // Reserved and not durable yet.
            return self.rest(LOOK_EVERY);
        }
        let mut records = chunk.records.into_iter().peekable();
        while let Some(first) = records.next() {
            let (received_at, mut events) = (first.received_at, vec![first.event]);
            let mut next = first.position.seq + 1;
            self.shared.ledger().set_oldest(received_at);
            while events.len() < APPEND_EVENTS_MAX
                && let Some(more) = records.next_if(|it| is_near(it.received_at, received_at))
            {
                next = more.position.seq + 1;
                events.push(more.event);
            }
            if !self.deliver(events, received_at) {
                return;
            }
            self.advance(next);
        }
        self.advance(chunk.next);
    }

    fn advance(&mut self, next: u64) {
        (self.shared.options.needed_from)(next);
        if let Err(error) = self.cursor.advance(next) {
            // The worst of it: a restart hands on again what the log then knows.
            tracing::warn!(%error, "how far the spool has been handed on could not be kept");
        }
    }

    /// Appends until it is known what became of each of `events`; `false` where the log is being
    /// closed before.
    fn deliver(&mut self, events: Vec<Event>, received_at: Timestamp) -> bool {
        let mut left = self.without_twins(events, received_at);
        let mut backoff = Backoff::new();
        let mut attempts = 0;
        while !left.is_empty() {
            if self.is_closing() {
                return false;
            }
            if self.shared.log.health().is_err() {
                // Away again: other nodes may take the same events meanwhile.
                self.twins.forget();
                self.rest(LOOK_EVERY);
                left = self.without_twins(left, received_at);
                continue;
            }
            let error = match append(&*self.shared.log, &left, received_at) {
                Ok(outcomes) => {
                    self.settle(&left, &outcomes);
                    return true;
                }
                Err(error) => error,
            };
            attempts += u32::from(self.shared.log.health().is_ok());
            match error {
                AppendError::IdReused(items) => {
                    left = self.park(left, &items, "id_reused", &error_text(&items), received_at);
                    continue;
                }
                AppendError::Refused(items) => {
                    let why = "brokers refuse it as it is";
                    left = self.park(left, &items, "log_refused", why, received_at);
                    continue;
                }
                AppendError::Unknown(why) if attempts >= ATTEMPTS_MAX && left.len() == 1 => {
                    left = self.park(left, &[0], "log_failed", &why, received_at);
                    continue;
                }
                AppendError::Unknown(_) if attempts >= ATTEMPTS_MAX => {
                    // One of them may be at fault: each alone.
                    return left.into_iter().all(|event| self.deliver(vec![event], received_at));
                }
                error => {
                    tracing::debug!(%error, events = left.len(), "the log doesn't take it yet")
                }
            }
            self.rest(backoff.next(rand::random()));
        }
        true
    }

    /// Leaves out what an old spool would repeat beyond the log's own dedupe window.
    fn without_twins(&mut self, events: Vec<Event>, received_at: Timestamp) -> Vec<Event> {
        let age = (self.shared.options.clock)().0.saturating_sub(received_at.0);
        let age = Duration::from_micros(u64::try_from(age).unwrap_or(0));
        let is_old = |event: &Event| age > self.shared.options.windows[event.stream as usize] / 2;
        if !events.iter().any(is_old) {
            return events;
        }
        let mut fresh = Vec::with_capacity(events.len());
        for event in events {
            let lane = self.shared.lane(&event);
            let windows = self.shared.options.windows[event.stream as usize];
            let since = received_at.minus(windows);
            let is_known = loop {
                match self.twins.holds(&*self.shared.log, lane, since, event.identity()) {
                    Ok(is_known) => break is_known,
                    Err(why) => {
                        tracing::debug!(why, "the log can't be asked what it holds yet");
                        self.rest(Duration::from_secs(1));
                        if self.is_closing() {
                            // Comes again with the next start; nothing was appended.
                            break false;
                        }
                    }
                }
            };
            match is_known {
                true => self.settle(std::slice::from_ref(&event), &[Outcome::Duplicate]),
                false => fresh.push(event),
            }
        }
        fresh
    }

    fn settle(&self, events: &[Event], outcomes: &[Outcome]) {
        let mut ledger = self.shared.ledger();
        for (event, outcome) in events.iter().zip(outcomes) {
            ledger.leave(self.shared.lane(event), size(event));
            ledger.count_drained(*outcome == Outcome::Duplicate);
        }
    }

    /// Gives `items` of `events` up; returns the others.
    fn park(
        &self,
        events: Vec<Event>,
        items: &[usize],
        reason: &'static str,
        detail: &str,
        received_at: Timestamp,
    ) -> Vec<Event> {
        let items: BTreeSet<usize> = items.iter().copied().collect();
        let mut left = Vec::with_capacity(events.len());
        for (n, event) in events.into_iter().enumerate() {
            if !items.contains(&n) {
                left.push(event);
                continue;
            }
            let mut raw = Vec::new();
            record::encode(&event, received_at, &mut raw);
            let mut ledger = self.shared.ledger();
            ledger.leave(self.shared.lane(&event), size(&event));
            ledger.count_parked();
            drop(ledger);
            tracing::warn!(
                source = &*event.source,
                correlation = &*event.correlation,
                reason,
                "an event of the spool is a dead letter now"
            );
            self.shared.dead.park(DeadLetter {
                desk: Desk::Log,
                stream: event.stream,
                source: event.source.clone(),
                reason,
                detail: detail.into(),
                attempts: if reason == "log_failed" { ATTEMPTS_MAX } else { 1 },
                correlation: event.correlation.clone(),
                received_at,
                raw: raw.into(),
            });
        }
        left
    }

    /// Waits, but not past the end.
    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_closing() && Instant::now() < until {
            std::thread::sleep(LOOK_EVERY.min(time));
        }
    }
}

fn error_text(items: &[usize]) -> String {
    let id = if items.len() == 1 { "its id was" } else { "their ids were" };
    format!("{id} used before for other content; a correction needs an id of its own")
}

fn is_near(at: Timestamp, first: Timestamp) -> bool {
    at >= first && at.minus(GROUP_SPAN) <= first
}

/// Appends, and waits for the answer. One that doesn't come is unknown (R14).
fn append(
    log: &dyn EventLog,
    events: &[Event],
    received_at: Timestamp,
) -> Result<Vec<Outcome>, AppendError> {
    let (tell, told) = sync_channel(1);
    let reply = Box::new(move |answer| drop(tell.try_send(answer)));
    log.append(events.to_vec(), received_at, reply);
    let silent = || AppendError::Unknown("the log did not answer in time".into());
    told.recv_timeout(ANSWER_MAX).unwrap_or_else(|_| Err(silent()))
}

/// Reads, and waits for the answer.
pub(super) fn read(
    log: &dyn EventLog,
    lane: Lane,
    from: u64,
    bytes_max: usize,
) -> Result<ReadChunk, String> {
    let (tell, told) = sync_channel(1);
    let request = ReadRequest { from: Position { lane, seq: from }, bytes_max };
    log.read(request, Box::new(move |answer| drop(tell.try_send(answer))));
    match told.recv_timeout(ANSWER_MAX) {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".into()),
    }
}
