//! What an owner of a cluster can do behind our back.

use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
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

/// Writes messages, each with a stamp in milliseconds.
pub fn write_stamped(
    brokers: &Brokers,
    topic: &str,
    partition: i32,
    messages: impl Iterator<Item = (Vec<u8>, i64)>,
) {
    let mut config = config(brokers);
    let producer: BaseProducer = config.set("linger.ms", "5").create().expect("a client");
    for (value, at_ms) in messages {
        let record = BaseRecord::to(topic).partition(partition).key("k");
        producer.send(record.payload(&value).timestamp(at_ms)).expect("room");
    }
    producer.flush(ANSWER_MAX).expect("brokers answer");
}

/// What `look` makes of the first `count` messages of a topic with so many partitions.
pub fn read<T>(
    brokers: &Brokers,
    topic: &str,
    partitions: i32,
    count: usize,
    look: impl Fn(&BorrowedMessage<'_>) -> T,
) -> Vec<T> {
    let mut config = config(brokers);
    let reader: BaseConsumer = config.set("group.id", "test").create().expect("a client");
    let mut wanted = TopicPartitionList::new();
    for partition in 0..partitions {
        wanted.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    reader.assign(&wanted).expect("it is assigned");
    let (begin, mut found) = (Instant::now(), Vec::new());
    while found.len() < count {
        assert!(begin.elapsed() < ANSWER_MAX, "{} of {count} messages came", found.len());
        if let Some(message) = reader.poll(Duration::from_millis(100)) {
            found.push(look(&message.expect("a message")));
        }
    }
    found
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

/// Makes topics as a node makes them.
pub fn create(brokers: &Brokers, topics: &[String], partitions: i32) {
    let wanted = topics.iter().map(|name| {
        NewTopic::new(name, partitions, TopicReplication::Fixed(3))
            .set("min.insync.replicas", "2")
            .set("unclean.leader.election.enable", "false")
            .set("message.timestamp.type", "LogAppendTime")
            .set("retention.ms", "604800000")
    });
    let wanted: Vec<NewTopic<'_>> = wanted.collect();
    // A name is free a moment after its topic was deleted.
    for _ in 0..100 {
        let results = block_on(client(brokers).create_topics(&wanted, &options()));
        if results.expect("brokers answer").iter().all(Result::is_ok) {
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("topics can't be made");
}

/// Deletes topics.
pub fn delete(brokers: &Brokers, topics: &[String]) {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let results = block_on(client(brokers).delete_topics(&names, &options()));
    for result in results.expect("brokers answer") {
        result.expect("it is deleted");
    }
}

/// Who holds each partition of a topic; the leader comes first where it is told so.
pub fn replicas(brokers: &Brokers, topic: &str) -> Vec<Vec<i32>> {
    let reader: BaseConsumer = config(brokers).create().expect("a client");
    let metadata = reader.fetch_metadata(Some(topic), ANSWER_MAX).expect("brokers answer");
    let mut partitions: Vec<_> = metadata.topics()[0].partitions().iter().collect();
    partitions.sort_by_key(|it| it.id());
    partitions.iter().map(|it| it.replicas().to_vec()).collect()
}

/// First offset and end of each of so many partitions.
pub fn reach(brokers: &Brokers, topic: &str, partitions: i32) -> Vec<(i64, i64)> {
    let reader: BaseConsumer = config(brokers).create().expect("a client");
    let of = |partition| reader.fetch_watermarks(topic, partition, ANSWER_MAX);
    (0..partitions).map(|partition| of(partition).expect("brokers answer")).collect()
}
