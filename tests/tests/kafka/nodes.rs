//! What clients of several nodes see while all is well.

use serde_json::Value;
use touchline_tests::e2e::http::event;
use touchline_tests::e2e::socket::Socket;

use crate::{Nodes, Turn, calm_brokers};

fn subscribed(socket: &mut Socket) -> Value {
    socket.hear_op("subscribed")
}

fn id(socket: &mut Socket) -> String {
    socket.hear_op("event")["id"].as_str().expect("an id").to_owned()
}

#[test]
fn an_event_sent_to_one_node_reaches_the_sockets_of_all_once() {
    let _turn = Turn::Calm.take();
    let nodes = Nodes::start(calm_brokers(), "all", 2, "");
    let mut clients = [0, 1].map(|node| nodes.open(node, "teams=ars,che"));
    clients.iter_mut().for_each(|client| drop(subscribed(client)));
    nodes.servers[0].accept(&event("e1", &["ars"]));
    nodes.servers[1].accept(&event("e2", &["ars", "che"]));
    for client in &mut clients {
        let mut seen = [id(client), id(client)];
        // Different routes may lie in different partitions.
        seen.sort();
        assert_eq!(seen, ["e1", "e2"]);
    }
}

#[test]
fn the_same_delivery_to_two_nodes_at_once_is_shown_once_on_each() {
    let _turn = Turn::Calm.take();
    let nodes = Nodes::start(calm_brokers(), "twins", 2, "");
    let mut clients = [0, 1].map(|node| nodes.open(node, "teams=ars"));
    clients.iter_mut().for_each(|client| drop(subscribed(client)));
    let bodies: Vec<String> = (0..20).map(|n| event(&format!("e{n}"), &["ars"])).collect();
    for body in &bodies {
        std::thread::scope(|scope| {
            for server in &nodes.servers {
                scope.spawn(|| server.accept(body));
            }
        });
    }
    nodes.servers[0].accept(&event("last", &["ars"]));
    for client in &mut clients {
        for n in 0..20 {
            assert_eq!(id(client), format!("e{n}"));
        }
        assert_eq!(id(client), "last");
    }
    // A node that is started now judges the same.
    let mut late = Nodes::start(calm_brokers(), "twins", 1, "");
    let client = &mut late.open(0, "teams=ars");
    drop(subscribed(client));
    late.servers[0].accept(&bodies[7]);
    late.servers[0].accept(&event("new", &["ars"]));
    assert_eq!(id(client), "new", "e7 is known to it from the log");
    late.servers[0].stop();
    late.restart(0);
    let client = &mut late.open(0, "teams=ars");
    drop(subscribed(client));
    late.servers[0].accept(&bodies[8]);
    late.servers[0].accept(&event("newer", &["ars"]));
    assert_eq!(id(client), "newer", "and so is e8 to its next start");
    for client in &mut clients {
        assert_eq!([id(client), id(client)], ["new", "newer"], "elsewhere neither came again");
    }
}

#[test]
fn a_client_goes_on_at_another_node_with_the_positions_it_has() {
    let _turn = Turn::Calm.take();
    let nodes = Nodes::start(calm_brokers(), "resume", 2, "");
    let mut client = nodes.open(0, "teams=ars,che");
    let mark = subscribed(&mut client)["mark"].as_str().expect("a mark").to_owned();
    let mut after = std::collections::BTreeMap::new();
    for n in 0..40 {
        let teams: &[&str] = if n % 2 == 0 { &["ars"] } else { &["che"] };
        nodes.servers[n % 2].accept(&event(&format!("e{n}"), teams));
    }
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..20 {
        let event = client.hear_op("event");
        let text = |key: &str| event[key].as_str().expect("a text").to_owned();
        after.insert(text("topic"), text("pos"));
        seen.push(text("id"));
    }
    drop(client);
    let after: Vec<String> = after.iter().map(|(topic, pos)| format!("{topic}~{pos}")).collect();
    let query = format!("teams=ars,che&mark={mark}&after={}", after.join(","));
    let mut client = nodes.open(1, &query);
    assert_eq!(subscribed(&mut client)["recovered"], Value::Bool(true));
    seen.extend((0..20).map(|_| id(&mut client)));
    nodes.servers[1].accept(&event("last", &["ars"]));
    assert_eq!(id(&mut client), "last", "nothing twice");
    seen.sort_by_key(|id| id[1..].parse::<u32>().expect("a number"));
    let all: Vec<String> = (0..40).map(|n| format!("e{n}")).collect();
    assert_eq!(seen, all);
}

#[test]
fn a_cluster_that_keeps_too_few_copies_is_refused_with_what_is_wrong() {
    let _turn = Turn::Calm.take();
    use touchline_tests::e2e::server::{Backend, Home, words};
    let brokers = calm_brokers();
    drop(Nodes::start(brokers, "few", 1, "replication = 2\nin_sync_min = 1"));
    let home = Home::new(&format!(
        "[log]\nkind = \"kafka\"\n[log.kafka]\nbrokers = \"{}\"\ntopic_prefix = \"few.\"\n\
         partitions = 6\n",
        brokers.addresses()
    ));
    let refused = home.command(Backend::Auto).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(3), "{}", words(&refused));
    for part in [
        "few.broadcast-events keeps 2 copies, not 3",
        "few.broadcast-events has 4 partitions, not 6",
        "few.broadcast-events: min.insync.replicas is 1, must be 2 or more",
    ] {
        assert!(words(&refused).contains(part), "{part} in {}", words(&refused));
    }
}
