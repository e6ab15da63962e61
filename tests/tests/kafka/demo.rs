//! `touchline demo --kafka`: two nodes on three brokers, and nothing left of them afterwards.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use touchline_tests::e2e::server::binary;

use crate::alone;

/// Ends it, should the test fail; what it started ends by itself.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processes whose command line names `folder`.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy();
    let entries = std::fs::read_dir("/proc").expect("a Linux host");
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let lines = numbers.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter_map(
        |number| {
            let line = std::fs::read(format!("/proc/{number}/cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        },
    );
    lines.filter(|line| line.contains(&*folder)).collect()
}

#[test]
fn the_demo_runs_two_nodes_and_when_it_is_killed_nothing_of_it_is_left() {
    let _turn = alone();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().canonicalize().expect("it is there");
    let mut child = Command::new(binary())
        .args(["demo", "--kafka", "--speed", "300", "--followers", "40", "--seed", "5"])
        .args(["--stream", "127.0.0.1:0", "--api", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(&folder)
        .env("TOUCHLINE_KAFKA_SCRIPT", root.join("scripts/kafka.sh"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut demo = Demo(child);
    let both =
        |line: &String| line.contains("40 sockets (a 20, b 20)") && !line.starts_with("0 ev");
    let mut seen = Vec::new();
    // One line every five seconds: ten minutes at most.
    for line in lines.map_while(Result::ok).take(120) {
        seen.push(line);
        if seen.last().is_some_and(both) {
            break;
        }
    }
    assert!(seen.iter().any(both), "followers on both nodes, and events: {seen:#?}");
    let running = processes_of(&folder);
    let count = |what: &str| running.iter().filter(|line| line.contains(what)).count();
    assert_eq!((count("kafka.Kafka"), count("serve --attached")), (3, 1), "{running:#?}");
    demo.0.kill().expect("ours");
    demo.0.wait().expect("ours");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !processes_of(&folder).is_empty() {
        assert!(Instant::now() < deadline, "left: {:#?}", processes_of(&folder));
        std::thread::sleep(Duration::from_millis(100));
    }
    let brokers = folder.join("kafka-demo/brokers");
    while brokers.exists() {
        assert!(Instant::now() < deadline, "{} is left", brokers.display());
        std::thread::sleep(Duration::from_millis(100));
    }
}
