//! The running binary, as its owner, a partner and a client see it.
//!
//! | module | what it is |
//! |---|---|
//! | [`server`] | a `touchline serve` of its own for each test: started, killed, asked, ended |
//! | [`brokers`] | real Kafka brokers, killed and started again |
//! | [`haproxy`] | a real HAProxy, on the file that is deployed |
//! | [`http`] | one request on a connection of its own, and webhooks as a partner signs them |
//! | [`socket`] | a WebSocket client that can do everything wrong, and tells errors from silence |
//! | [`proxy`] | PROXY headers, and requests behind one |
//! | [`log`] | what the log holds, read by `touchline log dump`, and its files |
//!
//! Nothing here calls into the product but for signing and for reading tokens: what is under test
//! is the process. Where a call may fail because the process has just been killed, it returns an
//! error; where it can't, it panics with the server's own log.

pub mod brokers;
pub mod haproxy;
pub mod http;
pub mod log;
pub mod proxy;
pub mod server;
pub mod socket;

use std::time::{Duration, Instant};

/// Longer than anything takes on a busy host; only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `done`.
///
/// # Panics
/// When it isn't within [`PATIENCE`].
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
