//! The frame parser against fastwebsockets: whatever we accept, it reads the same way; whatever we
//! refuse and it accepts is on a list here, with the reason.
//!
//! Streams are made by proptest: of well-formed frames, of frames with one fault, of raw bytes.
//! Both parsers get the same bytes, ours in random pieces. fastwebsockets is the laxer one, known
//! and wanted ([`is_stricter_here`]).

use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};
use proptest::prelude::*;
use touchline_core::ws::{Event, FrameLimits, Parser, Violation};

/// A message or control frame, as both can say it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// The code, and nothing after it.
    Close(Option<u16>),
}

#[derive(Debug)]
struct Ours {
    said: Vec<Said>,
    violation: Option<Violation>,
    is_closed: bool,
}

fn ours(bytes: &[u8], piece: usize) -> Ours {
    let mut parser = Parser::default();
    let limits = FrameLimits::default();
    let mut ours = Ours { said: Vec::new(), violation: None, is_closed: false };
    for chunk in bytes.chunks(piece) {
        let mut scratch = chunk.to_vec();
        let mut input = &mut scratch[..];
        loop {
            match parser.next(&mut input, &limits) {
                Ok(Some(event)) => ours.said.push(said(event)),
                Ok(None) => break,
                Err(violation) => {
                    ours.violation = Some(violation);
                    return ours;
                }
            }
        }
    }
    ours.is_closed = matches!(ours.said.last(), Some(Said::Close(_)));
    ours
}

fn said(event: Event<'_>) -> Said {
    match event {
        Event::Text(text) => Said::Text(text.into_owned().into_bytes()),
        Event::Binary(bytes) => Said::Binary(bytes.into_owned()),
        Event::Ping(bytes) => Said::Ping(bytes.into_owned()),
        Event::Pong(bytes) => Said::Pong(bytes.into_owned()),
        Event::Close { code, .. } => Said::Close(code),
    }
}

/// What fastwebsockets makes of `bytes`, until they end, it refuses, or a Close comes.
fn theirs(bytes: &[u8]) -> (Vec<Said>, Option<fastwebsockets::WebSocketError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::io::join(bytes, tokio::io::sink());
        let mut socket = WebSocket::after_handshake(stream, Role::Server);
        socket.set_auto_pong(false);
        let mut collector = FragmentCollector::new(socket);
        let mut said = Vec::new();
        loop {
            let frame = match collector.read_frame().await {
                Ok(frame) => frame,
                Err(fastwebsockets::WebSocketError::UnexpectedEOF) => return (said, None),
                Err(error) => return (said, Some(error)),
            };
            let payload = frame.payload.to_vec();
            said.push(match frame.opcode {
                OpCode::Text => Said::Text(payload),
                OpCode::Binary => Said::Binary(payload),
                OpCode::Ping => Said::Ping(payload),
                OpCode::Pong => Said::Pong(payload),
                OpCode::Close => {
                    let code = payload.first_chunk().map(|raw| u16::from_be_bytes(*raw));
                    said.push(Said::Close(code));
                    return (said, None);
                }
                OpCode::Continuation => panic!("a collector never returns one"),
            });
        }
    })
}

/// Where fastwebsockets lets pass, or lets wait, what we refuse.
const fn is_stricter_here(violation: Violation) -> bool {
    match violation {
        // It takes frames that aren't masked; RFC 6455, 5.1, says the server must close.
        Violation::Unmasked
        // It checks the size of pings only.
        | Violation::LongControl
        // It reads any length form.
        | Violation::BadLength
        // An unfinished message is forgotten when another begins in fragments.
        | Violation::InterleavedMessage
        // It waits for the rest of a frame or message; a cut character at a message's end is
        // dropped.
        | Violation::NotUtf8
        // Its limits are others: 64 MiB a frame, none for fragments.
        | Violation::TooBig
        | Violation::TooManyFragments
        | Violation::TooManyEmptyFragments => true,
        // Judged when the head's first byte, or the whole Close, is there: nothing to be laxer
        // about, except that we don't wait for the rest of that head.
        Violation::ReservedBit
        | Violation::ReservedOpcode
        | Violation::FragmentedControl
        | Violation::OrphanContinuation
        | Violation::BadCloseCode => false,
    }
}

/// `rest` makes the last head and frame whole, so that what we refuse early they can refuse at all.
fn check(bytes: &[u8], piece: usize) {
    let ours = ours(bytes, piece);
    let completed = [bytes, &[0x80; 300][..]].concat();
    match ours.violation {
        // 1014 came into the registry late, and they don't know it.
        None if ours.said.last() == Some(&Said::Close(Some(1014))) => {}
        None => {
            let (said, error) = theirs(bytes);
            assert_eq!(ours.said, said, "the same messages ({error:?})");
            assert!(error.is_none() || ours.is_closed, "we accept what they refuse: {error:?}");
        }
        Some(violation) => {
            let (said, error) = theirs(&completed);
            let common = ours.said.len();
            assert_eq!(said.get(..common), Some(&ours.said[..]), "the same up to {violation:?}");
            let agrees = error.is_some() && said.len() == common;
            assert!(agrees || is_stricter_here(violation), "{violation:?}, but they: {said:?}");
        }
    }
}

/// A frame as a client sends it.
fn frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = touchline_core::frame::frame(first, payload).to_vec();
    let head_bytes = bytes.len() - payload.len();
    bytes[1] |= 0x80;
    bytes.splice(head_bytes..head_bytes, mask);
    for (byte, key) in bytes[head_bytes + 4..].iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    bytes
}

/// A text message in one or more fragments, cut anywhere, with control frames between them.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let cuts = proptest::collection::vec((any::<[u8; 4]>(), 0usize..40, control()), 1..5);
    ("[a-zé€😀]{0,60}", any::<bool>(), cuts).prop_map(|(text, is_text, cuts)| {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        for (n, (mask, cut, control)) in cuts.iter().enumerate() {
            let is_last = n + 1 == cuts.len();
            let (part, tail) =
                rest.split_at(if is_last { rest.len() } else { *cut.min(&rest.len()) });
            rest = tail;
            let opcode = if n > 0 { 0 } else { 2 - u8::from(is_text) };
            bytes.extend(frame(opcode | u8::from(is_last) << 7, *mask, part));
            bytes.extend_from_slice(control);
        }
        bytes
    })
}

/// Nothing, or a Ping or Pong.
fn control() -> impl Strategy<Value = Vec<u8>> {
    let payload = proptest::collection::vec(any::<u8>(), 0..126);
    (0u8..4, any::<[u8; 4]>(), payload).prop_map(|(kind, mask, payload)| match kind {
        0 => frame(0x89, mask, &payload),
        1 => frame(0x8a, mask, &payload),
        _ => Vec::new(),
    })
}

fn close() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![980u16..1020, 2990u16..3010, 4990u16..5010, any::<u16>()];
    prop_oneof![
        4 => Just(Vec::new()),
        1 => Just(frame(0x88, [1, 2, 3, 4], &[])),
        2 => code.prop_map(|code| frame(0x88, [1, 2, 3, 4], &code.to_be_bytes())),
    ]
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_client_that_keeps_the_protocol_is_understood_alike(
        messages in proptest::collection::vec(message(), 0..6),
        piece in 1usize..200,
    ) {
        let bytes = messages.concat();
        prop_assert_eq!(ours(&bytes, piece).violation, None);
        check(&bytes, piece);
    }

    #[test]
    fn one_wrong_byte_is_refused_by_both_or_by_us_for_a_named_reason(
        messages in proptest::collection::vec(message(), 1..4),
        at: prop::sample::Index,
        flip in 1u8..=255,
        close in close(),
        piece in 1usize..200,
    ) {
        let mut bytes = messages.concat();
        bytes.extend(close);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        check(&bytes, piece);
    }

    #[test]
    fn frames_in_any_order_are_judged_alike(
        frames in proptest::collection::vec((any::<u8>(), "[a-zé€😀]{0,9}"), 0..8),
        close in close(),
        piece in 1usize..200,
    ) {
        let mut bytes = Vec::new();
        for (first, payload) in frames {
            // Mostly without reserved bits, else nothing else would ever be reached.
            let first = if first % 8 == 0 { first } else { first & 0x8b };
            bytes.extend(frame(first, [5, 6, 7, 8], payload.as_bytes()));
        }
        bytes.extend(close);
        check(&bytes, piece);
    }
}
