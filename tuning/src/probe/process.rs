//! What the process may do: open files, locked memory, system calls, rings.

use io_uring::IoUring;

use crate::bounds::Judged;
use crate::condition::Scene;
use crate::reading::{Place, Reading};
use crate::unit::Service;

/// The hard limit on open files.
pub fn nofile(scene: &Scene) -> Reading {
    limit(scene, "Max open files", "LimitNOFILE")
}

/// The hard limit on locked memory, in bytes.
pub fn memlock(scene: &Scene) -> Reading {
    limit(scene, "Max locked memory", "LimitMEMLOCK")
}

/// What counts is what the service gets; where there is no unit, or a process was named, what the
/// process has.
fn limit(scene: &Scene, name: &str, directive: &str) -> Reading {
    let own = limit_of_process(scene, name);
    let service = scene.root.judges_service().then(|| Service::read(scene.root));
    let given = service.as_ref().filter(|service| service.has_unit());
    match (given.map(|service| service.limit(scene.root, directive)), own) {
        (Some(Some(given)), own) => {
            let shell = own.map_or(String::new(), |hard| format!("; this shell gets {hard}"));
            let note = format!("what the service gets, by {}{shell}", given.source());
            Reading::Here(vec![Place::told(given.text())], Some(note))
        }
        (Some(None), Some(hard)) => {
            let note = format!("what this shell gets; touchline.service has no {directive}=");
            Reading::Here(vec![Place::told(hard)], Some(note))
        }
        (None, Some(hard)) => {
            let note = service.map(|_| "what this shell gets; there is no touchline.service");
            Reading::Here(vec![Place::told(hard)], note.map(str::to_owned))
        }
        (_, None) => Reading::Unknown(format!("{} has no `{name}`", scene.root.of_self("limits"))),
    }
}

/// A line of `/proc/PID/limits`: name, soft, hard, unit, in columns.
fn limit_of_process(scene: &Scene, name: &str) -> Option<String> {
    let limits = scene.root.text(&scene.root.of_self("limits"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(1).map(str::to_owned)
}

/// Whether a ring can be made: by what the service's unit forbids, then by making one.
pub fn io_uring(scene: &Scene) -> Reading {
    let note = match Judged::of(scene.root) {
        Judged::Service(service) => match service.ring_fault() {
            Some(fault) => return Reading::Here(vec![Place::told("refused")], Some(fault)),
            None => "as this shell tried it; touchline.service doesn't forbid it",
        },
        Judged::Shell => "as this shell tried it; there is no touchline.service",
        Judged::Process => return try_ring(scene),
    };
    match try_ring(scene) {
        Reading::Here(places, said) => {
            let said = said.map_or_else(String::new, |said| format!("{said}; "));
            Reading::Here(places, Some(format!("{said}{note}")))
        }
        reading => reading,
    }
}

fn try_ring(scene: &Scene) -> Reading {
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
    let judged = Judged::of(scene.root);
    if let Judged::Service(service) = &judged
        && let Some(file) = service.filtered_by()
    {
        let note = format!("SystemCallFilter= in {file}");
        return Reading::Here(vec![Place::told("filter")], Some(note));
    }
    let note = match judged {
        Judged::Service(_) => {
            Some("this shell's; touchline.service has no SystemCallFilter=".to_owned())
        }
        other => other.note(None),
    };
    let status = scene.root.text(&scene.root.of_self("status")).unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    let word = match mode.map(str::trim) {
        Some("0") => "none",
        Some("1") => "strict",
        Some("2") => "filter",
        _ => return Reading::Unknown("the kernel doesn't tell".into()),
    };
    Reading::Here(vec![Place::told(word)], note)
}
