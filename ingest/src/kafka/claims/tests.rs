//! A node and an import that begin in the same second: whatever the order of their steps, never do
//! both go on, and what gives way leaves nothing behind. The brokers are librdkafka's mock cluster.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use touchline_core::dead::NoDeadLetters;
use touchline_core::event::Stream;
use touchline_core::log::Epoch;

use super::super::client::{Context, reader};
use super::super::import;
use super::super::opening::Opener;
use super::*;

type Cluster = MockCluster<'static, DefaultProducerContext>;

const JOURNAL: Epoch = Epoch(77);

fn cluster() -> (Cluster, KafkaOptions) {
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
        ..KafkaOptions::default()
    };
    (cluster, options)
}

fn opener(options: &KafkaOptions) -> Opener {
    Opener {
        options: options.clone(),
        context: Context::new(options),
        dead: Arc::new(NoDeadLetters),
        is_stopped: Arc::new(AtomicBool::new(false)),
    }
}

fn import(options: &KafkaOptions) -> import::Prospect {
    import::Prospect::look(options, JOURNAL, 0, 10).expect("it looks").expect("all is left")
}

fn meta(options: &KafkaOptions) -> Meta {
    let reader = reader(options, &Context::new(options)).expect("a client");
    Meta::read(options, &reader).expect("it can be read")
}

#[test]
fn a_node_that_looked_before_an_import_began_gives_way_to_it() {
    let (_cluster, options) = cluster();
    let opener = opener(&options);
    let node = opener.look().expect("it looks");
    let import = import(&options).claim(10).expect("nobody else is there");
    let refused = node.enter(&opener).err();
    assert!(matches!(refused, Some(OpenError::Misfit(_))), "{refused:?}");
    let meta = meta(&options);
    assert!(!meta.notes["touchline"].note.is_open, "it doesn't say any more that it runs");
    assert_eq!(meta.life.expect("one").epoch(), import.epoch());
}

#[test]
fn an_import_that_looked_before_a_node_began_gives_way_to_it_and_leaves_no_trace() {
    let (_cluster, options) = cluster();
    let prospect = import(&options);
    let opener = opener(&options);
    let node = opener.look().expect("it looks").enter(&opener).expect("nobody else is there");
    let life = meta(&options).life;
    let refused = prospect.claim(10).err();
    assert!(matches!(&refused, Some(ImportError::NodeRuns { .. })), "{refused:?}");
    let meta = meta(&options);
    assert!(meta.imports.is_empty(), "other nodes can start");
    assert_eq!(meta.life, life, "and this one goes on in its life");
    assert!(node.is_some());
}

#[test]
fn of_two_that_have_both_said_so_the_later_one_gives_way() {
    let (_cluster, options) = cluster();
    let opener = opener(&options);
    opener.look().expect("it looks").enter(&opener).expect("the life begins");
    let meta = meta(&options);
    let life = meta.life.expect("one");
    let reader = reader(&options, &Context::new(&options)).expect("a client");
    let writer = Writer::new(&options, &Context::new(&options)).expect("a client");
    let text = r#"{"journal":"4e","generation":2,"next":0,"until":0,"is_done":false,"lanes":[]}"#;
    let progress: Progress = serde_json::from_str(text).expect("one");
    // The import has said so first: the node gives way, and the import waits for that.
    let placed = writer.put(&progress.key(), &progress).expect("it is written");
    let refused = enter(&options, &reader, &writer, &life, vec![0; 4]).err();
    assert!(matches!(refused, Some(OpenError::Misfit(_))), "{refused:?}");
    await_alone(&options, &reader, &progress, placed, 0).expect("the node has gone");
    writer.remove(&progress.key()).expect("it is written");

    // The node has said so first: the import gives way, and the node waits for that.
    let note = Note { generation: 1, epoch: life.epoch().0, next: vec![0; 4], is_open: true };
    let placed = writer.put(&Note::key("touchline"), &note).expect("it is written");
    let refused = claim(&options, &reader, &writer, &progress, None).err();
    assert!(matches!(refused, Some(ImportError::NodeRuns { .. })), "{refused:?}");
    let announced = writer.put(&progress.key(), &progress).expect("it is written");
    assert!(announced.offset > placed.offset);
    let entry = std::thread::scope(|threads| {
        let node = threads.spawn(|| await_clear(&options, &reader, &writer, &life, note, placed));
        std::thread::sleep(Duration::from_secs(1));
        assert!(!node.is_finished(), "it waits");
        writer.remove(&progress.key()).expect("it is written");
        node.join().expect("it doesn't panic")
    });
    assert!(matches!(entry, Ok(Entry::In(_))), "{entry:?}");
}

#[test]
fn a_node_that_comes_up_beside_an_import_ends_it_before_its_next_batch() {
    let (_cluster, options) = cluster();
    let mut import = import(&options).claim(10).expect("nobody else is there");
    import.put(&[], 3).expect("it goes on");
    // As a node that has not looked: an older build's.
    let writer = Writer::new(&options, &Context::new(&options)).expect("a client");
    let note = Note { generation: 1, epoch: 1, next: vec![0; 4], is_open: true };
    writer.put(&Note::key("b"), &note).expect("it is written");
    let ended = import.put(&[], 6).err();
    assert!(matches!(ended, Some(ImportError::NodeRuns { .. })), "{ended:?}");
}

#[test]
fn however_their_steps_fall_a_node_and_an_import_never_both_go_on() {
    for round in 0..8_u64 {
        let (_cluster, options) = cluster();
        let begin = std::sync::Barrier::new(2);
        let (node, import) = std::thread::scope(|threads| {
            let node = threads.spawn(|| {
                begin.wait();
                let opener = opener(&options);
                opener.look().and_then(|it| it.enter(&opener)).is_ok_and(|it| it.is_some())
            });
            begin.wait();
            std::thread::sleep(Duration::from_millis(round * 7));
            let prospect = import::Prospect::look(&options, JOURNAL, 0, 10);
            let import = prospect.and_then(|it| it.expect("all is left").claim(10)).is_ok();
            (node.join().expect("it doesn't panic"), import)
        });
        assert!(!(node && import), "both went on in round {round}");
    }
}
