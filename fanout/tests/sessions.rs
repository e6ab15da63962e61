//! A session's life on real sockets, on both backends: it connects, follows, hears, resumes and
//! goes.

mod common;

use std::time::Duration;

use common::{Stage, event, eventually, member, on_both_backends};
use touchline_core::ws::CloseCode;
use touchline_fanout::testing::{Client, Heard};

#[test]
fn an_event_reaches_whoever_follows_one_of_its_teams_once() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        let mut both = stage.follow("teams=ars,che");
        let mut one = stage.follow("teams=che");
        let mut other = stage.follow("teams=liv");
        stage.publish("ars+che", "m1-goal-1");
        stage.publish("liv", "m2-goal-1");
        for client in [&mut both, &mut one] {
            let text = client.text();
            assert_eq!(member(&text, "id"), "m1-goal-1");
            assert_eq!(member(&text, "topic"), "broadcast:ars+che");
        }
        assert_eq!(member(&other.text(), "id"), "m2-goal-1");
        both.set_patience(Duration::from_millis(50));
        assert_eq!(both.hear(), Heard::Silence, "once");
        eventually("counted", || stage.sum(|stats| stats.deliveries.get()) == 3);
        assert_eq!(stage.sum(|stats| stats.delivery_latency.snapshot().count()), 3);
        stage.stop();
    });
}

#[test]
fn a_client_that_comes_back_gets_what_it_missed() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        let mut client = stage.connect("teams=ars");
        client.text();
        let mark = member(&client.text(), "mark").to_owned();
        stage.publish("ars", "a1");
        client.text();
        drop(client);
        stage.publish("ars", "a2");
        stage.publish("ars+che", "a3");
        let mut client = stage.connect(&format!("teams=ars&mark={mark}"));
        client.text();
        assert!(client.text().contains(r#""recovered":true"#));
        let ids = [(); 3].map(|()| member(&client.text(), "id").to_owned());
        let mut sorted = ids.clone();
        sorted.sort();
        assert_eq!(sorted, ["a1", "a2", "a3"], "the mark was from before a1");
        stage.stop();
    });
}

#[test]
fn a_shard_that_starts_late_reads_the_past_from_the_log() {
    on_both_backends(|mut options| {
        options.warm_events = 2;
        let first = Stage::start(common::options(options.backend));
        let mut client = first.connect("teams=ars");
        client.text();
        let mark = member(&client.text(), "mark").to_owned();
        (0..300).for_each(|n| first.publish("ars", &format!("e{n}")));
        let log = first.log.clone();
        let late = Stage::start_on(options, log);
        let mut client = late.connect(&format!("teams=ars&mark={mark}"));
        client.text();
        assert!(client.text().contains(r#""recovered":true"#));
        for n in 0..300 {
            assert_eq!(member(&client.text(), "id"), format!("e{n}"), "in order, without a hole");
        }
        late.publish("ars", "live");
        assert_eq!(member(&client.text(), "id"), "live");
        late.stop();
        first.stop();
    });
}

#[test]
fn messages_are_answered_and_pings_too() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        let mut client = stage.connect("");
        let hello = client.text();
        assert!(hello.contains(r#""heartbeat_s":25"#) && hello.contains(r#""node":"a""#));
        client.send_text(r#"{"op":"subscribe","id":1,"teams":["ars"]}"#);
        assert!(client.text().contains(r#""id":1"#));
        client.send_text(r#"{"op":"ping","id":2}"#);
        assert_eq!(client.text(), r#"{"op":"pong","id":2}"#);
        client.send_frame(0x89, b"there?");
        assert_eq!(client.hear(), Heard::Pong(b"there?".to_vec()));
        client.send_text(r#"{"op":"unsubscribe","id":3,"teams":["ars"]}"#);
        assert!(client.text().starts_with(r#"{"op":"unsubscribed","id":3"#));
        client.send_frame(0x88, &[0x03, 0xe8]);
        assert_eq!(client.hear(), Heard::Close(Some(1000), String::new()));
        assert_eq!(client.hear(), Heard::End, "the server ends its side first");
        drop(client);
        eventually("gone", || stage.open() == 0);
        assert_eq!(stage.sum(|stats| stats.closed[CloseCode::Normal.index()].get()), 1);
        stage.stop();
    });
}

#[test]
fn load_balancers_are_answered_and_strangers_sent_off() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        for (request, status) in [
            ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
            ("POST /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
            ("nonsense\r\n\r\n", "400"),
        ] {
            let mut client = Client::dial(stage.fanout().local_addr());
            client.send_raw(request.as_bytes());
            let head = client.head();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {head}");
        }
        eventually("gone", || stage.open() == 0);
        assert_eq!(stage.sum(|stats| stats.refused.iter().map(|of| of.get()).sum()), 3);
        stage.stop();
    });
}

#[test]
fn a_query_that_makes_no_sense_is_explained_and_closed() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        for (query, code) in
            [("teams=ars&colour=red", "unknown_field"), ("teams=A%20B", "bad_field")]
        {
            let mut client = stage.connect(query);
            assert!(client.text().contains("hello"));
            assert_eq!(member(&client.text(), "code"), code, "{query}");
            assert_eq!(client.hear(), Heard::Close(Some(4500), code.into()));
        }
        stage.stop();
    });
}

#[test]
fn frames_that_come_with_the_request_are_frames() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        let mut client = Client::dial(stage.fanout().local_addr());
        let mut bytes =
            b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                .to_vec();
        bytes.extend_from_slice(&[0x89, 0x81, 0, 0, 0, 0, b'!']);
        client.send_raw(&bytes);
        assert!(client.head().starts_with("HTTP/1.1 101"));
        assert!(client.text().contains("hello"));
        assert_eq!(client.hear(), Heard::Pong(b"!".to_vec()));
        stage.stop();
    });
}

#[test]
fn many_events_and_many_sockets_lose_nothing() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        let mut clients: Vec<_> = (0..300).map(|_| stage.follow("teams=ars")).collect();
        for n in 0..200 {
            stage.log.push((0..5).map(|k| event("ars", &format!("{n}-{k}"))).collect());
        }
        for client in &mut clients {
            for n in 0..200 {
                for k in 0..5 {
                    assert_eq!(member(&client.text(), "id"), format!("{n}-{k}"));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(stage.sum(|stats| stats.deliveries.get()), 300_000);
        assert!(stage.sum(|stats| stats.sends.get()) < 300_000, "load makes batches");
        stage.stop();
    });
}

#[test]
fn a_reader_that_pauses_gets_all_of_it_when_it_goes_on() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        let mut paused = stage.follow("teams=ars");
        let mut other = stage.follow("teams=ars");
        // Far more than the kernel takes for one socket.
        for n in 0..6_000 {
            let mut event = event("ars", &format!("e{n}"));
            event.data = format!(r#"{{"pad":"{}"}}"#, "x".repeat(900)).into();
            stage.log.push(vec![event]);
            assert_eq!(member(&other.text(), "id"), format!("e{n}"), "nobody waits for the other");
        }
        assert!(stage.sum(|stats| stats.sends_blocked.get()) > 0, "it was blocked");
        for n in 0..6_000 {
            assert_eq!(member(&paused.text(), "id"), format!("e{n}"));
        }
        stage.stop();
    });
}
