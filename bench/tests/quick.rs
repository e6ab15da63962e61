//! The bench measures what it says: a small run against a floor ends with everything delivered, on
//! JSON Lines that can be read back, a table between a page's markers, and a page of HTML.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn bench(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchline-bench"));
    command.arg("run").args(args).current_dir(folder).env("RUST_BACKTRACE", "0");
    // Without a server beside it the bench measures floors alone, which is all this test can
    // promise to have.
    command.args(["--out", "out/results.jsonl", "--floors-only"]);
    command.output().expect("start the bench")
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn a_quick_run_delivers_every_event_of_both_floors() {
    if cores() < 2 {
        eprintln!("needs two cores: server and clients are pinned apart");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = bench(folder.path(), &["--quick", "--row", "hot", "--table", "page.md"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let lines = std::fs::read_to_string(folder.path().join("out/results.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["host"]["cores"].as_u64().unwrap() >= 2);
    let runs: Vec<&Value> = lines.iter().map(|line| &line["run"]["run"]).collect();
    let runs: Vec<_> = runs.into_iter().filter(|run| run.is_object()).collect();
    assert_eq!(runs.len(), 2, "one run of each floor: {said}");
    for run in runs {
        let counts = &run["harvest"]["counts"];
        assert_eq!(counts["delivered"], run["expected"], "{said}");
        assert!(counts["delivered"].as_u64().unwrap() >= 500 * 30);
        assert_eq!((&counts["lost"], &counts["repeated"]), (&0.into(), &0.into()));
        let window = &run["harvest"]["windows"][0];
        assert!(window["latency"]["p99"].as_u64().unwrap() > 0);
        assert!(window["last_us"][1].as_u64() >= window["spread_us"][1].as_u64());
    }
    let page = std::fs::read_to_string(folder.path().join("page.md")).unwrap();
    assert!(page.contains("bare volley"), "{page}");
    let report = Command::new(env!("CARGO_BIN_EXE_touchline-bench"))
        .args(["report", "out/results.jsonl"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(report.stdout, output.stdout, "kept results give the same table");
    let report = Command::new(env!("CARGO_BIN_EXE_touchline-bench"))
        .args(["report", "out/results.jsonl", "--html", "report.html"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(report.status.success() && report.stdout.is_empty(), "a page alone, no table");
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("floor (volley)"));
}

#[test]
fn a_row_that_does_not_exist_is_answered_with_those_that_do() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(folder.path(), &["--row", "warm"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("no row warm") && said.contains("hot, last, full"), "{said}");
}
