//! FAULTS 1 to 8 and 11 on the wire: each head gets its one answer, and the connection ends.

use std::time::{Duration, Instant};

use touchline_tests::e2e::http::{Answer, exchange};
use touchline_tests::e2e::server::{Backend, Home, Server};
use touchline_tests::e2e::socket::{Heard, Socket, client_frame, upgrade};

use crate::{both, is_sound};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const LINE: &str = "GET /v1/stream?teams=ars HTTP/1.1";

fn good(extra: &str) -> String {
    upgrade("teams=ars", extra)
}

/// A good head in which `from` has become `to`.
fn bent(from: &str, to: &str) -> String {
    let head = good("");
    assert!(head.contains(from), "{from} in {head}");
    head.replace(from, to)
}

fn with_line(line: &str) -> String {
    bent(LINE, line)
}

/// Sends each head with a second request right behind it. There must be one answer, then the end:
/// [`exchange`] reads until then.
fn check(server: &Server, rows: &[(String, u16)]) -> Vec<Answer> {
    let answer = |(head, status): &(String, u16)| {
        let smuggled = format!("{head}GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
        let shown = &head[..head.len().min(300)];
        let answer = exchange(server.addresses().stream, smuggled.as_bytes())
            .unwrap_or_else(|error| panic!("{error}: {shown}"));
        assert_eq!(answer.status, *status, "{shown}");
        assert!(!answer.body.contains("HTTP/1.1 "), "a second answer: {answer:?}");
        answer
    };
    rows.iter().map(answer).collect()
}

fn served(test: impl Fn(&Server)) {
    for backend in Backend::ALL {
        let home = Home::new("[sessions]\norigins = [\"https://live.example\"]\n");
        let server = home.serve(backend);
        test(&server);
        is_sound(&server);
    }
}

#[test]
fn fault_01_what_is_no_upgrade_is_told_what_is_missing() {
    served(|server| {
        let rows = [
            (with_line("POST /v1/stream HTTP/1.1"), 405),
            (with_line("get /v1/stream HTTP/1.1"), 405),
            (with_line("GET /v1/stream HTTP/1.0"), 400),
            (with_line("GET /v1/streams HTTP/1.1"), 404),
            (bent("Upgrade: websocket\r\n", ""), 426),
            (bent("Upgrade: websocket", "Upgrade: h2c"), 426),
        ];
        let answers = check(server, &rows);
        for answer in &answers[4..] {
            assert_eq!(answer.header("upgrade"), Some("websocket"), "{answer:?}");
        }
        assert_eq!(answers[0].header("allow"), Some("get"));
    });
}

#[test]
fn fault_02_another_version_is_told_ours_and_leaves_no_tunnel() {
    served(|server| {
        let versions = ["", "Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 13, 8\r\n"];
        for answer in check(server, &versions.map(|version| (bent(VERSION, version), 426))) {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{answer:?}");
        }
    });
}

#[test]
fn fault_03_a_key_that_is_missing_short_or_doubled_is_400() {
    served(|server| {
        let short = "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n";
        let mut rows =
            ["", "Sec-WebSocket-Key: \r\n", short].map(|key| (bent(KEY, key), 400)).to_vec();
        rows.push((good(KEY), 400));
        rows.push((bent("ub25jZQ==", "ub25jZQ"), 400));
        check(server, &rows);
    });
}

#[test]
fn fault_04_large_heads_are_431_and_long_uris_414() {
    served(|server| {
        let uri =
            |bytes: usize| with_line(&format!("GET /v1/stream?{} HTTP/1.1", "a".repeat(bytes)));
        let rows = [
            (uri(4096), 414),
            (uri(7000), 414),
            (good(&format!("X: {}\r\n", "x".repeat(8192))), 431),
            (good(&"A: b\r\n".repeat(64)), 431),
        ];
        check(server, &rows);
        // Nobody waits for the end of a head that can't become one.
        let endless = format!("{LINE}\r\nX: {}", "x".repeat(200_000));
        let mut socket = Socket::dial(server.addresses().stream, None).unwrap();
        socket.send_raw(endless.as_bytes());
        let head = socket.head().unwrap_or_default();
        assert!(head.is_empty() || head.starts_with("HTTP/1.1 431"), "{head}");
    });
}

#[test]
fn fault_05_a_head_that_two_readers_could_read_in_two_ways_is_400() {
    served(|server| {
        let twice = "Host: test\r\n";
        let mut rows: Vec<_> = [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\n",
            "Content-Length: 0\r\nContent-Length: 0\r\n",
            "X: a\rb\r\n",
            "X: a\r\n folded\r\n",
            "X : a\r\n",
            "X: a\0b\r\n",
            twice,
        ]
        .map(|extra| (good(extra), 400))
        .into();
        rows.push((bent("Host: test\r\n", ""), 400));
        rows.push((bent("Host: test", "Host: user@test"), 400));
        check(server, &rows);
    });
}

#[test]
fn fault_06_a_head_that_drips_is_408_when_its_time_is_over() {
    both(|backend| {
        let home = Home::new("[sessions]\nhandshake_s = 1\n");
        let server = home.serve(backend);
        let mut socket = Socket::dial(server.addresses().stream, None).unwrap();
        let begin = Instant::now();
        for byte in good("").bytes().take(8) {
            socket.send_raw(&[byte]);
            std::thread::sleep(Duration::from_millis(200));
        }
        assert!(socket.head().unwrap().starts_with("HTTP/1.1 408"));
        assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
        is_sound(&server);
    });
}

#[test]
fn fault_12_offers_of_compression_are_declined_and_the_connection_works_without() {
    served(|server| {
        let to = server.addresses().stream;
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=\"\"",
            "permessage-deflate; unknown_parameter=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits=7, permessage-deflate, x-unknown",
            ", ; ,, =",
        ] {
            let mut socket = Socket::dial(to, None).unwrap();
            let head = good(&format!("Sec-WebSocket-Extensions: {offer}\r\n"));
            socket.send_raw(head.as_bytes());
            let answer = socket.head().unwrap();
            assert!(answer.starts_with("HTTP/1.1 101"), "{offer}: {answer}");
            assert!(!answer.to_lowercase().contains("extensions"), "{offer}: {answer}");
            socket.send_raw(&client_frame(0x81, br#"{"op":"ping","id":4}"#));
            socket.hear_op("pong");
        }
    });
}

#[test]
fn fault_07_what_follows_the_head_at_once_is_frames() {
    served(|server| {
        let to = server.addresses().stream;
        let ping = client_frame(0x81, br#"{"op":"ping","id":4}"#);
        let mut socket = Socket::dial(to, None).unwrap();
        socket.send_raw(&[good("").as_bytes(), &ping].concat());
        assert!(socket.head().unwrap().starts_with("HTTP/1.1 101"));
        assert_eq!(socket.hear_op("pong")["id"], 4);
        // A request in its place is a broken frame, not a request.
        let mut socket = Socket::dial(to, None).unwrap();
        socket.send_raw(
            format!("{}GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n", good("")).as_bytes(),
        );
        assert!(socket.head().unwrap().starts_with("HTTP/1.1 101"));
        assert_eq!(socket.hear_close(), Some(1002));
    });
}

#[test]
fn fault_08_a_page_from_elsewhere_is_403() {
    served(|server| {
        let from = |origin: &str| good(&format!("Origin: {origin}\r\n"));
        let strangers = [
            "null",
            "https://evil.example",
            "https://live.example.evil.example",
            "https://evil-live.example",
            "https://live.example:444",
            "http://live.example",
            "https://LIVE.example",
            "https://live.example, null",
            "",
        ];
        check(server, &strangers.map(|origin| (from(origin), 403)));
        let doubled = good("Origin: https://live.example\r\nOrigin: https://live.example\r\n");
        check(server, &[(doubled, 403)]);
        let board = format!("http://test:{}", server.addresses().api.port());
        for friend in ["https://live.example", "http://localhost:3000", &board] {
            let mut socket = Socket::dial(server.addresses().stream, None).unwrap();
            socket.send_raw(from(friend).as_bytes());
            assert!(socket.head().unwrap().starts_with("HTTP/1.1 101"), "{friend}");
        }
    });
}

#[test]
fn fault_11_offers_of_subprotocols_cost_little_and_select_ours_or_none() {
    served(|server| {
        let selected = |offers: &str| {
            let mut socket = Socket::dial(server.addresses().stream, None).unwrap();
            let offers = format!("Sec-WebSocket-Protocol: {offers}\r\n");
            socket.send_raw(good(&offers).as_bytes());
            let head = socket.head().unwrap().to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 101"), "{head}");
            assert!(matches!(socket.hear(), Heard::Json(hello) if hello["op"] == "hello"));
            head.contains("sec-websocket-protocol: touchline.v1\r\n")
        };
        assert!(selected("chat, touchline.v1"));
        assert!(!selected("touchline.v2"));
        let begin = Instant::now();
        (0..20).for_each(|_| assert!(!selected(&format!("a{},", " ".repeat(7_000)))));
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        let flood = good(&format!("Sec-WebSocket-Protocol: {}\r\n", " ".repeat(32_000)));
        let mut socket = Socket::dial(server.addresses().stream, None).unwrap();
        socket.send_raw(flood.as_bytes());
        let head = socket.head().unwrap_or_default();
        assert!(head.is_empty() || head.starts_with("HTTP/1.1 431"), "{head}");
    });
}
