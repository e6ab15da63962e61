//! No rights for a check, and none of them for an apply; a line at the start of a server.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::geteuid;
use serde_json::Value;
use touchline_tests::e2e::server::{Backend, Home, Server, binary, run, words};

/// Runs the binary as nobody: a copy that nobody can reach.
fn as_nobody(folder: &tempfile::TempDir, arguments: &[&str]) -> Option<Output> {
    if !geteuid().is_root() {
        return Some(run(arguments));
    }
    let own = folder.path().join("touchline");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    if !own.exists() && std::fs::hard_link(binary(), &own).is_err() {
        std::fs::copy(binary(), &own).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(own);
    let output = command.args(arguments).current_dir("/").output().ok()?;
    // A sandbox may not let us become somebody else.
    (!words(&output).starts_with("setpriv:")).then_some(output)
}

#[test]
fn a_check_needs_no_rights_and_less_than_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let check = ["--config", "/dev/null", "tune", "check", "--json", "--connections", "1000"];
    let Some(checked) = as_nobody(&folder, &check) else { return };
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert!(report["summary"]["ok"].as_u64().unwrap() > 20, "{report:#}");
    let began = Instant::now();
    as_nobody(&folder, &check).unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let apply = [
        ["--config", "/dev/null", "--set", "node.shards=1", "tune", "apply"].as_slice(),
        &["--connections", "4000000", "--yes", "--only", "fs.nr_open"],
    ]
    .concat();
    let applied = as_nobody(&folder, &apply).unwrap();
    // Where it is good already there is nothing to refuse.
    if !words(&applied).contains("nothing to set") {
        assert_eq!(applied.status.code(), Some(1), "{}", words(&applied));
        assert!(words(&applied).contains("this needs root"), "{}", words(&applied));
    }
}

#[test]
fn a_server_tells_problems_and_counts_advice_when_it_starts() {
    let home = Home::new("");
    let config = home.config();
    let check = ["--config", config.to_str().unwrap(), "tune", "check", "--json"];
    let count = || {
        let report: Value = serde_json::from_slice(&run(&check).stdout).unwrap();
        report["summary"]["advice"].as_u64().unwrap()
    };
    let before = count();
    let mut server = home.serve(Backend::Auto);
    let after = count();
    if before.min(after) > 0 {
        let line = server.wait_for_line("the host could be better");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "info");
        // What became of packets may change while we look.
        let told = line["advice"].as_u64().unwrap();
        assert!(told == before || told == after, "{told} {before} {after}");
    }
    server.stop();

    // More than one table of any host holds: the plan of shards refuses it, the doctor says so
    // first.
    let mut command = home.command(Backend::Auto);
    command.args(["--set", "node.shards=1", "--set", "node.connections_max=4000000"]);
    let mut server = Server::spawn(command);
    let line = server.wait_for_line("the host can't hold");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "warn");
    assert!(line["knob"].is_string() && line["now"].is_string() && line["cost"].is_string());
}
