//! Any bytes become the same events however they are cut, within the limits, and never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchline_core::ws::{FrameLimits, Parser};

const LIMITS: FrameLimits =
    FrameLimits { message_bytes_max: 300, fragments_max: 6, empty_fragments_max: 2 };

/// Each event as text: whatever differs shows.
fn feed(bytes: &[u8], piece: usize) -> Vec<String> {
    let mut parser = Parser::default();
    let mut said = Vec::new();
    for chunk in bytes.chunks(piece) {
        let mut scratch = chunk.to_vec();
        let mut input = &mut scratch[..];
        loop {
            match parser.next(&mut input, &LIMITS) {
                Ok(Some(event)) => said.push(format!("{event:?}")),
                Ok(None) => break,
                Err(violation) => {
                    assert!(violation.close_code().is_sendable());
                    said.push(format!("{violation:?}"));
                }
            }
        }
        assert!(input.is_empty(), "all of it was taken");
        assert!(parser.heap_bytes() <= 1_000, "{}", parser.heap_bytes());
        assert!(!parser.is_at_rest() || parser.heap_bytes() == 0);
    }
    said
}

fuzz_target!(|input: &[u8]| {
    let Some((piece, bytes)) = input.split_first() else { return };
    let whole = feed(bytes, bytes.len().max(1));
    assert_eq!(feed(bytes, usize::from(*piece) + 1), whole);
    assert_eq!(feed(bytes, 1), whole);
});
