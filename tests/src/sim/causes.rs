//! Whether a gap has a cause that this world produced.
//!
//! A hub that declares gaps freely would keep every other promise: what is declared is owed no
//! more. So each gap must be explained by what the log lost, by how much the client had unsent, or
//! by a new life of the log. A frame takes a while to arrive, and the log grows meanwhile: the
//! bounds are judged by what is known on arrival, which may excuse a little too much but never
//! blames a hub that was right.

use std::collections::HashMap;

use touchline_core::config::HubConfig;
use touchline_core::event::{Stream, Topic};
use touchline_core::frame::Published;
use touchline_core::log::{HoleReason, Mark};

use super::log::SimLog;

/// Memory that an entry of a window takes besides its frame, at most.
pub(super) const ENTRY_BYTES_MAX: usize = 200;

/// What a gap may be excused with, apart from the log.
#[derive(Clone)]
pub(super) struct Grounds {
    pub(super) config: HubConfig,
    /// Since the client was last seen caught up, whole topics gave way for want of memory.
    pub(super) crowded: bool,
}

impl Grounds {
    /// Whether all windows together can have reached their bound, so that whole topics gave way
    /// (R6), while this client lagged.
    pub(super) fn excuse_eviction(&self, log: &SimLog) -> bool {
        self.crowded && windows_at_most(log, &self.config) > self.config.windows_bytes_max
    }

    /// Whether the window of `event`'s topic can have had no room for it: it, and what came after
    /// it, take more than a window holds.
    pub(super) fn excuse_window(&self, event: &Published, log: &SimLog) -> bool {
        let lane = &log.lanes[usize::from(event.position.lane.0)];
        let begin = lane.events.partition_point(|of| of.position.seq < event.position.seq);
        let topic = lane.events[begin..].iter().filter(|of| of.topic == event.topic);
        let bytes: usize = topic.map(|of| of.frame.len() + ENTRY_BYTES_MAX).sum();
        bytes > self.config.stream(event.topic.stream).window_bytes
    }

    /// Whether `unsent` bytes are past a session's own bound.
    pub(super) fn excuse_queue(&self, stream: Stream, unsent: usize) -> bool {
        unsent > self.config.stream(stream).queue_bytes_max
    }
}

/// What all windows together could hold at the very most: each all that was ever published in its
/// topic, or all that it has room for and one frame more.
fn windows_at_most(log: &SimLog, config: &HubConfig) -> usize {
    let mut topics: HashMap<&Topic, usize> = HashMap::new();
    for event in log.lanes.iter().flat_map(|lane| &lane.events) {
        *topics.entry(&event.topic).or_default() += event.frame.len() + ENTRY_BYTES_MAX;
    }
    let held = |(topic, bytes): (&Topic, usize)| {
        bytes.min(config.stream(topic.stream).window_bytes + 1_000)
    };
    topics.into_iter().map(held).sum()
}

/// Whether the log has really lost what a gap of teams declares missing.
pub(super) fn of_the_log(
    reason: HoleReason,
    from: &Mark,
    to: &Mark,
    log: &SimLog,
) -> Result<(), String> {
    let lanes = from.next.iter().zip(&to.next).enumerate();
    let missing: Vec<(usize, u64, u64)> =
        lanes.map(|(lane, (from, to))| (lane, *from, *to)).filter(|of| of.1 != of.2).collect();
    if missing.is_empty() || missing.iter().any(|(_, from, to)| from > to) {
        return Err(format!("R9: a gap of nothing: {from:?} to {to:?}"));
    }
    for (lane, from, to) in missing {
        let state = &log.lanes[lane];
        let is_lost = match reason {
            HoleReason::Retention => to <= state.first,
            HoleReason::Damaged => (from..to).all(|seq| state.is_damaged(seq)),
            HoleReason::Slow | HoleReason::Epoch => false,
        };
        if !is_lost {
            let first = state.first;
            return Err(format!(
                "R9: {reason:?} {from}..{to} of lane {lane}, which begins at {first}, has no cause"
            ));
        }
    }
    Ok(())
}
