//! Claim: what lies far back in the log is judged as it was when it was new (R17), and costs no
//! more than a window's records before it.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use touchline_core::dead::NoDeadLetters;
use touchline_core::event::{Event, Route, Stream};
use touchline_core::log::{EventLog as _, Lane, Position, ReadRequest, record};
use touchline_core::time::Timestamp;
use touchline_ingest::kafka::lanes::Lanes;
use touchline_ingest::kafka::{KafkaLog, KafkaOptions};
use touchline_tests::e2e::brokers::Brokers;

use crate::{Turn, admin, calm_brokers, wire};

const PREFIX: &str = "back.";
const PARTITIONS: u16 = 4;
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How long ago the first record was stamped.
const OLD_S: i64 = 8 * 3_600;
/// What stands in the lane, and in which minute: the window is an hour, and clocks may differ by
/// five minutes.
const RECORDS: [(&str, i64); 12] = [
    ("x", 0),
    ("e", 40),
    ("f1", 50),
    ("f2", 60),
    ("f3", 70),
    // Somebody has got all up to here.
    ("mark", 80),
    ("e", 90),
    ("x", 95),
    ("e", 140),
    ("y", 141),
    ("e", 201),
    ("y", 202),
];
const MARK: u64 = 5;

fn open(brokers: &Brokers) -> Arc<KafkaLog> {
    let options = KafkaOptions {
        brokers: brokers.addresses(),
        prefix: PREFIX.into(),
        partitions: PARTITIONS,
        ..KafkaOptions::default()
    };
    KafkaLog::open(&options, Arc::new(NoDeadLetters), || false).expect("it opens").0
}

fn records() -> impl Iterator<Item = (Vec<u8>, i64)> {
    let begin = jiff::Timestamp::now().as_microsecond() - OLD_S * 1_000_000;
    RECORDS.iter().map(move |(id, minute)| {
        let at = Timestamp(begin + minute * 60_000_000);
        let event = Event { occurred_at: Timestamp(begin), ..Event::sample(id, "ars") };
        let mut value = Vec::new();
        record::encode(&event, at, &mut value);
        (value, at.0 / 1_000)
    })
}

/// What is to be shown from `seq` on, and how many records were read only to judge that.
fn read(log: &KafkaLog, lane: Lane, seq: u64, bytes_max: usize) -> (Vec<String>, u64) {
    let (before, (told, answer)) = (log.stats().scouted, channel());
    let request = ReadRequest { from: Position { lane, seq }, bytes_max };
    log.read(request, Box::new(move |chunk| drop(told.send(chunk))));
    let chunk = answer.recv_timeout(ANSWER_MAX).expect("an answer").expect("a chunk");
    assert_eq!(chunk.holes, []);
    let ids = chunk.records.iter().map(|it| it.event.id.to_string()).collect();
    (ids, log.stats().scouted - before)
}

#[test]
fn who_resumes_far_back_is_shown_what_was_shown_then_for_a_window_of_reading() {
    let _turn = Turn::Calm.take();
    let brokers = calm_brokers();
    drop(open(brokers));
    let lanes = Lanes::new(PREFIX, PARTITIONS);
    let lane = lanes.of(Stream::Broadcast, &Route::parse("ars").expect("a route"));
    let (stream, partition) = lanes.place(lane).expect("a lane of ours");
    let topic = lanes.topic(stream);
    wire::set(brokers, topic, "message.timestamp.type", "CreateTime");
    admin::write_stamped(brokers, topic, partition, records());
    wire::set(brokers, topic, "message.timestamp.type", "LogAppendTime");
    let log = open(brokers);
    assert_eq!(log.stats().read, 0, "its own window holds none of it");

    let all = usize::MAX;
    // 90 less 65 is 25: from the first `e` on, which its repeat 50 minutes later is one of. That
    // repeat makes the third one of its own, and `e` is new when an hour lies between.
    let (ids, scouted) = read(&log, lane, MARK + 1, all);
    assert_eq!(ids, ["x", "y", "e", "y"], "a repeat of what lies before the mark is none to show");
    assert_eq!(scouted, MARK, "{MARK} records lie within a window before the mark");

    // One that ended far back isn't led on to here: 140 less 65 is 75.
    let (ids, _) = read(&log, lane, 1, 1);
    assert_eq!(ids, ["e"]);
    let (ids, scouted) = read(&log, lane, 8, 1);
    assert_eq!((ids, scouted), (vec![], 3), "minutes 80 to 95");
    // It goes on where it ended, for nothing.
    let (ids, scouted) = read(&log, lane, 9, 1);
    assert_eq!((ids, scouted), (vec!["y".to_owned()], 0));
    // And is led on where it stands within the window: 202 less 65 is 137.
    let (ids, scouted) = read(&log, lane, 11, all);
    assert_eq!((ids, scouted), (vec!["y".to_owned()], 1), "61 minutes after the first");
    assert!(log.close(ANSWER_MAX));
}
