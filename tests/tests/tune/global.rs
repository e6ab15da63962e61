//! One sysctl of the whole host, really changed: and back, whatever ends the test.
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
/// By so much.
const RAISED_BY: u64 = 64;
/// One table of so many files is more than hosts allow by themselves.
const CONNECTIONS: &str = "4000000";

/// Puts the sysctl back when it is dropped, or when its process is gone.
struct Guard {
    before: Vec<u8>,
    guardian: Child,
    _lock: File,
}

impl Guard {
    /// `None` where the sysctl isn't ours to change.
    fn stand() -> Option<Self> {
        let lock = File::create(std::env::temp_dir().join("touchline-tune-global.lock")).ok()?;
        flock(&lock, FlockOperation::LockExclusive).ok()?;
        let before = fs::read(SYSCTL).ok()?;
        fs::OpenOptions::new().write(true).open(SYSCTL).ok()?;
        let text = String::from_utf8(before.clone()).ok()?;
        let guardian = Command::new("sh")
            .args(["-c", "cat >/dev/null; printf %s \"$1\" >$2", "sh", &text, SYSCTL])
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .ok()?;
        Some(Self { before, guardian, _lock: lock })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

#[test]
fn a_sysctl_of_the_host_is_set_and_put_back_byte_for_byte() {
    let Some(guard) = Guard::stand() else {
        println!("note: {SYSCTL} isn't ours to change: only trees of files were tested");
        return;
    };
    if number(&guard.before) >= 4_000_000 {
        println!("note: {SYSCTL} is as high as can be: only trees of files were tested");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let began = guard.before.clone();
    let tune = |arguments: &[&str]| {
        let mut command = touchline();
        command.args(["--config", "/dev/null", "--set", "node.shards=1", "tune"]).args(arguments);
        command
    };
    let mut apply = tune(&["apply", "--yes", "--only", "fs.nr_open", "--connections", CONNECTIONS]);
    let applied = apply.args(apart(folder.path())).output().unwrap();
    assert_eq!(applied.status.code(), Some(0), "{}", words(&applied));
    assert!(number(&fs::read(SYSCTL).unwrap()) > 4_000_000);
    let check = tune(&["check", "--json", "--connections", CONNECTIONS]).output().unwrap();
    assert_eq!(row(&check, "fs.nr_open")["state"], "ok");
    let state = folder.path().join("state");
    let reverted = tune(&["revert", "--state-dir", state.to_str().unwrap()]).output().unwrap();
    assert_eq!(reverted.status.code(), Some(0), "{}", words(&reverted));
    assert_eq!(fs::read(SYSCTL).unwrap(), began);
    let before = guard.before.clone();
    drop(guard);
    assert_eq!(fs::read(SYSCTL).unwrap(), before);
    a_killed_test_leaves_nothing_behind(&before);
}

fn number(text: &[u8]) -> u64 {
    String::from_utf8_lossy(text).trim().parse().unwrap()
}

/// This very test, killed with the sysctl changed.
fn a_killed_test_leaves_nothing_behind(before: &[u8]) {
    let ours = std::env::current_exe().unwrap();
    let helper = ["--ignored", "--exact", "global::helper_that_dies_with_a_changed_host"];
    let helper = Command::new(ours).args(helper).arg("--nocapture").output().unwrap();
    assert_eq!(helper.status.signal(), Some(Signal::KILL.as_raw()), "{}", words(&helper));
    let said = String::from_utf8_lossy(&helper.stdout).into_owned();
    let raised = number(before) + RAISED_BY;
    assert!(said.contains(&format!("changed to {raised}\n")), "{said}");
    until("the guardian has put it back", || fs::read(SYSCTL).unwrap() == before);
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
