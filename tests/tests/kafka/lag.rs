//! Claim: a node that reads more slowly than its brokers are written to is not ready, and says in
//! which partition and by how much; once it has caught up it is.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use touchline::config::{LoadRequest, load};
use touchline::running::{Appliance, Order};
use touchline_core::event::{Event, Stream};
use touchline_core::log::{Outcome, Record, Span, TailSink};
use touchline_core::time::Timestamp;
use touchline_ingest::kafka::lanes::Lanes;
use touchline_tests::e2e::http::request;
use touchline_tests::e2e::until;

use crate::{Turn, calm_brokers};

const PREFIX: &str = "behind.";
const PARTITIONS: u16 = 4;
const LAG_RECORDS_MAX: u64 = 20;
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Takes nothing while somebody else holds its door: so the tail stands still.
struct Stuck {
    door: Arc<Mutex<()>>,
    came: Arc<Mutex<usize>>,
}

impl TailSink for Stuck {
    fn durable(&mut self, records: Vec<Record>, _spans: &[Span]) {
        *self.came.lock().expect("no panic") += records.len();
        drop(self.door.lock());
    }
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

fn event(n: usize) -> Event {
    Event { occurred_at: now(), ..Event::sample(&format!("e{n}"), "ars") }
}

/// Returns once brokers have them.
fn append(node: &Appliance, events: Vec<Event>) {
    let (told, answer) = channel();
    let count = events.len();
    let reply = Box::new(move |result| drop(told.send(result)));
    node.log.events().append(events, now(), reply);
    let outcomes = answer.recv_timeout(ANSWER_MAX).expect("brokers answer").expect("they take it");
    let are_new = outcomes.iter().all(|it| matches!(it, Outcome::Accepted(_)));
    assert!(are_new && outcomes.len() == count, "{outcomes:?}");
}

fn node(folder: &std::path::Path) -> touchline::running::Running {
    let flags = [
        ("node.data_dir", folder.to_str().expect("a text").to_owned()),
        ("node.connections_max", "100".into()),
        ("listen.stream", "127.0.0.1:0".into()),
        ("listen.api", "127.0.0.1:0".into()),
        ("listen.admin", "127.0.0.1:0".into()),
        ("log.kind", "kafka".into()),
        ("log.kafka.brokers", calm_brokers().addresses()),
        ("log.kafka.topic_prefix", PREFIX.into()),
        ("log.kafka.partitions", PARTITIONS.to_string()),
        ("log.kafka.lag_records_max", LAG_RECORDS_MAX.to_string()),
    ];
    let request = LoadRequest {
        ignore_default_file: true,
        flags: flags.map(|(key, value)| (key.to_owned(), value)).to_vec(),
        ..LoadRequest::default()
    };
    touchline::start(load(request).expect("a good configuration")).expect("it starts")
}

#[test]
fn a_node_that_is_behind_its_brokers_is_not_ready_and_names_the_partition() {
    let _turn = Turn::Calm.take();
    let folder = tempfile::tempdir().expect("a folder");
    let running = node(folder.path());
    let appliance = running.appliance();
    let admin = |path: &str| {
        request(running.addresses().admin, "GET", path, &[], "").expect("the admin port answers")
    };
    let lanes = Lanes::new(PREFIX, PARTITIONS);
    let (_, partition) =
        lanes.place(lanes.of(Stream::Broadcast, &event(0).route)).expect("a lane of ours");
    let lag = |records: usize| {
        let labels = format!("topic=\"{PREFIX}broadcast-events\",partition=\"{partition}\"");
        let sample = format!("touchline_kafka_lag_records{{{labels}}} {records}");
        admin("/metrics").body.lines().any(|line| line == sample)
    };
    until("ready", || admin("/readyz").status == 200);
    assert!(lag(0), "it has read all there is: {}", admin("/metrics").body);
    let (door, came) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(0)));
    let is_held = door.lock().expect("nobody else");
    let sink = Stuck { door: Arc::clone(&door), came: Arc::clone(&came) };
    appliance.log.attach(Box::new(sink));
    append(&appliance, vec![event(0)]);
    until("the tail stands still", || *came.lock().expect("no panic") == 1);
    append(&appliance, (1..=50).map(event).collect());
    until("not ready", || admin("/readyz").status == 503);
    let (told, place) = (admin("/readyz").body, format!("{PREFIX}broadcast-events, partition "));
    let whole = format!("{place}{partition}, is 50 records ahead of what this node has read");
    assert!(told.contains(&whole), "{told}");
    assert!(lag(50), "{}", admin("/metrics").body);
    drop(is_held);
    until("ready again", || admin("/readyz").status == 200);
    assert!(lag(0), "{}", admin("/metrics").body);
    running.stop(Order::Now);
}
