//! What each round has cost, written down.
//!
//! A send over loopback also delivers: most of that happens on this thread, but now and then the
//! kernel leaves it to a thread of its own (`ksoftirqd`), which works for a round as long as the
//! next has not begun. A cost without that would favour whatever makes the kernel put work off.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::{probe, sys};

/// A file with a line for each round: the number of the hand, CPU in nanoseconds, sends.
pub struct Ledger {
    file: File,
    softirq_thread: Option<u32>,
    softirq_ns: u64,
    begin_ns: u64,
    /// A round that is over, but for what the kernel's thread still does for it.
    last: Option<(usize, u64, usize)>,
}

impl Ledger {
    /// A new file, for the calling thread and the core to which it is pinned.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn new(path: &Path) -> io::Result<Self> {
        let softirq_thread = probe::softirq_thread(sys::current_core()?);
        let file = File::create(path)?;
        Ok(Self { file, softirq_thread, softirq_ns: 0, begin_ns: 0, last: None })
    }

    /// A round begins.
    ///
    /// # Errors
    /// When the one before it can't be written.
    pub fn begin(&mut self) -> io::Result<()> {
        let softirq_ns = self.softirq_thread.and_then(|pid| sys::process_cpu_ns(pid).ok());
        let softirq_ns = softirq_ns.unwrap_or(0);
        if let Some((hand, spent_ns, sends)) = self.last.take() {
            let spent_ns = spent_ns + (softirq_ns - self.softirq_ns);
            writeln!(self.file, "{hand} {spent_ns} {sends}")?;
        }
        self.softirq_ns = softirq_ns;
        self.begin_ns = sys::thread_cpu_ns();
        Ok(())
    }

    /// It is over, and `hand` made so many sends.
    pub fn end(&mut self, hand: usize, sends: usize) {
        self.last = Some((hand, sys::thread_cpu_ns() - self.begin_ns, sends));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_written_once_the_next_one_begins() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut ledger = Ledger::new(path.path()).unwrap();
        ledger.begin().unwrap();
        ledger.end(1, 20);
        assert_eq!(std::fs::read_to_string(path.path()).unwrap(), "");
        ledger.begin().unwrap();
        let text = std::fs::read_to_string(path.path()).unwrap();
        assert!(text.starts_with("1 ") && text.ends_with(" 20\n"), "{text}");
    }
}
