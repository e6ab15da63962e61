//! The running binary against what FAULTS.md says may come over the wire or from the disk, and the
//! whole path on both ways to the kernel.
//!
//! | module | its claim |
//! |---|---|
//! | `path` | webhook, socket, resume, drain: the same on io_uring and on epoll with plain files |
//! | `handshake` | FAULTS 1 to 8 and 11: what isn't an upgrade gets one answer and no tunnel |
//! | `frames` | FAULTS 14 to 19, 21 and 25: what a client may not send ends with the right code |
//! | `peers` | FAULTS 13, 22, 23 and 41: too many, dead, slow, too few descriptors |
//! | `proxied` | FAULTS 5, 6 and 13 behind a load balancer: its clients have addresses of their own |
//! | `webhooks` | FAULTS 27: nothing of a delivery that is refused enters the log |
//! | `resume` | FAULTS 24: a resume is whole, or it is said not to be |
//! | `surroundings` | FAULTS 41: a control group's memory; and a terminal |
//! | `disk` | FAULTS 31 and 32: damage is named, a full disk refuses sources and nobody else |
//!
//! Whatever a test did, [`is_sound`] shows that everybody else is served as before.

mod disk;
mod frames;
mod handshake;
mod path;
mod peers;
mod proxied;
mod resume;
mod surroundings;
mod webhooks;

use touchline_tests::e2e::http::event;
use touchline_tests::e2e::server::{Backend, Server};
use touchline_tests::e2e::socket::Socket;

/// Runs `test` on both ways to the kernel.
fn both(test: impl Fn(Backend)) {
    Backend::ALL.into_iter().for_each(test);
}

/// A webhook still reaches a socket, and no shard has had to save itself from a panic.
fn is_sound(server: &Server) {
    let mut socket = Socket::open(server.addresses().stream, "teams=afterwards");
    socket.hear_op("subscribed");
    let id = format!("afterwards-{}", server.metric("touchline_log_records_total"));
    server.accept(&event(&id, &["afterwards"]));
    assert_eq!(socket.hear_op("event")["id"], id);
    assert_eq!(server.metric("touchline_session_panics_total"), 0.0);
}
