//! Why brokers are away is said while it lasts (FAULTS 35).

use rdkafka::types::RDKafkaRespErr;
use touchline_core::log::{EventLog as _, LogHealthError};
use touchline_ingest::kafka::KafkaLog;

use crate::{TOPICS, fixture};

/// What is said of brokers that are away.
fn likely(log: &KafkaLog) -> String {
    match log.health() {
        Err(error @ LogHealthError::Unreachable(..)) => error.to_string(),
        _ => String::new(),
    }
}

#[test]
fn fault_35_what_keeps_a_node_from_brokers_is_said_while_it_lasts_and_no_longer() {
    let it = fixture();
    it.insist("before");
    it.cluster.broker_down(-1).expect("brokers");
    // Connections that were young hang up: of brokers that let us in before that is no mismatch.
    it.waits_for("it is said", |log| likely(log).contains("nothing listens there"));
    assert!(likely(&it.log).contains("Connection refused"), "{}", likely(&it.log));
    it.cluster.broker_up(-1).expect("brokers");
    it.waits_for("it is over", |log| log.health().is_ok());
    it.insist("between");

    let forbidden = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    it.cluster.topic_error(TOPICS[0], forbidden).expect("a topic");
    it.waits_for("rights that were taken away", |log| {
        let likely = likely(log);
        likely.contains("rights that docs/kafka.md names") && likely.contains(TOPICS[0])
    });
    it.cluster.topic_error(TOPICS[0], RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).expect("a topic");
    it.waits_for("it is over", |log| log.health().is_ok());
    it.insist("after");
    it.shows(&["before", "between", "after"]);
}
