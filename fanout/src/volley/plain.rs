//! A volley as a loop of `send(2)`: where io_uring is forbidden, and as the measure of what the
//! ring saves.

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{SendFlags, send};

use super::{Miss, Outcome, Shot, outcome_of};

/// Sends `shots` from the one with number `first` on.
pub(super) fn fire(shots: &[Shot<'_>], first: usize, misses: &mut Vec<Miss>) {
    for (number, shot) in shots.iter().enumerate().skip(first) {
        if let Some(outcome) = send_whole(shot) {
            misses.push(Miss { shot: number, outcome });
        }
    }
}

/// A stream socket that doesn't block may take a part although there is room for more (a signal, a
/// segment boundary), and only one that has said EAGAIN tells when there is room again: so ask
/// until it is whole or refuses.
fn send_whole(shot: &Shot<'_>) -> Option<Outcome> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let mut sent = 0;
    while sent < shot.bytes.len() {
        match retry_on_intr(|| send(shot.socket, &shot.bytes[sent..], flags)) {
            Ok(count) => sent += count,
            Err(Errno::AGAIN) => return Some(Outcome::Sent(sent)),
            Err(errno) if sent == 0 => return Some(outcome_of(errno)),
            // What went out counts; the error shows again at the next send.
            Err(_) => return Some(Outcome::Sent(sent)),
        }
    }
    None
}
