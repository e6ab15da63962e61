//! The system calls that `std` and `socket2` don't offer, each behind a safe function of a few
//! lines.
//!
//! Receivers talk to raw descriptors: 50,000 sockets as `TcpStream`s in an async runtime would cost
//! more than the server under test spends on them, and a generator that is slower than its target
//! measures itself.
//!
//! # What it leaves out
//! Policy. Nothing here retries, logs or decides.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::net::SocketAddrV4;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::squeue::Flags;
use io_uring::{IoUring, opcode, types};

/// Of x86-64, and of ARM with pages of 4 KiB.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Nanoseconds on `CLOCK_MONOTONIC`: one clock for all processes of a host, which is what makes
/// latencies between them comparable.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec; the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Bytes of a page, in which the kernel counts memory.
pub fn page_bytes() -> u64 {
    // SAFETY: it takes a number and reads no memory of ours.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4_096)
}

/// CPU time that process `pid` has used so far, all threads that ever lived included, in
/// nanoseconds.
pub fn process_cpu_ns(pid: u32) -> io::Result<u64> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a live clockid_t.
    match unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) } {
        0 => {}
        error => return Err(io::Error::from_raw_os_error(error)),
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// CPU time of the calling thread, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec; the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Sleeps until [`now_ns`] reaches `deadline_ns`; returns at once when it has.
pub fn sleep_until(deadline_ns: u64) {
    let now = now_ns();
    if deadline_ns > now {
        std::thread::sleep(Duration::from_nanos(deadline_ns - now));
    }
}

/// Pins the calling thread, and what it starts from now on, to `core`.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set; CPU_SET bounds-checks by its array.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        set
    };
    // SAFETY: `set` outlives the call; 0 names the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })?;
    Ok(())
}

/// Lets the calling thread, and what it starts from now on, run on every core again that its cgroup
/// allows.
pub fn unpin() -> io::Result<()> {
    // SAFETY: all bits set is a valid cpu_set_t; the kernel leaves out cores that there aren't.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        (0..libc::CPU_SETSIZE as usize).for_each(|core| libc::CPU_SET(core, &mut set));
        set
    };
    // SAFETY: `set` outlives the call; 0 names the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })?;
    Ok(())
}

/// The core on which the calling thread runs.
pub fn current_core() -> io::Result<usize> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::sched_getcpu() }).map(|core| core as usize)
}

/// Gives the calling thread a descriptor table of its own: a copy of the shared one, with its own
/// limit.
pub fn unshare_files() -> io::Result<()> {
    // SAFETY: takes no pointers. Descriptors opened later mean nothing in other threads; callers
    // keep them local.
    check(unsafe { libc::unshare(libc::CLONE_FILES) })?;
    Ok(())
}

/// Raises the soft limit of open files to the hard one, which is returned.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_max)
}

/// A non-blocking TCP socket that is on its way to `target`, bound to the address `source` but to
/// no port yet (`IP_BIND_ADDRESS_NO_PORT`): the kernel picks one that is unique for the whole
/// connection, not for the address.
pub fn connect(
    source: SocketAddrV4,
    target: SocketAddrV4,
    rcvbuf: Option<i32>,
) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let raw = check(unsafe { libc::socket(libc::AF_INET, kind, 0) })?;
    // SAFETY: `raw` was just opened and belongs to nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    set_option(raw, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    set_option(raw, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    if let Some(bytes) = rcvbuf {
        set_option(raw, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)?;
    }
    let len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    let (from, to) = (sockaddr(source), sockaddr(target));
    // SAFETY: `from` is a live sockaddr_in of that length.
    check(unsafe { libc::bind(raw, (&raw const from).cast(), len) })?;
    // SAFETY: `to` is a live sockaddr_in of that length.
    match check(unsafe { libc::connect(raw, (&raw const to).cast(), len) }) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(fd),
    }
}

fn sockaddr(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

/// Sets an integer option of a socket.
pub fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` is a live i32 of that length.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) })?;
    Ok(())
}

/// Accepts one connection, non-blocking; `None` when none waits.
pub fn accept(listener: RawFd) -> io::Result<Option<OwnedFd>> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null address pointers are allowed.
    let got = unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
    match check(got) {
        // SAFETY: `raw` was just opened and belongs to nobody else.
        Ok(raw) => Ok(Some(unsafe { OwnedFd::from_raw_fd(raw) })),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Receives into `buffer` without blocking; 0 is the end of the stream.
pub fn recv(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `buffer` is writable for its length.
    let got =
        unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// Sends without blocking or a signal; may take less than all of `bytes`.
pub fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `bytes` is readable for its length.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// An epoll set.
pub struct Epoll(OwnedFd);

/// What one wait returned.
pub type Ready = libc::epoll_event;

impl Epoll {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers; the descriptor is new and ours.
        let raw = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: as above.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(raw) }))
    }

    /// Watches `fd` for `events` (`EPOLLIN`, ...), reported with `token`.
    pub fn add(&self, fd: RawFd, events: i32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        let set = self.0.as_raw_fd();
        // SAFETY: `event` is live; the kernel copies it.
        check(unsafe { libc::epoll_ctl(set, libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
        Ok(())
    }

    /// Stops watching `fd`.
    pub fn remove(&self, fd: RawFd) -> io::Result<()> {
        let set = self.0.as_raw_fd();
        // SAFETY: the event pointer is ignored for EPOLL_CTL_DEL.
        check(unsafe { libc::epoll_ctl(set, libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut()) })?;
        Ok(())
    }

    /// Waits up to `timeout_ms`; the first returned number of `ready` are filled.
    pub fn wait(&self, ready: &mut [Ready], timeout_ms: i32) -> io::Result<usize> {
        let len = ready.len() as i32;
        // SAFETY: `ready` is writable for `len` events.
        let got =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), ready.as_mut_ptr(), len, timeout_ms) };
        match check(got) {
            Ok(count) => Ok(count as usize),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// Asks the processor to fetch the cache line at `value` before it is needed.
#[inline]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect that a program can see, whatever the address. Measured by
    // the lab's experiment `records`, which is the only one to use it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Bytes that are only ever added to. They never move and are never freed, because a zero-copy send
/// reads them until the peer has acknowledged them, whatever has become of this process's plans.
pub struct Log {
    start: *mut u8,
    len: usize,
    capacity: usize,
}

impl Log {
    /// Room for `capacity` bytes, which take memory as they are written; in huge pages, as far as
    /// the host has any for those who ask.
    pub fn new(capacity: usize, huge: bool) -> io::Result<Self> {
        let capacity = capacity.max(1).next_multiple_of(HUGE_PAGE_BYTES);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let (none, reserved) = (std::ptr::null_mut(), capacity + HUGE_PAGE_BYTES);
        // SAFETY: a new anonymous mapping, at an address of the kernel's choice.
        let map = unsafe { libc::mmap(none, reserved, access, kind, -1, 0) };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = map.cast::<u8>().wrapping_add(map.align_offset(HUGE_PAGE_BYTES));
        if huge {
            // SAFETY: inside the mapping, since a huge page more than `capacity` was reserved.
            check(unsafe { libc::madvise(start.cast(), capacity, libc::MADV_HUGEPAGE) })?;
        }
        Ok(Self { start, len: 0, capacity })
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds `bytes`.
    pub fn append(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.capacity - self.len, "a log's capacity is known beforehand");
        // SAFETY: there is room, by the line above, and nobody has been given what lies above
        // `len`.
        unsafe { self.start.add(self.len).copy_from(bytes.as_ptr(), bytes.len()) };
        self.len += bytes.len();
    }

    /// The bytes of `range`.
    pub fn get(&self, range: Range<usize>) -> &'static [u8] {
        assert!(range.start <= range.end && range.end <= self.len, "a range of what was written");
        // SAFETY: written, by the line above; never written again, moved or unmapped.
        unsafe { std::slice::from_raw_parts(self.start.add(range.start), range.len()) }
    }
}

/// One send of a volley.
#[derive(Clone, Copy)]
pub struct Send {
    /// To whom.
    pub fd: RawFd,
    /// What; static because a zero-copy send reads it after the call.
    pub bytes: &'static [u8],
}

/// How a send goes through a ring.
#[derive(Clone, Copy, Debug, Default)]
pub struct RingSend {
    /// Its bytes are lent (SEND_ZC) rather than copied.
    pub zero_copy: bool,
    /// Its descriptor is one that the ring has registered under the same number.
    pub registered: bool,
}

/// From `linux/io_uring.h`, where the crate keeps it to itself: tell whether lent bytes were copied
/// all the same.
const REPORT_USAGE: u16 = 1 << 3;

/// Puts `send` into the submission queue; whether there was room. It completes within the call that
/// submits it, by MSG_DONTWAIT; as a whole or as a failure, by MSG_WAITALL.
pub fn push_send(ring: &mut IoUring, send: &Send, how: RingSend, user_data: u64) -> bool {
    let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
    let (start, len) = (send.bytes.as_ptr(), u32::try_from(send.bytes.len()).unwrap_or(u32::MAX));
    let (open, fixed) = (types::Fd(send.fd), types::Fixed(send.fd as u32));
    let entry = match (how.zero_copy, how.registered) {
        (false, false) => opcode::Send::new(open, start, len).flags(flags).build(),
        (false, true) => opcode::Send::new(fixed, start, len).flags(flags).build(),
        (true, false) => {
            opcode::SendZc::new(open, start, len).flags(flags).zc_flags(REPORT_USAGE).build()
        }
        (true, true) => {
            opcode::SendZc::new(fixed, start, len).flags(flags).zc_flags(REPORT_USAGE).build()
        }
    };
    // A zero-copy send says when its bytes are free; it may not be silent.
    let silent = if how.zero_copy { Flags::empty() } else { Flags::SKIP_SUCCESS };
    let entry = entry.flags(silent).user_data(user_data);
    // SAFETY: the bytes are static. Measured: a fifth less CPU per delivery than a loop of send(2).
    unsafe { ring.submission().push(&entry) }.is_ok()
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_what_was_added_where_it_was() {
        for huge in [false, true] {
            let mut log = Log::new(3 << 20, huge).unwrap();
            log.append(b"goal");
            let first = log.get(0..4);
            log.append(&vec![b'x'; 3 << 20]);
            assert_eq!((first, log.len()), (&b"goal"[..], (3 << 20) + 4));
            assert_eq!(log.get(2..6), b"alxx");
        }
    }

    #[test]
    fn the_clock_and_the_sleep_agree() {
        let deadline = now_ns() + 2_000_000;
        sleep_until(deadline);
        assert!(now_ns() >= deadline);
        sleep_until(0);
    }
}
