//! A log that has lost something begins a new life (R8), and a start looks whether it has.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use touchline_tests::e2e::brokers::Brokers;
use touchline_tests::e2e::http::{event, post_signed, request};
use touchline_tests::e2e::server::{Backend, Home, PARTNERS, Server};
use touchline_tests::e2e::socket::{Heard, Socket};

use crate::{Nodes, Turn, admin, calm_brokers};

fn topics(prefix: &str) -> Vec<String> {
    let streams = ["broadcast", "update", "social", "sensor"];
    streams.map(|stream| format!("{prefix}.{stream}-events")).to_vec()
}

/// Follows from now on, and answers the mark that its next connection brings.
fn mark(nodes: &Nodes, node: usize) -> String {
    let mut client = nodes.open(node, "teams=ars");
    client.hear_op("subscribed")["mark"].as_str().expect("a mark").to_owned()
}

/// Comes with a mark of another life.
fn is_told_of_an_epoch(nodes: &Nodes, node: usize, mark: &str) {
    let mut client = nodes.open(node, &format!("teams=ars&mark={mark}"));
    let (mut has_gap, mut is_recovered) = (false, Value::Null);
    while is_recovered.is_null() || !has_gap {
        match client.hear() {
            Heard::Json(json) if json["op"] == "gap" => {
                assert_eq!(json["reason"], "epoch", "{json}");
                has_gap = true;
            }
            Heard::Json(json) if json["op"] == "subscribed" => {
                is_recovered = json["recovered"].clone();
            }
            Heard::Json(_) | Heard::Ping => {}
            other => panic!("{other:?}, {has_gap}, {is_recovered}"),
        }
    }
    assert_eq!(is_recovered, false);
    nodes.servers[node].accept(&event("afterwards", &["ars"]));
    assert_eq!(client.hear_op("event")["id"], "afterwards", "it goes on live");
}

fn log_line(server: &Server, part: &str) -> Option<String> {
    server.log().into_iter().find(|line| line.contains(part))
}

#[test]
fn topics_that_were_made_anew_between_two_starts_begin_a_new_life() {
    let _turn = Turn::Calm.take();
    let mut nodes = Nodes::start(calm_brokers(), "anew", 2, "");
    let mark = mark(&nodes, 0);
    (0..10).for_each(|n| nodes.servers[0].accept(&event(&format!("e{n}"), &["ars"])));
    let seen = Instant::now();
    while nodes.servers[1].metric("touchline_kafka_records_read_total") < 10.0 {
        assert!(seen.elapsed() < Duration::from_secs(20), "node 1 reads nothing");
        std::thread::sleep(Duration::from_millis(20));
    }
    nodes.servers.iter_mut().for_each(Server::stop);
    // By an owner, as a node would make them: nothing but what nodes have noted tells.
    admin::delete(calm_brokers(), &topics("anew"));
    admin::create(calm_brokers(), &topics("anew"), 4);
    nodes.restart(0);
    let told = log_line(&nodes.servers[0], "a new life begins");
    let told = told.unwrap_or_else(|| panic!("it doesn't say so: {:#?}", nodes.servers[0].log()));
    assert!(told.contains("\"generation\":2"), "{told}");
    nodes.restart(1);
    assert!(log_line(&nodes.servers[1], "a new life begins").is_none(), "one node does it");
    is_told_of_an_epoch(&nodes, 1, &mark);
    let reads = |it: &Server| log_line(it, "the log is read").expect("it says so");
    let life =
        |it: &Server| serde_json::from_str::<Value>(&reads(it)).expect("JSON")["epoch"].clone();
    assert_eq!(life(&nodes.servers[0]), life(&nodes.servers[1]));
}

#[test]
fn a_node_whose_log_is_made_anew_while_it_runs_ends_and_its_next_start_begins_a_new_life() {
    let _turn = Turn::Calm.take();
    let mut nodes = Nodes::start(calm_brokers(), "under", 1, "");
    let mark = mark(&nodes, 0);
    (0..10).for_each(|n| nodes.servers[0].accept(&event(&format!("e{n}"), &["ars"])));
    admin::delete(calm_brokers(), &topics("under"));
    admin::create(calm_brokers(), &topics("under"), 4);
    let ready = |nodes: &Nodes| nodes.servers[0].admin("/readyz");
    let begin = Instant::now();
    let why = loop {
        let answer = ready(&nodes);
        if answer.body.contains("acknowledged") {
            break answer;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{answer:?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(why.status, 503);
    let end = nodes.servers[0].wait_for_end();
    assert_eq!(end, Some(1), "whoever minds it starts it again: {:#?}", nodes.servers[0].log());
    nodes.restart(0);
    is_told_of_an_epoch(&nodes, 0, &mark);
}

#[test]
fn a_cluster_that_was_put_back_to_an_older_copy_begins_a_new_life() {
    let _turn = Turn::Small.take();
    let mut brokers = Brokers::start(1);
    let more = "replication = 1\nin_sync_min = 1";
    let mut nodes = Nodes::start(&brokers, "back", 1, more);
    nodes.servers[0].accept(&event("old", &["ars"]));
    nodes.servers[0].stop();
    brokers.stop(1);
    let copy = brokers.copy(1);
    brokers.start_node(1);
    brokers.await_node(1);
    nodes.restart(0);
    let mark = mark(&nodes, 0);
    (0..10).for_each(|n| nodes.servers[0].accept(&event(&format!("e{n}"), &["ars"])));
    nodes.servers[0].stop();
    brokers.stop(1);
    // The notes in `touchline-meta` go back with the rest; the node's own file doesn't.
    brokers.put_back(1, copy);
    brokers.start_node(1);
    brokers.await_node(1);
    nodes.restart(0);
    assert!(log_line(&nodes.servers[0], "a new life begins").is_some());
    is_told_of_an_epoch(&nodes, 0, &mark);
}

#[test]
fn fault_35_a_start_without_brokers_waits_says_what_for_and_can_be_ended() {
    let _turn = Turn::Small.take();
    let home = Home::new(
        "[log]\nkind = \"kafka\"\n[log.kafka]\nbrokers = \"127.0.0.1:1\"\npartitions = 4\n",
    );
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::spawn(home.command(Backend::Auto));
        let line = server.wait_for_line("starting: the ports answer");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        let port = |name: &str| line[name].as_str().expect("an address").parse().expect("one");
        let refused = post_signed(port("api"), PARTNERS[0], &event("e1", &["ars"]));
        let refused = refused.expect("an answer, though there is no log");
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
        let ready = request(port("admin"), "GET", "/readyz", &[], "").expect("an answer");
        assert!(ready.status == 503 && ready.body.contains("brokers"), "{}", ready.body);
        let line = server.wait_for_line("the start waits for Kafka");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        let trouble = line["trouble"].as_str().expect("a text");
        assert!(trouble.contains("127.0.0.1:1"), "it says what keeps it: {line}");
        let begin = Instant::now();
        server.signal(signal);
        assert_eq!(server.wait_for_end(), Some(0), "{:#?}", server.log());
        assert!(begin.elapsed() < Duration::from_secs(2), "it took {:?}", begin.elapsed());
    }
}

#[test]
fn fault_35_a_node_that_was_started_before_its_brokers_serves_once_they_are_there() {
    let _turn = Turn::Small.take();
    let mut brokers = Brokers::start(1);
    brokers.stop(1);
    let home = Home::new(&format!(
        "[log]\nkind = \"kafka\"\n[log.kafka]\nbrokers = \"{}\"\npartitions = 4\n\
         replication = 1\nin_sync_min = 1\n",
        brokers.addresses()
    ));
    let mut server = Server::spawn(home.command(Backend::Auto));
    std::thread::sleep(Duration::from_secs(3));
    brokers.start_node(1);
    brokers.await_node(1);
    server.wait_until_serving();
    server.accept(&event("e1", &["ars"]));
}

#[test]
fn a_lane_that_ends_in_a_marker_keeps_no_node_from_being_ready() {
    let _turn = Turn::Calm.take();
    let mut nodes = Nodes::start(calm_brokers(), "marker", 1, "");
    nodes.servers[0].accept(&event("e1", &["ars"]));
    nodes.servers[0].stop();
    (0..4).for_each(|partition| {
        let topic = "marker.broadcast-events";
        admin::write_in_transaction(calm_brokers(), topic, partition, b"a stranger's");
    });
    nodes.restart(0);
    let mut client = nodes.open(0, "teams=ars");
    let mark = client.hear_op("subscribed")["mark"].as_str().expect("a mark").to_owned();
    nodes.servers[0].accept(&event("e2", &["ars"]));
    assert_eq!(client.hear_op("event")["id"], "e2");
    drop(client);
    let mut again =
        Socket::open(nodes.servers[0].addresses().stream, &format!("teams=ars&mark={mark}"));
    assert_eq!(again.hear_op("subscribed")["recovered"], true);
    assert_eq!(again.hear_op("event")["id"], "e2", "also where a marker stands before it");
}
