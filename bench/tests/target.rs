//! Another product needs a file and no code: servers that wrap what was published in ways of their
//! own are measured by what their file says; and a server that does wrong is told what.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{Fake, Manners};
use serde_json::Value;

const SCENARIO: &str = "name = \"small\"\nquestion = \"?\"\nsockets = 20\nteams = 2\n\
    drain_s_max = 2.0\n\
    [[phase]]\nname = \"warm-up\"\nrate = 20.0\nseconds = 0.5\n\
    [[phase]]\nname = \"steady\"\nrate = 40.0\nseconds = 1.0\n\
    [expect]\nwhole = true\n";

/// Measures `fake`, whose events are found as `message` says and published as `body`.
fn measure(folder: &Path, fake: &Fake, message: &str, body: &str) -> Output {
    let target = format!(
        "name = \"fake\"\nwhat = \"a fake\"\naddress = \"{0}\"\n\
         [connect]\npath = \"/follow/{{team}}\"\n{message}\n\
         [publish]\nkind = \"http\"\nurl = \"http://{0}/publish/{{team}}\"\nmethod = \"POST\"\n\
         body = '{body}'\n",
        fake.address
    );
    fs::write(folder.join("fake.toml"), target).unwrap();
    fs::write(folder.join("small.toml"), SCENARIO).unwrap();
    Command::new(env!("CARGO_BIN_EXE_touchline-bench"))
        .args(["run", "--scenario", "small.toml", "--target", "fake.toml", "--pairs", "1"])
        .args(["--out", "out.jsonl"])
        .current_dir(folder)
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("start the bench")
}

fn run_of(folder: &Path) -> Value {
    let lines = fs::read_to_string(folder.join("out.jsonl")).unwrap();
    let mut lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.find_map(|line| line["run"].get("run").cloned()).expect("a run")
}

/// Server and clients are pinned apart.
fn has_two_cores() -> bool {
    let has = std::thread::available_parallelism().map_or(1, usize::from) >= 2;
    if !has {
        eprintln!("needs two cores");
    }
    has
}

/// Whether everything arrives that `manners` wrap, where `message` says how to look.
fn arrives(manners: Manners, message: &str, body: &str) {
    if !has_two_cores() {
        return;
    }
    let (folder, fake) = (tempfile::tempdir().unwrap(), Fake::start(manners));
    let output = measure(folder.path(), &fake, message, body);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let run = run_of(folder.path());
    assert_eq!(run["harvest"]["counts"]["delivered"], 500, "10 sockets a team, 50 events: {said}");
    let latency = &run["harvest"]["windows"][0]["latency"];
    assert_eq!(latency["count"], 400, "{said}");
    let p50_us = latency["p50"].as_u64().unwrap();
    assert!((1..5_000_000).contains(&p50_us), "the time was found: {p50_us}");
    assert!(run["harvest"]["windows"][0]["last_us"][1].as_u64().unwrap() > 0, "so was the event");
}

#[test]
fn json_within_a_string_of_json_is_found() {
    arrives(Manners::Escape, "[connect.message]\nstamp = \"json-escaped\"", "{data}");
}

#[test]
fn what_a_server_encodes_in_base64_is_found() {
    arrives(Manners::Base64, "[connect.message]\nstamp = \"base64\"", "{data}");
}

#[test]
fn a_message_of_the_servers_own_making_is_read_by_pointers() {
    let message = "[connect.message]\nsequence = \"/event/id\"\ntime = \"/event/at\"";
    arrives(Manners::Own, message, r#"{"id":{sequence},"at":{time}}"#);
    let message = "[connect.message]\nsequence = \"/event/id\"";
    arrives(Manners::Own, message, r#"{"id":{sequence}}"#);
}

/// What is said of a server that does wrong.
fn said_of(manners: Manners) -> String {
    let (folder, fake) = (tempfile::tempdir().unwrap(), Fake::start(manners));
    let output = measure(folder.path(), &fake, "", "{data}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    said
}

#[test]
fn a_server_that_does_wrong_is_told_what_in_words() {
    if !has_two_cores() {
        return;
    }
    let twice = said_of(Manners::Twice);
    assert!(twice.contains("FAILED: 500 came twice or out of order"), "{twice}");
    let again = said_of(Manners::Again);
    assert!(again.contains("FAILED: 500 came twice or out of order"), "to the last: {again}");
    let silent = said_of(Manners::Silent);
    assert!(silent.contains("nothing arrived of 500 deliveries"), "{silent}");
    assert!(!silent.contains("us a delivery") && !silent.contains("p99"), "{silent}");
    let wrong = said_of(Manners::WrongAccept);
    assert!(wrong.contains("Sec-WebSocket-Accept is missing or wrong"), "{wrong}");
}

#[test]
fn a_flood_is_metered_until_all_of_it_is_taken() {
    if !has_two_cores() {
        return;
    }
    let (folder, fake) = (tempfile::tempdir().unwrap(), Fake::start(Manners::Late));
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    let secrets = folder.path().join("secrets");
    write("secrets", "whsec_dG91Y2hsaW5lLWJlbmNoLXNpZ25pbmcta2V5\n".into());
    let target = format!(
        "name = \"fake\"\nwhat = \"a fake\"\naddress = \"{0}\"\n[connect]\npath = \"/\"\n\
         [publish]\nkind = \"webhook\"\napi = \"{0}\"\nsecrets_file = \"{1}\"\n",
        fake.address,
        secrets.display()
    );
    write("fake.toml", target);
    let flood = "name = \"flood\"\nquestion = \"?\"\nsockets = 0\nteams = 1\n\
        flood = { batch = 10, flights_max = 4 }\n\
        [[phase]]\nname = \"flood\"\nrate = 100.0\nseconds = 0.4\n[expect]\ntaken = true\n";
    write("flood.toml", flood.into());
    let output = Command::new(env!("CARGO_BIN_EXE_touchline-bench"))
        .args(["run", "--scenario", "flood.toml", "--target", "fake.toml", "--pairs", "1"])
        .args(["--out", "out.jsonl"])
        .current_dir(folder.path())
        .output()
        .expect("start the bench");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let run = run_of(folder.path());
    assert_eq!(run["posted"]["events"], 40, "{said}");
    let drained_s = run["drained_s"].as_f64().unwrap();
    assert!(drained_s > 0.8, "it was over {drained_s} s after the last was due: {said}");
}

#[test]
fn a_server_that_is_not_there_is_said_to_refuse() {
    if !has_two_cores() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = Fake { address: listener.local_addr().unwrap() };
    drop(listener);
    let output = measure(folder.path(), &gone, "", "{data}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("nobody listens there"), "{said}");
}
