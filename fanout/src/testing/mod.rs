//! What end-to-end tests need: a log in memory, a client that speaks WebSocket by hand, and faults
//! on demand.
//!
//! Only with the feature `testing`; never in the binary.

mod client;
mod memory_log;

pub use client::{Client, Heard};
pub use memory_log::MemoryLog;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use touchline_core::frame::frame;
use touchline_core::ws::{Event, pong_frame};

/// What an echoing session answers.
pub(crate) fn echo(event: &Event<'_>) -> Option<Bytes> {
    match event {
        Event::Text(text) => Some(frame(0x81, text.as_bytes())),
        Event::Binary(bytes) => Some(frame(0x82, bytes)),
        Event::Ping(payload) => Some(pong_frame(payload)),
        Event::Pong(_) | Event::Close { .. } => None,
    }
}

/// Panics on demand, to prove what they cost.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A query or message that contains this panics.
    pub panic_on: Option<Arc<str>>,
    /// The next settlement of a send panics.
    pub panic_at_settle: Arc<AtomicBool>,
    /// The next turn panics, outside of any session.
    pub panic_in_turn: Arc<AtomicBool>,
    /// While it is set every send is put off, as on a host that has no memory for it.
    pub no_buffers: Arc<AtomicBool>,
    /// A message that contains `pause!` stops the shard for this many milliseconds.
    pub pause_ms: u64,
    /// Sessions say no `hello`, and send back every message instead of understanding it, and a pong
    /// for every ping: what conformance suites expect.
    pub echo: bool,
}

impl Faults {
    pub(crate) fn at_handshake(&self, query: &str) {
        self.strike(query.as_bytes());
    }

    pub(crate) fn at_message(&self, text: &[u8]) {
        if self.pause_ms > 0 && text.windows(6).any(|window| window == b"pause!") {
            std::thread::sleep(std::time::Duration::from_millis(self.pause_ms));
        }
        self.strike(text);
    }

    pub(crate) fn at_settle(&self) {
        assert!(!self.panic_at_settle.swap(false, Ordering::Relaxed), "asked for by a test");
    }

    pub(crate) fn puts_off(&self) -> bool {
        self.no_buffers.load(Ordering::Relaxed)
    }

    pub(crate) fn in_turn(&self) {
        assert!(!self.panic_in_turn.swap(false, Ordering::Relaxed), "asked for by a test");
    }

    fn strike(&self, bytes: &[u8]) {
        let Some(panic_on) = self.panic_on.as_deref().map(str::as_bytes) else { return };
        let is_hit = bytes.windows(panic_on.len()).any(|window| window == panic_on);
        assert!(!is_hit, "asked for by a test");
    }
}
