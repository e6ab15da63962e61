//! What is published again, and what can't be read: shown once, and in nobody's way (FAULTS 34).

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use touchline_core::event::{Event, Topic};
use touchline_core::log::{AppendError, EventLog, Outcome, Position, ReadRequest};
use touchline_ingest::clock::system_clock;
use touchline_ingest::kafka::KafkaLog;

use crate::{Answer, PATIENCE, Shown, Sink, TOPICS, event, fixture, open};

#[test]
fn fault_35_a_producer_that_has_failed_for_good_is_replaced_and_shows_nothing_twice() {
    use RDKafkaRespErr as Said;
    let it = fixture();
    it.insist("before");
    // The first can't reason about what it had under way; the next two may have no session.
    let forbidden = Said::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    it.errors(RDKafkaApiKey::InitProducerId, forbidden, 2);
    let lost = Said::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    it.errors(RDKafkaApiKey::Produce, lost, 1);
    match it.append("during") {
        Err(AppendError::Unknown(_) | AppendError::Unreachable) => {}
        other => panic!("{other:?}: its source is to send again"),
    }
    it.waits_for("it is replaced", |log| log.stats().producers_replaced >= 1);
    it.waits_for("it is over", |log| log.health().is_ok());
    it.insist("during");
    it.insist("after");
    it.shows(&["before", "during", "after"]);
    assert!(it.log.stats().producers_replaced <= 4, "each wait is longer than the one before");
}

#[test]
fn fault_34_what_was_published_and_not_marked_is_published_again_and_shown_once_by_every_reader() {
    let it = fixture();
    let relay = open(&it.cluster);
    let elsewhere = Shown::default();
    relay.attach(Box::new(Sink(Arc::clone(&elsewhere))));
    // Neither node reads anything back: as after a crash, nobody knows what was published.
    let held = RDKafkaRespErr::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR;
    it.errors(RDKafkaApiKey::Fetch, held, 10_000);
    std::thread::sleep(Duration::from_millis(500));
    it.insist("u1");
    // It ended between publishing and marking; what takes its work up publishes the row again.
    let (told, answer) = channel();
    let reply = Box::new(move |result| drop(told.send(result)));
    relay.append_again(vec![event("u1", "{}")], system_clock(), reply);
    let again: Answer = answer.recv_timeout(PATIENCE).expect("an answer");
    let Ok([Outcome::Accepted(second)]) = again.as_deref() else { panic!("{again:?}") };
    assert_eq!(second.seq, 1, "it stands there twice");
    it.insist("u2");
    it.cluster.clear_request_errors(RDKafkaApiKey::Fetch);
    it.shows(&["u1", "u2"]);
    let begin = Instant::now();
    while elsewhere.lock().unwrap().len() < 2 && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(*elsewhere.lock().unwrap(), ["u1", "u2"], "the other node agrees");
    let read = |log: &KafkaLog| -> Vec<String> {
        let (told, answer) = channel();
        let request =
            ReadRequest { from: Position { lane: second.lane, seq: 0 }, bytes_max: 1 << 20 };
        log.read(request, Box::new(move |chunk| drop(told.send(chunk))));
        let chunk = answer.recv_timeout(PATIENCE).expect("an answer").expect("a chunk");
        chunk.records.iter().map(|it| it.event.id.to_string()).collect()
    };
    let late = open(&it.cluster);
    for log in [&it.log, &relay, &late] {
        assert_eq!(read(log), ["u1", "u2"], "and who reads back, also one that started later");
    }
}

#[test]
fn fault_34_a_poison_record_blocks_nothing_behind_it_and_each_key_keeps_its_order() {
    let it = fixture();
    let place = match it.append("e1").expect("it is taken")[0] {
        Outcome::Accepted(position) => position,
        other => panic!("{other:?}"),
    };
    // Somebody else has written into the same partition what nobody can read.
    let partition = i32::from(place.lane.0 % 2);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", it.cluster.bootstrap_servers())
        .create()
        .expect("a client");
    for value in [&b"\x09no record"[..], b""] {
        let record = BaseRecord::<[u8], [u8]>::to(TOPICS[0]).partition(partition).payload(value);
        producer.send(record).expect("it is queued");
        producer.flush(PATIENCE).expect("it is taken");
    }
    // Two keys that share the partition, in one append behind what can't be read.
    let of = |id: &str, team: &str| Event {
        occurred_at: event(id, "{}").occurred_at,
        ..Event::sample(id, team)
    };
    let is_beside = |team: &&str| {
        let Event { stream, route, lang, .. } = of("x", team);
        it.log.lane_of(&Topic { stream, route, lang }) == place.lane
    };
    let other = ["che", "bou", "eve", "ful", "liv", "mci", "mun", "new", "tot", "wol"];
    let other = other.iter().find(|team| is_beside(team)).expect("half of them are");
    let both = vec![of("a2", "ars"), of("o1", other), of("a3", "ars"), of("o2", other)];
    assert!(it.append_all(both).is_ok());
    it.shows(&["e1", "a2", "o1", "a3", "o2"]);
    assert_eq!(it.log.stats().poison, 2);
    assert_eq!(it.log.health(), Ok(()));
}
