//! FAULTS 13, 22, 23 and 41 against the binary: too many, dead, slow, and too few descriptors.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use touchline_tests::e2e::http::{event, event_with};
use touchline_tests::e2e::server::{Backend, Home, Server};
use touchline_tests::e2e::socket::{Heard, Socket, client_frame, upgrade};
use touchline_tests::e2e::until;

use crate::{both, is_sound};

/// Asks to be let in; the status, 0 for none, and the connection.
fn knock(server: &Server) -> (u16, String, Socket) {
    let mut socket = Socket::dial(server.addresses().stream, None).expect("it listens");
    socket.set_patience(Duration::from_secs(2));
    socket.send_raw(upgrade("teams=ars", "").as_bytes());
    let head = socket.head().unwrap_or_default().to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    (status, head, socket)
}

#[test]
fn fault_13_beyond_its_limits_a_newcomer_is_told_when_to_come_back() {
    both(|backend| {
        let strict = "[sessions]\nloopback_exempt = false\nper_ip_max = 3\n";
        for (more, most, status) in [("", 5, 503), (strict, 3, 429)] {
            let home = Home::new(more);
            let mut command = home.command(backend);
            command.args(["--set", "node.connections_max=5"]);
            let mut server = Server::spawn(command);
            server.wait_until_serving();
            let inside: Vec<_> = (0..most).map(|_| knock(&server)).collect();
            assert!(inside.iter().all(|(status, ..)| *status == 101));
            let (refused, head, _) = knock(&server);
            assert_eq!(refused, status, "{head}");
            assert!(head.contains("retry-after: "), "{head}");
            drop(inside);
            until("there is room again", || knock(&server).0 == 101);
        }
    });
}

#[test]
fn fault_22_the_dead_the_deaf_and_the_reset_are_noticed_and_the_living_stay() {
    for backend in Backend::ALL {
        let home = Home::new("[sessions]\nheartbeat_s = 1\npong_s = 0.6\nclose_s = 1\n");
        let server = home.serve(backend);
        let to = server.addresses().stream;
        let open = || server.metric("touchline_connections{shard=\"0\"}");
        let mut living = Socket::open(to, "teams=ars");
        // Pings are answered by whoever listens; this one doesn't.
        let mut dead = Socket::open(to, "teams=ars");
        let listen_until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < listen_until {
            assert!(!matches!(living.hear_soon(), Heard::Close(_) | Heard::End));
        }
        assert_eq!(dead.hear_close(), Some(4012));
        // A close that isn't answered is waited for so long and no longer.
        let mut deaf = Socket::open(to, "teams=ars");
        deaf.send_raw(&client_frame(0x80, b""));
        let reset = Socket::open(to, "teams=ars");
        reset.reset();
        until("only the living are left", || {
            living.hear_soon();
            open() == 1.0
        });
        server.accept(&event("g-1", &["ars"]));
        assert_eq!(living.hear_op("event")["id"], "g-1");
    }
}

#[test]
fn fault_23_a_reader_that_stops_is_4008_comes_back_whole_and_the_others_miss_nothing() {
    let tight = "[streams.broadcast]\nwindow_bytes = \"64KiB\"\nqueue_bytes_max = \"64KiB\"\n";
    for backend in Backend::ALL {
        let home = Home::new(tight);
        let server = home.serve(backend);
        let to = server.addresses().stream;
        let mut stopped = Socket::connect(to, "teams=ars", Some(4 * 1024)).unwrap();
        let mark = stopped.hear_op("subscribed")["mark"].clone();
        let mut other = Socket::open(to, "teams=ars");
        other.hear_op("subscribed");
        let data = format!(r#"{{"pad":"{}"}}"#, "x".repeat(8_000));
        for n in 0..200 {
            server.accept(&event_with(&format!("g-{n}"), &["ars"], &data));
            assert_eq!(other.hear_op("event")["id"], format!("g-{n}"));
        }
        until("it is closed", || server.metric("touchline_slow_closed_total") >= 1.0);
        drop(stopped);
        let mut back = Socket::open(to, "");
        let resume = json!({ "op": "subscribe", "teams": ["ars"], "mark": mark });
        back.send_text(&resume.to_string());
        assert_eq!(back.hear_op("subscribed")["recovered"], true);
        for n in 0..200 {
            assert_eq!(back.hear_op("event")["id"], format!("g-{n}"));
        }
    }
}

/// Whoever is behind is named on the admin port, with what waits for it; who keeps up is not.
#[test]
fn a_slow_session_is_listed_with_its_peer_and_what_waits_for_it() {
    for backend in Backend::ALL {
        let home = Home::new("");
        let server = home.serve(backend);
        let to = server.addresses().stream;
        let mut slow = Socket::connect(to, "teams=ars", Some(4 * 1024)).unwrap();
        let session = slow.hear_op("hello")["session"].clone();
        let mut other = Socket::open(to, "teams=ars");
        other.hear_op("subscribed");
        let data = format!(r#"{{"pad":"{}"}}"#, "x".repeat(8_000));
        for n in 0..100 {
            server.accept(&event_with(&format!("g-{n}"), &["ars"], &data));
            assert_eq!(other.hear_op("event")["id"], format!("g-{n}"));
        }
        let listed = server.admin("/sessions/slow").body;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let rows = listed["sessions"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{listed}");
        assert_eq!(rows[0]["session"], session);
        assert_eq!(rows[0]["blocked"], true);
        assert!(rows[0]["unsent_bytes"].as_u64().unwrap() > 100_000, "{listed}");
        assert_eq!(rows[0]["peer"], slow.local_address().to_string());
    }
}

#[test]
fn fault_41_without_descriptors_newcomers_wait_or_get_503_and_the_rest_goes_on() {
    both(|backend| {
        let home = Home::new("");
        let server = home.serve(backend);
        let mut early = Socket::open(server.addresses().stream, "teams=ars");
        early.hear_op("subscribed");
        let pid = Pid::from_raw(server.pid() as i32);
        let used = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count() as u64;
        let before = getrlimit(Resource::Nofile);
        let few = Rlimit { current: Some(used + 8), maximum: before.maximum };
        let whole = prlimit(pid, Resource::Nofile, few).unwrap();
        let knocks: Vec<_> = (0..20).map(|_| knock(&server)).collect();
        let count = |wanted: u16| knocks.iter().filter(|(status, ..)| *status == wanted).count();
        assert!(count(101) > 0 && count(503) > 0, "{} in, {} refused", count(101), count(503));
        assert_eq!(count(101) + count(503) + count(0), 20);
        early.send_text(r#"{"op":"ping","id":1}"#);
        assert_eq!(early.hear_op("pong")["id"], 1);
        drop(knocks);
        prlimit(pid, Resource::Nofile, whole).unwrap();
        until("newcomers are let in", || knock(&server).0 == 101);
        is_sound(&server);
    });
}
