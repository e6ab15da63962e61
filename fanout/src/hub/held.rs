//! Batches that came while the shard rereads what lies before them (R26).
//!
//! Were they dropped, a shard under steady load would read for ever: each read ends where the log
//! ended when it began, and by then the next batch has gone. Kept, they join on to what was read:
//! the shard is live as soon as its reads reach the first of them. Past their bounds the oldest go:
//! the reads, which come from below, get to those first.

use std::collections::VecDeque;

use touchline_core::frame::Batch;
use touchline_core::log::{Lane, Span};

use super::LaneState;
use crate::limits::{HELD_BATCHES_MAX, HELD_BYTES_MAX};

#[derive(Default)]
pub(super) struct Held {
    batches: VecDeque<Batch>,
    bytes: usize,
}

impl Held {
    /// Keeps a copy of `batch`, whose frames are shared. Costs an allocation for each of its parts:
    /// nothing that a shard does while it keeps up.
    pub(super) fn keep(&mut self, batch: &Batch) {
        self.bytes += batch.held_bytes();
        self.batches.push_back(batch.clone());
        while self.bytes > HELD_BYTES_MAX || self.batches.len() > HELD_BATCHES_MAX {
            self.remove(0);
        }
    }

    /// The first batch that follows on what has been read, if there is one now. Those that bring
    /// nothing any more are dropped on the way.
    pub(super) fn take(&mut self, lanes: &[LaneState]) -> Option<Batch> {
        // Nothing can be wanted of a lane that the log doesn't have.
        let progress =
            |of: Lane| lanes.get(usize::from(of.0)).map_or(u64::MAX, |lane| lane.progress);
        let follows_on = |of: &Span| (of.from..of.next).contains(&progress(of.lane));
        let mut at = 0;
        while let Some(batch) = self.batches.get(at) {
            let spans = &batch.spans;
            if spans.iter().any(follows_on) {
                return self.remove(at);
            }
            match spans.iter().all(|span| span.next <= progress(span.lane)) {
                true => drop(self.remove(at)),
                false => at += 1,
            }
        }
        None
    }

    fn remove(&mut self, at: usize) -> Option<Batch> {
        let batch = self.batches.remove(at)?;
        self.bytes -= batch.held_bytes();
        Some(batch)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
