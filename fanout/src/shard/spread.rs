//! How long an event takes from the first of its sockets to the last.
//!
//! Events are told apart by the moment they became durable. A few are followed at once: under load
//! sends carry several events, and only the oldest of a send is looked at. A spread is complete
//! when the shard has nothing left to send, or when it has to make room for another.

use touchline_core::time::Monotonic;

use crate::limits::SPREADS_MAX;
use crate::stats::ShardStats;

#[derive(Clone, Copy)]
struct Spread {
    durable_at: Monotonic,
    first: Monotonic,
    last: Monotonic,
}

/// Spreads that may still grow, oldest first.
#[derive(Default)]
pub(super) struct Spreads(Vec<Spread>);

impl Spreads {
    /// Sockets of the event that became durable at `durable_at` were handed it at `now`; the send
    /// began at `began`.
    pub(super) fn note(
        &mut self,
        durable_at: Monotonic,
        began: Monotonic,
        now: Monotonic,
        stats: &ShardStats,
    ) {
        if let Some(spread) = self.0.iter_mut().rev().find(|of| of.durable_at == durable_at) {
            spread.last = now;
            return;
        }
        if self.0.len() == SPREADS_MAX {
            record(self.0.remove(0), stats);
        }
        self.0.push(Spread { durable_at, first: began, last: now });
    }

    /// Nothing is left to send: all are complete.
    pub(super) fn settle(&mut self, stats: &ShardStats) {
        self.0.drain(..).for_each(|spread| record(spread, stats));
    }
}

fn record(spread: Spread, stats: &ShardStats) {
    stats.broadcast_spread.record(spread.last.since(spread.first));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_reaches_from_the_first_socket_to_the_last() {
        let (stats, mut spreads) = (ShardStats::default(), Spreads::default());
        let ms = |ms: u64| Monotonic(ms * 1_000_000);
        spreads.note(ms(1), ms(10), ms(12), &stats);
        spreads.note(ms(2), ms(12), ms(14), &stats);
        spreads.note(ms(1), ms(14), ms(16), &stats);
        assert_eq!(stats.broadcast_spread.snapshot().count(), 0);
        spreads.settle(&stats);
        let snapshot = stats.broadcast_spread.snapshot();
        assert_eq!(snapshot.count(), 2);
        assert!((snapshot.sum_seconds() - 0.008).abs() < 1e-9, "6 ms and 2 ms");
        for n in 0..SPREADS_MAX as u64 + 3 {
            spreads.note(ms(n), ms(n), ms(n), &stats);
        }
        assert_eq!(stats.broadcast_spread.snapshot().count(), 5, "the oldest make room");
    }
}
