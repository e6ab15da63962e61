//! Claim: with a spool, a node goes on taking events while every broker is away; none of them is
//! seen before Kafka has it, and then each is, once, in order, on every node, whatever became of
//! the node's process meanwhile (R18, FAULTS 35).

use std::time::Duration;

use touchline_tests::e2e::brokers::Brokers;
use touchline_tests::e2e::http::{event, event_with};

use crate::broken::listen_until;
use crate::follower::Follower;
use crate::{Nodes, Turn};

const BROKERS: std::ops::RangeInclusive<u16> = 1..=3;

#[test]
fn fault_35_a_spool_takes_what_comes_while_all_brokers_are_away_also_through_a_kill() {
    let _turn = Turn::Calm.take();
    let mut brokers = Brokers::start(3);
    let mut nodes =
        Nodes::start(&brokers, "spooled", 2, "spool = true\nspool_bytes_max = \"1MiB\"");
    let mut followers = vec![Follower::start(&nodes, 1, "ars,che")];
    let mut ids = Vec::new();
    let mut accept = |nodes: &Nodes, node: usize, count: usize| {
        for _ in 0..count {
            ids.push(format!("s{}", ids.len()));
            let teams: &[&str] = if ids.len() % 3 == 0 { &["ars", "che"] } else { &["ars"] };
            nodes.servers[node].accept(&event(&ids[ids.len() - 1], teams));
        }
    };
    accept(&nodes, 0, 10);
    BROKERS.for_each(|broker| brokers.kill(broker));
    let is_degraded = |nodes: &Nodes, node: usize| {
        nodes.servers[node].admin("/metrics").body.contains("touchline_spool_events 0")
            && nodes.servers[node].post(&event("probe", &["bou"])).status == 202
    };
    listen_until("node 0 spools", &mut followers, || is_degraded(&nodes, 0));
    followers[0].hear_until("degraded", |it| it.states == ["degraded"]);
    assert_eq!(nodes.servers[0].admin("/readyz").status, 200, "it is fit for its sources");
    let seen = followers[0].ids.len();
    accept(&nodes, 0, 60);
    // A repeat, and the same id with other content: the spool knows its own.
    let twin = event("twin", &["ars"]);
    nodes.servers[0].accept(&twin);
    let repeat = nodes.servers[0].post(&twin);
    assert!(repeat.body.contains("\"duplicates\":1"), "{}", repeat.body);
    let reused = nodes.servers[0].post(&event("s19", &["che"]));
    assert_eq!(reused.status, 422, "{}", reused.body);
    followers[0].listen(Duration::from_millis(500));
    let metric = |name: &str| nodes.servers[0].metric(&format!("touchline_spool_{name}"));
    let age_s = metric("oldest_seconds");
    assert!((0.5..120.0).contains(&age_s), "since the oldest that waits: {age_s}");
    assert_eq!(metric("events_refused_total"), 0.0);
    let data = format!("{{\"text\":\"{}\"}}", "x".repeat(60_000));
    let large =
        |n: usize| nodes.servers[0].post(&event_with(&format!("large{n}"), &["bou"], &data));
    let full = (0..40).map(large).find(|answer| answer.status != 202).expect("1 MiB is full");
    assert_eq!(full.status, 503, "{}", full.body);
    assert_eq!(metric("events_refused_total"), 1.0);
    assert_eq!(followers[0].ids.len(), seen, "nobody sees what has no position");
    nodes.servers[0].kill_9();
    BROKERS.for_each(|broker| brokers.start_node(broker));
    BROKERS.for_each(|broker| brokers.await_node(broker));
    followers[0].hear_until("live", |it| it.states == ["degraded", "live"]);
    nodes.restart(0);
    let is_drained = |nodes: &Nodes| {
        let page = nodes.servers[0].admin("/metrics").body;
        page.lines().any(|line| line == "touchline_spool_events 0")
    };
    listen_until("drained", &mut followers, || is_drained(&nodes));
    assert_eq!(nodes.servers[0].metric("touchline_spool_oldest_seconds"), 0.0, "nothing waits");
    accept(&nodes, 0, 5);
    let last = ids[ids.len() - 1].clone();
    followers[0].hear_until("the last", |it| it.has(&last));
    followers[0].check(ids.iter().cloned());
    let in_order: Vec<&String> = followers[0].ids.iter().filter(|id| id.starts_with('s')).collect();
    for route in 0..2 {
        let of_route = |id: &&&String| {
            let number: usize = id[1..].parse().expect("a number");
            usize::from((number + 1).is_multiple_of(3)) == route
        };
        let numbers: Vec<usize> =
            in_order.iter().filter(of_route).map(|id| id[1..].parse().expect("a number")).collect();
        assert!(numbers.is_sorted(), "order within a topic: {numbers:?}");
    }
}

/// Events that wait in the spool of the first node.
fn waiting(nodes: &Nodes) -> f64 {
    nodes.servers[0].metric("touchline_spool_events")
}

/// The drain itself is killed, twice, with a part of the spool in Kafka and the rest not, and some
/// of it in both.
#[test]
fn fault_35_a_drain_that_is_killed_in_the_middle_goes_on_and_repeats_nothing() {
    const BODIES: usize = 150;
    const EVENTS: usize = BODIES * 100;
    let _turn = Turn::Calm.take();
    let mut brokers = Brokers::start(3);
    // The follower isn't listened to while nodes and brokers start.
    let more = "spool = true";
    let mut nodes = Nodes::start(&brokers, "drained", 2, more);
    let mut followers = vec![Follower::start(&nodes, 1, "ars,che")];
    BROKERS.for_each(|broker| brokers.kill(broker));
    listen_until("node 0 spools", &mut followers, || {
        nodes.servers[0].post(&event("probe", &["bou"])).status == 202
    });
    let id = |n: usize| format!("d{n}");
    for body in 0..BODIES {
        let own = body * 100..(body + 1) * 100;
        let events: Vec<String> = own
            .map(|n| event(&id(n), if n % 3 == 0 { &["ars", "che"] } else { &["ars"] }))
            .collect();
        nodes.servers[0].accept(&format!("[{}]", events.join(",")));
    }
    assert_eq!(waiting(&nodes), EVENTS as f64 + 1.0, "with the probe");
    BROKERS.for_each(|broker| brokers.start_node(broker));
    BROKERS.for_each(|broker| brokers.await_node(broker));
    let mut left = EVENTS as f64 + 1.0;
    for kill in 1..=2 {
        listen_until("a part is in Kafka", &mut followers, || {
            let now = waiting(&nodes);
            assert!(now > 0.0, "it was drained before kill {kill}");
            now < left - EVENTS as f64 / 10.0
        });
        nodes.servers[0].kill_9();
        nodes.restart(0);
        left = waiting(&nodes);
        println!("after kill {kill}, {left} wait");
    }
    listen_until("drained", &mut followers, || waiting(&nodes) == 0.0);
    nodes.servers[0].accept(&event("last", &["ars"]));
    followers[0].hear_until("the last", |it| it.has("last"));
    followers[0].check((0..EVENTS).map(id));
    for events in followers[0].seen.values() {
        let numbers = events.iter().filter_map(|(_, id)| id.strip_prefix('d')?.parse().ok());
        assert!(numbers.collect::<Vec<usize>>().is_sorted(), "order within a topic");
    }
}
