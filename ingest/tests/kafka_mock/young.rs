//! What brokers have yet to hear of is waited for; what isn't there is told (FAULTS 35).

use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use touchline_core::log::EventLog as _;
use touchline_ingest::kafka::OpenError;

use crate::{PATIENCE, TOPICS, open_at};

#[test]
fn fault_35_a_topic_that_brokers_have_yet_to_hear_of_is_waited_for_and_not_for_ever() {
    let cluster = MockCluster::new(3).expect("a cluster");
    for topic in TOPICS[1..].iter().chain(&["touchline-meta"]) {
        cluster.create_topic(topic, 2, 3).expect("a topic");
    }
    let (brokers, begin) = (cluster.bootstrap_servers(), Instant::now());
    let opening = spawn(move || open_at(brokers));
    sleep(Duration::from_secs(3));
    assert!(!opening.is_finished(), "it is looked for again");
    cluster.create_topic(TOPICS[0], 2, 3).expect("a topic");
    let log = opening.join().expect("no panic").expect("it opens");
    assert_eq!(log.health(), Ok(()));
    assert!(begin.elapsed() < PATIENCE / 2, "soon after it is there");

    let cluster = MockCluster::new(3).expect("a cluster");
    let begin = Instant::now();
    match open_at(cluster.bootstrap_servers()) {
        Err(OpenError::Misfit(lines)) => {
            assert!(lines[0].contains("broadcast-events doesn't exist: make it"), "{lines:?}");
        }
        other => panic!("{:?}", other.err()),
    }
    assert!((10..30).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
}
