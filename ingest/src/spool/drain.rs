//! The thread that hands on what the spool holds, oldest first.
//!
//! It reads the spool from its cursor, appends to the shared log in groups, and waits for each
//! group's answer before the next. Within a group the log itself keeps the order
//! ([`EventLog::append_in_order`]): where one of it isn't known to be in, none behind it gets in
//! before; a group that failed begins again with its first event, and what was in is a repeat.
//! A group of a thousand events every few milliseconds is more than sources send.
//!
//! What the log can't take at the moment is tried again without end, ever more rarely: "unknown" as
//! well, since a cluster that lacks copies says that of everything. What it refuses for its own
//! fault (an id that was used for other content, a record larger than brokers take) becomes a dead
//! letter and the rest goes on; it leaves the spool only once the letter is kept for good, for it
//! was acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use touchline_core::dead::DeadLetter;
use touchline_core::event::Event;
use touchline_core::log::{AppendError, Lane, Outcome, ReadChunk, Record};
use touchline_core::retry::Backoff;
use touchline_core::time::Timestamp;

use super::asking::{Waits, append, read};
use super::cursor::Cursor;
use super::ledger::Traffic;
use super::twins::{Group, Known, Twins};
use super::{Shared, size};
use crate::limits::{APPEND_EVENTS_MAX, TOO_OLD_MARGIN};

/// How often an idle spool is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What the books still hold when all that is durable was handed on, for so long, isn't there: it
/// stood in a hole.
const PHANTOM_AFTER: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 60_000 });
/// Records of one group were received within so long: they are handed on with the first one's time.
const GROUP_SPAN: Duration = Duration::from_secs(1);

/// Of an event that may be in the log, or may not.
const IN_DOUBT: &str = "how far the spool was handed on is lost, and the log may have had it and \
                        forgotten: look for it before you replay it";

/// The thread's own.
pub(super) struct Drain {
    shared: Arc<Shared>,
    cursor: Cursor,
    twins: Twins,
    /// What is handed on may have been before: where it was is lost.
    is_in_doubt: bool,
    /// Since when nothing is left to be read, though the books aren't empty.
    at_end_since: Option<Instant>,
}

impl Drain {
    pub fn new(shared: Arc<Shared>, cursor: Cursor) -> Self {
        Self { shared, cursor, twins: Twins::default(), is_in_doubt: false, at_end_since: None }
    }

    /// Enters into the books what an earlier life has left.
    pub fn count_what_is_left(&self) -> Result<(), String> {
        let mut from = self.cursor.next();
        loop {
            let chunk = self.read_spool(from)?;
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
                self.at_end_since = None;
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
        let before = self.shared.ledger().traffic();
        let chunk = match self.read_spool(from) {
            Ok(chunk) => chunk,
            Err(_) if self.is_closing() => return,
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
            self.stand_at_end(before);
            return self.rest(LOOK_EVERY);
        }
        self.at_end_since = None;
        let mut records = chunk.records.into_iter().peekable();
        while let Some(first) = records.next() {
            let (received_at, mut events) = (first.received_at, vec![first.event]);
            self.is_in_doubt = self.cursor.is_in_doubt(first.position.seq);
            let mut next = first.position.seq + 1;
            self.shared.ledger().set_oldest(received_at);
            while events.len() < APPEND_EVENTS_MAX
                && let Some(more) = records.next_if(|it| is_near(it.received_at, received_at))
            {
                next = more.position.seq + 1;
                events.push(more.event);
            }
            if self.deliver(events, received_at).is_none() {
                return;
            }
            self.advance(next);
        }
        self.advance(chunk.next);
    }

    /// The books hold what can't be read: it is on its way to the disk, or stood in a hole. Nothing
    /// that was on its way since `before` says anything of the latter.
    fn stand_at_end(&mut self, before: Traffic) {
        let mut ledger = self.shared.ledger();
        if before.is_under_way() || ledger.traffic() != before {
            self.at_end_since = None;
        } else if self.at_end_since.get_or_insert_with(Instant::now).elapsed() > PHANTOM_AFTER {
            let events = ledger.forget_all();
            tracing::error!(events, "events of the spool are lost: its disk has failed");
        }
    }

    fn read_spool(&self, from: u64) -> Result<ReadChunk, String> {
        read(&*self.shared.spool, Lane(0), from, &self.shared.is_closing)
    }

    fn advance(&mut self, next: u64) {
        (self.shared.options.needed_from)(next);
        if let Err(error) = self.cursor.advance(next) {
            // The worst of it: a restart hands on again what the log then knows.
            tracing::warn!(%error, "how far the spool has been handed on could not be kept");
        }
    }

    /// Appends until it is known what became of each of `events`; `None` where the log is being
    /// closed before.
    fn deliver(&mut self, events: Vec<Event>, received_at: Timestamp) -> Option<()> {
        let mut left = self.without_twins(events, received_at)?;
        let mut backoff = Backoff::new();
        while !left.is_empty() {
            if self.is_closing() {
                return None;
            }
            if self.shared.log.health().is_err() {
                // Away again: other nodes may take the same events meanwhile.
                self.twins.forget();
                self.rest(LOOK_EVERY);
                left = self.without_twins(left, received_at)?;
                continue;
            }
            let error = match append(&*self.shared.log, &left, received_at) {
                Ok(outcomes) => {
                    self.settle(&left, &outcomes);
                    return Some(());
                }
                Err(error) => error,
            };
            let (items, reason, why) = match error {
                AppendError::IdReused(items) => {
                    let why = error_text(&items);
                    (items, "id_reused", why)
                }
                // Brokers refuse batches: whose fault it is shows when each comes alone.
                AppendError::Refused(_) if left.len() > 1 => {
                    let mut alone = left.into_iter().map(|event| vec![event]);
                    return alone.try_for_each(|event| self.deliver(event, received_at));
                }
                AppendError::Refused(items) => {
                    (items, "log_refused", "brokers refuse it as it is".to_owned())
                }
                error => {
                    tracing::debug!(%error, events = left.len(), "the log doesn't take it yet");
                    self.rest(backoff.next(rand::random()));
                    // Meanwhile they may have become old, and what was answered out of date.
                    left = self.without_twins(left, received_at)?;
                    continue;
                }
            };
            left = self.park(left, &items, reason, &why, received_at)?;
        }
        Some(())
    }

    /// Leaves out what an old spool would repeat beyond the log's own dedupe window, and parks what
    /// reuses an id. `None` where the log is being closed before.
    fn without_twins(&mut self, events: Vec<Event>, received_at: Timestamp) -> Option<Vec<Event>> {
        // A twin can't be older than what happened, but for what clocks may be off by.
        let now = (self.shared.options.clock)();
        let is_old = |event: &Event| {
            let window = self.shared.window(event);
            event.occurred_at < now.minus(window.saturating_sub(TOO_OLD_MARGIN))
        };
        if !events.iter().any(is_old) {
            return Some(events);
        }
        let known = self.known_of(&events, received_at)?;
        let mut fresh = Vec::with_capacity(events.len());
        for (event, known) in events.into_iter().zip(known) {
            match known {
                Known::No if self.is_in_doubt && self.is_forgotten(&event, received_at) => {
                    self.park(vec![event], &[0], "spool_place_lost", IN_DOUBT, received_at)?;
                }
                Known::No => fresh.push(event),
                Known::Same => self.settle(std::slice::from_ref(&event), &[Outcome::Duplicate]),
                Known::Other => {
                    let why = error_text(&[0]);
                    self.park(vec![event], &[0], "id_reused", &why, received_at)?;
                }
            }
        }
        Some(fresh)
    }

    /// Whether the log may have forgotten an event that it took when it was received.
    fn is_forgotten(&self, event: &Event, received_at: Timestamp) -> bool {
        let now = (self.shared.options.clock)();
        received_at < now.minus(self.shared.window(event).saturating_sub(TOO_OLD_MARGIN))
    }

    /// What the log knows of each of `events`; asked until it answers, ever more rarely. `None`
    /// where the log is being closed before.
    fn known_of(&mut self, events: &[Event], received_at: Timestamp) -> Option<Vec<Known>> {
        let shared = Arc::clone(&self.shared);
        let group = Group { shared: &shared, from: self.cursor.next(), events, received_at };
        let (mut known, mut backoff) = (Vec::with_capacity(events.len()), Backoff::new());
        let mut waits = Waits::new(Instant::now());
        while let Some(event) = events.get(known.len()) {
            if self.is_closing() {
                return None;
            }
            if shared.log.health().is_err() {
                // That is told elsewhere, and once it is over there is more to be found.
                self.twins.forget();
                known.clear();
                (backoff, waits) = (Backoff::new(), Waits::new(Instant::now()));
                self.rest(LOOK_EVERY);
                continue;
            }
            let why = match self.twins.look(group, event) {
                Ok(it) => {
                    known.push(it);
                    (backoff, waits) = (Backoff::new(), Waits::new(Instant::now()));
                    continue;
                }
                Err(_) if self.is_closing() => return None,
                Err(why) => why,
            };
            if let Some(waits_s) = waits.is_due(Instant::now()) {
                tracing::error!(
                    waits_s,
                    why,
                    "the spool stands still: the log can't be asked which of its old events it has"
                );
            }
            self.rest(backoff.next(rand::random()));
        }
        Some(known)
    }

    fn settle(&self, events: &[Event], outcomes: &[Outcome]) {
        let mut ledger = self.shared.ledger();
        for (event, outcome) in events.iter().zip(outcomes) {
            ledger.leave(self.shared.lane(event), size(event));
            ledger.count_drained(*outcome == Outcome::Duplicate);
        }
    }

    /// Gives `items` of `events` up, once they are kept for good; returns the others. `None` where
    /// the log is being closed before.
    fn park(
        &self,
        events: Vec<Event>,
        items: &[usize],
        reason: &'static str,
        detail: &str,
        received_at: Timestamp,
    ) -> Option<Vec<Event>> {
        let items: BTreeSet<usize> = items.iter().copied().collect();
        let mut left = Vec::with_capacity(events.len());
        for (n, event) in events.into_iter().enumerate() {
            if !items.contains(&n) {
                left.push(event);
                continue;
            }
            self.keep_for_good(&DeadLetter::of_event(&event, received_at, reason, detail))?;
            let mut ledger = self.shared.ledger();
            ledger.leave(self.shared.lane(&event), size(&event));
            ledger.count_parked();
            drop(ledger);
            let (source, correlation) = (&*event.source, &*event.correlation);
            tracing::warn!(source, correlation, reason, "an event of the spool is a dead letter");
        }
        Some(left)
    }

    /// Returns once a letter is kept for good, which a disk that fails holds up: what the spool
    /// holds behind it waits, for its turn and for order. `None` where the log is being closed
    /// before.
    fn keep_for_good(&self, letter: &DeadLetter) -> Option<()> {
        let waits = Waits::new(Instant::now());
        let gives_up = || {
            if let Some(waits_s) = waits.is_due(Instant::now()) {
                tracing::error!(
                    source = &*letter.source,
                    correlation = &*letter.correlation,
                    reason = letter.reason,
                    waits_s,
                    "the spool stands still: an acknowledged event that the log refuses can't be \
                     kept as a dead letter; see why dead letters can't be written"
                );
            }
            self.is_closing()
        };
        let mut backoff = Backoff::new();
        while !self.shared.dead.park_durably(letter.clone(), &gives_up) {
            if gives_up() {
                return None;
            }
            // There is no room among those that wait to be written.
            self.rest(backoff.next(rand::random()));
        }
        Some(())
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
