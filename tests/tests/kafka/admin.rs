//! What an owner of a cluster can do behind our back.

use std::time::Duration;

use futures_lite::future::block_on;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use touchline_tests::e2e::brokers::Brokers;

const ANSWER_MAX: Duration = Duration::from_secs(20);

fn config(brokers: &Brokers) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers.addresses());
    config
}

fn client(brokers: &Brokers) -> AdminClient<DefaultClientContext> {
    config(brokers).create().expect("a client")
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_MAX)).operation_timeout(Some(ANSWER_MAX))
}

/// Writes a message.
pub fn write(brokers: &Brokers, topic: &str, partition: i32, value: &[u8]) {
    let producer: BaseProducer = config(brokers).create().expect("a client");
    let record = BaseRecord::to(topic).partition(partition).key("k").payload(value);
    producer.send(record).expect("room");
    producer.flush(ANSWER_MAX).expect("brokers answer");
}

/// Writes one in a transaction, so that its marker stands last.
pub fn write_in_transaction(brokers: &Brokers, topic: &str, partition: i32, value: &[u8]) {
    let mut config = config(brokers);
    let producer: BaseProducer = config.set("transactional.id", topic).create().expect("a client");
    producer.init_transactions(ANSWER_MAX).expect("brokers answer");
    producer.begin_transaction().expect("none is open");
    let record = BaseRecord::to(topic).partition(partition).key("k").payload(value);
    producer.send(record).expect("room");
    producer.commit_transaction(ANSWER_MAX).expect("brokers answer");
}

/// Deletes topics.
pub fn delete(brokers: &Brokers, topics: &[String]) {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let results = block_on(client(brokers).delete_topics(&names, &options()));
    for result in results.expect("brokers answer") {
        result.expect("it is deleted");
    }
}
