//! Peers that are slow, dead, too many, or unlucky, and what it costs the others (FAULTS 6, 13, 22,
//! 38, 40).

mod common;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use common::{Stage, event, eventually, member, on_both_backends};
use socket2::SockRef;
use touchline_core::ws::{CloseCode, Refusal};
use touchline_fanout::ShardCommand;
use touchline_fanout::limits::READY_MAX;
use touchline_fanout::testing::{Client, Heard};

const MS: Duration = Duration::from_millis(1);

#[test]
fn fault_06_a_head_that_dawdles_is_408_and_costs_the_others_nothing() {
    on_both_backends(|mut options| {
        options.rules.sessions.handshake_max = 300 * MS;
        let stage = Stage::start(options);
        let address = stage.fanout().local_addr();
        let mut follower = stage.follow("teams=ars");
        let mut slow: Vec<_> = (0..200).map(|_| Client::dial(address)).collect();
        let begin = Instant::now();
        for (n, byte) in b"GET /v1/st".iter().enumerate() {
            slow.iter_mut().for_each(|client| client.send_raw(&[*byte]));
            stage.publish("ars", &format!("e{n}"));
            assert_eq!(member(&follower.text(), "id"), format!("e{n}"));
        }
        let head = slow[0].head();
        assert!(head.starts_with("HTTP/1.1 408"), "{head}");
        assert!(begin.elapsed() >= 250 * MS, "not before its time");
        let late = || stage.sum(|stats| stats.refused[Refusal::Late.index()].get());
        eventually("all of them", || late() == 200);
        drop(slow);
        eventually("gone", || stage.open() == 1);
        stage.stop();
    });
}

#[test]
fn fault_13_beyond_connections_max_there_is_503_with_retry_after() {
    on_both_backends(|mut options| {
        options.plan.connections_max = 3;
        let stage = Stage::start(options);
        let mut inside: Vec<_> = (0..3).map(|_| stage.follow("teams=ars")).collect();
        for _ in 0..20 {
            let mut outside = Client::dial(stage.fanout().local_addr());
            outside.send_raw(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n");
            let head = outside.head();
            assert!(head.starts_with("HTTP/1.1 503") && head.contains("Retry-After: 5"), "{head}");
        }
        stage.publish("ars", "e1");
        inside.iter_mut().for_each(|client| assert_eq!(member(&client.text(), "id"), "e1"));
        inside.pop();
        eventually("room again", || {
            let mut client = Client::dial(stage.fanout().local_addr());
            client.send_raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
            client.head().starts_with("HTTP/1.1 200")
        });
        stage.stop();
    });
}

#[test]
fn fault_13_one_address_has_its_limit() {
    on_both_backends(|mut options| {
        options.rules.addresses.loopback_is_exempt = false;
        options.rules.addresses.connections_max = 2;
        let stage = Stage::start(options);
        let inside = [(); 2].map(|()| stage.follow("teams=ars"));
        let mut outside = Client::dial(stage.fanout().local_addr());
        assert!(outside.head().starts_with("HTTP/1.1 429"));
        drop(inside);
        eventually("gone", || stage.open() == 0);
        stage.follow("teams=ars");
        stage.stop();
    });
}

#[test]
fn fault_22_no_pong_is_4012_and_any_answer_is_life() {
    on_both_backends(|mut options| {
        options.rules.sessions.heartbeat = 400 * MS;
        options.rules.sessions.pong_max = 200 * MS;
        let stage = Stage::start(options);
        let mut dead = stage.follow("teams=ars");
        let mut alive = stage.follow("teams=ars");
        let begin = Instant::now();
        let mut marks = 0;
        while begin.elapsed() < 1_500 * MS {
            match alive.hear() {
                Heard::Ping(payload) => alive.send_frame(0x8a, &payload),
                Heard::Text(text) => marks += usize::from(text.starts_with(r#"{"op":"mark""#)),
                other => panic!("{other:?}"),
            }
        }
        assert!((2..=5).contains(&marks), "{marks} marks in 1.5 s");
        let close = loop {
            match dead.hear() {
                Heard::Ping(_) | Heard::Text(_) => {}
                other => break other,
            }
        };
        assert_eq!(close, Heard::Close(Some(4012), "no pong".into()));
        assert_eq!(stage.sum(|stats| stats.closed[CloseCode::NoPong.index()].get()), 1);
        stage.stop();
    });
}

#[test]
fn fault_22_an_answer_that_a_late_shard_has_not_read_is_life() {
    // More than one turn reads, so that timers come up before the last answers do.
    const CLIENTS: usize = READY_MAX + 200;
    on_both_backends(|mut options| {
        options.plan.connections_max = CLIENTS + 1;
        options.rules.sessions.heartbeat = 1_600 * MS;
        options.rules.sessions.pong_max = 1_500 * MS;
        options.faults.pause_ms = 1_900;
        let stage = Stage::start(options);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| stage.follow("teams=ars")).collect();
        for client in &mut clients {
            while !matches!(client.hear(), Heard::Ping(_)) {}
        }
        let mut pausing = stage.follow("teams=ars");
        pausing.set_patience(5_000 * MS);
        pausing.send_text("pause!");
        std::thread::sleep(100 * MS);
        clients.iter_mut().for_each(|client| client.send_frame(0x8a, b""));
        assert!(pausing.text().starts_with(r#"{"op":"error""#), "the shard goes on");
        std::thread::sleep(100 * MS);
        assert_eq!(stage.sum(|stats| stats.closed[CloseCode::NoPong.index()].get()), 0);
        stage.publish("ars", "e1");
        for client in &mut clients {
            while !matches!(client.hear(), Heard::Text(text) if text.contains("e1")) {}
        }
        stage.stop();
    });
}

#[test]
fn fault_22_a_reader_that_is_slow_but_reads_is_not_taken_for_dead() {
    on_both_backends(|mut options| {
        options.rules.sessions.heartbeat = 200 * MS;
        options.rules.sessions.pong_max = 100 * MS;
        let stage = Stage::start(options);
        let mut paused = stage.follow("teams=ars");
        for n in 0..5_000 {
            let mut event = event("ars", &format!("e{n}"));
            event.data = format!(r#"{{"pad":"{}"}}"#, "x".repeat(900)).into();
            stage.log.push(vec![event]);
        }
        eventually("blocked", || stage.sum(|stats| stats.sends_blocked.get()) > 0);
        std::thread::sleep(1_000 * MS);
        let mut next = 0;
        while next < 5_000 {
            match paused.hear() {
                Heard::Ping(payload) => paused.send_frame(0x8a, &payload),
                Heard::Text(text) if text.starts_with(r#"{"op":"mark""#) => {}
                Heard::Text(text) => {
                    assert_eq!(member(&text, "id"), format!("e{next}"));
                    next += 1;
                }
                other => panic!("{other:?} after {next}"),
            }
        }
        stage.stop();
    });
}

#[test]
fn fault_22_a_client_that_ignores_the_close_is_dropped_in_time() {
    on_both_backends(|mut options| {
        options.rules.sessions.close_max = 300 * MS;
        let stage = Stage::start(options);
        let mut client = stage.connect("");
        client.text();
        client.send_frame(0x82, b"binary");
        assert_eq!(client.hear(), Heard::Close(Some(1003), "messages are text".into()));
        let begin = Instant::now();
        assert_eq!(client.hear(), Heard::End);
        assert!(begin.elapsed() >= 200 * MS, "it had its time");
        eventually("gone", || stage.open() == 0);
        stage.stop();
    });
}

#[test]
fn fault_22_resets_and_ends_without_a_close_are_noticed() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        let reset = stage.follow("teams=ars");
        SockRef::from(reset.stream()).set_linger(Some(Duration::ZERO)).unwrap();
        let ended = stage.follow("teams=ars");
        let half = stage.follow("teams=ars");
        half.stream().shutdown(std::net::Shutdown::Write).unwrap();
        drop((reset, ended));
        eventually("gone", || stage.open() == 0);
        assert_eq!(stage.sum(|stats| stats.closed[CloseCode::Abnormal.index()].get()), 3);
        stage.publish("ars", "to nobody");
        let mut client = stage.follow("teams=ars");
        stage.publish("ars", "e1");
        assert_eq!(member(&client.text(), "id"), "e1");
        stage.stop();
    });
}

#[test]
fn fault_22_a_reset_in_the_middle_of_sending_ends_one_session() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        let mut other = stage.follow("teams=ars");
        for round in 0..20 {
            let client = stage.follow("teams=ars");
            for n in 0..50 {
                stage.publish("ars", &format!("{round}-{n}"));
            }
            SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
            (0..50).for_each(|n| assert_eq!(member(&other.text(), "id"), format!("{round}-{n}")));
        }
        eventually("gone", || stage.open() == 1);
        stage.stop();
    });
}

#[test]
fn fault_38_a_drain_tells_everybody_and_keeps_its_pace() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        let mut clients: Vec<_> = (0..60).map(|_| stage.follow("teams=ars")).collect();
        let begin = Instant::now();
        let drain = ShardCommand::Drain {
            sessions_per_s: 100,
            reason: "drain".into(),
            reconnect_after: (5_000 * MS, 30_000 * MS),
        };
        stage.fanout().command(drain).unwrap();
        let mut late = Client::dial(stage.fanout().local_addr());
        assert!(late.head().starts_with("HTTP/1.1 503"), "nobody new");
        let mut hints = Vec::new();
        for client in &mut clients {
            let text = client.text();
            assert_eq!(member(&text, "reason"), "drain");
            let hint = text.split(r#""after_ms":"#).nth(1).unwrap().split(',').next().unwrap();
            hints.push(hint.parse::<u64>().unwrap());
            assert_eq!(client.hear(), Heard::Close(Some(1012), "drain".into()));
            client.send_frame(0x88, &1012u16.to_be_bytes());
        }
        let took = begin.elapsed();
        assert!((500 * MS..1_500 * MS).contains(&took), "60 at 100 a second: {took:?}");
        hints.sort_unstable();
        assert!(hints[0] >= 5_000 && hints[59] <= 30_000);
        assert!(hints[59] - hints[0] > 15_000, "spread");
        drop((clients, late));
        let is_drained = |stats: &touchline_fanout::ShardStats| {
            u64::from(stats.is_drained.load(std::sync::atomic::Ordering::Relaxed))
        };
        eventually("drained", || stage.sum(is_drained) == 1);
        stage.stop();
    });
}

#[test]
fn fault_40_a_shard_that_was_stopped_does_not_blame_its_sessions() {
    on_both_backends(|mut options| {
        options.rules.sessions.handshake_max = 1_000 * MS;
        options.faults.pause_ms = 3_500;
        let stage = Stage::start(options);
        let mut client = stage.connect("");
        client.text();
        let mut slow = Client::dial(stage.fanout().local_addr());
        slow.send_raw(b"GET /healthz");
        std::thread::sleep(100 * MS);
        client.send_text(r#"{"op":"pause!"}"#);
        std::thread::sleep(3_700 * MS);
        // Its second had passed long ago, but not by its own doing.
        slow.send_raw(b" HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(slow.head().starts_with("HTTP/1.1 200"));
        stage.stop();
    });
}

#[test]
fn fault_40_a_blocked_reader_is_not_charged_for_a_stop_of_the_shard() {
    on_both_backends(|mut options| {
        options.rules.hub.stall_max = 3_000 * MS;
        options.faults.pause_ms = 3_500;
        let stage = Stage::start(options);
        let _stuck = stage.follow("teams=ars");
        for n in 0..5_000 {
            let mut event = event("ars", &format!("e{n}"));
            event.data = format!(r#"{{"pad":"{}"}}"#, "x".repeat(900)).into();
            stage.log.push(vec![event]);
        }
        eventually("blocked", || stage.sum(|stats| stats.sends_blocked.get()) > 0);
        let mut client = stage.connect("");
        client.text();
        client.send_text(r#"{"op":"pause!"}"#);
        // Until after the stop, and the look that follows it.
        std::thread::sleep(4_800 * MS);
        assert_eq!(stage.sum(|stats| stats.slow_closed.get()), 0);
        eventually("charged for its own", || stage.sum(|stats| stats.slow_closed.get()) == 1);
        stage.stop();
    });
}

#[test]
fn a_connection_that_says_nothing_more_than_it_must_is_read_to_its_end() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        let client = Client::dial(stage.fanout().local_addr());
        let mut stream = client.stream();
        stream.write_all(b"GET /v1/stream HTTP/1.1\r\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        eventually("gone", || stage.open() == 0);
        assert_eq!(stage.sum(|stats| stats.handshakes_lost.get()), 1);
        stage.stop();
    });
}
