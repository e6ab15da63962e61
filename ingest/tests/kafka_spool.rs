//! Claim: what a spool hands on enters Kafka in its order, each once, whatever fails half-way
//! (R18).
//! The brokers are librdkafka's mock cluster, told to fail for one request of several.

use std::collections::HashSet;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use touchline_core::dead::{DeadLetter, DeadLetters};
use touchline_core::event::{Event, Stream, Topic};
use touchline_core::log::{
    AppendReply, Epoch, EventLog, Lane, LaneBounds, LogBounds, LogHealthError, Outcome, Position,
    ReadChunk, ReadReply, ReadRequest, Record, Span, TailSink,
};
use touchline_core::time::Timestamp;
use touchline_ingest::clock::system_clock;
use touchline_ingest::kafka::outside::Outside;
use touchline_ingest::kafka::{KafkaLog, KafkaOptions};
use touchline_ingest::spool::{SpoolOptions, SpooledLog};

const PATIENCE: Duration = Duration::from_secs(180);
const DELIVER_MAX: Duration = Duration::from_secs(2);
/// Twelve of them are one group of the drain, and a dozen requests: a batch holds one.
const EVENTS: usize = 12;
const EVENT_BYTES: usize = 60_000;

/// Half of the turns in which an error is meant for one event meet it.
const TURNS: usize = 8;

/// The spool's own disk, in memory.
#[derive(Default)]
struct Disk(Mutex<Vec<Record>>);

impl EventLog for Disk {
    fn append(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        let mut records = self.0.lock().unwrap();
        let mut outcomes = Vec::new();
        for event in events {
            let position = Position { lane: Lane(0), seq: records.len() as u64 };
            records.push(Record { position, received_at, event });
            outcomes.push(Outcome::Accepted(position));
        }
        drop(records);
        reply(Ok(outcomes));
    }

    fn read(&self, request: ReadRequest, reply: ReadReply) {
        let seq = request.from.seq;
        let found: Vec<_> = self.0.lock().unwrap().iter().skip(seq as usize).cloned().collect();
        let next = seq + found.len() as u64;
        let (lane, holes) = (Lane(0), Vec::new());
        reply(Ok(ReadChunk { lane, from: seq, next, records: found, holes }));
    }

    fn bounds(&self) -> LogBounds {
        let len = self.0.lock().unwrap().len() as u64;
        LogBounds { epoch: Epoch(1), lanes: [LaneBounds::whole(0, len)].into() }
    }

    fn lane_of(&self, _: &Topic) -> Lane {
        Lane(0)
    }

    fn health(&self) -> Result<(), LogHealthError> {
        Ok(())
    }
}

#[derive(Default)]
struct Letters(Mutex<Vec<DeadLetter>>);

impl DeadLetters for Letters {
    fn park(&self, letter: DeadLetter) {
        self.0.lock().unwrap().push(letter);
    }

    fn park_durably(&self, letter: DeadLetter, _: &dyn Fn() -> bool) -> bool {
        self.park(letter);
        true
    }
}

type Shown = Arc<Mutex<Vec<String>>>;

struct Sink(Shown);

impl TailSink for Sink {
    fn durable(&mut self, records: Vec<Record>, _: &[Span]) {
        self.0.lock().unwrap().extend(records.iter().map(|it| it.event.id.to_string()));
    }
}

fn event(id: &str, bytes: usize) -> Event {
    let data = format!("{{\"text\":\"{}\"}}", "x".repeat(bytes)).into();
    Event { occurred_at: system_clock(), data, ..Event::sample(id, "ars") }
}

/// Brokers, a node on them with a spool that holds `EVENTS`, and brokers that are away.
struct Fixture {
    spooled: Arc<SpooledLog>,
    log: Arc<KafkaLog>,
    shown: Shown,
    letters: Arc<Letters>,
    options: KafkaOptions,
    cluster: MockCluster<'static, DefaultProducerContext>,
    _folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let cluster = MockCluster::new(1).expect("a cluster");
    for stream in Stream::ALL {
        cluster.create_topic(&format!("{stream}-events"), 1, 1).expect("a topic");
    }
    cluster.create_topic("touchline-meta", 1, 1).expect("a topic");
    let options = KafkaOptions {
        brokers: cluster.bootstrap_servers(),
        partitions: 1,
        creates_topics: false,
        checks_topics: false,
        deliver_max: DELIVER_MAX,
        ..KafkaOptions::default()
    };
    let letters = Arc::new(Letters::default());
    let (log, _) = KafkaLog::open(&options, letters.clone(), || false).expect("it opens");
    let shown = Shown::default();
    log.attach(Box::new(Sink(Arc::clone(&shown))));
    let folder = tempfile::tempdir().expect("a folder");
    let spool = SpoolOptions {
        cursor_file: folder.path().join("cursor"),
        bytes_max: 64 << 20,
        age_max: Duration::from_secs(1_800),
        windows: options.windows,
        clock: Arc::new(system_clock),
        needed_from: Arc::new(|_| {}),
    };
    let disk = Arc::new(Disk::default());
    let spooled = SpooledLog::open(log.clone(), disk, letters.clone(), spool).expect("it opens");
    Fixture { spooled, log, shown, letters, options, cluster, _folder: folder }
}

impl Fixture {
    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < PATIENCE, "never: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fills the spool while brokers are away, lets `trouble` be, and brings them back.
    fn drains_through(&self, trouble: impl FnOnce()) {
        self.cluster.broker_down(-1).expect("brokers");
        self.until("they are away", || self.spooled.is_away());
        for n in 0..EVENTS {
            let (told, answer) = channel();
            let reply = Box::new(move |answer| drop(told.send(answer)));
            self.spooled.append(vec![event(&id(n), EVENT_BYTES)], system_clock(), reply);
            let answer = answer.recv_timeout(PATIENCE).expect("an answer");
            assert_eq!(answer, Ok(vec![Outcome::Spooled]));
        }
        trouble();
        self.cluster.broker_up(-1).expect("brokers");
        self.until("it is drained", || self.spooled.stats().events == 0);
    }

    /// What followers are shown, and the first copies that stand in the log.
    fn in_order(&self, wanted: &[String]) {
        self.until("all is shown", || self.shown.lock().unwrap().len() >= wanted.len());
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(*self.shown.lock().unwrap(), wanted);
        let outside = Outside::open(&self.options).expect("a log");
        let (mut seen, mut first) = (HashSet::new(), Vec::new());
        for lane in outside.reach().expect("brokers answer") {
            let read = outside.read(lane.lane, lane.low, lane.high, |found| {
                let id = found.record.expect("ours").event.id.to_string();
                if seen.insert(id.clone()) {
                    first.push(id);
                }
                true
            });
            read.expect("it can be read");
        }
        assert_eq!(first, wanted);
    }
}

fn id(n: usize) -> String {
    format!("e{n:02}")
}

fn all() -> Vec<String> {
    (0..EVENTS).map(id).collect()
}

#[test]
fn a_request_that_fails_for_good_lets_none_behind_it_in_before() {
    use RDKafkaRespErr as Said;
    let it = fixture();
    it.drains_through(|| {
        let errors = [
            Said::RD_KAFKA_RESP_ERR_NO_ERROR,
            Said::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
            Said::RD_KAFKA_RESP_ERR_NO_ERROR,
            Said::RD_KAFKA_RESP_ERR_NO_ERROR,
            Said::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        ];
        it.cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    });
    it.in_order(&all());
    assert!(it.letters.0.lock().unwrap().is_empty());
    assert_eq!(it.log.health(), Ok(()), "what fails there fails sources nothing");
}

#[test]
fn requests_that_come_too_late_are_begun_again_from_the_first() {
    let it = fixture();
    it.drains_through(|| {
        // The first of a group is told too late, and what follows would be in time.
        let late = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
        it.cluster.request_errors(RDKafkaApiKey::Produce, &[late; 12]);
    });
    it.in_order(&all());
}

#[test]
fn of_a_batch_that_brokers_refuse_only_the_guilty_one_is_parked() {
    use RDKafkaRespErr as Said;
    // Errors meet requests in the order of their coming, notes of the node's own among them: a turn
    // in which one of those got an event's proves nothing but that nothing is lost.
    let turn = || {
        let it = fixture();
        it.drains_through(|| {
            // The third request, and once more when it comes alone.
            let large = Said::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
            let fine = Said::RD_KAFKA_RESP_ERR_NO_ERROR;
            it.cluster.request_errors(RDKafkaApiKey::Produce, &[fine, fine, large, large]);
        });
        let letters = it.letters.0.lock().unwrap();
        // A letter holds the event's record, and that its id as it is.
        let is_of = |id: &String| {
            letters.iter().any(|letter| String::from_utf8_lossy(&letter.raw).contains(&**id))
        };
        let (parked, shown): (Vec<_>, Vec<_>) = all().into_iter().partition(is_of);
        it.in_order(&shown);
        assert_eq!(parked.len(), letters.len(), "each letter holds one event");
        letters.iter().for_each(|letter| assert_eq!(letter.reason, "log_refused"));
        parked.len()
    };
    // They wait more than they work: all at once.
    let parked = std::thread::scope(|scope| {
        let turns = [(); TURNS].map(|()| scope.spawn(turn));
        turns.map(|turn| turn.join().expect("it doesn't panic"))
    });
    println!("parked: {parked:?}");
    assert_eq!(parked.iter().max(), Some(&1), "one, and no neighbour of it: {parked:?}");
}
