//! What the kernel knows about a process and its host: CPU, memory, noise, facts.
//!
//! CPU time is the process's own clock (nanoseconds, threads that have ended included); how it
//! splits into user and kernel comes from `/proc/PID/stat`, whose ticks are coarse but whose ratio
//! is sound over seconds. On loopback the sender's kernel time contains the receiver's side of TCP,
//! for the floor as for the server.

mod host;

use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::sys;

pub use host::Host;

/// CPU used by a process up to a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    at_ns: u64,
    total_ns: u64,
    user_ticks: u64,
    kernel_ticks: u64,
}

/// CPU used by a process between two moments.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct CpuUse {
    /// In all, nanoseconds.
    pub total_ns: u64,
    /// The part of it spent in user space, 0 to 1.
    pub user_share: f64,
    /// In all, against the time that passed: 1 is a whole core.
    pub of_a_core: f64,
}

impl Cpu {
    /// Of process `pid` and all that it has started, now.
    pub fn of_tree(pid: u32) -> Result<Self> {
        let mut sum = Self::of(pid)?;
        for child in descendants(pid) {
            // One that has ended meanwhile used what nobody will know.
            let Ok(cpu) = Self::of(child) else { continue };
            sum.total_ns += cpu.total_ns;
            sum.user_ticks += cpu.user_ticks;
            sum.kernel_ticks += cpu.kernel_ticks;
        }
        Ok(sum)
    }

    /// Of process `pid`, now.
    pub fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("process {pid} has ended"))?;
        // The command stands in parentheses and may hold anything; fields are counted from its end.
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks = |field| number(rest.split(' ').nth(field));
        Ok(Self {
            at_ns: sys::now_ns(),
            total_ns: sys::process_cpu_ns(pid)?,
            user_ticks: ticks(11),
            kernel_ticks: ticks(12),
        })
    }

    /// The same process before it had used anything.
    pub fn at_birth(self) -> Self {
        Self { total_ns: 0, user_ticks: 0, kernel_ticks: 0, ..self }
    }

    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Self) -> CpuUse {
        let user = self.user_ticks.saturating_sub(earlier.user_ticks) as f64;
        let kernel = self.kernel_ticks.saturating_sub(earlier.kernel_ticks) as f64;
        let total_ns = self.total_ns.saturating_sub(earlier.total_ns);
        let passed = self.at_ns.saturating_sub(earlier.at_ns).max(1);
        CpuUse {
            total_ns,
            user_share: if user + kernel > 0.0 { user / (user + kernel) } else { 0.0 },
            of_a_core: total_ns as f64 / passed as f64,
        }
    }
}

/// What `/proc` shows user and kernel time in, wherever Linux shows ticks.
const TICK_NS: f64 = 10_000_000.0;
/// How often a kernel of 250 Hz looks which of the two it is (`CONFIG_TICK_CPU_ACCOUNTING`).
const LOOK_NS: f64 = 4_000_000.0;

impl CpuUse {
    /// How far off `user_share` may be, in 95 of 100 cases. The total is exact; its parts are a
    /// count of looks, with the error of any count, and are shown in whole ticks.
    pub fn user_share_error(&self) -> f64 {
        let total_ns = self.total_ns.max(1) as f64;
        let looks = (total_ns / LOOK_NS).max(1.0);
        let of_looks = 1.96 * (self.user_share * (1.0 - self.user_share) / looks).sqrt();
        of_looks.max(TICK_NS / total_ns).min(1.0)
    }

    /// Adds what another process used over the same time.
    pub fn add(&mut self, other: &Self) {
        let user_ns = |of: &Self| of.user_share * of.total_ns as f64;
        let user_ns = user_ns(self) + user_ns(other);
        self.total_ns += other.total_ns;
        self.user_share = user_ns / self.total_ns.max(1) as f64;
        self.of_a_core += other.of_a_core;
    }

    /// Adds what another process used over the same time, all of it in the kernel.
    pub fn add_kernel(&mut self, other: &Self) {
        let user_ns = self.user_share * self.total_ns as f64;
        self.total_ns += other.total_ns;
        self.user_share = user_ns / self.total_ns.max(1) as f64;
        self.of_a_core += other.of_a_core;
    }
}

/// Processes that `pid` has started, and theirs.
pub fn descendants(pid: u32) -> Vec<u32> {
    let parent_of = |entry: fs::DirEntry| {
        let child: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((child, number(stat.rsplit_once(") ")?.1.split(' ').nth(1)) as u32))
    };
    let all: Vec<(u32, u32)> =
        fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(parent_of).collect();
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        at += 1;
    }
    found.split_off(1)
}

/// The kernel's thread that does what is left of network work on `core` when somebody else wants
/// the core. Over loopback that work was made by whoever sends from there, so it belongs to him.
pub fn softirq_thread(core: usize) -> Option<u32> {
    let name = format!("ksoftirqd/{core}");
    fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        (one_line(&format!("/proc/{pid}/comm")) == name).then_some(pid)
    })
}

/// Memory of a process.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Resident bytes.
    pub rss_bytes: u64,
    /// Of these, private and written to: heap, stacks, rings.
    pub private_dirty_bytes: u64,
}

impl Memory {
    /// Of process `pid` and all that it has started, now.
    pub fn of_tree(pid: u32) -> Result<Self> {
        let mut sum = Self::of(pid)?;
        for memory in descendants(pid).into_iter().filter_map(|child| Self::of(child).ok()) {
            sum.rss_bytes += memory.rss_bytes;
            sum.private_dirty_bytes += memory.private_dirty_bytes;
        }
        Ok(sum)
    }

    /// Of process `pid`, now.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        Ok(Self {
            rss_bytes: kib(&text, "Rss:"),
            private_dirty_bytes: kib(&text, "Private_Dirty:"),
        })
    }
}

/// Resident bytes of processes: quick, and without a lock that they may want themselves. The first
/// must be alive; what the others have started may end at any time.
pub fn resident_bytes_of(pids: &[u32]) -> Result<u64> {
    let (first, others) = pids.split_first().context("no process")?;
    let others = others.iter().filter_map(|pid| resident_bytes(*pid).ok());
    Ok(resident_bytes(*first)? + others.sum::<u64>())
}

/// Resident bytes of process `pid`.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm"))
        .with_context(|| format!("process {pid} has ended"))?;
    Ok(number(text.split(' ').nth(1)) * sys::page_bytes())
}

/// Kernel memory in slabs (sockets, files, dentries), both ends of every loopback connection, in
/// bytes.
pub fn slab_bytes() -> u64 {
    kib(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "Slab:")
}

/// Busy time of one core so far, in nanoseconds.
pub fn core_busy_ns(core: usize) -> u64 {
    busy_ns_of(&format!("cpu{core} "))
}

/// The same of all cores together.
pub fn busy_ns() -> u64 {
    busy_ns_of("cpu ")
}

fn busy_ns_of(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = text.lines().find(|line| line.starts_with(name)) else { return 0 };
    let ticks: Vec<u64> = line.split_whitespace().skip(1).map(|text| number(Some(text))).collect();
    let idle = ticks.get(3).copied().unwrap_or(0) + ticks.get(4).copied().unwrap_or(0);
    // user to steal; guest time is part of user time
    let all: u64 = ticks.iter().take(8).sum();
    (all - idle) * TICK_NS as u64
}

fn one_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn kib(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    number(line.and_then(|rest| rest.split_whitespace().next())) * 1_024
}

fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_is_seen_to_be_busy() {
        let pid = std::process::id();
        let before = Cpu::of(pid).unwrap();
        let deadline = sys::now_ns() + 60_000_000;
        while sys::now_ns() < deadline {}
        let used = Cpu::of(pid).unwrap().since(&before);
        assert!(used.total_ns >= 10_000_000, "{used:?}");
        assert!(Memory::of(pid).unwrap().rss_bytes > 100_000);
        let by_pages = resident_bytes(pid).unwrap() as f64;
        let ratio = by_pages / Memory::of(pid).unwrap().rss_bytes as f64;
        assert!((0.5..2.0).contains(&ratio), "pages are {} bytes", sys::page_bytes());
        assert!(core_busy_ns(0) > 0 && busy_ns() >= core_busy_ns(0));
    }
}
