//! When a knob concerns a host, when its advice is worth giving, and when its need is real.

use crate::machine::{Machine, Need};
use crate::probe::net;
use crate::root::Root;

/// All that judging reads.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Files.
    pub root: &'a Root,
    /// Facts.
    pub machine: &'a Machine,
    /// The configuration's wishes.
    pub need: &'a Need,
}

/// A condition: its name in `knobs.toml`, what is said where it doesn't hold, and whether it does.
pub struct Condition {
    name: &'static str,
    /// Said where it doesn't hold.
    pub otherwise: &'static str,
    /// Whether it holds.
    pub holds: fn(&Scene) -> bool,
}

const CONDITIONS: &[Condition] = &[
    Condition {
        name: "numa",
        otherwise: "one memory node",
        holds: |scene| scene.machine.nodes > 1,
    },
    Condition { name: "ec2", otherwise: "not EC2", holds: |scene| scene.machine.ec2.is_some() },
    Condition {
        name: "ena",
        otherwise: "no ENA here",
        holds: |scene| scene.machine.nics.iter().any(|nic| nic.driver.as_deref() == Some("ena")),
    },
    Condition {
        name: "io_uring_required",
        otherwise: "`node.io` leaves a way out",
        holds: |scene| scene.need.io_uring_required,
    },
    Condition {
        name: "conntrack_in_use",
        otherwise: "no connection is tracked",
        holds: |scene| net::tracked(scene).is_some_and(|count| count > 0),
    },
    Condition {
        name: "squeezed",
        otherwise: "no softirq ran out of it so far",
        // One round in ten thousand packets is noise.
        holds: |scene| {
            let softnet = net::softnet_counts(scene);
            softnet.squeezed * 10_000 > softnet.packets
        },
    },
    Condition {
        name: "backlog_matters",
        otherwise: "nothing dropped so far, and no packets are steered",
        holds: |scene| net::softnet_counts(scene).dropped > 0 || has_few_queues(scene.machine),
    },
    Condition {
        name: "few_queues",
        otherwise: "the NIC has queues enough",
        holds: |scene| has_few_queues(scene.machine),
    },
];

/// Whether some NIC has fewer than half as many receive queues as there are cores.
pub fn has_few_queues(machine: &Machine) -> bool {
    machine.nics.iter().any(|nic| nic.rx_queues > 0 && nic.rx_queues * 2 < machine.cores)
}

/// The condition of that name.
pub fn find(name: &str) -> Option<&'static Condition> {
    CONDITIONS.iter().find(|condition| condition.name == name)
}

/// Whether it holds; what isn't asked always does.
pub fn holds(name: Option<&str>, scene: &Scene) -> bool {
    name.and_then(find).is_none_or(|condition| (condition.holds)(scene))
}
