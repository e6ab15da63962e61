//! The lab compares like with like: two variants of the floor and the default one, run in turn,
//! each delivering everything, in a table with the default as its measure.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn lab(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchline-bench"));
    command.arg("lab").args(args).current_dir(folder).env("RUST_BACKTRACE", "0");
    command.args(["--out", "results.jsonl", "--sockets", "100", "--pairs", "1", "--time", "0.1"]);
    command.output().expect("start the lab")
}

#[test]
fn variants_are_compared_with_the_default_and_deliver_everything() {
    let folder = tempfile::tempdir().unwrap();
    let everything = "--registered-files --defer-taskrun --order shuffled --record-bytes 256 \
        --prefetch --huge-pages --sndbuf 16384 --lowat 4096 --spin-us 100 --batch 32";
    let output = lab(folder.path(), &["--variant", everything, "--variant", "--zero-copy"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let lines = std::fs::read_to_string(folder.path().join("results.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let runs: Vec<&Value> = lines.iter().filter_map(|line| line["run"].get("run")).collect();
    let flags = |run: &&Value| run["subject"]["variant"].as_str().unwrap().to_owned();
    let subjects: Vec<String> = runs.iter().map(flags).collect();
    assert!(subjects[0].is_empty() && subjects[1].contains("--batch 32"), "{subjects:?}");
    assert_eq!(subjects[2], "--zero-copy");
    for run in runs {
        let counts = &run["harvest"]["counts"];
        assert_eq!((&counts["delivered"], &run["expected"]), (&2_300.into(), &2_300.into()));
    }
    assert!(said.contains("of 2300 sends all the same"), "zero copy was what it says: {said}");
    let table = String::from_utf8_lossy(&output.stdout);
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 5, "a head, a line, the default and two variants: {table}");
    assert!(rows[2].contains("| default |") && rows[2].contains("1.00 (1.00 to 1.00)"), "{table}");
}

#[test]
fn variants_that_run_together_have_their_own_cost_each() {
    let folder = tempfile::tempdir().unwrap();
    let flags = "--order fixed --sndbuf 16384 --congestion reno";
    let output =
        lab(folder.path(), &["--together", "--variant", "--kind send", "--variant", flags]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "everything arrived: {said}");
    let table = String::from_utf8_lossy(&output.stdout);
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows[2].contains("| default |") && rows[3].contains("| --kind send |"), "{table}");
    assert_eq!(rows.len(), 5, "{table}");
    for row in &rows[2..] {
        let cost = row.split('|').nth(2).unwrap().split_whitespace().next().unwrap();
        assert!(cost.parse::<f64>().unwrap() > 0.1, "a send takes microseconds: {row}");
    }
}

#[test]
fn what_does_not_exist_is_answered_with_what_does() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |args: &[&str], why: &str| {
        let output = lab(folder.path(), args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{said}");
    };
    refused(&["--experiment", "luck"], "there are batch, ring");
    refused(&["--variant", "--batch 16", "--case", "idle"], "there are hot, overload");
    refused(&["--variant", "--kind send --zero-copy"], "a loop of sends has no ring");
    refused(&["--experiment", "spin", "--together"], "can't run together");
    refused(&["--variant", "--colour"], "--colour");
}
