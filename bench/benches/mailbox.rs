//! A batch's way from the log's thread to a shard's: put, taken, and the bell that isn't rung while
//! nobody sleeps.
#![allow(missing_docs)] // criterion's macros make functions that nobody can document

mod common;

use std::sync::Arc;

use common::batch;
use criterion::{Criterion, criterion_group, criterion_main};
use touchline_core::limits::MAILBOX_BATCHES_MAX;
use touchline_core::mailbox::{Doorbell, EventBell, channel};

fn mailbox(c: &mut Criterion) {
    let bell = Arc::new(Doorbell::new(EventBell::new().expect("a descriptor")));
    let (mut sender, mut receiver) = channel(MAILBOX_BATCHES_MAX, bell.clone());
    let batch = Arc::new(batch(0, 1));
    let mut group = c.benchmark_group("mailbox");
    bell.rise();
    group.bench_function("there and out again, receiver awake", |b| {
        b.iter(|| {
            sender.try_send(batch.clone()).expect("there is room");
            receiver.try_recv()
        });
    });
    group.bench_function("there and out again, receiver dozing", |b| {
        b.iter(|| {
            bell.doze();
            sender.try_send(batch.clone()).expect("there is room");
            receiver.try_recv()
        });
    });
    group.finish();
}

criterion_group!(benches, mailbox);
criterion_main!(benches);
