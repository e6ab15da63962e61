//! A head gets the same verdict however it is cut, costs no more memory than it may, and never
//! panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchline_core::limits::REQUEST_HEAD_BYTES_MAX;
use touchline_core::ws::{Handshake, OriginPolicy, Progress, Request};

#[derive(Debug, PartialEq)]
enum Verdict {
    More,
    Upgrade(Request),
    Other(Progress),
}

fn feed(bytes: &[u8], piece: usize) -> Verdict {
    let origins = OriginPolicy { board_port: Some(8081), exact: vec!["https://a.example".into()] };
    let mut handshake = Handshake::default();
    for chunk in bytes.chunks(piece) {
        match handshake.feed(chunk, &origins) {
            Progress::NeedMore => assert!(handshake.heap_bytes() <= 2 * REQUEST_HEAD_BYTES_MAX),
            Progress::Upgrade { request, taken } => {
                assert!((1..=chunk.len()).contains(&taken));
                return Verdict::Upgrade(request);
            }
            other => return Verdict::Other(other),
        }
    }
    Verdict::More
}

fuzz_target!(|input: &[u8]| {
    let Some((piece, bytes)) = input.split_first() else { return };
    let whole = feed(bytes, bytes.len().max(1));
    assert_eq!(feed(bytes, usize::from(*piece) + 1), whole);
    if let Verdict::Upgrade(request) = whole {
        assert!(request.response().ends_with(b"\r\n\r\n"));
    }
});
