//! A journal moves into Kafka once, also where the move is killed on its way.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use touchline_core::log::{Mark, token};
use touchline_tests::e2e::http::event;
use touchline_tests::e2e::server::{Backend, Home, touchline, words};
use touchline_tests::e2e::socket::{Heard, Socket};

use crate::tools::{records, told};
use crate::{Turn, calm_brokers};

const EVENTS: usize = 3_000;

/// Fills a journal, and leaves it as a killed server does.
fn fill(home: &Home) -> Vec<String> {
    let mut server = home.serve(Backend::Auto);
    let mut ids = Vec::new();
    for body in 0..EVENTS / 100 {
        let items: Vec<String> = (0..100)
            .map(|n| {
                let (id, n) = (format!("e{}", body * 100 + n), body * 100 + n);
                let teams: &[&str] = [&["ars"][..], &["ars", "che"], &["che"]][n % 3];
                let item = event(&id, teams);
                ids.push(id);
                item
            })
            .collect();
        server.accept(&format!("[{}]", items.join(",")));
    }
    server.kill_9();
    ids
}

/// Begins to migrate, and is killed once something is in.
fn migrate_and_die(home: &Home) {
    let mut command = touchline();
    command.arg("--config").arg(home.config());
    command.args(["log", "migrate", "--to", "kafka", "--batch", "40"]).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let is_begun = |line: &String| line.contains("the journal is in Kafka");
    let begun = lines.by_ref().map_while(Result::ok).find(is_begun);
    assert!(begun.is_some(), "it ends before anything is in");
    child.kill().expect("ours");
    child.wait().expect("ours");
}

#[test]
fn a_journal_is_moved_once_though_the_move_is_killed_and_run_again() {
    let _turn = Turn::Calm.take();
    let kafka = format!(
        "[log.kafka]\nbrokers = \"{}\"\ntopic_prefix = \"moved.\"\npartitions = 4\n",
        calm_brokers().addresses()
    );
    let home = Home::new(&kafka);
    let ids = fill(&home);
    migrate_and_die(&home);

    // Half a journal is no log for a node.
    home.configure(&format!("[log]\nkind = \"kafka\"\n{kafka}"));
    let refused = home.command(Backend::Auto).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(3), "{}", words(&refused));
    assert!(words(&refused).contains("log migrate"), "{}", words(&refused));
    let half = records(&home.config(), &["log", "dump", "--json"]).len();
    assert!((1..EVENTS).contains(&half), "{half} records are in after the kill");

    migrate_and_die(&home);
    let said = told(&home.config(), 0, &["log", "migrate", "--to", "kafka", "--batch", "500"]);
    assert!(said.iter().any(|line| line.contains("kind = \"kafka\"")), "{said:#?}");
    let said = told(&home.config(), 0, &["log", "migrate", "--to", "kafka"]);
    assert!(said[0].contains("already"), "{said:#?}");
    let dumped = records(&home.config(), &["log", "dump", "--json"]);
    assert_eq!(dumped.len(), EVENTS, "each stands there once");
    let verdict = told(&home.config(), 0, &["log", "verify"]);
    assert!(verdict.last().is_some_and(|it| it.contains("0 repeat")), "{verdict:#?}");

    let server = home.serve(Backend::Auto);
    let position = dumped[0]["pos"].as_str().expect("a position");
    let (epoch, _) = token::decode_position(position).expect("ours");
    let mark = token::encode_mark(&Mark { epoch, next: vec![0; 16].into() });
    let query = format!("teams=ars,che&mark={mark}");
    let mut client = Socket::open(server.addresses().stream, &query);
    assert_eq!(client.hear_op("subscribed")["recovered"], true);
    server.accept(&event("last", &["ars", "che"]));
    let mut seen = hear_all(&mut client, EVENTS + 1);
    seen.sort_unstable();
    let mut all = ids;
    all.push("last".into());
    all.sort_unstable();
    assert_eq!(seen, all, "each event of the journal, and the new one, once");
}

/// The ids of so many events; none may come after them.
fn hear_all(client: &mut Socket, count: usize) -> Vec<String> {
    let mut ids = Vec::with_capacity(count);
    loop {
        match client.hear_soon() {
            Heard::Json(json) if json["op"] == "event" => {
                ids.push(json["id"].as_str().expect("an id").to_owned());
            }
            Heard::Json(json) => assert_ne!(json["op"], "gap", "{json}"),
            Heard::Ping | Heard::Pong => {}
            Heard::Silence if ids.len() >= count => return ids,
            Heard::Silence => std::thread::sleep(std::time::Duration::from_millis(20)),
            other => panic!("{other:?} after {} events", ids.len()),
        }
    }
}

#[test]
fn a_log_that_holds_events_takes_no_journal() {
    let _turn = Turn::Calm.take();
    let nodes = crate::Nodes::start(calm_brokers(), "taken", 1, "");
    nodes.servers[0].accept(&event("e1", &["ars"]));
    let home = Home::new(&format!(
        "[log.kafka]\nbrokers = \"{}\"\ntopic_prefix = \"taken.\"\npartitions = 4\n",
        calm_brokers().addresses()
    ));
    let mut server = home.serve(Backend::Auto);
    server.accept(&event("j1", &["ars"]));
    let running = migrate_refused(&home);
    assert!(running.contains("in use by process"), "while a server has the journal: {running}");
    server.stop();
    let refused = migrate_refused(&home);
    assert!(refused.contains("holds events already"), "{refused}");
}

fn migrate_refused(home: &Home) -> String {
    let mut command = touchline();
    command.arg("--config").arg(home.config()).args(["log", "migrate", "--to", "kafka"]);
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    words(&output)
}
