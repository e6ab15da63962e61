//! What this host gives the process: cores, and open files.
//!
//! Facts are asked for once, at the start, and go into the plan of shards as plain values: the plan
//! itself knows no host and can be tested for any.

use rustix::process::{Resource, getrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// What the plan of shards is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Cores this thread may run on, ascending.
    pub cores: Vec<usize>,
    /// The hard limit on open files of one table.
    pub nofile_hard: u64,
}

/// Asks.
pub fn facts() -> Facts {
    let nofile_hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    Facts { cores: cores(), nofile_hard }
}

fn cores() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// This thread, and those it starts, run on the last core only, which is returned. Where there is
/// but one core, nothing changes.
///
/// # Errors
/// When the kernel refuses, as it may in a container.
pub fn confine_to_spare_core() -> std::io::Result<Option<usize>> {
    let cores = cores();
    let (Some(last), true) = (cores.last(), cores.len() > 1) else { return Ok(None) };
    let mut set = CpuSet::new();
    set.set(*last);
    sched_setaffinity(None, &set)?;
    Ok(Some(*last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_cores_and_files() {
        let facts = facts();
        assert!(!facts.cores.is_empty() && facts.cores.is_sorted());
        assert!(facts.nofile_hard > 0);
    }

    #[test]
    fn a_confined_thread_keeps_one_core_and_its_children_too() {
        let all = cores();
        let child = std::thread::spawn(|| {
            confine_to_spare_core().unwrap();
            std::thread::spawn(cores).join().unwrap()
        });
        let confined = child.join().unwrap();
        assert_eq!(confined.last(), all.last());
        assert_eq!(confined.len(), 1);
        assert_eq!(cores(), all, "the one that started it is not confined");
    }
}
