//! Claim: whatever brokers answer, a source is told what to do (FAULTS 35), nothing that was
//! acknowledged is lost, and everything is shown once. The brokers are librdkafka's mock cluster,
//! which answers what a test tells it to; real ones are killed in `tests/tests/kafka`.

mod again;
mod away;
mod leaderless;
mod overtaken;
mod storm;
mod young;

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use touchline_core::dead::NoDeadLetters;
use touchline_core::event::Event;
use touchline_core::log::{
    AppendError, EventLog, Lane, LogHealthError, Outcome, Position, ReadChunk, ReadRequest, Record,
    Span, TailSink,
};
use touchline_core::time::Timestamp;
use touchline_ingest::clock::system_clock;
use touchline_ingest::kafka::{KafkaLog, KafkaOptions, OpenError};

const TOPICS: [&str; 4] = ["broadcast-events", "update-events", "social-events", "sensor-events"];
const PATIENCE: Duration = Duration::from_secs(60);
/// Shorter than a node's default: tests wait for it.
const DELIVER_MAX: Duration = Duration::from_secs(2);

type Shown = Arc<Mutex<Vec<String>>>;
type Answer = Result<Vec<Outcome>, AppendError>;

struct Sink(Shown);

impl TailSink for Sink {
    fn durable(&mut self, records: Vec<Record>, _spans: &[Span]) {
        self.0.lock().unwrap().extend(records.iter().map(|it| it.event.id.to_string()));
    }
}

/// Three brokers, and a node on them.
struct Fixture {
    // Ends before the brokers do.
    log: Arc<KafkaLog>,
    shown: Shown,
    cluster: MockCluster<'static, DefaultProducerContext>,
}

fn fixture() -> Fixture {
    let cluster = MockCluster::new(3).expect("a cluster");
    for topic in TOPICS {
        cluster.create_topic(topic, 2, 3).expect("a topic");
    }
    cluster.create_topic("touchline-meta", 1, 3).expect("a topic");
    let log = open(&cluster);
    let shown = Shown::default();
    log.attach(Box::new(Sink(Arc::clone(&shown))));
    Fixture { log, shown, cluster }
}

fn open(cluster: &MockCluster<'static, DefaultProducerContext>) -> Arc<KafkaLog> {
    open_at(cluster.bootstrap_servers()).expect("it opens")
}

fn open_at(brokers: String) -> Result<Arc<KafkaLog>, OpenError> {
    let options = KafkaOptions {
        brokers,
        partitions: 2,
        creates_topics: false,
        // It has no settings, and can make no topics.
        checks_topics: false,
        deliver_max: DELIVER_MAX,
        ..KafkaOptions::default()
    };
    let begin = Instant::now();
    let opened = KafkaLog::open(&options, Arc::new(NoDeadLetters), || begin.elapsed() > PATIENCE);
    opened.map(|(log, _)| log)
}

/// The same each time it is asked for: what is sent again is what was sent before.
fn event(id: &str, data: &str) -> Event {
    static NOW: OnceLock<Timestamp> = OnceLock::new();
    let occurred_at = *NOW.get_or_init(system_clock);
    Event { occurred_at, data: data.to_owned().into(), ..Event::sample(id, "ars") }
}

impl Fixture {
    fn append_all(&self, events: Vec<Event>) -> Answer {
        let (told, answer) = channel();
        let reply = Box::new(move |result| drop(told.send(result)));
        self.log.append(events, system_clock(), reply);
        answer.recv_timeout(PATIENCE).expect("an answer comes, whatever brokers do")
    }

    fn append(&self, id: &str) -> Answer {
        self.append_all(vec![event(id, "{}")])
    }

    /// As a source does: again until it is taken.
    fn insist(&self, id: &str) {
        let begin = Instant::now();
        while self.append(id).is_err() {
            assert!(begin.elapsed() < PATIENCE, "{id} is never taken");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn errors(&self, key: RDKafkaApiKey, error: RDKafkaRespErr, times: usize) {
        self.cluster.request_errors(key, &vec![error; times]);
    }

    /// Takes partitions their leaders. Mock brokers don't survive a request to fetch from one that
    /// has none: fetches fail until clients have heard of it.
    fn unlead(&self, partitions: &[(&str, i32)]) {
        let held = RDKafkaRespErr::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR;
        self.errors(RDKafkaApiKey::Fetch, held, 10_000);
        std::thread::sleep(Duration::from_millis(500));
        for (topic, partition) in partitions {
            self.cluster.partition_leader(topic, *partition, None).expect("a topic");
        }
        std::thread::sleep(Duration::from_secs(2));
        self.cluster.clear_request_errors(RDKafkaApiKey::Fetch);
    }

    /// All of `ids` have been shown, each once, in their order.
    fn shows(&self, ids: &[&str]) {
        let begin = Instant::now();
        while self.shown.lock().unwrap().len() < ids.len() && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(*self.shown.lock().unwrap(), ids);
    }

    fn waits_for(&self, what: &str, is_so: impl Fn(&KafkaLog) -> bool) {
        let begin = Instant::now();
        while !is_so(&self.log) {
            assert!(begin.elapsed() < PATIENCE, "never: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn read(&self, lane: Lane, seq: u64) -> ReadChunk {
        let (told, answer) = channel();
        let request = ReadRequest { from: Position { lane, seq }, bytes_max: 1 << 20 };
        self.log.read(request, Box::new(move |chunk| drop(told.send(chunk))));
        answer.recv_timeout(PATIENCE).expect("an answer").expect("a chunk")
    }
}

fn lane(answer: &Answer) -> Lane {
    match answer {
        Ok(outcomes) => match outcomes[0] {
            Outcome::Accepted(position) => position.lane,
            other => panic!("{other:?}"),
        },
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn fault_35_what_brokers_take_back_by_themselves_costs_a_source_nothing() {
    use RDKafkaRespErr as Said;
    let it = fixture();
    let passing = [
        Said::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Said::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Said::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Said::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        Said::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        Said::RD_KAFKA_RESP_ERR__TRANSPORT,
    ];
    let ids: Vec<String> = (0..passing.len()).map(|n| format!("e{n}")).collect();
    for (error, id) in passing.into_iter().zip(&ids) {
        it.errors(RDKafkaApiKey::Produce, error, 2);
        let answer = it.append(id);
        assert!(matches!(&answer, Ok(outcomes) if outcomes.len() == 1), "{error:?}: {answer:?}");
    }
    it.shows(&ids.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn fault_35_an_event_that_brokers_refuse_for_its_size_is_named_and_not_tried_for_ever() {
    let it = fixture();
    assert!(it.append("e1").is_ok());
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    it.errors(RDKafkaApiKey::Produce, error, 1);
    let begin = Instant::now();
    let answer = it.append("large");
    assert_eq!(answer, Err(AppendError::Refused(vec![0])), "a 422, not a 503");
    assert!(begin.elapsed() < DELIVER_MAX, "it is said at once");
    assert!(it.append("e2").is_ok(), "and holds up nobody");
    assert_eq!(it.log.health(), Ok(()));
    it.shows(&["e1", "e2"]);
}

#[test]
fn fault_35_what_brokers_forbid_or_do_not_know_is_unknown_to_the_source_which_sends_again() {
    use RDKafkaRespErr as Said;
    for error in [
        Said::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        Said::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
        Said::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        Said::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
        Said::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
    ] {
        let it = fixture();
        it.errors(RDKafkaApiKey::Produce, error, 1);
        match (it.append("e1"), error) {
            // Asked again by itself, and known then.
            (Ok(_), Said::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => {}
            (Err(AppendError::Unknown(_)), _) => assert_eq!(it.log.stats().failed, 1),
            (other, _) => panic!("{error:?}: {other:?}"),
        }
        it.cluster.clear_request_errors(RDKafkaApiKey::Produce);
        let begin = Instant::now();
        while let Err(said) = it.append("e1") {
            assert!(begin.elapsed() < Duration::from_secs(20), "{error:?}, and then {said}");
            // A client whose session was taken from it has failed for good, and is replaced.
            let health = it.log.health();
            assert!(!matches!(health, Err(LogHealthError::Broken(_))), "{health:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        it.insist("e2");
        it.shows(&["e1", "e2"]);
    }
}

#[test]
fn fault_35_leaders_that_change_again_and_again_lose_nothing() {
    let it = fixture();
    let ids: Vec<String> = (0..40).map(|n| format!("e{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        if n % 4 == 0 {
            for partition in 0..2 {
                let leader = Some(1 + (n / 4 % 3) as i32);
                it.cluster.partition_leader(TOPICS[0], partition, leader).expect("a broker");
            }
        }
        it.insist(id);
    }
    it.shows(&ids.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn fault_35_brokers_that_are_gone_for_30_s_are_named_at_once_and_lose_nothing() {
    let it = fixture();
    assert!(it.append("before").is_ok());
    it.cluster.broker_down(-1).expect("brokers");
    it.waits_for("it is said", |log| matches!(log.health(), Err(LogHealthError::Unreachable(..))));
    let begin = Instant::now();
    assert_eq!(it.append("during"), Err(AppendError::Unreachable));
    assert!(begin.elapsed() < Duration::from_millis(200), "nobody waits for brokers that are gone");
    std::thread::sleep(Duration::from_secs(30));
    it.cluster.broker_up(-1).expect("brokers");
    it.waits_for("it is over", |log| log.health().is_ok());
    it.insist("during");
    it.insist("after");
    it.shows(&["before", "during", "after"]);
}

#[test]
fn fault_35_brokers_that_are_slower_than_a_source_waits_leave_it_unknown_and_once() {
    let it = fixture();
    assert!(it.append("e1").is_ok());
    it.cluster.broker_round_trip_time(-1, DELIVER_MAX * 2).expect("brokers");
    let begin = Instant::now();
    match it.append("e2") {
        Err(AppendError::Unknown(_) | AppendError::Unreachable) => {}
        other => panic!("{other:?}"),
    }
    assert!(begin.elapsed() < DELIVER_MAX * 3, "a source is answered in time");
    it.cluster.broker_round_trip_time(-1, Duration::ZERO).expect("brokers");
    it.insist("e2");
    it.insist("e3");
    it.shows(&["e1", "e2", "e3"]);
}

#[test]
fn fault_35_an_offset_that_a_broker_denies_once_is_read_all_the_same() {
    let it = fixture();
    assert!(it.append("e1").is_ok());
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
    it.errors(RDKafkaApiKey::Fetch, error, 3);
    it.insist("e2");
    it.shows(&["e1", "e2"]);
    assert_eq!((it.log.stats().jumps, it.log.health()), (0, Ok(())));
}

#[test]
fn fault_40_a_record_received_in_another_hour_takes_its_place_and_is_known_again() {
    let it = fixture();
    let hour = Duration::from_secs(3_600);
    let mut positions = Vec::new();
    for (n, now) in [system_clock(), system_clock().plus(hour), system_clock().minus(hour)]
        .into_iter()
        .enumerate()
    {
        for is_repeat in [false, true] {
            let mut event = event(&format!("e{n}"), "{}");
            event.occurred_at = now;
            match it.append_at(event, now).expect("it is taken")[0] {
                Outcome::Accepted(position) if !is_repeat => positions.push(position.seq),
                Outcome::Duplicate if is_repeat => {}
                other => panic!("event {n}, repeat {is_repeat}: {other:?}"),
            }
        }
    }
    assert_eq!(positions, [0, 1, 2], "clocks of hosts set no positions");
    for now in [system_clock().plus(hour), system_clock().minus(hour)] {
        let mut event = event("e0", "{}");
        event.occurred_at = now;
        let outcomes = it.append_at(event, now).err();
        assert!(matches!(outcomes, Some(AppendError::IdReused(_))), "known, with other content");
    }
    it.shows(&["e0", "e1", "e2"]);
}

impl Fixture {
    fn append_at(&self, event: Event, now: Timestamp) -> Answer {
        let (told, answer) = channel();
        self.log.append(vec![event], now, Box::new(move |result| drop(told.send(result))));
        answer.recv_timeout(PATIENCE).expect("an answer")
    }
}
