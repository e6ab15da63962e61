//! What the hub decides, for 10,000 followers of one team: marking them when an event comes, and
//! filling volleys until all have been sent it. Divided by 10,000 this is the user-space part of a
//! delivery.
#![allow(missing_docs)] // criterion's macros make functions that nobody can document

mod common;

use common::{EPOCH, batch, bounds};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use touchline_core::config::HubConfig;
use touchline_core::event::{StreamSet, Team};
use touchline_core::frame::Batch;
use touchline_core::log::Mark;
use touchline_core::protocol::{ClientMessage, Subscribe};
use touchline_core::time::Monotonic;
use touchline_fanout::hub::{Hub, Volley};

const FOLLOWERS: u64 = 10_000;
const SENDS_MAX: usize = 256;

fn hub() -> Hub {
    let start = Mark { epoch: EPOCH, next: [0].into() };
    let mut hub = Hub::new(HubConfig::default(), &bounds(0), &start);
    let subscribe = Subscribe {
        teams: vec![Team::new("ars").expect("a valid team")],
        streams: StreamSet::DEFAULT,
        ..Subscribe::default()
    };
    for _ in 0..FOLLOWERS {
        let id = hub.open(Monotonic(0));
        let message = ClientMessage::Subscribe(subscribe.clone());
        hub.handle_message(id, message, &bounds(0), Monotonic(0)).expect("a valid subscribe");
    }
    drain(&mut hub, &mut Volley::default());
    hub
}

fn drain(hub: &mut Hub, volley: &mut Volley) {
    while hub.has_work() {
        hub.poll_volley(volley, SENDS_MAX, Monotonic(1));
        volley.clear();
    }
}

/// Batches of `events` events, one after the other.
fn batches(events: u64) -> impl FnMut() -> Batch {
    let mut next = 0;
    move || {
        next += events;
        batch(next - events, next)
    }
}

fn publish_and_poll(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub");
    group.throughput(Throughput::Elements(FOLLOWERS));
    for events in [1, 10] {
        let (mut hub, mut volley, mut batches) = (hub(), Volley::default(), batches(events));
        group.bench_function(format!("{events} events to 10,000 followers"), |b| {
            let step = |batch: Batch| {
                hub.handle_batch(&batch, Monotonic(1));
                drain(&mut hub, &mut volley);
            };
            b.iter_batched(&mut batches, step, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, publish_and_poll);
criterion_main!(benches);
