//! What the process may do: open files, locked memory, system calls, rings.

use io_uring::IoUring;

use crate::condition::Scene;
use crate::reading::{Place, Reading};

/// The hard limit on open files.
pub fn nofile(scene: &Scene) -> Reading {
    limit(scene, "Max open files")
}

/// The hard limit on locked memory, in bytes.
pub fn memlock(scene: &Scene) -> Reading {
    limit(scene, "Max locked memory")
}

/// A line of `/proc/PID/limits`: name, soft, hard, unit, in columns.
fn limit(scene: &Scene, name: &str) -> Reading {
    let limits = scene.root.text(&scene.root.of_self("limits")).unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    match line.and_then(|line| line.split_whitespace().nth(1)) {
        Some(hard) => Reading::Here(vec![Place::told(hard)], None),
        None => Reading::Unknown(format!("{} has no `{name}`", scene.root.of_self("limits"))),
    }
}

/// Whether a ring can be made: by making one.
pub fn io_uring(scene: &Scene) -> Reading {
    if !scene.root.is_host() {
        return match scene.root.told("io_uring") {
            Some(word) => Reading::Here(vec![Place::told(word)], None),
            None => Reading::Unknown("the tree doesn't tell".into()),
        };
    }
    if !scene.root.is_own_process() {
        return Reading::Unknown("only the process itself can try".into());
    }
    match IoUring::new(8) {
        Ok(_) => Reading::Here(vec![Place::told("usable")], None),
        Err(error) => Reading::Here(vec![Place::told("refused")], Some(error.to_string())),
    }
}

/// The system call filter.
pub fn seccomp(scene: &Scene) -> Reading {
    let status = scene.root.text(&scene.root.of_self("status")).unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    let word = match mode.map(str::trim) {
        Some("0") => "none",
        Some("1") => "strict",
        Some("2") => "filter",
        _ => return Reading::Unknown("the kernel doesn't tell".into()),
    };
    Reading::Here(vec![Place::told(word)], None)
}
