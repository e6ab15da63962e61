//! Events and batches for the benches.
#![allow(dead_code)] // each bench uses its part

use touchline_core::event::Event;
use touchline_core::frame::{Batch, Published};
use touchline_core::log::{Epoch, Lane, LaneBounds, LogBounds, Position, Record, Span};
use touchline_core::time::{Monotonic, Timestamp};

/// The log's life in all benches.
pub const EPOCH: Epoch = Epoch(7);

/// Event `n` of team `ars`, with an object of `data_bytes` bytes.
pub fn event(n: u64, data_bytes: usize) -> Event {
    let data = format!(r#"{{"pad":"{}"}}"#, "x".repeat(data_bytes.saturating_sub(10)));
    Event {
        source: "bench".into(),
        occurred_at: Timestamp(1_782_324_191_500_000),
        data: data.into(),
        ..Event::sample(&format!("bench-{n:08}"), "ars")
    }
}

/// Events `from..next`, encoded, as shards get them.
pub fn batch(from: u64, next: u64) -> Batch {
    let published = |seq| {
        let position = Position { lane: Lane(0), seq };
        let record = Record { position, received_at: Timestamp(0), event: event(seq, 60) };
        Published::encode(&record, EPOCH, Monotonic(seq))
    };
    let spans = vec![Span { lane: Lane(0), from, next }];
    Batch { spans, events: (from..next).map(published).collect(), holes: Vec::new() }
}

/// A log of one lane that holds `0..next`.
pub fn bounds(next: u64) -> LogBounds {
    LogBounds { epoch: EPOCH, lanes: [LaneBounds::whole(0, next)].into() }
}
