//! FAULTS 24: whatever a client comes back with, its resume is whole, or it is said not to be.

use serde_json::{Value, json};
use touchline_core::log::token::{decode_mark, encode_mark, encode_position};
use touchline_core::log::{Epoch, Lane, Mark, Position};
use touchline_tests::e2e::http::event_with;
use touchline_tests::e2e::server::{Backend, Home, Server};
use touchline_tests::e2e::socket::Socket;

use crate::{both, is_sound};

/// Follows `ars` and answers the first mark.
fn first_mark(server: &Server) -> String {
    let mut socket = Socket::open(server.addresses().stream, "teams=ars");
    socket.hear_op("subscribed")["mark"].as_str().unwrap().to_owned()
}

fn publish(server: &Server, ids: std::ops::Range<u32>) {
    let data = format!(r#"{{"pad":"{}"}}"#, "x".repeat(2_000));
    for id in ids {
        server.accept(&event_with(&format!("g-{id}"), &["ars"], &data));
    }
}

/// Comes back with `mark`; the session and its `subscribed`.
fn resume(server: &Server, mark: &str) -> (Socket, Value) {
    let mut socket = Socket::open(server.addresses().stream, &format!("teams=ars&mark={mark}"));
    let subscribed = socket.hear_op("subscribed");
    (socket, subscribed)
}

/// Comes back with `mark` and expects to be told of a hole for `reason`, and to be live after.
fn is_told(server: &Server, mark: &str, reason: &str) {
    let (mut socket, subscribed) = resume(server, mark);
    assert_eq!(subscribed["recovered"], false, "{subscribed}");
    let gap = socket.hear_op("gap");
    assert_eq!(gap["reason"], reason, "{gap}");
    let id = format!("live-{reason}-{}", server.metric("touchline_log_records_total"));
    server.accept(&event_with(&id, &["ars"], "{}"));
    while socket.hear_op("event")["id"] != id {}
}

#[test]
fn fault_24_teams_nobody_knows_are_followed_and_more_than_allowed_are_refused() {
    both(|backend| {
        let home = Home::new("");
        let server = home.serve(backend);
        let mut socket = Socket::open(server.addresses().stream, "teams=never-heard-of");
        assert_eq!(socket.hear_op("subscribed")["teams"], json!(["never-heard-of"]));
        let teams: Vec<_> = (0..21).map(|n| format!("t{n}")).collect();
        socket.send_text(&json!({ "op": "subscribe", "id": 9, "teams": teams }).to_string());
        let error = socket.hear_op("error");
        assert_eq!((&error["code"], &error["id"]), (&json!("too_many_teams"), &json!(9)));
        is_sound(&server);
    });
}

#[test]
fn fault_24_a_mark_that_no_server_wrote_is_an_error() {
    both(|backend| {
        let home = Home::new("");
        let server = home.serve(backend);
        let good = first_mark(&server);
        let mut flipped = good.clone().into_bytes();
        flipped[0] ^= 1;
        let flipped = String::from_utf8(flipped).unwrap();
        for forged in ["nonsense", &flipped, &format!("{good}A"), &"A".repeat(3_000)] {
            let mut socket =
                Socket::open(server.addresses().stream, &format!("teams=ars&mark={forged}"));
            assert_eq!(socket.hear_op("error")["code"], "bad_token", "{forged}");
            assert_eq!(socket.hear_close(), Some(4500), "{forged}");
            let mut socket = Socket::open(server.addresses().stream, "");
            let message = json!({ "op": "subscribe", "teams": ["ars"], "mark": forged });
            socket.send_text(&message.to_string());
            assert_eq!(socket.hear_op("error")["code"], "bad_token", "{forged}");
        }
        is_sound(&server);
    });
}

#[test]
fn fault_24_a_mark_or_position_of_another_life_or_beyond_the_end_is_a_declared_hole() {
    both(|backend| {
        let home = Home::new("");
        let server = home.serve(backend);
        publish(&server, 0..3);
        let good = decode_mark(&first_mark(&server)).unwrap();
        let beyond = Mark { epoch: good.epoch, next: [good.next[0] + 1_000].into() };
        let foreign = Mark { epoch: Epoch(good.epoch.0 ^ 1), next: good.next.clone() };
        is_told(&server, &encode_mark(&beyond), "epoch");
        is_told(&server, &encode_mark(&foreign), "epoch");
        let ahead = Position { lane: Lane(0), seq: good.next[0] + 5_000 };
        let query = format!(
            "teams=ars&mark={}&after=broadcast:ars~{}",
            encode_mark(&good),
            encode_position(good.epoch, ahead)
        );
        let mut socket = Socket::open(server.addresses().stream, &query);
        assert_eq!(socket.hear_op("subscribed")["recovered"], false);
        assert_eq!(socket.hear_op("gap")["reason"], "epoch");
        is_sound(&server);
    });
}

/// The window is small, so that an old mark is answered from the journal.
#[test]
fn fault_24_an_old_mark_is_answered_whole_also_across_a_restart() {
    for backend in Backend::ALL {
        let home = Home::new("[streams.broadcast]\nwindow_bytes = \"64KiB\"\n");
        let mut server = home.serve(backend);
        let mark = first_mark(&server);
        publish(&server, 0..100);
        for life in 0..2 {
            let (mut socket, subscribed) = resume(&server, &mark);
            assert_eq!(subscribed["recovered"], true);
            for id in 0..100 {
                assert_eq!(socket.hear_op("event")["id"], format!("g-{id}"), "life {life}");
            }
            server.stop();
            server = home.serve(backend);
        }
    }
}

/// Retention removes whole files, oldest first, and never less than an hour's: the test does it by
/// hand, while the server is down.
#[test]
fn fault_24_what_retention_has_passed_is_a_declared_hole() {
    for backend in Backend::ALL {
        let home = Home::new("[log]\nsegment_bytes = \"64KiB\"\n");
        let mut server = home.serve(backend);
        let mark = first_mark(&server);
        publish(&server, 0..150);
        server.stop();
        let mut files: Vec<_> = std::fs::read_dir(home.journal())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "seg"))
            .collect();
        files.sort();
        assert!(files.len() > 3, "{files:?}");
        files[..2].iter().for_each(|file| std::fs::remove_file(file).unwrap());
        let server = home.serve(backend);
        let (mut socket, subscribed) = resume(&server, &mark);
        assert_eq!(subscribed["recovered"], false, "{subscribed}");
        assert_eq!(socket.hear_op("gap")["reason"], "retention");
        // What is left comes, in order, up to the last.
        let first = socket.hear_op("event")["id"].as_str().unwrap()[2..].parse::<u32>().unwrap();
        assert!(first > 0);
        for id in first + 1..150 {
            assert_eq!(socket.hear_op("event")["id"], format!("g-{id}"));
        }
        is_sound(&server);
    }
}
