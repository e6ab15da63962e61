//! FAULTS 14 to 19, 21 and 25 against the binary: a row of bytes, and the code they end with.

use std::time::{Duration, Instant};

use touchline_tests::e2e::http::event;
use touchline_tests::e2e::server::{Backend, Home};
use touchline_tests::e2e::socket::{Heard, Socket, client_frame};

use crate::{both, is_sound};

/// What is wrong, the bytes that are, and the code they end with.
type Row = (&'static str, Vec<u8>, u16);

/// Sends each row on a session of its own; then shows that nobody else noticed.
fn check(rows: &[Row]) {
    for backend in Backend::ALL {
        let home = Home::new("");
        let server = home.serve(backend);
        let to = server.addresses().stream;
        let mut bystander = Socket::open(to, "teams=ars");
        bystander.hear_op("subscribed");
        for (what, bytes, code) in rows {
            let mut socket = Socket::open(to, "teams=ars");
            socket.hear_op("subscribed");
            socket.send_raw(bytes);
            assert_eq!(socket.hear_close(), Some(*code), "{what}, {backend:?}");
            let after = socket.hear_soon();
            assert!(matches!(after, Heard::End | Heard::Silence), "{what}: {after:?}");
        }
        server.accept(&event("g-1", &["ars"]));
        assert_eq!(bystander.hear_op("event")["id"], "g-1");
        is_sound(&server);
    }
}

fn close(body: &[u8]) -> Vec<u8> {
    client_frame(0x88, body)
}

#[test]
fn fault_14_unmasked_frames_reserved_bits_and_opcodes_are_1002() {
    let mut rows: Vec<Row> = vec![("unmasked", vec![0x81, 2, b'{', b'}'], 1002)];
    rows.extend(
        [0x40, 0x20, 0x10].map(|bit| ("reserved bit", client_frame(0x81 | bit, b"{}"), 1002)),
    );
    let opcodes = [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf];
    rows.extend(opcodes.map(|opcode| ("reserved opcode", client_frame(0x80 | opcode, b""), 1002)));
    check(&rows);
}

#[test]
fn fault_15_control_frames_that_are_long_or_in_parts_are_1002() {
    check(&[
        ("a long ping", client_frame(0x89, &[b'x'; 126]), 1002),
        ("a ping in parts", client_frame(0x09, b"x"), 1002),
        ("rsv1 on a ping", client_frame(0xc9, b"x"), 1002),
        ("rsv1 on a continuation", client_frame(0xc0, b"x"), 1002),
    ]);
}

#[test]
fn fault_16_lengths_are_judged_from_the_head_alone() {
    let huge = |first: u8| {
        let mut head = vec![0x81, 0xff, first];
        head.extend([0xff; 7]);
        head
    };
    check(&[
        ("5 in 16 bits", vec![0x81, 0xfe, 0, 5, 0, 0, 0, 0], 1002),
        ("65,535 in 64 bits", vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], 1002),
        ("2^63 - 1", huge(0x7f), 1009),
        ("the highest bit", huge(0xff), 1002),
    ]);
}

#[test]
fn fault_17_fragments_out_of_order_are_1002_and_a_close_between_them_is_clean() {
    check(&[
        ("an orphan", client_frame(0x80, b"x"), 1002),
        ("a new message", [client_frame(0x01, b"a"), client_frame(0x81, b"b")].concat(), 1002),
        ("a close", [client_frame(0x01, b"a"), close(&1000u16.to_be_bytes())].concat(), 1000),
    ]);
}

#[test]
fn fault_18_text_that_is_none_is_1007_at_once() {
    let reason = [&1000u16.to_be_bytes()[..], b"\xff"].concat();
    let mut rows: Vec<Row> = vec![
        ("invalid", client_frame(0x81, b"\xff"), 1007),
        // The message is still open, and the character's first half came in the fragment before.
        ("split", [client_frame(0x01, b"\xe2\x82"), client_frame(0x00, b"\x28")].concat(), 1007),
        ("a close's reason", close(&reason), 1007),
        ("a close of one byte", close(b"x"), 1002),
    ];
    let codes = [0u16, 999, 1004, 1005, 1006, 1015, 2999, 5000];
    rows.extend(codes.map(|code| ("a close's code", close(&code.to_be_bytes()), 1002)));
    check(&rows);
}

#[test]
fn fault_19_large_messages_are_1009_and_endless_ones_1008() {
    let fragments = |count: usize, payload: &[u8]| {
        let rest = client_frame(0x00, payload).repeat(count);
        [client_frame(0x01, b" "), rest].concat()
    };
    check(&[
        ("64 KiB and one byte", client_frame(0x81, &vec![b' '; 65_537]), 1009),
        ("the sum of fragments", fragments(2, &vec![b' '; 40_000]), 1009),
        ("1,101 fragments", fragments(1_100, b" "), 1008),
        ("empty fragments", fragments(40, b""), 1008),
    ]);
}

#[test]
fn fault_21_floods_are_1008() {
    check(&[
        ("pings", client_frame(0x89, b"p").repeat(300), 1008),
        ("pongs", client_frame(0x8a, b"p").repeat(300), 1008),
        ("texts", client_frame(0x81, br#"{"op":"ping"}"#).repeat(300), 1008),
    ]);
}

#[test]
fn fault_25_json_that_is_none_is_answered_and_the_sixth_time_1008() {
    both(|backend| {
        let home = Home::new("");
        let server = home.serve(backend);
        let deep = "[".repeat(10_000);
        let rows = [
            (deep.as_str(), "bad_json"),
            (r#"{"op":"ping","op":"ping"}"#, "bad_field"),
            (r#"{"op":"ping","id":NaN}"#, "bad_json"),
            (r#"{"op":"ping","id":1e400}"#, "bad_field"),
            (r#"{"op":"ping","id":18446744073709551616}"#, "bad_field"),
            (r#"{"op":"subscribe","teams":["\ud800"]}"#, "bad_field"),
            (r#"{"op":"subscribe","teams":["no such team!"]}"#, "bad_field"),
        ];
        for (text, code) in rows {
            let mut socket = Socket::open(server.addresses().stream, "");
            socket.send_text(text);
            let error = socket.hear_op("error");
            let shown = &text[..text.len().min(80)];
            assert_eq!(error["code"], code, "{shown}: {error}");
            socket.send_text(r#"{"op":"ping","id":1}"#);
            assert_eq!(socket.hear_op("pong")["id"], 1, "{shown}");
        }
        let mut socket = Socket::open(server.addresses().stream, "");
        (0..6).for_each(|_| socket.send_text("nonsense"));
        (0..5).for_each(|_| assert_eq!(socket.hear_op("error")["code"], "bad_json"));
        assert_eq!(socket.hear_close(), Some(1008));
        is_sound(&server);
    });
}

#[test]
fn fault_19_a_message_that_takes_too_long_is_1008_whatever_comes_in_between() {
    for backend in Backend::ALL {
        let home = Home::new("[sessions]\nmessage_s = 1\n");
        let server = home.serve(backend);
        let open = || Socket::open(server.addresses().stream, "teams=ars");
        let begin = Instant::now();
        let mut halves = [open(), open(), open()];
        halves[0].send_raw(&[0x81]);
        halves[1].send_raw(&client_frame(0x81, &vec![b' '; 60_000])[..50_000]);
        halves[2].send_raw(&client_frame(0x01, b"{"));
        let mut diligent = open();
        for n in 0..8 {
            // A ping between the fragments is answered, and buys no time.
            halves[2].send_raw(&client_frame(0x89, b"p"));
            let message = client_frame(0x81, format!(r#"{{"op":"ping","id":{n}}}"#).as_bytes());
            let (first, rest) = message.split_at(9);
            diligent.send_raw(first);
            std::thread::sleep(Duration::from_millis(200));
            diligent.send_raw(rest);
            assert_eq!(diligent.hear_op("pong")["id"], n);
        }
        for half in &mut halves {
            assert_eq!(half.hear_close(), Some(1008));
        }
        assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
        is_sound(&server);
    }
}
