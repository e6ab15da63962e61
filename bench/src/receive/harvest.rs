//! What a run's clients saw, in figures: what [`Tally`](super::tally::Tally)s of all threads and
//! hosts come to.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::timeline::Moment;
use crate::schedule::Stream;

/// Things that are counted rather than timed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Events that arrived, once for each socket.
    pub delivered: u64,
    /// Bytes that arrived.
    pub bytes: u64,
    /// Events a socket should have got and didn't, and wasn't told about.
    pub lost: u64,
    /// Events a socket didn't get and was told about by a `gap`.
    pub declared: u64,
    /// Events that clients would have got whose connection had ended for good.
    pub cut_off: u64,
    /// Those of them whose connection ended without a Close (1006): nobody told these clients that
    /// more would come, or where to ask for it.
    pub cut_off_untold: u64,
    /// Events that didn't come to clients that read promptly, whatever they were told.
    pub prompt_missed: u64,
    /// Connections of such clients that ended while they should have lived.
    pub prompt_closed: u64,
    /// Events that arrived again, or after a later one.
    pub repeated: u64,
    /// `gap` messages.
    pub gaps: u64,
    /// `error` messages.
    pub errors: u64,
    /// Connections that ended while they should have lived, by close code (1006: none was sent).
    pub closed: BTreeMap<u16, u64>,
    /// Connections that their clients gave up because the run says so.
    pub left: u64,
    /// Clients that were away and are subscribed again.
    pub returned: u64,
    /// Attempts to return that failed.
    pub refused: u64,
}

impl Counts {
    /// Adds what another thread counted.
    pub fn merge(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.declared += other.declared;
        self.cut_off += other.cut_off;
        self.cut_off_untold += other.cut_off_untold;
        self.prompt_missed += other.prompt_missed;
        self.prompt_closed += other.prompt_closed;
        self.repeated += other.repeated;
        self.gaps += other.gaps;
        self.errors += other.errors;
        self.left += other.left;
        self.returned += other.returned;
        self.refused += other.refused;
        for (code, count) in &other.closed {
            *self.closed.entry(*code).or_default() += count;
        }
    }
}

/// Everything the clients tell about a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Harvest {
    /// In the order in which they were asked for.
    pub windows: Vec<WindowHarvest>,
    /// Of events that came in by other ways than those which the windows time: all after the
    /// warm-up.
    pub beside: Vec<(Stream, Latency)>,
    /// From the 202 of an event to the last of its sockets; nothing where that came first.
    pub after_told: Latency,
    /// Of the whole run.
    pub counts: Counts,
    /// From the loss of a connection to `subscribed` on the next one.
    pub away: Latency,
    /// Second by second.
    pub timeline: Vec<Moment>,
}

/// What was measured in one window. All figures in microseconds, of clients that read promptly.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WindowHarvest {
    /// From the intended send to the client's read returning.
    pub latency: Latency,
    /// From an event's first receipt to its last: lower quartile, median, upper quartile, maximum.
    pub spread_us: [u64; 4],
    /// From an event's intended send to its last receipt, likewise.
    pub last_us: [u64; 4],
    /// Due time of the event whose last receipt came latest, seconds after the window began.
    pub slowest_s: f64,
    /// From the first due time to the last receipt, seconds: how long all of it took.
    pub took_s: f64,
    /// The histogram's buckets: value and count. For whoever wants to merge or draw them.
    pub buckets: Vec<(u64, u64)>,
}

/// A histogram's summary, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Deliveries.
    pub count: u64,
    /// Half were quicker.
    pub p50: u64,
    /// 90 of 100.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1,000.
    pub p999: u64,
    /// 9,999 of 10,000.
    pub p9999: u64,
    /// The slowest.
    pub max: u64,
}

impl Latency {
    /// Summary of `histogram`.
    pub fn of<C: hdrhistogram::Counter>(histogram: &Histogram<C>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max(),
        }
    }
}

/// Lower quartile, median, upper quartile and maximum.
pub fn quartiles(values: impl Iterator<Item = u64>) -> [u64; 4] {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    let Some(last) = values.len().checked_sub(1) else {
        return [0; 4];
    };
    [1, 2, 3, 4].map(|quarter| values[last * quarter / 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_nothing_are_nothing() {
        assert_eq!(quartiles([].into_iter()), [0; 4]);
        assert_eq!(quartiles([5, 1, 3, 2, 4].into_iter()), [2, 3, 4, 5]);
    }
}
