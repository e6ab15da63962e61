//! What an old spool may repeat.
//!
//! The log swallows a repeat within its dedupe window (R17). An event that waited in the spool for
//! longer than that may have a twin beyond it: another node took the same delivery, or our own
//! append was answered "unknown" just before the brokers went away. So before old events are handed
//! on, the log itself is asked what it holds since a window before they were received: once for
//! each lane, and only then.

use std::collections::{HashMap, HashSet};

use touchline_core::event::Identity;
use touchline_core::log::{EventLog, Lane};
use touchline_core::time::Timestamp;

use super::drain::read;
use crate::limits::{SPOOL_READ_BYTES_MAX, SPOOL_TWINS_MAX};

/// What each lane that was asked holds.
#[derive(Debug, Default)]
pub(super) struct Twins {
    lanes: HashMap<Lane, HashSet<Identity>>,
}

impl Twins {
    /// The next question is asked anew.
    pub fn forget(&mut self) {
        self.lanes.clear();
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
        let known = held(log, lane, since)?;
        let is_known = known.contains(&identity);
        self.lanes.insert(lane, known);
        Ok(is_known)
    }
}

fn held(log: &dyn EventLog, lane: Lane, since: Timestamp) -> Result<HashSet<Identity>, String> {
    let bounds = log.bounds().lanes.get(usize::from(lane.0)).copied().unwrap_or_default();
    let mut from = first_since(log, lane, since, bounds.first, bounds.next)?;
    let mut known = HashSet::new();
    while from < bounds.next {
        let chunk = read(log, lane, from, SPOOL_READ_BYTES_MAX)?;
        known.extend(chunk.records.iter().map(|record| record.event.identity()));
        if known.len() > SPOOL_TWINS_MAX {
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

/// The first sequence received at `since` or later, by halving `low..high`. Times of different
/// nodes' clocks may be off against each other; a window is asked for, so minutes don't matter.
fn first_since(
    log: &dyn EventLog,
    lane: Lane,
    since: Timestamp,
    mut low: u64,
    mut high: u64,
) -> Result<u64, String> {
    while low < high {
        let middle = low + (high - low) / 2;
        let chunk = read(log, lane, middle, 1)?;
        match chunk.records.first() {
            Some(record) if record.received_at < since => low = record.position.seq + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}
