//! What an old spool may repeat.
//!
//! The log swallows a repeat within its dedupe window (R17). An event that waited in the spool for
//! longer than that may have a twin beyond it: another node took the same delivery, or our own
//! append was answered "unknown" just before the brokers went away. So before old events are handed
//! on, the log itself is asked what it holds since a window before they were received: for each
//! lane, and only then; and not before this node has read what came while it was cut off. With each
//! identity its content is kept: what says something else under a known id is no repeat (R15).
//!
//! What comes after a lane was asked is for the log's window, so an answer holds for less than a
//! window; then the lane is asked anew. It matters where brokers take long to take anything: they
//! may have kept what they answered "unknown" of.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use touchline_core::event::{Content, Event, Identity};
use touchline_core::log::{EventLog, Lane, Record};
use touchline_core::time::Timestamp;

use super::drain::read;
use crate::limits::{SPOOL_READ_BYTES_MAX, SPOOL_TWINS_MAX};

/// The log knows its ends so long after it was asked to look.
const ENDS_KNOWN: Duration = Duration::from_secs(3);
/// How long reading up to them may take, at once.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);

/// What a lane holds: of each identity its first copy.
type Held = HashMap<Identity, Content>;

/// What a lane answered, and when.
#[derive(Debug)]
struct Asked {
    at: Timestamp,
    held: Held,
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub lane: Lane,
    /// What came before is of no interest.
    pub since: Timestamp,
    pub now: Timestamp,
    /// For so long an answer holds.
    pub holds_for: Duration,
}

/// What the log knows of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing that was found.
    No,
    /// It has it.
    Same,
    /// It has other content under its id.
    Other,
}

/// What each lane that was asked holds.
#[derive(Debug, Default)]
pub(super) struct Twins {
    lanes: HashMap<Lane, Asked>,
    /// Whether this node has read what others wrote while it was cut off.
    has_caught_up: bool,
}

impl Twins {
    /// The next question is asked anew.
    pub fn forget(&mut self) {
        self.lanes.clear();
        self.has_caught_up = false;
    }

    /// What the lane holds of `event`, or did when it was last asked.
    pub fn look(
        &mut self,
        log: &dyn EventLog,
        question: Question,
        event: &Event,
    ) -> Result<Known, String> {
        let Question { lane, since, now, holds_for } = question;
        // A clock that was set back makes an answer as worthless as one that went on.
        let is_good = |it: &&Asked| it.at <= now && it.at.plus(holds_for) > now;
        if let Some(asked) = self.lanes.get(&lane).filter(is_good) {
            return Ok(Known::of(event, &asked.held));
        }
        if self.lanes.remove(&lane).is_some() {
            self.has_caught_up = false;
        }
        if !self.has_caught_up {
            catch_up(log)?;
            self.has_caught_up = true;
        }
        let kept = self.lanes.values().map(|asked| asked.held.len()).sum();
        let held = held(log, lane, since, SPOOL_TWINS_MAX.saturating_sub(kept))?;
        let known = Known::of(event, &held);
        self.lanes.insert(lane, Asked { at: now, held });
        Ok(known)
    }
}

impl Known {
    fn of(event: &Event, held: &Held) -> Self {
        match held.get(&event.identity()) {
            None => Self::No,
            Some(content) if *content == event.content() => Self::Same,
            Some(_) => Self::Other,
        }
    }
}

/// Waits until this node has read as far as the log reaches by now.
fn catch_up(log: &dyn EventLog) -> Result<(), String> {
    if !log.look_ahead() {
        return Ok(());
    }
    std::thread::sleep(ENDS_KNOWN);
    let ends: Vec<u64> = log.bounds().lanes.iter().map(|lane| lane.end).collect();
    let until = Instant::now() + CATCH_UP_MAX;
    while log.bounds().lanes.iter().zip(&ends).any(|(lane, end)| lane.next < *end) {
        if Instant::now() > until {
            return Err("this node has yet to read what others wrote meanwhile".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn held(
    log: &dyn EventLog,
    lane: Lane,
    since: Timestamp,
    identities_max: usize,
) -> Result<Held, String> {
    let bounds = log.bounds().lanes.get(usize::from(lane.0)).copied().unwrap_or_default();
    let mut from = first_since(log, lane, since, bounds.first, bounds.next)?;
    let mut known = Held::new();
    while from < bounds.next {
        let chunk = read(log, lane, from, SPOOL_READ_BYTES_MAX)?;
        for Record { event, .. } in &chunk.records {
            known.entry(event.identity()).or_insert_with(|| event.content());
        }
        if known.len() > identities_max {
            // Never silently: the rest is left to the log's own window.
            tracing::error!(lane = lane.0, "too much came meanwhile to look for repeats in it");
            break;
        }
        if chunk.next == from {
            break;
        }
        from = chunk.next;
    }
    Ok(known)
}

/// The first sequence received at `since` or later, by halving `low..high`. Times aren't quite in
/// order (clocks of nodes differ, and what was spooled comes late), so the youngest of a whole
/// chunk is what counts.
fn first_since(
    log: &dyn EventLog,
    lane: Lane,
    since: Timestamp,
    mut low: u64,
    mut high: u64,
) -> Result<u64, String> {
    while low < high {
        let middle = low + (high - low) / 2;
        let chunk = read(log, lane, middle, SPOOL_READ_BYTES_MAX)?;
        match chunk.records.iter().map(|record| record.received_at).max() {
            Some(youngest) if youngest < since => low = chunk.next,
            _ => high = middle,
        }
    }
    Ok(low)
}
