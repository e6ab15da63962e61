//! The real binary, started as an owner would: what it answers, how it ends, what it says when it
//! can't start.
//!
//! | module | its claim |
//! |---|---|
//! | `surface` | ports, webhooks, sockets, metrics and readiness are there, by both ways |
//! | `requests` | FAULTS 5 and 6 at the API port: bad heads get one answer, late ones cost nobody |
//! | `lifecycle` | signals, drains, reloads and the service manager get what they are promised |
//! | `refusals` | a start that can't be ends with one sentence that says what to do |
//! | `starting` | a node that isn't ready yet says so, and why |
//! | `commands` | every other command does its work and ends with the right code |
//!
//! (That nothing is lost where it is killed is `e2e_kill`.)

mod commands;
mod lifecycle;
mod refusals;
mod requests;
mod starting;
mod surface;

use std::path::{Path, PathBuf};

use touchline_tests::e2e::log::segments;

/// Flips a bit of the first record that holds `text`; the file that is damaged now.
fn damage(journal: &Path, text: &str) -> PathBuf {
    let segment = segments(journal).remove(0);
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(text.len()).position(|some| some == text.as_bytes()).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    segment
}
