//! Memory of the host, of the process's groups, and of its nodes.

use crate::bounds::Judged;
use crate::condition::Scene;
use crate::reading::{Place, Reading};

/// Of the host.
pub fn host(scene: &Scene) -> Reading {
    match scene.machine.memory_bytes {
        0 => Reading::Unknown("/proc/meminfo doesn't tell".into()),
        bytes => Reading::Here(vec![Place::told(bytes.to_string())], None),
    }
}

/// The tightest limit of the groups, or of the service's unit.
pub fn group(scene: &Scene) -> Reading {
    let judged = Judged::of(scene.root);
    match &scene.machine.group_limit {
        None => Reading::Absent(judged.without("limit", "MemoryMax=")),
        Some((bytes, source)) => {
            Reading::Here(vec![Place::told(bytes.to_string())], judged.note(Some(source.clone())))
        }
    }
}

/// Nodes, and those of the NICs.
pub fn numa(scene: &Scene) -> Reading {
    let nodes = scene.machine.nodes;
    let on_node = |nic: &crate::machine::Nic| Some(format!("{} on node {}", nic.name, nic.node?));
    let nics: Vec<String> = scene.machine.nics.iter().filter_map(on_node).collect();
    let note = (nodes > 1 && !nics.is_empty()).then(|| nics.join(", "));
    let value = if nodes == 1 { "1 node".into() } else { format!("{nodes} nodes") };
    Reading::Here(vec![Place::told(value)], note)
}
