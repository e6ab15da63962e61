//! What `touchline log` and `touchline tail` tell of a log in Kafka.

use std::path::Path;

use serde_json::Value;
use touchline_tests::e2e::http::event;
use touchline_tests::e2e::server::{run, words};

use crate::{Nodes, Turn, admin, calm_brokers};

/// What a command of the log says, line by line; it must end with `code`.
pub fn told(config: &Path, code: i32, arguments: &[&str]) -> Vec<String> {
    let config = config.display().to_string();
    let arguments: Vec<&str> = ["--config", &config].iter().chain(arguments).copied().collect();
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", words(&output));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The records of a dump or a tail.
pub fn records(config: &Path, arguments: &[&str]) -> Vec<Value> {
    let lines = told(config, 0, arguments);
    lines.iter().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

fn ids(records: &[Value]) -> Vec<&str> {
    let mut ids: Vec<_> = records.iter().filter_map(|it| it["id"].as_str()).collect();
    ids.sort_by_key(|id| id[1..].parse::<u32>().expect("a number"));
    ids
}

#[test]
fn dump_verify_and_tail_read_every_lane_without_being_a_node() {
    let _turn = Turn::Calm.take();
    let nodes = Nodes::start(calm_brokers(), "tools", 1, "");
    let config = nodes.home(0).config();
    let all: Vec<String> = (0..20).map(|n| format!("e{n}")).collect();
    for (n, id) in all.iter().enumerate() {
        let teams: &[&str] = if n % 2 == 0 { &["ars"] } else { &["che", "liv"] };
        nodes.servers[0].accept(&event(id, teams));
    }
    let dumped = records(&config, &["log", "dump", "--json"]);
    assert_eq!(ids(&dumped), all.iter().map(String::as_str).collect::<Vec<_>>());
    // One lane, and a part of it by the positions that clients see.
    let lane = dumped[3]["lane"].clone();
    let of_lane: Vec<_> = dumped.iter().filter(|it| it["lane"] == lane).collect();
    let one = records(&config, &["log", "dump", "--json", "--lane", &lane.to_string()]);
    assert_eq!(one.iter().collect::<Vec<_>>(), of_lane);
    let (from, to) = (of_lane[2]["pos"].as_str().unwrap(), of_lane[5]["pos"].as_str().unwrap());
    let part = records(&config, &["log", "dump", "--json", "--from", from, "--to", to]);
    assert_eq!(part.iter().collect::<Vec<_>>(), of_lane[2..5]);
    assert!(told(&config, 1, &["log", "dump", "--from", "3"]).is_empty(), "of which lane?");

    let verdict = told(&config, 0, &["log", "verify"]);
    assert!(verdict.last().is_some_and(|it| it.starts_with("sound: life 1")), "{verdict:#?}");
    assert_eq!(verdict.len(), 17, "a line for each of 16 lanes: {verdict:#?}");

    let newest = records(&config, &["tail", "--json", "--no-follow", "-n", "3"]);
    assert_eq!(ids(&newest), ["e17", "e18", "e19"]);
    let of_team = ["tail", "--json", "--no-follow", "--from", "0", "--team", "liv"];
    let odd: Vec<_> = all.iter().skip(1).step_by(2).map(String::as_str).collect();
    assert_eq!(ids(&records(&config, &of_team)), odd);
}

#[test]
fn verify_names_what_a_stranger_has_written_and_ends_with_1() {
    let _turn = Turn::Calm.take();
    let nodes = Nodes::start(calm_brokers(), "poison", 1, "");
    nodes.servers[0].accept(&event("e1", &["ars"]));
    admin::write(calm_brokers(), "poison.broadcast-events", 2, b"not a record");
    let config = nodes.home(0).config();
    let verdict = told(&config, 1, &["log", "verify"]);
    let said = verdict.iter().any(|line| line.contains("poison.broadcast-events/2: offset"));
    assert!(said, "{verdict:#?}");
    assert!(verdict.last().is_some_and(|it| it.starts_with("damaged")), "{verdict:#?}");
}
