//! What it costs to turn a durable event into the frame that all sockets share: once for each
//! event, whatever the number of sockets.
#![allow(missing_docs)] // criterion's macros make functions that nobody can document

mod common;

use std::hint::black_box;

use common::{EPOCH, event};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use touchline_core::frame::Published;
use touchline_core::log::{Lane, Position, Record};
use touchline_core::time::{Monotonic, Timestamp};

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for data_bytes in [60, 512, 8_192] {
        let position = Position { lane: Lane(0), seq: 1_000_000 };
        let event = event(7, data_bytes);
        let record = Record { position, received_at: Timestamp(0), event };
        let frame = Published::encode(&record, EPOCH, Monotonic(0)).frame;
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(format!("event with {data_bytes} bytes of data"), |b| {
            b.iter(|| Published::encode(black_box(&record), EPOCH, Monotonic(0)));
        });
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
