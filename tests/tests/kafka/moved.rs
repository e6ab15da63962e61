//! Partitions that move, and a node that retention overtakes (FAULTS 35): nothing acknowledged is
//! lost, nothing is shown twice, what a reader could not get is declared, and clients agree.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use touchline_tests::e2e::brokers::Brokers;
use touchline_tests::e2e::http::event;
use touchline_tests::e2e::server::Server;
use touchline_tests::e2e::socket::{Heard, Socket};
use touchline_tests::e2e::until;

use crate::broken::{LIGHT, go_on, nothing_is_lost};
use crate::follower::Follower;
use crate::{Nodes, Turn, admin, calm_brokers, wire};

/// Longer than a copy of a few kilobytes and its election take.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn fault_35_partitions_move_to_other_brokers_and_nobody_notices() {
    let _turn = Turn::Calm.take();
    let brokers = calm_brokers();
    let nodes = Nodes::start(brokers, "moving", 2, "replication = 2\nin_sync_min = 2");
    let mut followers = [0, 1].map(|node| Follower::start(&nodes, node, "ars,che"));
    let topic = "moving.broadcast-events";
    nothing_is_lost(&nodes, "m", &LIGHT, &mut followers, |followers| {
        for turn in 0..2 {
            let wanted: Vec<Vec<i32>> = admin::replicas(brokers, topic)
                .iter()
                .map(|now| {
                    let other = (1..=3).find(|broker| !now.contains(broker)).expect("a third");
                    vec![other, now[turn % 2]]
                })
                .collect();
            for (partition, replicas) in (0..).zip(&wanted) {
                wire::reassign(brokers, topic, partition, replicas);
            }
            let begin = Instant::now();
            while admin::replicas(brokers, topic) != wanted {
                assert!(begin.elapsed() < PATIENCE, "partitions don't move");
                followers.iter_mut().for_each(|it| it.listen(Duration::from_millis(100)));
            }
            go_on("it goes on", followers, 40);
        }
    });
}

/// What a client hears until an event of this id: the events, and the gaps.
fn hear_until(client: &mut Socket, last: &str) -> (Vec<String>, Vec<Value>) {
    hear_while(client, |ids, _| ids.last().is_none_or(|id| id != last))
}

fn hear_while(
    client: &mut Socket,
    goes_on: impl Fn(&[String], &[Value]) -> bool,
) -> (Vec<String>, Vec<Value>) {
    let (mut ids, mut gaps) = (Vec::new(), Vec::new());
    while goes_on(&ids, &gaps) {
        match client.hear() {
            Heard::Json(json) if json["op"] == "event" => {
                ids.push(json["id"].as_str().expect("an id").to_owned());
            }
            Heard::Json(json) if json["op"] == "gap" => {
                gaps.push(json);
            }
            Heard::Json(_) | Heard::Ping | Heard::Pong => {}
            other => panic!("{other:?} after {ids:?} and {gaps:?}"),
        }
    }
    (ids, gaps)
}

/// Whether a node has read all that there is, and says that it is ready.
fn keeps_up(server: &Server) -> bool {
    let page = server.admin("/metrics").body;
    let mut lags = page.lines().filter(|it| it.starts_with("touchline_kafka_lag_records{"));
    lags.all(|it| it.ends_with(" 0")) && server.admin("/readyz").status == 200
}

#[test]
fn fault_35_a_node_that_retention_overtakes_while_it_stands_still_declares_what_it_missed() {
    let _turn = Turn::Calm.take();
    let brokers = calm_brokers();
    // So few that a node is not ready which counts what is gone as unread.
    let nodes = Nodes::start(brokers, "overtaken", 2, "lag_records_max = 4");
    let mut clients = [0, 1].map(|node| nodes.open(node, "teams=ars"));
    clients.iter_mut().for_each(|client| drop(client.hear_op("subscribed")));
    nodes.servers[0].accept(&event("before", &["ars"]));
    let (ids, _) = hear_until(&mut clients[1], "before");
    assert_eq!(ids, ["before"]);
    nodes.servers[1].signal(Signal::STOP);
    let topic = "overtaken.broadcast-events";
    for n in 0..10 {
        nodes.servers[0].accept(&event(&format!("missed{n}"), &["ars"]));
    }
    wire::set(brokers, topic, "retention.ms", "1000");
    let begin = Instant::now();
    while admin::reach(brokers, topic, 4).iter().any(|(low, high)| low < high) {
        assert!(begin.elapsed() < PATIENCE, "retention takes nothing");
        std::thread::sleep(Duration::from_millis(200));
    }
    wire::set(brokers, topic, "retention.ms", "604800000");
    nodes.servers[1].signal(Signal::CONT);
    // Its partition is empty, and nothing is written to it: the hole is told all the same.
    let (mut ids, mut gaps) = hear_while(&mut clients[1], |_, gaps| gaps.is_empty());
    until("what is gone doesn't count as unread", || keeps_up(&nodes.servers[1]));
    nodes.servers[0].accept(&event("after", &["ars"]));
    let (whole, no_gaps) = hear_until(&mut clients[0], "after");
    assert!(no_gaps.is_empty(), "{no_gaps:?}");
    let (more_ids, more_gaps) = hear_until(&mut clients[1], "after");
    ids.extend(more_ids);
    gaps.extend(more_gaps);
    // What its kernel had when it was stopped is shown; the rest is gone.
    let shown: Vec<String> = (0..ids.len() - 1).map(|n| format!("missed{n}")).collect();
    assert!(ids.starts_with(&shown) && ids.len() < whole.len(), "{ids:?}");
    assert!(!gaps.is_empty(), "what is missing is declared");
    for gap in &gaps {
        let of = (&gap["reason"], &gap["teams"], &gap["streams"][0]);
        assert_eq!(of, (&json!("retention"), &json!(["ars"]), &json!("broadcast")), "{gap}");
    }
    // What it names begins before the first that is missing, and ends after the last.
    let mark = |gap: Option<&Value>, end: &str| {
        gap.expect("a gap")[end].as_str().expect("a mark").to_owned()
    };
    let mut again = nodes.open(0, &format!("teams=ars&mark={}", mark(gaps.last(), "to")));
    assert_eq!(again.hear_op("subscribed")["recovered"], true);
    let (behind, none) = hear_until(&mut again, "after");
    assert_eq!((behind, none), (vec!["after".to_owned()], vec![]));
    let mut again = nodes.open(0, &format!("teams=ars&mark={}", mark(gaps.first(), "from")));
    assert_eq!(again.hear_op("subscribed")["recovered"], true, "the other has it in memory");
    let (from_there, _) = hear_until(&mut again, "after");
    let missing: Vec<_> = whole.iter().filter(|id| !ids.contains(id) && *id != "before").collect();
    assert!(missing.iter().all(|id| from_there.contains(id)), "{missing:?} of {from_there:?}");
    assert_eq!(whole.len(), 12, "the other node had it all: {whole:?}");
    assert!(nodes.servers[1].metric("touchline_kafka_jumps_total") >= 1.0);
    // And both go on alike.
    let ids: BTreeSet<String> = (0..5).map(|n| format!("on{n}")).collect();
    for id in &ids {
        nodes.servers[1].accept(&event(id, &["ars"]));
    }
    for client in &mut clients {
        let (seen, gaps) = hear_until(client, "on4");
        assert_eq!((seen.into_iter().collect(), gaps.len()), (ids.clone(), 0));
    }
}

#[test]
fn fault_35_a_broker_that_stands_still_for_30_s_loses_nothing_and_shows_nothing_twice() {
    let _turn = Turn::Harmed.take();
    let brokers = Brokers::start(3);
    let nodes = Nodes::start(&brokers, "still", 2, "");
    let mut followers = [0, 1].map(|node| Follower::start(&nodes, node, "ars,che"));
    nothing_is_lost(&nodes, "s", &LIGHT, &mut followers, |followers| {
        brokers.signal(1, Signal::STOP);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(30) {
            followers.iter_mut().for_each(|it| it.listen(Duration::from_millis(100)));
        }
        brokers.signal(1, Signal::CONT);
        go_on("it goes on", followers, 40);
    });
}
