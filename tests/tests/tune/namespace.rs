//! Real sysctls: those of a network namespace, which are nobody else's.

use std::io::Read as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use touchline_tests::e2e::server::{binary, words};
use touchline_tests::e2e::until;

use crate::{apart, may_make_namespaces, row};

/// What a namespace has of its own, and what we make of it to begin with.
const SYSCTLS: [(&str, &str); 5] = [
    ("net.core.somaxconn", "128"),
    ("net.ipv4.tcp_max_syn_backlog", "256"),
    ("net.ipv4.tcp_slow_start_after_idle", "1"),
    ("net.ipv4.ip_local_port_range", "32768 60999"),
    ("net.ipv4.tcp_wmem", "4096 16384 65536"),
];

/// A network namespace that lives as long as this value, or as this process.
struct Namespace {
    holder: Child,
    folder: tempfile::TempDir,
}

impl Namespace {
    fn new() -> Self {
        let holder =
            Command::new("unshare").args(["-n", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let link = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let pid = holder.id().to_string();
        until("the namespace is there", || link(&pid).is_some_and(|its| Some(its) != link("self")));
        let namespace = Self { holder, folder: tempfile::tempdir().unwrap() };
        for (name, value) in SYSCTLS {
            let file = format!("/proc/sys/{}", name.replace('.', "/"));
            let set =
                namespace.command("sh").args(["-c", "echo $1 >$2", "sh", value, &file]).status();
            assert!(set.unwrap().success(), "{name}");
        }
        namespace
    }

    /// A program in it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let file = format!("--net=/proc/{}/ns/net", self.holder.id());
        command.args([&file, program]).stdin(Stdio::null());
        command
    }

    fn tune(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(binary().to_str().unwrap());
        command.args(["--config", "/dev/null", "tune"]).args(arguments);
        command
    }

    /// An apply of everything that is the namespace's own.
    fn apply(&self) -> Command {
        let mut command = self.tune(&["apply", "--connections", "50000"]);
        command
            .args(["--only", &SYSCTLS.map(|(name, _)| name).join(",")])
            .args(apart(self.folder.path()));
        command
    }

    fn revert(&self) -> Output {
        let state = self.folder.path().join("state");
        self.tune(&["revert", "--state-dir", state.to_str().unwrap()]).output().unwrap()
    }

    fn check(&self) -> Output {
        self.tune(&["check", "--json", "--connections", "50000"]).output().unwrap()
    }

    /// Every sysctl below `net`, byte for byte; `grep` prints what it can read.
    fn everything(&self) -> Vec<String> {
        let output = self.command("grep").args(["-rs", "", "/proc/sys/net"]).output().unwrap();
        let mut lines: Vec<String> =
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        assert!(lines.len() > 100, "{lines:?}");
        lines.sort();
        lines
    }

    /// Nothing is left in the folder where records and files were.
    fn is_clean(&self) -> bool {
        !self.folder.path().join("state").exists() && !self.folder.path().join("etc").exists()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The end of its input ends `cat`, as the end of this process would.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

#[test]
fn sysctls_are_set_kept_and_put_back_byte_for_byte() {
    if !may_make_namespaces() {
        return;
    }
    let namespace = Namespace::new();
    let before = namespace.everything();
    for (name, _) in SYSCTLS {
        assert_eq!(row(&namespace.check(), name)["state"], "advice", "{name}");
    }
    let applied = namespace.apply().arg("--yes").output().unwrap();
    assert_eq!(applied.status.code(), Some(0), "{}", words(&applied));
    let after = namespace.check();
    for (name, _) in SYSCTLS {
        assert_eq!(row(&after, name)["state"], "ok", "{name}");
    }
    let file = namespace.folder.path().join("etc/sysctl.d/99-touchline.conf");
    let kept = std::fs::read_to_string(file).unwrap();
    for (name, _) in SYSCTLS {
        let line = format!("{name} = {}", row(&after, name)["now"].as_str().unwrap());
        assert!(kept.lines().any(|kept| kept == line), "{line} in {kept}");
    }
    let reverted = namespace.revert();
    assert_eq!(reverted.status.code(), Some(0), "{}", words(&reverted));
    assert_eq!(namespace.everything(), before);
    assert!(namespace.is_clean(), "{}", words(&reverted));
    assert!(words(&namespace.revert()).contains("nothing to revert"));
}

/// Killed at moments spread over its whole run: before, while and after it changes something.
#[test]
fn an_apply_that_is_killed_can_be_reverted() {
    if !may_make_namespaces() {
        return;
    }
    let namespace = Namespace::new();
    let before = namespace.everything();
    let mut half_done = 0;
    for n in 0.. {
        if n >= 24 && half_done > 0 {
            break;
        }
        assert!(n < 500, "no kill found an apply half-way");
        let mut apply = namespace.apply().arg("--yes").stdout(Stdio::piped()).spawn().unwrap();
        let mut out = apply.stdout.take().unwrap();
        if n % 2 == 0 {
            // What it says first it says before it changes anything: the rest takes a millisecond.
            let _ = out.read(&mut [0; 16]);
        }
        std::thread::sleep(Duration::from_micros(n % 24 * 400));
        let _ = apply.kill();
        apply.wait().unwrap();
        let is_changed = namespace.everything() != before;
        let record = namespace.folder.path().join("state/0001.json");
        let record = std::fs::read_to_string(record).unwrap_or_default();
        assert!(!is_changed || !record.is_empty(), "a change without a record");
        half_done += usize::from(record.contains("\"complete\": false"));
        let reverted = namespace.revert();
        assert_eq!(reverted.status.code(), Some(0), "{}", words(&reverted));
        assert_eq!(namespace.everything(), before, "{}", words(&reverted));
        assert!(!namespace.folder.path().join("etc").exists());
    }
}

#[test]
fn the_script_does_and_undoes_the_same_without_us() {
    if !may_make_namespaces() {
        return;
    }
    let namespace = Namespace::new();
    let before = namespace.everything();
    let script = namespace.folder.path().join("tune.sh");
    let script = script.to_str().unwrap();
    let written = namespace.apply().args(["--output-script", script]).output().unwrap();
    assert_eq!(written.status.code(), Some(0), "{}", words(&written));
    assert_eq!(namespace.everything(), before, "writing it sets nothing");
    let ran = namespace.command("sh").arg(script).output().unwrap();
    assert!(ran.status.success(), "{}", words(&ran));
    for (name, _) in SYSCTLS {
        assert_eq!(row(&namespace.check(), name)["state"], "ok", "{name}");
    }
    assert!(namespace.folder.path().join("etc/sysctl.d/99-touchline.conf").exists());
    let undone = namespace.command("sh").args([script, "undo"]).output().unwrap();
    assert!(undone.status.success(), "{}", words(&undone));
    assert_eq!(namespace.everything(), before);
    assert!(!namespace.folder.path().join("etc/sysctl.d/99-touchline.conf").exists());
}

/// The table of tracked connections is the host's: in a namespace the kernel refuses to change it.
#[test]
fn what_the_kernel_refuses_is_told_and_the_rest_is_set() {
    if !may_make_namespaces() {
        return;
    }
    let namespace = Namespace::new();
    let before = namespace.everything();
    let arguments = ["apply", "--yes", "--connections", "3000000", "--only"];
    let mut apply = namespace.tune(&arguments);
    apply.arg("nf_conntrack_max,somaxconn").args(apart(namespace.folder.path()));
    let applied = apply.output().unwrap();
    let text = words(&applied);
    if !text.contains("nf_conntrack_max") {
        touchline_tests::note("no connection tracking here: nothing to refuse");
        return;
    }
    assert_eq!(applied.status.code(), Some(1), "{text}");
    let line = |part: &str| text.lines().rfind(|line| line.contains(part)).unwrap_or_default();
    assert!(line("net.netfilter.nf_conntrack_max").contains("refused"), "{text}");
    assert!(line("net.core.somaxconn").ends_with("set"), "{text}");
    assert!(text.contains("1 of 3 did not take"), "{text}");
    assert_eq!(namespace.revert().status.code(), Some(0));
    assert_eq!(namespace.everything(), before);
}
