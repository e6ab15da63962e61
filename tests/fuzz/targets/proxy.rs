//! A PROXY header gets the same verdict however it is cut, costs no more memory than it may, and
//! never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchline_core::limits::PROXY_HEADER_BYTES_MAX;
use touchline_core::proxy::{ProxyHeader, ProxyProgress};

/// The verdict, with what was taken of all that was fed.
fn feed(bytes: &[u8], piece: usize) -> ProxyProgress {
    let mut header = ProxyHeader::default();
    let mut before = 0;
    for chunk in bytes.chunks(piece) {
        match header.feed(chunk) {
            ProxyProgress::NeedMore => {
                before += chunk.len();
                assert!(header.heap_bytes() <= 2 * PROXY_HEADER_BYTES_MAX);
                assert!((1..=PROXY_HEADER_BYTES_MAX).contains(&header.wanted()));
            }
            ProxyProgress::Complete { client, taken } => {
                assert!(taken <= chunk.len());
                return ProxyProgress::Complete { client, taken: before + taken };
            }
            refused => return refused,
        }
    }
    ProxyProgress::NeedMore
}

fuzz_target!(|input: &[u8]| {
    let Some((piece, bytes)) = input.split_first() else { return };
    let whole = feed(bytes, bytes.len().max(1));
    assert_eq!(feed(bytes, usize::from(*piece) + 1), whole);
    if let ProxyProgress::Complete { taken, .. } = whole {
        assert!((16..=PROXY_HEADER_BYTES_MAX).contains(&taken));
    }
});
