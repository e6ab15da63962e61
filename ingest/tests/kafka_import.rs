//! Claim: a journal is moved in once, whatever becomes of its batches, and never beside somebody
//! else's events. The brokers are librdkafka's mock cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use touchline_core::dead::NoDeadLetters;
use touchline_core::event::{Event, Stream};
use touchline_core::log::{Epoch, Lane, Position, Record};
use touchline_core::time::Timestamp;
use touchline_ingest::kafka::outside::Outside;
use touchline_ingest::kafka::{Import, ImportError, KafkaLog, KafkaOptions, OpenError};

const JOURNAL: Epoch = Epoch(77);
const PATIENCE: Duration = Duration::from_secs(60);

fn cluster() -> (MockCluster<'static, DefaultProducerContext>, KafkaOptions) {
    let cluster = MockCluster::new(1).expect("a cluster");
    for stream in Stream::ALL {
        cluster.create_topic(&format!("{stream}-events"), 2, 1).expect("a topic");
    }
    cluster.create_topic("touchline-meta", 1, 1).expect("a topic");
    let options = KafkaOptions {
        brokers: cluster.bootstrap_servers(),
        partitions: 2,
        creates_topics: false,
        checks_topics: false,
        ..KafkaOptions::default()
    };
    (cluster, options)
}

/// Records of a journal, each of another day: Kafka must not judge their age.
fn journal(from: u64, to: u64) -> Vec<Record> {
    let record = |seq: u64| {
        let received_at = Timestamp(seq as i64 * 86_400_000_000);
        let teams = ["ars", "che", "liv"][seq as usize % 3];
        let event = Event { occurred_at: received_at, ..Event::sample(&format!("e{seq}"), teams) };
        Record { position: Position { lane: Lane(0), seq }, received_at, event }
    };
    (from..to).map(record).collect()
}

fn begin(options: &KafkaOptions, end: u64) -> Import {
    Import::begin(options, JOURNAL, 0, end).expect("it begins").expect("something is left")
}

/// What stands in the log: sequences of the journal, sorted.
fn moved(options: &KafkaOptions) -> Vec<u64> {
    let outside = Outside::open(options).expect("a log");
    let mut moved = Vec::new();
    for lane in outside.reach().expect("brokers answer") {
        let each = |found: touchline_ingest::kafka::outside::Found| {
            let record = found.record.expect("ours");
            let seq: u64 = record.event.id[1..].parse().expect("a number");
            assert_eq!(record.received_at, journal(seq, seq + 1)[0].received_at, "its own time");
            moved.push(seq);
            true
        };
        outside.read(lane.lane, lane.low, lane.high, each).expect("it can be read");
    }
    moved.sort_unstable();
    moved
}

fn opens(options: &KafkaOptions) -> Result<(), OpenError> {
    let begin = Instant::now();
    KafkaLog::open(options, Arc::new(NoDeadLetters), || begin.elapsed() > PATIENCE).map(drop)
}

#[test]
fn a_batch_that_was_half_in_is_taken_up_as_it_was_and_puts_nothing_in_twice() {
    let (_cluster, options) = cluster();
    let mut import = begin(&options, 30);
    import.put(&journal(0, 10), 10).expect("brokers take it");
    // Killed when half of the next batch was in.
    import.put(&journal(10, 15), 20).expect("brokers take it");
    drop(import);
    assert_eq!(moved(&options), (0..15).collect::<Vec<_>>());
    let refused = opens(&options).err();
    assert!(matches!(refused, Some(OpenError::Misfit(_))), "no node starts on half a journal");

    let mut import = begin(&options, 30);
    assert_eq!((import.next(), import.until()), (10, Some(20)), "the batch as it was");
    import.put(&journal(10, 20), 20).expect("brokers take it");
    assert_eq!(import.skipped(), 5);
    import.put(&journal(20, 30), 30).expect("brokers take it");
    import.finish(30).expect("brokers take it");
    assert_eq!(moved(&options), (0..30).collect::<Vec<_>>());
    let again = Import::begin(&options, JOURNAL, 0, 30).expect("it can be asked again");
    assert!(again.is_none(), "all of it is in");
    opens(&options).expect("a log for nodes");
}

#[test]
fn an_import_that_ends_between_two_batches_goes_on_behind_the_last() {
    let (_cluster, options) = cluster();
    let mut import = begin(&options, 20);
    import.put(&journal(0, 10), 10).expect("brokers take it");
    let epoch = import.epoch();
    drop(import);
    let mut import = begin(&options, 20);
    // The batch that was told of last is compared once more: all of it is in.
    assert_eq!((import.next(), import.until(), import.epoch()), (0, Some(10), epoch));
    import.put(&journal(0, 10), 10).expect("brokers take it");
    assert_eq!(import.skipped(), 10);
    import.put(&journal(10, 20), 20).expect("brokers take it");
    import.finish(20).expect("brokers take it");
    assert_eq!(moved(&options), (0..20).collect::<Vec<_>>());
}

#[test]
fn somebody_elses_event_ends_an_import_and_another_journal_does_not_begin() {
    let (_cluster, options) = cluster();
    let mut import = begin(&options, 20);
    import.put(&journal(0, 10), 10).expect("brokers take it");
    drop(import);
    let mut import = begin(&options, 20);
    let other = import.put(&journal(5, 15), 10);
    assert!(matches!(other, Err(ImportError::Foreign { .. })), "{other:?}: e0 to e4 are strange");
    let other = Import::begin(&options, Epoch(78), 0, 5).err();
    assert!(matches!(other, Some(ImportError::NotEmpty { .. })), "{other:?}");
}
