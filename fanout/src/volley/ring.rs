//! A volley through io_uring: one system call for up to 256 sends, and nothing to read back from
//! those that succeed.
//!
//! Each shot is an `IORING_OP_SEND` with `MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL` and
//! `IOSQE_CQE_SKIP_SUCCESS`. `MSG_DONTWAIT` makes the kernel finish it inside the submitting call
//! (such a request is never parked for readiness nor handed to a worker); `MSG_WAITALL` makes a
//! part count as a failure, so that it is reported with its count; the flag drops the completion of
//! what went out whole.
//!
//! # Why it is unsafe
//! The kernel reads the bytes through raw pointers. They stay valid because [`Ring::fire`] doesn't
//! return before the submission queue is empty, or else gives the whole ring up. The promise of
//! `bench`'s floor rows measures what it earns: 6 to 25 % of the CPU of a loop of `send`, by host
//! (`docs/decisions/volley.md`, `docs/performance.md`).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, squeue, types};
use rustix::io::Errno;

use super::{Miss, Outcome, Shot, outcome_of};
use crate::limits::{RING_RETRIES_MAX, VOLLEY_SENDS_MAX};

/// No ring for us.
#[derive(Debug, thiserror::Error)]
#[error("io_uring is not available: {0}")]
pub struct RingError(#[from] pub io::Error);

/// A ring that belongs to one thread and is used synchronously.
pub struct Ring {
    ring: IoUring,
    /// Number of the current submission, in the upper half of each completion's tag: what doesn't
    /// carry it is stale.
    round: u32,
}

impl Ring {
    /// A ring of [`VOLLEY_SENDS_MAX`] entries.
    ///
    /// # Errors
    /// When the kernel refuses (`EPERM` under seccomp or `kernel.io_uring_disabled`, `ENOMEM`,
    /// `EMFILE`, `ENOSYS`).
    pub(super) fn new() -> Result<Self, RingError> {
        let entries = VOLLEY_SENDS_MAX as u32;
        let modern = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_submit_all()
            .build(entries);
        let ring = match modern {
            // A kernel before 6.0 doesn't know these flags; they only save time.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => IoUring::new(entries)?,
            other => other?,
        };
        Ok(Self { ring, round: 0 })
    }

    /// Fires `shots`.
    ///
    /// # Errors
    /// The ring is of no use any more, and must be dropped; the number of shots that have been
    /// fired is given back.
    pub(super) fn fire(&mut self, shots: &[Shot<'_>], misses: &mut Vec<Miss>) -> Result<(), usize> {
        for (n, chunk) in shots.chunks(VOLLEY_SENDS_MAX).enumerate() {
            let first = n * VOLLEY_SENDS_MAX;
            self.fire_chunk(chunk, first, misses).map_err(|fired| first + fired)?;
        }
        Ok(())
    }

    fn fire_chunk(
        &mut self,
        shots: &[Shot<'_>],
        first: usize,
        misses: &mut Vec<Miss>,
    ) -> Result<(), usize> {
        self.round = self.round.wrapping_add(1);
        let mut queue = self.ring.submission();
        for (number, shot) in shots.iter().enumerate() {
            let entry = entry_of(shot).user_data(tag(self.round, number));
            // SAFETY: the descriptor and the bytes outlive this call of `fire`, and the kernel is
            // done with them when it has taken the entry (see the module). `Err` never leaves
            // entries behind: the caller drops the ring.
            if unsafe { queue.push(&entry) }.is_err() {
                return Err(0);
            }
        }
        drop(queue);
        let entered = self.enter(shots, first, misses);
        self.reap(shots, first, misses);
        entered
    }

    /// Submits until the queue is empty.
    fn enter(
        &mut self,
        shots: &[Shot<'_>],
        first: usize,
        misses: &mut Vec<Miss>,
    ) -> Result<(), usize> {
        let mut refusals = 0;
        loop {
            let result = self.ring.submit();
            let left = self.ring.submission().len();
            match result {
                _ if left == 0 => return Ok(()),
                Ok(taken) if taken > 0 => refusals = 0,
                _ if refusals == RING_RETRIES_MAX => return Err(shots.len() - left),
                // Interrupted, short of memory, or the completion queue is full: make room and
                // enter again.
                _ => refusals += 1,
            }
            self.reap(shots, first, misses);
        }
    }

    /// Takes every completion there is; also those that overflowed, which the kernel keeps until it
    /// is asked.
    fn reap(&mut self, shots: &[Shot<'_>], first: usize, misses: &mut Vec<Miss>) {
        loop {
            for entry in self.ring.completion() {
                let (round, number) = untag(entry.user_data());
                let Some(shot) = shots.get(number).filter(|_| round == self.round) else {
                    continue;
                };
                if let Some(outcome) = outcome_of_result(entry.result(), shot.bytes.len()) {
                    misses.push(Miss { shot: first + number, outcome });
                }
            }
            if !self.ring.submission().cq_overflow() || self.ring.submit().is_err() {
                return;
            }
        }
    }
}

fn entry_of(shot: &Shot<'_>) -> squeue::Entry {
    let len = u32::try_from(shot.bytes.len()).unwrap_or(u32::MAX);
    let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
    opcode::Send::new(types::Fd(shot.socket.as_raw_fd()), shot.bytes.as_ptr(), len)
        .flags(flags)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
}

fn outcome_of_result(result: i32, len: usize) -> Option<Outcome> {
    match usize::try_from(result) {
        Ok(sent) if sent >= len => None,
        Ok(sent) => Some(Outcome::Sent(sent)),
        Err(_) => Some(outcome_of(Errno::from_raw_os_error(-result))),
    }
}

fn tag(round: u32, number: usize) -> u64 {
    u64::from(round) << 32 | number as u64
}

fn untag(tag: u64) -> (u32, usize) {
    ((tag >> 32) as u32, tag as u32 as usize)
}

#[cfg(test)]
pub(super) mod testing {
    //! Trouble on demand.

    use super::*;

    impl Ring {
        /// Fills the completion queue past its end with completions that nobody asked for.
        pub(in crate::volley) fn overflow(&mut self) {
            let capacity = self.ring.completion().capacity();
            for n in 0..capacity + 64 {
                let entry = opcode::Nop::new().build().user_data(tag(u32::MAX, n));
                // SAFETY: a no-op refers to no memory.
                while unsafe { self.ring.submission().push(&entry) }.is_err() {
                    self.ring.submit().unwrap();
                }
            }
            self.ring.submit().unwrap();
            assert!(self.ring.submission().cq_overflow());
        }

        /// Puts a dead descriptor in the ring's place, so that entering it fails from now on.
        pub(in crate::volley) fn break_it(&mut self) {
            let null = std::fs::File::open("/dev/null").unwrap();
            // SAFETY: both are descriptors of this process; the ring's number now means
            // `/dev/null`.
            assert!(unsafe { libc::dup2(null.as_raw_fd(), self.ring.as_raw_fd()) } >= 0);
        }
    }

    #[test]
    fn what_the_kernel_answers_is_told_apart() {
        let errno = |number: i32| outcome_of_result(-number, 10);
        assert_eq!(outcome_of_result(10, 10), None);
        assert_eq!(outcome_of_result(3, 10), Some(Outcome::Sent(3)));
        assert_eq!(errno(libc::EAGAIN), Some(Outcome::Sent(0)));
        for busy in [libc::ENOBUFS, libc::ENOMEM, libc::ECANCELED, libc::EINTR] {
            assert_eq!(errno(busy), Some(Outcome::TryAgain), "{busy}");
        }
        assert_eq!(errno(libc::EPIPE), Some(Outcome::Dead(Errno::PIPE)));
        assert_eq!(errno(libc::ECONNRESET), Some(Outcome::Dead(Errno::CONNRESET)));
    }
}
