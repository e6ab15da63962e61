//! Whether glommio, which opens the files of direct I/O, can run here. Asked before it is touched,
//! because it panics where it can't have its ring.

use std::path::Path;

use io_uring::IoUring;

/// glommio refuses to start below this much lockable memory.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// `Err` says in one clause why not.
pub fn ring_is_allowed() -> Result<(), String> {
    if let Err(error) = IoUring::new(8) {
        return Err(match error.raw_os_error() {
            Some(libc::EPERM) => "io_uring is forbidden here".into(),
            Some(libc::ENOSYS) => "this kernel has no io_uring".into(),
            _ => format!("io_uring can't be set up: {error}"),
        });
    }
    match memlock_bytes() {
        Some(limit) if limit < MEMLOCK_BYTES_MIN => {
            Err(format!("only {limit} bytes of memory may be locked, 524288 are needed"))
        }
        _ => Ok(()),
    }
}

/// The soft limit of lockable memory; `None` if there is none or it can't be learned.
fn memlock_bytes() -> Option<u64> {
    let limits = std::fs::read_to_string(Path::new("/proc/self/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}
