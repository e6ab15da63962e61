//! Ports, webhooks, sockets, metrics and readiness are there, on both ways to the kernel.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use touchline::metrics::table::{Kind, METRICS};
use touchline_tests::e2e::http::{SECRET, event, request};
use touchline_tests::e2e::server::{Backend, Home, PARTNERS, touchline, words};
use touchline_tests::e2e::socket::{Socket, handshake_status};
use touchline_tests::e2e::until;

use crate::damage;

#[test]
fn the_chosen_ports_are_logged_and_stand_in_config() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let config: Value = serde_json::from_str(&server.admin("/config").body).unwrap();
    let addresses = server.addresses();
    assert_eq!(config["addresses"]["stream"], addresses.stream.to_string());
    assert_eq!(config["addresses"]["api"], addresses.api.to_string());
    assert_eq!(config["addresses"]["admin"], addresses.admin.to_string());
    let origin = config["values"]["node.name"]["origin"].as_str().unwrap();
    assert!(origin.ends_with("touchline.toml:2"), "{origin}");
    assert!(!config.to_string().contains(SECRET));
    assert_eq!(server.admin("/readyz").status, 200);
}

/// The whole path, on io_uring and direct I/O, and on epoll, `send` and plain files.
#[test]
fn a_webhook_reaches_a_socket_and_the_live_state() {
    for backend in Backend::ALL {
        let home = Home::new("");
        let server = home.serve(backend);
        let to = server.addresses().stream;
        let mut socket = Socket::open(to, "teams=ars");
        socket.hear_op("subscribed");
        server.accept(&event("g-1", &["ars", "che"]));
        let heard = socket.hear_op("event");
        assert_eq!(heard["id"], "g-1");
        assert_eq!(heard["source"], PARTNERS[0]);
        assert_eq!(heard["topic"], "broadcast:ars+che");
        let live = server.api("/v1/live");
        assert_eq!(live.status, 200);
        let live: Value = serde_json::from_str(&live.body).unwrap();
        assert_eq!(live["stream"]["port"], to.port());
        if backend == Backend::Plain {
            assert_eq!(server.metric("touchline_io_backend_info{backend=\"epoll\"}"), 1.0);
        }
    }
}

/// Each shard has a table of descriptors of its own; log, API and log lines cross between them.
#[test]
fn shards_with_private_tables_carry_the_whole_path() {
    let home = Home::new("");
    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), text.replace("= 1000", "= 5000")).unwrap();
    let mut server = home.serve_within(2_000);
    let to = server.addresses().stream;
    let serving: Value = serde_json::from_str(&server.wait_for_line("\"serving\"")).unwrap();
    assert_eq!(serving["shards"], 3);
    let mut sockets: Vec<_> = (0..40).map(|_| Socket::open(to, "teams=ars")).collect();
    let marks = sockets.iter_mut().map(|socket| socket.hear_op("subscribed")["mark"].clone());
    let mark = marks.last().unwrap();
    for n in 0..5 {
        server.accept(&event(&format!("g-{n}"), &["ars"]));
    }
    let mut late = Socket::open(to, &format!("teams=ars&mark={}", mark.as_str().unwrap()));
    for socket in sockets.iter_mut().chain([&mut late]) {
        for n in 0..5 {
            assert_eq!(socket.hear_op("event")["id"], format!("g-{n}"));
        }
    }
    let shards = (0..3).map(|n| server.metric(&format!("touchline_connections{{shard=\"{n}\"}}")));
    assert_eq!(shards.sum::<f64>(), 41.0);
    server.stop();
}

#[test]
fn the_board_is_served_with_a_policy_that_lets_it_reach_the_stream() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let page = server.api("/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<script"), "{}", page.body);
    let to = server.addresses().stream;
    assert!(page.head.contains(&format!("ws://{to}")), "{}", page.head);
    assert_eq!(server.api("/nowhere").status, 404);
    // The board comes from the host that `upgrade` names.
    let board = format!("Origin: http://test:{}\r\n", server.addresses().api.port());
    assert_eq!(handshake_status(to, &board), 101);
    assert_eq!(handshake_status(to, "Origin: https://evil.example\r\n"), 403);
}

#[test]
fn metrics_under_load_parse_and_count_what_happened() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let to = server.addresses().stream;
    let mut sockets: Vec<_> = (0..20).map(|_| Socket::open(to, "teams=ars")).collect();
    sockets.iter_mut().for_each(|socket| drop(socket.hear_op("subscribed")));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for body in 0..30 {
                let events: Vec<_> =
                    (0..10).map(|n| event(&format!("b{body}-{n}"), &["ars", "che"])).collect();
                server.accept(&format!("[{}]", events.join(",")));
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut scrapes = 0;
        while !done.load(Ordering::Relaxed) || scrapes < 3 {
            check_page(&server.admin("/metrics").body);
            scrapes += 1;
        }
    });
    for socket in &mut sockets {
        let last = (0..300).map(|_| socket.hear_op("event")).last().unwrap();
        assert_eq!(last["id"], "b29-9");
    }
    let source = format!("{{source=\"{}\"}}", PARTNERS[0]);
    assert_eq!(server.metric(&format!("touchline_events_ingested_total{source}")), 300.0);
    // A shard hands its numbers over once a turn; the last may still be under way.
    until("all is counted", || server.metric("touchline_deliveries_total") >= 6_000.0);
    assert_eq!(server.metric("touchline_deliveries_total"), 6_000.0);
    assert_eq!(server.metric("touchline_connections{shard=\"0\"}"), 20.0);
    assert_eq!(server.metric("touchline_log_records_total"), 300.0);
}

/// Whether a metric is about what this server hasn't: Kafka, and sources that are asked.
fn is_elsewhere(name: &str) -> bool {
    name.starts_with("touchline_kafka_")
        || name.starts_with("touchline_spool_")
        || name.starts_with("touchline_social_")
        || name == "touchline_dlq_parked_total"
        || name == "touchline_dlq_unpublished"
        || name == "touchline_breaker_state"
        || name.starts_with("touchline_source_") && name != "touchline_source_staleness_seconds"
}

/// Every family of the table, once, in its form.
fn check_page(page: &str) {
    for metric in METRICS.iter().filter(|metric| !is_elsewhere(metric.name)) {
        let kind = format!("# TYPE {} {}\n", metric.name, metric.kind.as_str());
        assert_eq!(page.matches(&kind).count(), 1, "{}", metric.name);
        let suffix = if metric.kind == Kind::Histogram { "_count" } else { "" };
        let sample = format!("\n{}{suffix}", metric.name);
        assert!(page.contains(&sample), "no sample of {}", metric.name);
    }
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a sample");
        assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
        assert!(name.starts_with("touchline_"), "{line}");
    }
}

#[test]
fn promtool_finds_nothing_to_say_about_the_metrics() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let page = server.admin("/metrics").body;
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        // `make test` installs it; a bare `cargo test` has the hand-written check above.
        Err(_) if std::env::var_os("TOUCHLINE_CACHE").is_none() => return,
        Err(error) => panic!("promtool should be there: {error}"),
    };
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && words(&output).is_empty(), "{}", words(&output));
}

#[test]
fn fault_31_a_damaged_segment_makes_it_unready_and_is_named() {
    let home = Home::new("");
    let mut server = home.serve(Backend::Auto);
    for n in 0..50 {
        server.accept(&event(&format!("g-{n}"), &["ars"]));
    }
    server.stop();
    damage(&home.journal(), "g-10");
    let server = home.serve(Backend::Auto);
    let ready = server.admin("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("damaged at byte"), "{ready:?}");
    assert_eq!(server.metric("touchline_ready"), 0.0);
}

/// Terminal codes, a forged line, a label's end: in the path, in ids, in names of fields.
#[test]
fn fault_45_what_a_stranger_sends_never_becomes_a_line_or_a_label() {
    let home = Home::new("[logging]\nlevel = \"debug\"\n");
    let mut server = home.serve(Backend::Auto);
    let to = server.addresses().api;
    let json = ("content-type", "application/json");
    for path in ["/v1/ingest/broadcast/%1b%5b2Jevil%0a%7b%7d", "/v1/ingest/broadcast/%22%7devil"] {
        assert_eq!(request(to, "POST", path, &[json], "{}").unwrap().status, 404);
    }
    let door = format!("/v1/ingest/broadcast/{}", PARTNERS[0]);
    for id in ["evil\"} 1\u{9b}2J", "evil\tline", "\u{a0}evil\u{85}{}", "evil\"},level=\"error\""] {
        let ours = [json, ("x-request-id", id)];
        assert_eq!(request(to, "POST", &door, &ours, "{}").unwrap().status, 401);
        let answer = server.post_as(id, SECRET, &event(id, &["ars"]));
        assert!([202, 401].contains(&answer.status), "{id:?}: {answer:?}");
    }
    for name in ["\u{1b}[2Jevil", "evil\n{\"level\":\"error\"}", "evil\"} 1\n#", "\u{202e}evil"] {
        let mut item: Value = serde_json::from_str(&event("g-1", &["ars"])).unwrap();
        item[name] = "evil".into();
        let answer = server.post(&item.to_string());
        assert_eq!(answer.status, 422, "{}", answer.body);
        assert!(answer.body.chars().all(|c| !c.is_control()), "{:?}", answer.body);
    }
    let taken = format!("touchline_events_ingested_total{{source=\"{}\"}}", PARTNERS[0]);
    assert!(server.metric(&taken) >= 1.0, "an id of visible characters is taken, and logged");
    let page = server.admin("/metrics").body;
    check_page(&page);
    assert!(page.chars().all(|c| c == '\n' || !c.is_control()));
    assert!(!page.contains("evil"), "a stranger's word is a label");
    server.stop();
    let log = server.log();
    assert!(log.iter().any(|line| line.contains("webhook was refused")), "{log:#?}");
    for line in log {
        assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
        let line: Value = serde_json::from_str(&line).expect("a line of ours");
        assert_ne!(line["level"], "error", "{line}");
    }
}

#[test]
fn the_admin_port_lists_nobody_as_slow_and_drains_for_no_web_page() {
    let home = Home::new("[drain]\ngrace_s = 0\n");
    let mut server = home.serve(Backend::Auto);
    let slow = server.admin("/sessions/slow");
    assert_eq!((slow.status, slow.body.trim()), (200, "{\"sessions\":[]}"));
    let page = [("Origin", "https://evil.example")];
    let to = server.addresses().admin;
    let drain = |head: &[_]| request(to, "POST", "/drain", head, "").unwrap().status;
    assert_eq!(drain(&page), 403);
    assert_eq!(server.admin("/drain").status, 405);
    assert_eq!(drain(&[]), 202);
    assert_eq!(server.wait_for_end(), Some(0));
}

/// As the default profile of container runtimes does: io_uring answers EPERM.
#[test]
fn fault_42_a_host_that_forbids_io_uring_is_served_by_epoll_and_told_so() {
    let home = Home::new("");
    let mut server = without_io_uring(|| home.serve(Backend::Auto));
    let line = server.wait_for_line("forbids io_uring");
    assert!(line.contains("epoll, send and plain files"), "{line}");
    let serving: Value = serde_json::from_str(&server.wait_for_line("\"serving\"")).unwrap();
    assert_eq!(serving["io"], "epoll");
    assert!(serving["disk"].as_str().unwrap().contains("plain"), "{serving}");
    let mut socket = Socket::open(server.addresses().stream, "teams=ars");
    server.accept(&event("g-1", &["ars"]));
    assert_eq!(socket.hear_op("event")["id"], "g-1");
    assert_eq!(server.admin("/readyz").status, 200);

    let other = Home::new("[log]\ndisk = \"plain\"\n");
    let output = without_io_uring(|| {
        let mut command = touchline();
        command.arg("serve").arg("--config").arg(other.config());
        command.args(["--set", "node.io=io_uring"]).output().expect("the binary runs")
    });
    assert_eq!(output.status.code(), Some(4), "{}", words(&output));
    assert!(words(&output).contains("io_uring"), "{}", words(&output));
}

/// Runs `start` on a thread that may not set up rings; what it starts may not either.
fn without_io_uring<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    const IO_URING_SETUP: i64 = 425;
    let arch = std::env::consts::ARCH.try_into().expect("a known machine");
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let rules = [(IO_URING_SETUP, Vec::new())].into_iter().collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            apply_filter(&program).expect("the kernel filters");
            start()
        });
        thread.join().expect("no panic")
    })
}
