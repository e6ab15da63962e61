//! A ring that is used synchronously: many sends in one call, and the variants of it that the lab
//! compares.
//!
//! # Invariants
//! - When [`Ring::send_all`] returns every send is done; only bytes may still be lent, and those
//!   are static.

use std::io;
use std::os::fd::RawFd;

use io_uring::IoUring;
use io_uring::cqueue::{more, notif};

use super::Options;
use crate::sys::{self, RingSend, Send};

/// From `linux/io_uring.h`: the kernel copied bytes that were lent to it.
const WAS_COPIED: u32 = 1 << 31;

/// A ring for [`Ring::send_all`].
pub struct Ring {
    ring: IoUring,
    how: RingSend,
    /// Zero-copy sends whose bytes the kernel still reads.
    lent: u64,
    /// Zero-copy sends that were made.
    lent_ever: u64,
    /// Those whose bytes the kernel copied all the same.
    copied: u64,
}

impl Ring {
    /// A ring as `options` want it, for sockets with numbers below `files_max`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(options: &Options, files_max: u32) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer();
        match options.defer_taskrun {
            true => builder.setup_defer_taskrun().setup_taskrun_flag(),
            false => builder.setup_coop_taskrun(),
        };
        let entries = options.batch.next_power_of_two();
        if options.zero_copy {
            // Each send posts its result and, some time later, that its bytes are free.
            builder.setup_cqsize(entries * 8);
        }
        let ring = builder.build(entries)?;
        if options.registered_files {
            ring.submitter().register_files_sparse(files_max)?;
        }
        let how = RingSend { zero_copy: options.zero_copy, registered: options.registered_files };
        Ok(Self { ring, how, lent: 0, lent_ever: 0, copied: 0 })
    }

    /// Tells the ring of a socket, if it registers any.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn register(&self, fd: RawFd) -> io::Result<()> {
        self.update(fd, fd)
    }

    /// Has the ring let go of a socket, which it keeps open otherwise.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn forget(&self, fd: RawFd) -> io::Result<()> {
        self.update(fd, -1)
    }

    fn update(&self, number: RawFd, fd: RawFd) -> io::Result<()> {
        if self.how.registered {
            self.ring.submitter().register_files_update(number as u32, &[fd])?;
        }
        Ok(())
    }

    /// Hands all of `sends` to the kernel in one call. For each that did not go out whole `failed`
    /// is called with its index and what the kernel said: a byte count, or a negative errno.
    ///
    /// # Errors
    /// When there are more than the ring was made for, or the kernel refuses the call.
    pub fn send_all(
        &mut self,
        sends: &[Send],
        mut failed: impl FnMut(usize, i32),
    ) -> io::Result<()> {
        for (index, send) in sends.iter().enumerate() {
            if !sys::push_send(&mut self.ring, send, self.how, index as u64) {
                return Err(io::Error::other("volley exceeds its ring"));
            }
        }
        while !self.ring.submission().is_empty() {
            self.ring.submit()?;
        }
        self.reap(|index, result| {
            if result != sends[index].bytes.len() as i32 {
                failed(index, result);
            }
        })
    }

    /// Waits until the kernel has given back all bytes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn settle(&mut self) -> io::Result<()> {
        while self.lent > 0 {
            self.ring.submit_and_wait(1)?;
            self.reap(|_, _| {})?;
        }
        if self.lent_ever > 0 {
            let (lent, copied) = (self.lent_ever, self.copied);
            eprintln!("zero copy: the kernel copied {copied} of {lent} sends all the same");
        }
        Ok(())
    }

    fn reap(&mut self, mut done: impl FnMut(usize, i32)) -> io::Result<()> {
        loop {
            for completion in self.ring.completion() {
                let (flags, result) = (completion.flags(), completion.result());
                if notif(flags) {
                    self.lent -= 1;
                    self.copied += u64::from(result as u32 & WAS_COPIED != 0);
                    continue;
                }
                if more(flags) {
                    self.lent += 1;
                    self.lent_ever += 1;
                }
                done(completion.user_data() as usize, result);
            }
            if !self.ring.submission().cq_overflow() {
                return Ok(());
            }
            self.ring.submit()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    /// Two ends of a connection over loopback.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    #[test]
    fn every_kind_of_ring_reports_only_the_sends_that_fell_short() {
        for flags in ["", "--zero-copy", "--registered-files", "--defer-taskrun"] {
            let options = Options::parse_flags(flags).unwrap();
            let mut ring = Ring::new(&options, 1_000).expect("this test needs io_uring");
            let ((left, mut right), (dead, _peer), (full, _kept)) = (pair(), pair(), pair());
            dead.shutdown(std::net::Shutdown::Write).unwrap();
            while sys::send(full.as_raw_fd(), &[0; 4096]).is_ok() {}
            for socket in [&left, &dead, &full] {
                ring.register(socket.as_raw_fd()).unwrap();
            }
            let to = |socket: &TcpStream| Send { fd: socket.as_raw_fd(), bytes: b"goal" };
            let mut reports = Vec::new();
            let sends = [to(&left), to(&dead), to(&full)];
            ring.send_all(&sends, |index, result| reports.push((index, result))).unwrap();
            reports.sort_unstable();
            assert_eq!(reports, [(1, -libc::EPIPE), (2, -libc::EAGAIN)], "{flags}");
            let mut got = [0; 4];
            right.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"goal");
            ring.settle().unwrap();
            ring.forget(left.as_raw_fd()).unwrap();
        }
    }
}
