//! What hostile and faulty clients do once they are connected, and what each gets (FAULTS 14 to 21
//! and 25). The shard goes on; the parser's own tables are in `core::ws`.

mod common;

use common::{Stage, eventually, member, on_both_backends};
use touchline_fanout::testing::{Client, Heard};

/// Sends `bytes` as they are and expects a Close with `code`, then the end.
fn check(stage: &Stage, what: &str, bytes: &[u8], code: u16) {
    let mut client = stage.connect("");
    client.text();
    client.send_raw(bytes);
    let Heard::Close(got, _) = client.hear() else { panic!("{what}: no close") };
    assert_eq!(got, Some(code), "{what}");
}

/// A head and mask of zeros, so that the payload can be read as it stands.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= 125);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

fn all_fine_afterwards(stage: &Stage) {
    let mut client = stage.follow("teams=ars");
    stage.publish("ars", "after");
    assert_eq!(member(&client.text(), "id"), "after");
    drop(client);
    eventually("everybody gone", || stage.open() == 0);
}

#[test]
fn fault_14_broken_heads_are_1002() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        check(&stage, "unmasked", &[0x81, 2, b'h', b'i'], 1002);
        for rsv in [0x40, 0x20, 0x10] {
            check(&stage, "reserved bit", &frame(0x81 | rsv, b"{}"), 1002);
        }
        for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            check(&stage, "reserved opcode", &frame(0x80 | opcode, b""), 1002);
        }
        all_fine_afterwards(&stage);
        stage.stop();
    });
}

#[test]
fn fault_15_control_frames_that_are_long_or_in_parts_are_1002() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        let long = [&[0x89, 0xfe, 0, 126, 0, 0, 0, 0][..], &[0; 126]].concat();
        check(&stage, "126 bytes", &long, 1002);
        check(&stage, "fragmented", &frame(0x09, b"x"), 1002);
        check(&stage, "rsv1 on a continuation", &frame(0xc0, b"x"), 1002);
        all_fine_afterwards(&stage);
        stage.stop();
    });
}

#[test]
fn fault_16_lengths_are_judged_from_the_head_alone() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        check(&stage, "not minimal", &[0x81, 0xfe, 0, 5, 0, 0, 0, 0], 1002);
        let mut huge = vec![0x81, 0xff];
        huge.extend_from_slice(&(u64::MAX >> 1).to_be_bytes());
        check(&stage, "2^63 - 1 bytes", &huge, 1009);
        huge[2] |= 0x80;
        check(&stage, "highest bit", &huge, 1002);
        all_fine_afterwards(&stage);
        stage.stop();
    });
}

#[test]
fn fault_17_fragments_out_of_order_are_1002_and_a_close_between_them_is_clean() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        check(&stage, "orphan", &frame(0x80, b"x"), 1002);
        check(&stage, "interleaved", &[frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002);
        let close = [frame(0x01, b"a"), frame(0x88, &1000u16.to_be_bytes())].concat();
        check(&stage, "close mid-message", &close, 1000);
        all_fine_afterwards(&stage);
        stage.stop();
    });
}

#[test]
fn fault_18_text_that_is_none_is_1007_at_once() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        check(&stage, "invalid", &frame(0x81, b"\xff"), 1007);
        let split = [frame(0x01, b"\xe2\x82"), frame(0x00, b"\x28")].concat();
        check(&stage, "split over fragments, message still open", &split, 1007);
        let reason = [&1000u16.to_be_bytes()[..], b"\xff"].concat();
        check(&stage, "close reason", &frame(0x88, &reason), 1007);
        check(&stage, "close of one byte", &frame(0x88, b"x"), 1002);
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            check(&stage, "close code", &frame(0x88, &code.to_be_bytes()), 1002);
        }
        all_fine_afterwards(&stage);
        stage.stop();
    });
}

#[test]
fn fault_19_large_and_endless_messages_are_1009_and_1008() {
    on_both_backends(|mut options| {
        options.rules.sessions.messages_burst = 10_000;
        let stage = Stage::start(options);
        let mut large = vec![0x81, 0xff];
        large.extend_from_slice(&(64 * 1024 + 1u64).to_be_bytes());
        check(&stage, "64 KiB and one byte", &large, 1009);
        let part = [&[0x00, 0xfe, 0xff, 0xff, 0, 0, 0, 0][..], &vec![b' '; 0xffff]].concat();
        let sum = [frame(0x01, b" "), part.clone(), part].concat();
        check(&stage, "the sum of fragments", &sum, 1009);
        let many: Vec<u8> = std::iter::once(frame(0x01, b" "))
            .chain((0..1_100).map(|_| frame(0, b" ")))
            .flatten()
            .collect();
        check(&stage, "1,101 fragments", &many, 1008);
        let empty: Vec<u8> = std::iter::once(frame(0x01, b" "))
            .chain((0..40).map(|_| frame(0, b"")))
            .flatten()
            .collect();
        check(&stage, "empty fragments", &empty, 1008);
        all_fine_afterwards(&stage);
        stage.stop();
    });
}

#[test]
fn fault_21_floods_of_pings_pongs_and_texts_are_1008() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        for (what, first, payload) in [
            ("pings", 0x89, &b"p"[..]),
            ("pongs", 0x8a, b"p"),
            ("texts", 0x81, br#"{"op":"ping"}"#),
        ] {
            let mut client = stage.connect("");
            client.text();
            client.send_raw(&frame(first, payload).repeat(200));
            let mut answers = 0;
            let close = loop {
                match client.hear() {
                    Heard::Close(code, _) => break code,
                    Heard::End | Heard::Silence => panic!("{what}: no close"),
                    _ => answers += 1,
                }
            };
            assert_eq!(close, Some(1008), "{what}");
            assert!(answers <= 70, "{what}: {answers} answers to 200");
        }
        all_fine_afterwards(&stage);
        stage.stop();
    });
}

#[test]
fn fault_21_a_flood_is_told_when_to_go_on() {
    on_both_backends(|mut options| {
        options.rules.sessions.messages_burst = 3;
        let stage = Stage::start(options);
        let mut client = stage.connect("");
        client.text();
        (0..4).for_each(|_| client.send_text(r#"{"op":"ping"}"#));
        (0..3).for_each(|_| assert_eq!(client.text(), r#"{"op":"pong"}"#));
        let error = client.text();
        assert_eq!(member(&error, "code"), "too_many_messages");
        let wait = error.split(r#""retry_after_ms":"#).nth(1).unwrap();
        let wait: u64 = wait.trim_end_matches('}').parse().unwrap();
        assert!((1..=50).contains(&wait), "20 a second: {wait} ms");
        std::thread::sleep(std::time::Duration::from_millis(wait + 10));
        client.send_text(r#"{"op":"ping"}"#);
        assert_eq!(client.text(), r#"{"op":"pong"}"#, "the session lives");
        stage.stop();
    });
}

fn soft(client: &mut Client, text: &str, code: &str) {
    client.send_text(text);
    assert_eq!(member(&client.text(), "code"), code, "{text}");
}

#[test]
fn fault_25_five_faulty_messages_are_answered_and_the_sixth_is_1008() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        let mut client = stage.connect("");
        client.text();
        soft(&mut client, "nonsense", "bad_json");
        soft(&mut client, &"[".repeat(10_000), "bad_json");
        soft(&mut client, r#"{"op":"fly"}"#, "unknown_op");
        soft(&mut client, r#"{"op":"ping","id":1,"colour":1}"#, "unknown_field");
        client.send_text(r#"{"op":"ping","id":7}"#);
        assert_eq!(client.text(), r#"{"op":"pong","id":7}"#, "and good ones in between");
        let teams: Vec<_> = (0..21).map(|n| format!(r#""t{n}""#)).collect();
        let many = format!(r#"{{"op":"subscribe","teams":[{}]}}"#, teams.join(","));
        soft(&mut client, &many, "too_many_teams");
        client.send_text(r#"{"op":"auth","token":"x"}"#);
        assert_eq!(client.hear(), Heard::Close(Some(1008), "auth_unavailable".into()));
        drop(client);
        all_fine_afterwards(&stage);
        stage.stop();
    });
}

#[test]
fn binary_messages_are_1003() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        check(&stage, "binary", &frame(0x82, b"x"), 1003);
        stage.stop();
    });
}
