//! Many sends at once: the hand that gives a round of the hub to the kernel.
//!
//! A [`Launcher`] takes [`Shot`]s, one send each, and reports only the [`Miss`]es: what did not go
//! out whole. There are two: [`ring`] submits hundreds of sends with one `io_uring_enter`, and
//! [`plain`] calls `send` for each. They behave alike, so nothing above knows which one works; a
//! ring that fails on the way is replaced by plain sends for good.
//!
//! # Invariants
//! - When [`Launcher::fire`] returns nothing is in flight: shots borrow their bytes for the call
//!   only.
//! - A shot that is not among the misses was taken whole by the kernel.
//! - Nothing here blocks: a socket without room answers [`Outcome::Sent`] with what fitted, zero
//!   for nothing.
//!
//! # What it leaves out
//! Who is sent what (`hub`), and what a dead socket means (`shard`).

mod plain;
mod ring;

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

pub use ring::RingError;

/// One send.
#[derive(Clone, Copy, Debug)]
pub struct Shot<'a> {
    /// Where to.
    pub socket: BorrowedFd<'a>,
    /// What; never empty.
    pub bytes: &'a [u8],
}

/// A shot that did not go out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    /// Which one.
    pub shot: usize,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a shot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many bytes of it went out, fewer than it has; the socket will say when it has room again.
    Sent(usize),
    /// Nothing went out, for a reason that isn't the socket's (the host is short of memory, the
    /// send was cancelled). No readiness will follow: try again in a while.
    TryAgain,
    /// The peer is gone.
    Dead(Errno),
}

/// Sends volleys.
pub enum Launcher {
    /// By a ring of its own.
    Ring(Box<ring::Ring>),
    /// By `send`, once for each.
    Plain,
}

impl Launcher {
    /// A launcher on a ring.
    ///
    /// # Errors
    /// When the host has none for us: the caller goes on with [`Launcher::Plain`] and says so.
    pub fn ring() -> Result<Self, RingError> {
        ring::Ring::new().map(|ring| Self::Ring(Box::new(ring)))
    }

    /// Fires all `shots` and adds the misses, in no particular order. Answers whether a ring has
    /// failed and been replaced; the shots were fired all the same.
    pub fn fire(&mut self, shots: &[Shot<'_>], misses: &mut Vec<Miss>) -> bool {
        let Self::Ring(ring) = self else {
            plain::fire(shots, 0, misses);
            return false;
        };
        match ring.fire(shots, misses) {
            Ok(()) => false,
            Err(fired) => {
                *self = Self::Plain;
                plain::fire(shots, fired, misses);
                true
            }
        }
    }

    /// Whether it is a ring.
    pub fn is_ring(&self) -> bool {
        matches!(self, Self::Ring(_))
    }
}

/// What an error number of a send means.
fn outcome_of(errno: Errno) -> Outcome {
    match errno {
        Errno::AGAIN => Outcome::Sent(0),
        Errno::NOBUFS | Errno::NOMEM | Errno::INTR | Errno::CANCELED => Outcome::TryAgain,
        errno => Outcome::Dead(errno),
    }
}

#[cfg(test)]
mod tests;
