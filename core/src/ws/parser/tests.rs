//! What a client may send becomes the same events however the network cuts it; what it may not is
//! named.

use proptest::prelude::*;

use super::*;
use crate::ws::CloseCode;

/// An event that owns its bytes: for comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Refused(Violation),
}

impl From<Event<'_>> for Got {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.into_owned()),
            Event::Ping(bytes) => Self::Ping(bytes.into_owned()),
            Event::Pong(bytes) => Self::Pong(bytes.into_owned()),
            Event::Close { code, reason } => Self::Close(code, reason.into_owned()),
        }
    }
}

/// A frame as a client sends it.
fn frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = crate::frame::frame(first, payload).to_vec();
    bytes[1] |= 0x80;
    let head_bytes = bytes.len() - payload.len();
    bytes.splice(head_bytes..head_bytes, mask);
    for (byte, key) in bytes[head_bytes + 4..].iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    bytes
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, MASK, payload.as_bytes())
}

/// Feeds `chunks` one by one, as reads into one scratch buffer.
fn feed<'c>(
    parser: &mut Parser,
    chunks: impl IntoIterator<Item = &'c [u8]>,
    limits: &FrameLimits,
) -> Vec<Got> {
    let mut got = Vec::new();
    for chunk in chunks {
        let mut scratch = chunk.to_vec();
        let mut input = &mut scratch[..];
        loop {
            match parser.next(&mut input, limits) {
                Ok(Some(event)) => got.push(Got::from(event)),
                Ok(None) => break,
                Err(violation) => {
                    got.push(Got::Refused(violation));
                    break;
                }
            }
        }
        assert!(input.is_empty(), "everything fed is taken");
    }
    got
}

/// Whole, byte by byte, and in pieces of 3: always the same events.
fn check(bytes: &[u8], want: &[Got]) {
    let limits = FrameLimits { message_bytes_max: 1_000, fragments_max: 8, empty_fragments_max: 2 };
    for size in [bytes.len().max(1), 1, 3] {
        let got = feed(&mut Parser::default(), bytes.chunks(size), &limits);
        assert_eq!(got, want, "in pieces of {size}: {bytes:02x?}");
    }
}

fn refused(violation: Violation) -> Vec<Got> {
    vec![Got::Refused(violation)]
}

#[test]
fn whole_messages_come_out_as_they_went_in() {
    check(&[], &[]);
    check(&text("goal"), &[Got::Text("goal".into())]);
    check(&text(""), &[Got::Text(String::new())]);
    check(&text(&"é".repeat(300)), &[Got::Text("é".repeat(300))]);
    check(&frame(0x82, MASK, &[0xff; 126]), &[Got::Binary(vec![0xff; 126])]);
    check(&frame(0x89, MASK, b"now"), &[Got::Ping(b"now".into())]);
    check(&frame(0x8a, MASK, &[7; 125]), &[Got::Pong(vec![7; 125])]);
    let both = [text("a"), text("b")].concat();
    check(&both, &[Got::Text("a".into()), Got::Text("b".into())]);
}

#[test]
fn fragments_become_one_message_with_control_frames_between() {
    let bytes = [
        frame(0x01, MASK, "gé".as_bytes().get(..2).unwrap()),
        frame(0x89, [1, 2, 3, 4], b"p"),
        frame(0x00, [9, 9, 9, 9], b""),
        frame(0x00, [0; 4], "gé".as_bytes().get(2..).unwrap()),
        frame(0x8a, MASK, b""),
        frame(0x80, MASK, b"al"),
        text("next"),
    ];
    let want = [
        Got::Ping(b"p".into()),
        Got::Pong(Vec::new()),
        Got::Text("géal".into()),
        Got::Text("next".into()),
    ];
    check(&bytes.concat(), &want);
    let binary = [frame(0x02, MASK, &[0xff]), frame(0x80, MASK, &[0xc3])].concat();
    check(&binary, &[Got::Binary(vec![0xff, 0xc3])]);
}

#[test]
fn nothing_after_a_close_or_a_violation_is_looked_at() {
    let close = frame(0x88, MASK, b"\x03\xe8bye");
    let want = Got::Close(Some(1000), "bye".into());
    check(&[close.clone(), text("late")].concat(), std::slice::from_ref(&want));
    let within = [frame(0x01, MASK, b"half"), close].concat();
    check(&within, std::slice::from_ref(&want));
    check(&frame(0x88, MASK, b""), &[Got::Close(None, String::new())]);
    let bad = [text("fine"), vec![0x83], text("late")].concat();
    check(&bad, &[Got::Text("fine".into()), Got::Refused(Violation::ReservedOpcode)]);
}

#[test]
fn a_close_says_a_code_that_may_be_said_in_utf8() {
    let close = |number: u16| frame(0x88, MASK, &number.to_be_bytes());
    for number in [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999] {
        check(&close(number), &[Got::Close(Some(number), String::new())]);
    }
    for number in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65_535] {
        check(&close(number), &refused(Violation::BadCloseCode));
    }
    check(&frame(0x88, MASK, &[3]), &refused(Violation::BadCloseCode));
    check(&frame(0x88, MASK, b"\x03\xe8\xff"), &refused(Violation::NotUtf8));
}

#[test]
fn a_message_has_a_limit_over_all_its_fragments() {
    check(&frame(0x82, MASK, &[1; 1_000]), &[Got::Binary(vec![1; 1_000])]);
    check(&frame(0x82, MASK, &[1; 1_001])[..4], &refused(Violation::TooBig));
    let exact = [frame(0x02, MASK, &[1; 900]), frame(0x80, MASK, &[1; 100])].concat();
    check(&exact, &[Got::Binary(vec![1; 1_000])]);
    let above = [frame(0x02, MASK, &[1; 900]), frame(0x80, MASK, &[1; 101])].concat();
    check(&above, &refused(Violation::TooBig));
    let fragments = [(0x02, 400), (0x00, 400), (0x80, 201)];
    let third = fragments.map(|(first, len)| frame(first, MASK, &vec![1; len])).concat();
    check(&third, &refused(Violation::TooBig));
    let huge = [0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    check(&huge, &refused(Violation::TooBig));
}

#[test]
fn fragments_have_a_limit_and_empty_ones_a_lower_one() {
    let fragments = |count: usize, payload: &[u8]| {
        let mut bytes = frame(0x01, MASK, payload);
        (1..count).for_each(|_| bytes.extend(frame(0x00, MASK, payload)));
        bytes
    };
    let eight = [fragments(7, b"x"), frame(0x80, MASK, b"x")].concat();
    check(&eight, &[Got::Text("x".repeat(8))]);
    check(&fragments(9, b"x"), &refused(Violation::TooManyFragments));
    let two_empty = [fragments(2, b""), frame(0x80, MASK, b"")].concat();
    check(&two_empty, &[Got::Text(String::new())]);
    check(&fragments(3, b""), &refused(Violation::TooManyEmptyFragments));
}

#[test]
fn text_that_is_not_utf8_is_refused_at_its_first_wrong_byte() {
    for (payload, wrong_at) in [
        (&b"ab\xffcd"[..], 2),
        (b"\xc3\x28zz", 1),
        (b"\xe0\x80\x80z", 1),
        (b"\xed\xa0\x80z", 1),
        (b"\xf4\x90\x80\x80", 1),
        (b"\xf0\x9f\x98zz", 3),
        (b"\x80", 0),
        (b"\xc0\xaf", 0),
    ] {
        let bytes = frame(0x81, MASK, payload);
        check(&bytes, &refused(Violation::NotUtf8));
        let head_bytes = bytes.len() - payload.len();
        let until =
            |at: usize| feed(&mut Parser::default(), [&bytes[..head_bytes + at]], &limits());
        assert_eq!(until(wrong_at), [], "{payload:02x?} is fine so far");
        if wrong_at + 1 < payload.len() {
            assert_eq!(until(wrong_at + 1), refused(Violation::NotUtf8), "{payload:02x?}");
        }
    }
    let cut = frame(0x81, MASK, b"\xf0\x9f\x98");
    check(&cut, &refused(Violation::NotUtf8));
    let split = [frame(0x01, MASK, b"\xf0\x9f"), frame(0x00, MASK, b"\x28")].concat();
    check(&split, &refused(Violation::NotUtf8));
}

fn limits() -> FrameLimits {
    FrameLimits::default()
}

#[test]
fn a_parser_at_rest_holds_nothing_and_an_open_one_little() {
    let limits = FrameLimits { message_bytes_max: 60_000, ..FrameLimits::default() };
    let mut parser = Parser::default();
    let head = &frame(0x82, MASK, &vec![0; 60_000])[..8];
    assert_eq!(feed(&mut parser, [head], &limits), []);
    assert!(parser.heap_bytes() < 256, "a declared length costs nothing: {}", parser.heap_bytes());
    feed(&mut parser, [&[0; 100][..]], &limits);
    assert!(parser.heap_bytes() < 512, "{}", parser.heap_bytes());
    let rest = vec![0; 59_900];
    for chunk in rest.chunks(1_000) {
        feed(&mut parser, [chunk], &limits);
        assert!(parser.heap_bytes() <= 256 + limits.message_bytes_max);
    }
    assert!(parser.is_at_rest());
    assert_eq!(parser.heap_bytes(), 0);
    feed(&mut parser, [&[0x83][..]], &limits);
    assert_eq!(parser.heap_bytes(), 0, "a closed one holds nothing either");
}

#[test]
fn each_violation_has_its_close_code() {
    for (violation, code) in [
        (Violation::Unmasked, CloseCode::Protocol),
        (Violation::ReservedBit, CloseCode::Protocol),
        (Violation::BadCloseCode, CloseCode::Protocol),
        (Violation::NotUtf8, CloseCode::InvalidData),
        (Violation::TooBig, CloseCode::TooBig),
        (Violation::TooManyFragments, CloseCode::Policy),
        (Violation::TooManyEmptyFragments, CloseCode::Policy),
    ] {
        assert_eq!(violation.close_code(), code, "{violation}");
    }
}

#[test]
fn unmasking_in_pieces_is_unmasking_at_once() {
    let plain: Vec<u8> = (0..=255).collect();
    let masked = frame(0x82, MASK, &plain)[8..].to_vec();
    for cut in 0..plain.len() {
        let mut bytes = masked.clone();
        let (front, back) = bytes.split_at_mut(cut);
        unmask(front, MASK, 0);
        unmask(back, MASK, cut);
        assert_eq!(bytes, plain, "cut at {cut}");
    }
}

/// Frames of a client that knows the protocol, and now and then not.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop_oneof![Just(0x81u8), Just(0x01), Just(0x80), Just(0x00), Just(0x82), Just(0x89)],
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => "[a-zé€😀]{0,60}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
    ];
    (first, any::<[u8; 4]>(), payload)
        .prop_map(|(first, mask, payload)| frame(first, mask, &payload))
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_events(
        frames in proptest::collection::vec(any_frame(), 0..12),
        cuts in proptest::collection::vec(0usize..400, 0..12),
    ) {
        let bytes = frames.concat();
        let whole = feed(&mut Parser::default(), [&bytes[..]], &limits());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(feed(&mut Parser::default(), chunks, &limits()), whole.clone());
        let singles = bytes.chunks(1);
        prop_assert_eq!(feed(&mut Parser::default(), singles, &limits()), whole);
    }

    #[test]
    fn garbage_is_never_a_panic_nor_more_memory_than_arrived(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        size in 1usize..64,
    ) {
        let mut parser = Parser::default();
        let mut fed = 0;
        for chunk in bytes.chunks(size) {
            fed += chunk.len();
            feed(&mut parser, [chunk], &limits());
            prop_assert!(parser.heap_bytes() <= size_of::<Pending>() + 2 * fed + 256);
        }
    }
}
