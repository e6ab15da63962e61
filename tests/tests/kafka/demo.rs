//! `touchline demo --kafka`: two nodes on three brokers; with `--trouble` brokers come and go and
//! nothing is lost; and nothing of it is left afterwards, however it ends.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use touchline_tests::e2e::http::request;
use touchline_tests::e2e::server::binary;

use crate::Turn;

/// How soon nothing is left of a demo that has ended.
const GONE_MAX: Duration = Duration::from_secs(20);
/// One status line comes every five seconds: a quarter of an hour, on the slowest of hosts.
const LINES_MAX: usize = 180;

/// A demo, in a folder of its own. Ended with the test; what it started ends by itself.
struct Demo {
    folder: PathBuf,
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    _dir: tempfile::TempDir,
}

impl Demo {
    fn start(more: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().canonicalize().expect("it is there");
        let mut child = Command::new(binary())
            .args(["demo", "--kafka", "--speed", "300", "--followers", "40", "--seed", "5"])
            .args(["--stream", "127.0.0.1:0", "--api", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(more)
            .arg("--data-dir")
            .arg(&folder)
            .env("TOUCHLINE_KAFKA_SCRIPT", root.join("scripts/kafka.sh"))
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("errors")).expect("a file"))
            .spawn()
            .expect("the binary");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { folder, child, lines, _dir: dir }
    }

    /// The lines up to the one that is `wanted`.
    fn read_until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut seen = Vec::new();
        for line in self.lines.by_ref().map_while(Result::ok).take(LINES_MAX) {
            seen.push(line);
            if seen.last().is_some_and(|line| wanted(line)) {
                return seen;
            }
        }
        let errors = std::fs::read_to_string(self.folder.join("errors")).unwrap_or_default();
        panic!("{what}: {seen:#?}\n{errors}");
    }

    /// Where the boards of both nodes are, once they are there.
    fn boards(&mut self) -> [SocketAddr; 2] {
        let lines = self.read_until("a board", |line| line.starts_with("The board: "));
        let address = |start: &str| {
            let line = lines.iter().find_map(|line| line.split_once(start));
            let (_, address) = line.expect("a board");
            address.trim_end_matches('/').parse().expect("an address")
        };
        [address("The board: http://"), address("The board of b: http://")]
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// What it still says, and how it ended.
    fn wait(&mut self) -> (Vec<String>, ExitStatus) {
        let said = self.lines.by_ref().map_while(Result::ok).collect();
        (said, self.child.wait().expect("ours"))
    }

    /// Neither brokers nor nodes, nor what brokers held.
    fn check_that_nothing_is_left(&self) {
        let deadline = Instant::now() + GONE_MAX;
        let brokers = self.folder.join("kafka-demo");
        let folders = || -> Vec<_> {
            let entries = std::fs::read_dir(&brokers).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.filter(|name| name.starts_with("brokers")).collect()
        };
        loop {
            let (processes, folders) = (processes_of(&self.folder), folders());
            if processes.is_empty() && folders.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left: {processes:#?} {folders:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes whose command line names `folder`.
fn processes_of(folder: &Path) -> Vec<(i32, String)> {
    let folder = folder.to_string_lossy();
    let entries = std::fs::read_dir("/proc").expect("a Linux host");
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let lines = numbers.filter_map(|number: i32| {
        let line = std::fs::read(format!("/proc/{number}/cmdline")).ok()?;
        Some((number, String::from_utf8_lossy(&line).replace('\0', " ")))
    });
    lines.filter(|(_, line)| line.contains(&*folder)).collect()
}

/// What the board is told; nothing while it can't be asked.
fn live(board: SocketAddr) -> Option<Value> {
    let answer = request(board, "GET", "/v1/live", &[], "").ok()?;
    serde_json::from_str(&answer.body).ok()
}

#[test]
fn the_demo_runs_two_nodes_and_when_all_are_killed_nothing_of_it_is_left() {
    let _turn = Turn::Calm.take();
    let mut demo = Demo::start(&[]);
    demo.read_until("followers on both nodes, and events", |line| {
        line.contains("40 sockets (a 20, b 20)") && !line.starts_with("0 ev")
    });
    let running = processes_of(&demo.folder);
    let of = |what: &'static str| running.iter().filter(move |(_, line)| line.contains(what));
    let counts = (of("kafka.Kafka").count(), of("serve --attached").count());
    assert_eq!(counts, (3, 1), "{running:#?}");
    // A line tells these only where they aren't zero.
    let lines = demo.read_until("another line", |line| line.contains("40 sockets (a 20, b 20)"));
    let is_odd = |line: &&String| line.contains("received twice") || line.contains("missing");
    assert_eq!(lines.iter().find(is_odd), None);
    // Brokers first: what they hold goes all the same.
    for (number, _) in of("kafka.Kafka") {
        let _ = kill_process(Pid::from_raw(*number).expect("a number"), Signal::KILL);
    }
    std::thread::sleep(Duration::from_secs(1));
    demo.signal(Signal::KILL);
    assert_eq!(demo.wait().1.signal(), Some(9));
    demo.check_that_nothing_is_left();
}

#[test]
fn an_interrupt_ends_brokers_and_nodes_with_the_demo() {
    let _turn = Turn::Calm.take();
    let mut demo = Demo::start(&[]);
    demo.read_until("followers on both nodes, and events", |line| {
        line.contains("40 sockets (a 20, b 20)") && !line.starts_with("0 ev")
    });
    demo.signal(Signal::INT);
    let (said, status) = demo.wait();
    assert!(status.success(), "{status}: {said:#?}");
    let last = said.last().expect("a summary");
    assert!(!last.contains("; 0 deliveries"), "{last}");
    assert!(last.contains("; 0 received twice, 0 missing, "), "{last}");
    demo.check_that_nothing_is_left();
}

/// FAULTS 35, as a person sees it on the boards: what is promised of each stream is kept.
#[test]
fn fault_35_in_trouble_brokers_come_and_go_and_nothing_is_lost() {
    let _turn = Turn::Harmed.take();
    let mut demo = Demo::start(&["--trouble"]);
    let boards = demo.boards();
    let is_over = AtomicBool::new(false);
    let (said, (states, kept)) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(boards[0], &is_over));
        let said = demo.read_until("all come back", |line| line.starts_with("All brokers: back"));
        boards.iter().for_each(|board| wait_until_handed_on(*board));
        is_over.store(true, Ordering::Relaxed);
        (said, watch.join().expect("it doesn't panic"))
    });
    check_steps(&said);
    assert!(states.contains(&"spooling".to_owned()), "{states:?}");
    assert!(kept > 0, "events were kept while all were away");
    let handed_on = live(boards[0]).expect("it answers")["log"]["handed_on"].as_u64();
    assert!(handed_on >= Some(kept), "{handed_on:?} of {kept}");
    // The next round begins. After its first outage all is as before: nobody waits for a leader.
    demo.read_until("the next round", |line| line.starts_with("Broker 1: back"));
    boards.iter().for_each(|board| wait_until_handed_on(*board));
    std::thread::sleep(Duration::from_secs(4));
    demo.signal(Signal::TERM);
    let (last, status) = demo.wait();
    assert!(status.success(), "{status}: {last:#?}");
    let last = last.last().expect("a summary");
    println!("{last}");
    assert!(last.ends_with("0 received twice, 0 missing, 0 not there yet, 0 gaps"), "{last}");
    demo.check_that_nothing_is_left();
}

/// Each outage was told, in its turn, and its end as well.
fn check_steps(said: &[String]) {
    let told = |line: &&str| line.starts_with("Broker") || line.starts_with("All brokers");
    let steps: Vec<&str> = said.iter().map(String::as_str).filter(told).collect();
    assert!(steps[0].starts_with("Brokers are killed: each of 3"), "beforehand: {steps:#?}");
    let who = ["Broker 1:", "Broker 2:", "Broker 3:", "All brokers:"];
    let wanted = who.iter().flat_map(|who| [format!("{who} killed"), format!("{who} back")]);
    for (step, wanted) in steps[1..].iter().zip(wanted) {
        assert!(step.starts_with(&wanted), "{wanted} in {steps:#?}");
    }
    assert_eq!(steps.len(), 9, "{steps:#?}");
}

/// What a node has kept stands in the log.
fn wait_until_handed_on(board: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let log = || live(board).map(|live| live["log"].clone()).unwrap_or_default();
    while log()["state"] != "open" || log()["waiting"] != 0 {
        assert!(Instant::now() < deadline, "it is handed on: {}", log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The states of the log that the board has shown, and the most that waited at two looks in turn:
/// what comes twice has a place, too, until the spool has found its twin.
fn watch(board: SocketAddr, is_over: &AtomicBool) -> (Vec<String>, u64) {
    let (mut states, mut kept, mut before) = (Vec::new(), 0, 0);
    while !is_over.load(Ordering::Relaxed) {
        if let Some(live) = live(board) {
            let state = live["log"]["state"].as_str().unwrap_or_default().to_owned();
            if states.last() != Some(&state) {
                states.push(state);
            }
            let waiting = live["log"]["waiting"].as_u64().unwrap_or(0);
            kept = kept.max(waiting.min(before));
            before = waiting;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    (states, kept)
}
