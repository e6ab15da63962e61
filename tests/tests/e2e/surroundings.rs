//! What surrounds the process: a control group that has little memory left (FAULTS 41), and a
//! terminal that somebody reads.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use touchline_tests::e2e::http::{event, event_with};
use touchline_tests::e2e::server::{Backend, Home, Server, binary};
use touchline_tests::e2e::socket::{Socket, upgrade};
use touchline_tests::e2e::until;

use crate::is_sound;

/// A control group of the test's own, in either layout; it goes with the test.
struct Group {
    folder: PathBuf,
    limit: &'static str,
    used: &'static str,
}

impl Group {
    /// `None` where this process may make none: without root, or in most containers.
    fn make() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("touchline-test-{}-{number}", std::process::id());
        let layouts = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
            ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ];
        layouts.into_iter().find_map(|(root, limit, used)| {
            let folder = Path::new(root).join(&name);
            std::fs::create_dir(&folder).ok()?;
            let group = Self { folder, limit, used };
            group.folder.join(limit).exists().then_some(group)
        })
    }

    fn used_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(self.folder.join(self.used)).expect("a number");
        text.trim().parse().expect("a number")
    }

    fn set_limit(&self, bytes: u64) {
        std::fs::write(self.folder.join(self.limit), bytes.to_string()).expect("a limit");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has just ended may still be on its way out of the group.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A server in `group`, with `more` settings.
fn serve_in(group: &Group, home: &Home, more: &[&str]) -> Server {
    let serve = home.command(Backend::Auto);
    let mut command = Command::new("sh");
    let enter = "echo $$ > \"$0\" && exec \"$@\"";
    command.args(["-c", enter]).arg(group.folder.join("cgroup.procs"));
    command.arg(serve.get_program()).args(serve.get_args());
    for setting in more {
        command.args(["--set", setting]);
    }
    let mut server = Server::spawn(command);
    server.wait_until_serving();
    server
}

/// The status that a newcomer gets, and what is said with it.
fn knock(server: &Server) -> String {
    let mut socket = Socket::dial(server.addresses().stream, None).expect("it listens");
    socket.send_raw(upgrade("teams=ars", "").as_bytes());
    socket.head().unwrap_or_default()
}

#[test]
fn fault_41_short_of_memory_it_refuses_newcomers_and_keeps_who_is_inside() {
    let Some(group) = Group::make() else {
        touchline_tests::note(
            "no control group can be made here; tuning/src/memory.rs tests the reading",
        );
        return;
    };
    let home = Home::new("");
    let mut server = serve_in(&group, &home, &[]);
    let mut inside = Socket::open(server.addresses().stream, "teams=ars");
    inside.hear_op("subscribed");
    assert!(knock(&server).starts_with("HTTP/1.1 101"));
    // What is used becomes 95 of a hundred, also where a start's pages have been given back
    // meanwhile.
    until("newcomers are refused", || {
        group.set_limit(group.used_bytes() * 100 / 95);
        knock(&server).starts_with("HTTP/1.1 503")
    });
    server.wait_for_line("memory is short");
    let share = server.metric("touchline_memory_used_bytes")
        / server.metric("touchline_memory_limit_bytes");
    assert!((0.87..1.0).contains(&share), "{share}");
    server.accept(&event("g-1", &["ars"]));
    assert_eq!(inside.hear_op("event")["id"], "g-1");
    group.set_limit(group.used_bytes() * 3);
    server.wait_for_line("let in again");
    until("newcomers are let in", || knock(&server).starts_with("HTTP/1.1 101"));
    let refused = "touchline_handshake_failures_total{reason=\"no_memory\"}";
    assert!(server.metric(refused) >= 1.0);
    is_sound(&server);
    drop(server);
}

/// The limit stays where it is; what clients may want again fills what is below it. The kernel
/// would kill at the limit.
#[test]
fn fault_41_newcomers_are_refused_before_the_memory_is_full_and_the_server_lives() {
    let Some(group) = Group::make() else {
        touchline_tests::note("no control group can be made here; nothing fills one");
        return;
    };
    let home = Home::new("");
    let server = serve_in(&group, &home, &["node.memory_used_max_percent=70"]);
    let mut inside = Socket::open(server.addresses().stream, "teams=ars");
    inside.hear_op("subscribed");
    group.set_limit(group.used_bytes() + (96 << 20));
    let data = format!(r#"{{"pad":"{}"}}"#, "x".repeat(60_000));
    let mut taken = 0;
    let refused = loop {
        assert!(taken < 4_000, "240 MB are in windows, and nobody is refused");
        for _ in 0..20 {
            let team = format!("t{}", taken % 30);
            server.accept(&event_with(&format!("w-{taken}"), &[&team], &data));
            taken += 1;
        }
        let head = knock(&server);
        if !head.starts_with("HTTP/1.1 101") {
            break head;
        }
    };
    println!("refused after {taken} events of 60 kB");
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    server.accept(&event("g-2", &["ars"]));
    assert_eq!(inside.hear_op("event")["id"], "g-2");
    group.set_limit(group.used_bytes() * 3);
    until("newcomers are let in", || knock(&server).starts_with("HTTP/1.1 101"));
    is_sound(&server);
    drop(server);
}

/// Everywhere else in these tests standard error is a pipe, and each line JSON.
#[test]
fn a_terminal_gets_lines_for_people_and_a_pipe_json() {
    let home = Home::new("");
    let serve = format!("exec {} serve --config {}", binary().display(), home.config().display());
    let mut script = Command::new("script")
        .args(["--quiet", "--flush", "--return", "--command", &serve, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, which every Debian has");
    let mut keyboard = script.stdin.take().expect("piped");
    let mut lines = BufReader::new(script.stdout.take().expect("piped")).lines();
    let line = lines.find_map(|line| line.ok().filter(|line| line.contains("serving")));
    keyboard.write_all(b"\x03").expect("Ctrl-C");
    lines.for_each(drop);
    assert!(script.wait().expect("ours").success());
    let line = line.expect("it serves");
    assert!(line.contains("node=test") && !line.contains('{'), "{line}");
}
