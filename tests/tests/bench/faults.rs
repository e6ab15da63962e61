//! What the world does to a server while a bench runs.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use socket2::{Domain, Socket, Type};
use touchline_tests::e2e::server::{Backend, Home};
use touchline_tests::e2e::until;

use crate::{Results, bench, turn};

/// A p99 of eighteen events on a host that others use moves by half of itself; one that slow
/// connections move is several times what it was.
const MOVED_MAX: f64 = 2.0;

/// A scenario small, with what its file expects but for times.
fn play(scenario: &str, sockets: &str, time: &str) -> Results {
    let asked = ["run", "--any-speed", "--scenario", scenario, "--pairs", "1"];
    let results = Results::of(&[&asked[..], &["--sockets", sockets, "--time", time]].concat());
    assert!(results.output.status.success(), "{}", results.said());
    results
}

#[test]
fn fault_43_after_kill_minus_9_everybody_is_back_and_nothing_is_lost_or_repeated() {
    let Some(_turn) = turn() else { return };
    let results = play("restart", "5000", "0.4");
    let run = &results.runs()[0];
    let counts = &run["harvest"]["counts"];
    assert_eq!(counts["returned"], 5_000, "{counts}");
    assert_eq!(counts["delivered"], run["expected"], "{counts}");
    assert_eq!((&counts["lost"], &counts["repeated"]), (&0.into(), &0.into()), "{counts}");
    let back_us = run["harvest"]["away"]["p99"].as_u64().unwrap();
    println!("99 in 100 were back after {:.1} s", back_us as f64 / 1e6);
    assert!(back_us < 60_000_000, "what FAULTS 43 promises, of a tenth of the sockets");
}

#[test]
fn fault_40_a_server_that_stood_still_throws_nobody_out() {
    let Some(_turn) = turn() else { return };
    // Four seconds, four times as long as an answer to a ping may take.
    let results = play("freeze", "1000", "0.4");
    let run = &results.runs()[0];
    let counts = &run["harvest"]["counts"];
    assert_eq!(counts["closed"], serde_json::json!({}), "{counts}");
    assert_eq!(counts["delivered"], run["expected"], "{counts}");
    let marks = run["marks"].as_array().unwrap();
    assert_eq!(marks.len(), 2, "stopped and going on: {marks:?}");
}

/// Slow connections, ended with it.
struct Slow(Child);

impl Slow {
    fn begin(url: &str) -> Self {
        let asked = ["-H", "-c", "2000", "-r", "2000", "-i", "1", "-l", "30", "-u", url];
        let child = Command::new("slowhttptest").args(asked).stdout(Stdio::null()).spawn();
        Self(child.expect("slowhttptest, which scripts/setup.sh brings"))
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where slow connections cost nobody but whoever makes them: the kernel takes them, and nobody
/// listens.
fn deaf() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    socket.listen(4_096).expect("it listens");
    let address = socket.local_addr().expect("it is bound").as_socket().expect("of the internet");
    (socket, format!("http://{address}/v1/stream"))
}

/// FAULTS 6: everything of a bench that runs meanwhile is delivered, and its p99 doesn't move; by
/// how much it did is printed. Who makes two thousand slow connections takes its part of two cores,
/// too: so it is compared with as many that go elsewhere.
#[test]
fn fault_06_slow_connections_cost_a_running_bench_nothing() {
    let Some(_turn) = turn() else { return };
    let home = Home::new("");
    let secrets = home.path("partner.secrets");
    let mut command = home.command(Backend::Auto);
    command.args(["--set", "node.connections_max=4000", "--set", "sessions.handshake_s=15"]);
    command.args(["--set", &format!("sources.broadcast.bench.secrets_file={}", secrets.display())]);
    let mut server = touchline_tests::e2e::server::Server::spawn(command);
    server.wait_until_serving();
    let addresses = server.addresses();
    let url = format!("http://{}/v1/stream", addresses.stream);
    let (target, api) = (format!("ws://{}", addresses.stream), addresses.api.to_string());
    let p99_ms = || {
        let asked = ["run", "--any-speed", "--scenario", "hot-topic", "--pairs", "1"];
        let whom = ["--target", &target, "--api", &api];
        let small = ["--secrets-file", secrets.to_str().unwrap(), "--sockets", "1000"];
        let results = Results::of(&[&asked[..], &whom, &small, &["--time", "0.3"]].concat());
        assert!(results.output.status.success(), "{}", results.said());
        let run = &results.runs()[0];
        assert_eq!(run["harvest"]["counts"]["delivered"], run["expected"], "{}", results.said());
        assert!(run["expected"].as_u64().unwrap() > 15_000);
        let p99_us = run["harvest"]["windows"][0]["latency"]["p99"].as_u64().unwrap();
        p99_us as f64 / 1e3
    };
    let late = "touchline_handshake_failures_total{reason=\"late\"}";
    let (_deaf, elsewhere) = deaf();
    // One after the other, so that a host that is busy for a while troubles both alike. They are
    // let go after fifteen seconds; a run takes less.
    let mut moved: Vec<f64> = (0..3)
        .map(|n| {
            let slow = Slow::begin(&elsewhere);
            let elsewhere_ms = p99_ms();
            drop(slow);
            let told = server.metric(late);
            let slow = Slow::begin(&url);
            let slow_ms = p99_ms();
            println!("p99 {slow_ms:.1} ms, and {elsewhere_ms:.1} where they go elsewhere");
            if n == 2 {
                let are_told = || server.metric(late) >= told + 2_000.0;
                until("all of them are told that they are late", are_told);
            }
            drop(slow);
            slow_ms / elsewhere_ms
        })
        .collect();
    moved.sort_by(f64::total_cmp);
    println!("p99: {:.2} ({:.2} to {:.2}) of that", moved[1], moved[0], moved[2]);
    assert!(moved[1] < MOVED_MAX, "{moved:?}");
}

#[test]
fn a_bench_that_is_asked_to_end_takes_everything_along() {
    let Some(_turn) = turn() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(bench());
    command.args(["run", "--scenario", "hot-topic", "--sockets", "500", "--out"]);
    command.arg(folder.path().join("results.jsonl")).env("TMPDIR", folder.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let home = || {
        let entries = std::fs::read_dir(folder.path()).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("touchline-bench-")).collect::<Vec<_>>()
    };
    // Each thread has children of its own.
    let children = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().flatten();
        let of = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children"));
        let lists: Vec<String> = tasks.filter_map(|task| of(task).ok()).collect();
        lists.concat().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    until("a server and clients are there", || !home().is_empty() && children().len() > 1);
    let children = children();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143), "128 and the number of SIGTERM");
    for pid in &children {
        let state = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        assert!(!state.contains("touchline"), "{pid} lives on");
    }
    assert_eq!(home(), Vec::<String>::new(), "what the server kept is gone");
}
