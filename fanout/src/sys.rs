//! The two system calls for which no crate of ours has a safe face: a private table of descriptors,
//! and emptying it.
//!
//! # Why it is unsafe
//! A descriptor's number means something in one table only. After [`part_tables`] this thread's
//! numbers and everybody else's are different things, so nothing that was opened before may be used
//! or dropped here, except what is `kept`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Gives the calling thread a table of its own that holds the standard streams and `kept`, and
/// nothing else.
///
/// Everything else that was open is closed in this table alone. Without that, sockets and files of
/// other threads would stay open here after their owners have closed them: a journal's segment
/// would keep its blocks, a peer would never see the end of its connection.
///
/// The caller owns no other descriptor, and will drop none that another thread opened: it is the
/// first thing a shard's thread does, and what it was given by others it gives back when it ends.
///
/// # Errors
/// When the kernel has no memory for the table.
pub(crate) fn part_tables(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    // SAFETY: no memory is involved; that numbers change their meaning for this thread is the
    // contract above.
    if unsafe { libc::unshare(libc::CLONE_FILES) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut kept: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    kept.sort_unstable();
    let mut from = 3;
    for number in kept {
        close_range(from, number.saturating_sub(1))?;
        from = from.max(number + 1);
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: the table was made a moment ago for this thread alone, and by the contract of
    // `part_tables` nobody here owns a number in this range.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_private_table_keeps_only_what_it_is_told_to() {
        let [(kept, far), (other, _peer)] = [(), ()].map(|()| std::io::pipe().unwrap());
        std::thread::scope(|scope| {
            let (kept, other) = (&kept, &other);
            let found = scope.spawn(move || {
                part_tables(&[kept.as_fd()]).unwrap();
                [kept.as_fd(), other.as_fd()].map(|fd| rustix::io::fcntl_getfd(fd).is_ok())
            });
            assert_eq!(found.join().unwrap(), [true, false]);
        });
        assert!(rustix::io::fcntl_getfd(&other).is_ok(), "other threads keep theirs");
        drop(far);
    }
}
