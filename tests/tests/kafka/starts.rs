//! Claim: a start reads what its windows hold from the tail of the log, however much lies before.

use std::time::Duration;

use touchline_core::event::{Event, Route, Stream};
use touchline_core::log::record;
use touchline_core::time::Timestamp;
use touchline_ingest::kafka::lanes::Lanes;
use touchline_tests::e2e::http::event;

use crate::{Nodes, Turn, admin, calm_brokers, wire};

/// Hours before now in which nothing was written, and records that were written before that.
const OLD: (Duration, usize) = (Duration::from_secs(3 * 3600), 3_000);

/// The record of an event of long ago, and when it was.
fn old(n: usize) -> (Vec<u8>, i64) {
    let micros = jiff::Timestamp::now().as_microsecond() - OLD.0.as_micros() as i64;
    let at = Timestamp(micros + n as i64);
    let event = Event { occurred_at: at, ..Event::sample(&format!("old{n}"), "ars") };
    let mut value = Vec::new();
    record::encode(&event, at, &mut value);
    (value, at.0 / 1_000)
}

#[test]
fn a_start_reads_its_dedupe_window_from_the_tail_and_nothing_older() {
    let _turn = Turn::Calm.take();
    let brokers = calm_brokers();
    let mut nodes = Nodes::start(brokers, "old", 1, "");
    nodes.servers[0].stop();
    let lanes = Lanes::new("old.", 4);
    let lane = lanes.of(Stream::Broadcast, &Route::parse("ars").expect("a route"));
    let (_, partition) = lanes.place(lane).expect("a lane of ours");
    let topic = "old.broadcast-events";
    // What brokers stamped hours ago: they take a writer's stamps meanwhile.
    wire::set(brokers, topic, "message.timestamp.type", "CreateTime");
    admin::write_stamped(brokers, topic, partition, (0..OLD.1).map(old));
    wire::set(brokers, topic, "message.timestamp.type", "LogAppendTime");
    nodes.restart(0);
    let new: Vec<String> = (0..10).map(|n| event(&format!("new{n}"), &["ars"])).collect();
    new.iter().for_each(|body| nodes.servers[0].accept(body));
    nodes.servers[0].stop();
    nodes.restart(0);
    assert_eq!(admin::reach(brokers, topic, 4)[partition as usize], (0, OLD.1 as i64 + 10));
    let read = nodes.servers[0].metric("touchline_kafka_records_read_total");
    assert_eq!(read, 10.0, "of {} records it needs what its window holds", OLD.1 + 10);
    let entries = nodes.servers[0].metric("touchline_dedupe_entries");
    assert_eq!(entries, 10.0, "the window holds the newest");
    let repeat = nodes.servers[0].post(&new[3]);
    assert!(repeat.body.contains("\"duplicates\":1"), "{}", repeat.body);
}
