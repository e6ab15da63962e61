//! A node that retention overtakes goes on, and tells what is missing, whatever else is wrong at
//! that moment (FAULTS 35).

use std::sync::{Arc, Mutex};

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use touchline_core::log::{EventLog as _, HoleReason, Record, Span, TailSink};

use crate::{Fixture, TOPICS, event, fixture, lane};

/// Events that come while nothing can be fetched: more than the 5 MiB that a mock broker keeps.
const BIG: usize = 200;

/// What was said to be complete, and whether records came with it.
struct Spans(Arc<Mutex<Vec<(Span, bool)>>>);

impl TailSink for Spans {
    fn durable(&mut self, records: Vec<Record>, spans: &[Span]) {
        let mut all = self.0.lock().unwrap();
        all.extend(spans.iter().map(|span| (*span, !records.is_empty())));
    }
}

impl Fixture {
    /// Retention removes what this node hasn't read.
    fn overtake(&self) {
        let held = RDKafkaRespErr::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR;
        self.errors(RDKafkaApiKey::Fetch, held, 10_000);
        let data = format!("{{\"text\":\"{}\"}}", "x".repeat(60_000));
        for n in 0..BIG {
            let answer = self.append_all(vec![event(&format!("big{n}"), &data)]);
            assert!(answer.is_ok(), "{answer:?}");
        }
        self.cluster.clear_request_errors(RDKafkaApiKey::Fetch);
    }

    /// It has jumped, and shown `id` then.
    fn goes_on_to(&self, id: &str) {
        self.waits_for("it jumps", |log| log.stats().jumps > 0);
        let shown = Arc::clone(&self.shown);
        self.waits_for("it goes on", |_| shown.lock().unwrap().iter().any(|it| it == id));
    }
}

#[test]
fn fault_35_a_node_that_retention_has_overtaken_goes_on_and_names_what_is_missing() {
    let it = fixture();
    let lane = lane(&it.append("e0"));
    it.shows(&["e0"]);
    let spans = Arc::new(Mutex::new(Vec::new()));
    it.log.attach(Box::new(Spans(Arc::clone(&spans))));
    it.overtake();
    it.insist("last");
    it.goes_on_to("last");
    let ids = it.shown.lock().unwrap().clone();
    assert!(ids.len() < BIG + 2, "something was overtaken: {}", ids.len());
    let chunk = it.read(lane, 1);
    let [hole] = chunk.holes[..] else { panic!("{:?}", chunk.holes) };
    assert_eq!((hole.from, hole.reason), (1, HoleReason::Retention));
    let missing = usize::try_from(hole.to - hole.from + 1).expect("few");
    assert_eq!(ids.len() + missing, BIG + 2, "what isn't shown is named");
    // Not by the next record, which may never come (mock brokers keep their last).
    let jumped = spans.lock().unwrap().iter().rfind(|(_, has_records)| !has_records).copied();
    let at = hole.to + 1;
    let empty = Span { lane, from: at, next: at };
    assert_eq!(jumped, Some((empty, false)), "the jump itself shows the hole");
    it.waits_for("nothing is left to be read", |log| log.stats().lag_max == 0);
    assert_eq!(it.log.health(), Ok(()));
}

#[test]
fn fault_35_a_partition_without_a_leader_keeps_no_other_from_going_on_past_what_is_gone() {
    let it = fixture();
    it.insist("e0");
    it.shows(&["e0"]);
    let leaderless = [(TOPICS[1], 0), (TOPICS[3], 1)];
    it.unlead(&leaderless);
    it.overtake();
    it.insist("last");
    it.goes_on_to("last");
    assert_eq!(it.log.stats().pending_bytes, 0, "what was acknowledged and is gone waits no more");
    for (topic, partition) in leaderless {
        it.cluster.partition_leader(topic, partition, Some(1)).expect("a topic");
    }
    it.insist("after");
    it.goes_on_to("after");
}
