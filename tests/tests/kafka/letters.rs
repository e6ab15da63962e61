//! Dead letters of every node are seen in Kafka, with the node's name, for as long as they need
//! somebody.

use std::path::PathBuf;

use serde_json::Value;
use touchline_core::dead::{DeadLetter, Desk};
use touchline_core::event::Stream;
use touchline_core::time::Timestamp;
use touchline_store::dead::{Book, DeadOptions};
use touchline_tests::e2e::http::event;
use touchline_tests::e2e::server::{Backend, Home, Server, run, touchline, words};
use touchline_tests::e2e::until;

use crate::tools::records;
use crate::{Turn, calm_brokers};

fn home() -> Home {
    Home::new(&format!(
        "[log]\nkind = \"kafka\"\n[log.kafka]\nbrokers = \"{}\"\ntopic_prefix = \"letters.\"\n\
         partitions = 2\n",
        calm_brokers().addresses()
    ))
}

fn serve(home: &Home, node: &str) -> Server {
    let mut command = home.command(Backend::Auto);
    command.env("TOUCHLINE__NODE__NAME", node);
    Server::start(command)
}

fn file(home: &Home) -> PathBuf {
    home.path("data").join("dead-letters.db")
}

/// Parks `raw` in the file of a node, whether that runs or not.
fn park(home: &Home, raw: &[u8]) {
    let now = Timestamp(jiff::Timestamp::now().as_microsecond());
    let mut book = Book::open(DeadOptions::new(file(home))).expect("a file");
    let letter = DeadLetter {
        desk: Desk::Webhook,
        stream: Stream::Broadcast,
        source: "skyline".into(),
        reason: "invalid_events",
        detail: "item 0: it was no event then".into(),
        attempts: 1,
        correlation: "came-1".into(),
        received_at: now,
        raw: raw.to_vec().into(),
    };
    book.put(&[letter], now).expect("it is kept");
    book.close();
}

/// What any of the nodes lists of all: (node, id), sorted by node.
fn listed(home: &Home) -> Vec<(String, String)> {
    let found = records(&home.config(), &["dlq", "list", "--all-nodes", "--json"]);
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let mut found: Vec<_> = found.iter().map(|it| (text(&it["node"]), text(&it["id"]))).collect();
    found.sort();
    found
}

fn nodes(home: &Home) -> Vec<String> {
    listed(home).into_iter().map(|(node, _)| node).collect()
}

fn dlq(home: &Home, server: &Server, arguments: &[&str]) {
    let admin = server.addresses().admin.to_string();
    let config = home.config();
    let mut command = touchline();
    command.arg("--config").arg(config).arg("--admin").arg(admin).arg("dlq").args(arguments);
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", words(&output));
}

#[test]
fn letters_of_two_nodes_are_listed_with_their_node_until_they_are_replayed_or_dropped() {
    let _turn = Turn::Calm.take();
    let homes = [home(), home()];
    // One that was parked before the node ever ran on Kafka, one without any bytes, and refusals.
    park(&homes[1], b"[]");
    let mut servers = [serve(&homes[0], "a"), serve(&homes[1], "b")];
    assert_eq!(servers[0].post("{\"id\":1}").status, 422);
    until("all are seen", || nodes(&homes[0]) == ["a", "b"]);
    assert_eq!(listed(&homes[0]), listed(&homes[1]), "whoever asks");
    let output = run(&[
        "--config",
        &homes[0].config().display().to_string(),
        "dlq",
        "list",
        "--all-nodes",
        "--source",
        "skyline",
    ]);
    assert!(words(&output).contains("NODE"), "{}", words(&output));

    // What is parked while its node is down is seen once it is back, though it was killed.
    servers[1].kill_9();
    park(&homes[1], event("late", &["ars"]).as_bytes());
    park(&homes[1], b"");
    assert_eq!(nodes(&homes[0]), ["a", "b"]);
    servers[1] = serve(&homes[1], "b");
    until("they are seen", || nodes(&homes[0]) == ["a", "b", "b", "b"]);

    // Replayed and dropped letters need nobody any more.
    let of_b = Book::open(DeadOptions::new(file(&homes[1])))
        .and_then(|mut book| book.list(&Default::default(), 10, true))
        .expect("it can be read");
    let whole = of_b.iter().find(|it| it.raw_bytes > 2).expect("one");
    dlq(&homes[1], &servers[1], &["replay", &whole.id]);
    until("it is gone", || nodes(&homes[0]) == ["a", "b", "b"]);
    dlq(&homes[1], &servers[1], &["drop", "--source", "skyline", "--yes"]);
    until("they are gone", || nodes(&homes[0]) == ["a"]);
    until("all is published", || servers[1].metric("touchline_dlq_unpublished") == 0.0);
}
