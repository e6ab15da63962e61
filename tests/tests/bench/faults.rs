//! What the world does to a server while a bench runs.

use std::process::{Command, Stdio};

use touchline_tests::e2e::server::{Backend, Home};
use touchline_tests::e2e::until;

use crate::{Results, bench, turn};

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

#[test]
fn fault_06_slow_connections_cost_a_running_bench_nothing_that_it_counts() {
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
    let mut slow = Command::new("slowhttptest")
        .args(["-H", "-c", "2000", "-r", "2000", "-i", "1", "-l", "30", "-u", &url])
        .stdout(Stdio::null())
        .spawn()
        .expect("slowhttptest, which scripts/setup.sh brings");
    let (target, api) = (format!("ws://{}", addresses.stream), addresses.api.to_string());
    // They are let go after fifteen seconds; the bench takes ten.
    let asked = ["run", "--any-speed", "--scenario", "hot-topic", "--pairs", "1"];
    let whom = ["--target", &target, "--api", &api, "--secrets-file", secrets.to_str().unwrap()];
    let small = ["--sockets", "1000", "--time", "0.5"];
    let results = Results::of(&[&asked[..], &whom, &small].concat());
    let late = "touchline_handshake_failures_total{reason=\"late\"}";
    until("all of them are told that they are late", || server.metric(late) >= 2_000.0);
    slow.kill().ok();
    slow.wait().unwrap();
    assert!(results.output.status.success(), "{}", results.said());
    let run = &results.runs()[0];
    assert_eq!(run["harvest"]["counts"]["delivered"], run["expected"], "{}", results.said());
    assert!(run["expected"].as_u64().unwrap() > 25_000);
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
