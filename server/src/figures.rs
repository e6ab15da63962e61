//! Figures for the board: the shards', of the last while, not of all time; and how sources and log
//! do.

use std::sync::Mutex;
use std::time::Duration;

use touchline_core::metrics::Snapshot;
use touchline_fanout::Fanout;

use crate::health::{self, Place};
use crate::live::FigureSource;

/// What was seen when it was asked last.
#[derive(Default)]
struct Before {
    latency: Snapshot,
    spread: Snapshot,
}

/// A source that answers with what has happened since it was asked last.
pub fn figures(fanout: &Fanout, place: Place) -> FigureSource {
    let shards: Vec<_> = fanout.stats().to_vec();
    let before = Mutex::new(Before::default());
    Box::new(move || {
        let mut now = Before::default();
        let mut figures = health::look(&place);
        for shard in &shards {
            now.latency.merge(&shard.delivery_latency.snapshot());
            now.spread.merge(&shard.broadcast_spread.snapshot());
            figures.sockets += u64::try_from(shard.connections.get()).unwrap_or(0);
            figures.deliveries_total += shard.deliveries.get();
        }
        let mut before = before.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let p99 = |now: &Snapshot, before: &Snapshot| now.since(before).quantile(0.99).map(ms);
        figures.p99_ms = p99(&now.latency, &before.latency);
        figures.spread_ms = p99(&now.spread, &before.spread);
        *before = now;
        figures
    })
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
