//! Knobs of the whole host, really changed: and back, whatever ends the test.
//!
//! A guardian stands by: a shell in a process group of its own that waits for the end of its input
//! and then writes back what was there. The kernel closes that pipe when this process ends, however
//! it ends, so a kill is covered as well as a panic. A lock file keeps two runs on one host apart.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, getpid, kill_process};
use touchline_tests::e2e::server::{touchline, words};
use touchline_tests::e2e::until;

use crate::{apart, row};

/// Raised, it takes nothing from anybody.
const SYSCTL: &str = "/proc/sys/fs/nr_open";
/// Knobs that are the host's, and their files: numbers and a choice in brackets.
const GLOBALS: [(&str, &str); 3] = [
    ("fs.nr_open", SYSCTL),
    ("vm.swappiness", "/proc/sys/vm/swappiness"),
    ("thp", "/sys/kernel/mm/transparent_hugepage/enabled"),
];
/// By so much.
const RAISED_BY: u64 = 64;
/// One table of so many files is more than hosts allow by themselves.
const CONNECTIONS: &str = "4000000";

/// Puts the host back when it is dropped, or when its process is gone.
struct Guard {
    /// Of [`GLOBALS`], those that are ours to change; as they were.
    before: Vec<(&'static str, &'static str, Vec<u8>)>,
    guardian: Child,
    _lock: File,
}

impl Guard {
    /// `None` where nothing is ours to change.
    fn stand() -> Option<Self> {
        let lock = File::create(std::env::temp_dir().join("touchline-tune-global.lock")).ok()?;
        flock(&lock, FlockOperation::LockExclusive).ok()?;
        let mut before = Vec::new();
        let mut guardian = Command::new("sh");
        let puts_back =
            "cat >/dev/null; while [ $# -gt 0 ]; do printf %s \"$1\" >\"$2\"; shift 2; done";
        guardian.args(["-c", puts_back, "sh"]).stdin(Stdio::piped()).process_group(0);
        for (knob, file) in GLOBALS {
            let is_ours = fs::OpenOptions::new().write(true).open(file).is_ok();
            let Some(now) = fs::read(file).ok().filter(|_| is_ours) else { continue };
            let text = String::from_utf8(now.clone()).ok()?;
            // Of a choice the file shows all and takes one.
            let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
            guardian.arg(chosen.map_or(&*text, |(chosen, _)| chosen)).arg(file);
            before.push((knob, file, now));
        }
        (!before.is_empty()).then(|| guardian.spawn().ok())?.map(|guardian| Self {
            before,
            guardian,
            _lock: lock,
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

/// Whether each file says what it said before.
fn are_as_before(before: &[(&str, &str, Vec<u8>)]) -> bool {
    before.iter().all(|(_, file, before)| fs::read(file).is_ok_and(|now| now == *before))
}

#[test]
fn knobs_of_the_host_are_set_and_put_back_byte_for_byte() {
    let Some(guard) = Guard::stand() else {
        touchline_tests::note(
            "no sysctl of the host is ours to change: namespaces and trees must do",
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let tune = |arguments: &[&str]| {
        let mut command = touchline();
        command.args(["--config", "/dev/null", "--set", "node.shards=1", "tune"]).args(arguments);
        command
    };
    let check = || tune(&["check", "--json", "--connections", CONNECTIONS]).output().unwrap();
    // A host that is well has something to be mended as well.
    if guard.before.iter().any(|(knob, ..)| *knob == "thp") {
        fs::write(GLOBALS[2].1, "always").unwrap();
    }
    let first = check();
    let read = |(knob, file, _): &(&'static str, &'static str, Vec<u8>)| {
        (*knob, *file, fs::read(file).unwrap())
    };
    let before: Vec<_> = guard.before.iter().map(read).collect();
    let unwell: Vec<_> =
        before.iter().filter(|(knob, ..)| row(&first, knob)["state"] != "ok").collect();
    if unwell.is_empty() {
        touchline_tests::note("the host needs no change: no global knob was tested");
        return;
    }
    let only: Vec<&str> = unwell.iter().map(|(knob, ..)| *knob).collect();
    let only = only.join(",");
    let mut apply = tune(&["apply", "--yes", "--only", &only, "--connections", CONNECTIONS]);
    let applied = apply.args(apart(folder.path())).output().unwrap();
    assert_eq!(applied.status.code(), Some(0), "{}", words(&applied));
    let second = check();
    for (knob, file, before) in &unwell {
        assert_eq!(row(&second, knob)["state"], "ok", "{knob}");
        assert_ne!(fs::read(file).unwrap(), *before, "{knob}");
    }
    let state = folder.path().join("state");
    let reverted = tune(&["revert", "--state-dir", state.to_str().unwrap()]).output().unwrap();
    assert_eq!(reverted.status.code(), Some(0), "{}", words(&reverted));
    assert!(are_as_before(&before), "{only}");
    let before = guard.before.clone();
    drop(guard);
    assert!(are_as_before(&before), "by the guardian");
    if before.iter().any(|(knob, ..)| *knob == "fs.nr_open") {
        a_killed_test_leaves_nothing_behind(&before);
    }
}

fn number(text: &[u8]) -> u64 {
    String::from_utf8_lossy(text).trim().parse().unwrap()
}

/// This very test, killed with the sysctl changed.
fn a_killed_test_leaves_nothing_behind(before: &[(&str, &str, Vec<u8>)]) {
    let ours = std::env::current_exe().unwrap();
    let helper = ["--ignored", "--exact", "global::helper_that_dies_with_a_changed_host"];
    let helper = Command::new(ours).args(helper).arg("--nocapture").output().unwrap();
    assert_eq!(helper.status.signal(), Some(Signal::KILL.as_raw()), "{}", words(&helper));
    let said = String::from_utf8_lossy(&helper.stdout).into_owned();
    let nr_open = before.iter().find(|(knob, ..)| *knob == "fs.nr_open").unwrap();
    let raised = number(&nr_open.2) + RAISED_BY;
    assert!(said.contains(&format!("changed to {raised}\n")), "{said}");
    until("the guardian has put it back", || are_as_before(before));
}

#[test]
#[ignore = "run by the test above, as a process that kills itself"]
fn helper_that_dies_with_a_changed_host() {
    let _guard = Guard::stand().unwrap();
    let raised = number(&fs::read(SYSCTL).unwrap()) + RAISED_BY;
    fs::write(SYSCTL, format!("{raised}\n")).unwrap();
    println!("changed to {}", number(&fs::read(SYSCTL).unwrap()));
    let own = Pid::from_raw(getpid().as_raw_nonzero().get());
    kill_process(own.unwrap(), Signal::KILL).unwrap();
}
