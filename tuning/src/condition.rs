//! When a knob concerns a host, when its advice is worth giving, and when its need is real.

use crate::machine::{Machine, Need};
use crate::probe::net::{self, Softnet};
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

/// A condition: its name in `knobs.toml`, its words for people, what is said where it doesn't hold,
/// and whether it does.
pub struct Condition {
    name: &'static str,
    /// When it holds, as the end of a sentence.
    pub words: &'static str,
    /// Said where it doesn't hold.
    pub otherwise: fn(&Scene) -> String,
    /// Whether it holds.
    pub holds: fn(&Scene) -> bool,
}

const CONDITIONS: &[Condition] = &[
    Condition {
        name: "numa",
        words: "where there are several memory nodes",
        otherwise: |_| "one memory node".into(),
        holds: |scene| scene.machine.nodes > 1,
    },
    Condition {
        name: "ec2",
        words: "on EC2",
        otherwise: |_| "not EC2".into(),
        holds: |scene| scene.machine.ec2.is_some(),
    },
    Condition {
        name: "ena",
        words: "with an elastic network adapter",
        otherwise: |_| "no ENA here".into(),
        holds: |scene| scene.machine.nics.iter().any(|nic| nic.driver.as_deref() == Some("ena")),
    },
    Condition {
        name: "io_uring_required",
        words: "where `node.io` insists on io_uring",
        otherwise: |_| "`node.io` leaves a way out".into(),
        holds: |scene| scene.need.io_uring_required,
    },
    Condition {
        name: "conntrack_in_use",
        words: "once a connection is tracked",
        otherwise: |_| "no connection is tracked".into(),
        holds: |scene| net::tracked(scene).is_some_and(|count| count > 0),
    },
    Condition {
        name: "squeezed",
        words: "once softirqs run out of it more than once in 10,000 packets",
        otherwise: |scene| match net::softnet_counts(scene) {
            Softnet { squeezed: 0, .. } => "no softirq ran out of it so far".into(),
            Softnet { packets, squeezed, .. } => format!(
                "{squeezed} rounds ran out of it in {packets} packets: less than once in 10,000"
            ),
        },
        // One round in ten thousand packets is noise.
        holds: |scene| {
            let softnet = net::softnet_counts(scene);
            softnet.squeezed * 10_000 > softnet.packets
        },
    },
    Condition {
        name: "backlog_matters",
        words: "once packets were dropped, or where they are steered",
        otherwise: |_| "nothing dropped so far, and no packets are steered".into(),
        holds: |scene| net::softnet_counts(scene).dropped > 0 || has_few_queues(scene.machine),
    },
    Condition {
        name: "few_queues",
        words: "where a NIC has fewer than half as many queues as there are cores",
        otherwise: |_| "the NIC has queues enough".into(),
        holds: |scene| has_few_queues(scene.machine),
    },
    Condition {
        name: "swap",
        words: "where there is swap",
        otherwise: |_| "there is no swap".into(),
        holds: |scene| scene.machine.swap_bytes > 0,
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
