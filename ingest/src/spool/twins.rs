//! What an old spool may repeat.
//!
//! The log swallows a repeat within its dedupe window (R17). An event that waited in the spool for
//! longer than that may have a twin beyond it: another node took the same delivery, or our own
//! append was answered "unknown" just before the brokers went away. So before old events are handed
//! on, the log itself is asked what it holds since a window before they were received: once for
//! each lane, and only then; and not before this node has read what came while it was cut off.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use touchline_core::event::Identity;
use touchline_core::log::{EventLog, Lane};
use touchline_core::time::Timestamp;

use super::drain::read;
use crate::limits::{SPOOL_READ_BYTES_MAX, SPOOL_TWINS_MAX};

/// The log knows its ends so long after it was asked to look.
const ENDS_KNOWN: Duration = Duration::from_secs(3);
/// How long reading up to them may take, at once.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);

/// What each lane that was asked holds.
#[derive(Debug, Default)]
pub(super) struct Twins {
    lanes: HashMap<Lane, HashSet<Identity>>,
    /// Whether this node has read what others wrote while it was cut off.
    has_caught_up: bool,
}

impl Twins {
    /// The next question is asked anew.
    pub fn forget(&mut self) {
        self.lanes.clear();
        self.has_caught_up = false;
    }

    /// Whether `lane` holds `identity` since `since`, or did when it was first asked. What came
    /// later is within the window of what we append now.
    pub fn holds(
        &mut self,
        log: &dyn EventLog,
        lane: Lane,
        since: Timestamp,
        identity: Identity,
    ) -> Result<bool, String> {
        if let Some(known) = self.lanes.get(&lane) {
            return Ok(known.contains(&identity));
        }
        if !self.has_caught_up {
            catch_up(log)?;
            self.has_caught_up = true;
        }
        let kept = self.lanes.values().map(HashSet::len).sum();
        let known = held(log, lane, since, SPOOL_TWINS_MAX.saturating_sub(kept))?;
        let is_known = known.contains(&identity);
        self.lanes.insert(lane, known);
        Ok(is_known)
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
) -> Result<HashSet<Identity>, String> {
    let bounds = log.bounds().lanes.get(usize::from(lane.0)).copied().unwrap_or_default();
    let mut from = first_since(log, lane, since, bounds.first, bounds.next)?;
    let mut known = HashSet::new();
    while from < bounds.next {
        let chunk = read(log, lane, from, SPOOL_READ_BYTES_MAX)?;
        known.extend(chunk.records.iter().map(|record| record.event.identity()));
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
