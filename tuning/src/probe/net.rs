//! What became of packets before any socket saw them, and who tracks connections.

use crate::condition::Scene;
use crate::reading::{Place, Reading};

/// Counters over all cores, since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Softnet {
    /// Handled.
    pub packets: u64,
    /// Dropped for a full backlog.
    pub dropped: u64,
    /// Rounds that ended for want of budget.
    pub squeezed: u64,
}

/// Adds up `/proc/net/softnet_stat`: a line a core, hexadecimal.
pub fn softnet_counts(scene: &Scene) -> Softnet {
    let text = scene.root.text("/proc/net/softnet_stat").unwrap_or_default();
    let mut sum = Softnet::default();
    for line in text.lines() {
        let mut numbers = line.split_whitespace().map(|n| u64::from_str_radix(n, 16).unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        sum.packets += next();
        sum.dropped += next();
        sum.squeezed += next();
    }
    sum
}

/// Packets dropped; how often a softirq was squeezed is told.
pub fn softnet(scene: &Scene) -> Reading {
    if !scene.root.exists("/proc/net/softnet_stat") {
        return Reading::Absent("there is no /proc/net/softnet_stat here".into());
    }
    let Softnet { packets, dropped, squeezed } = softnet_counts(scene);
    let note = format!("of {packets} packets since boot; {squeezed} rounds squeezed");
    Reading::Here(vec![Place::told(dropped.to_string())], Some(note))
}

/// Connections that are tracked now; `None` where the kernel can't track.
pub fn tracked(scene: &Scene) -> Option<u64> {
    scene.root.number("/proc/sys/net/netfilter/nf_conntrack_count")
}

/// Whether connections are tracked. The module alone costs nothing; a rule that needs it does.
pub fn conntrack(scene: &Scene) -> Reading {
    match tracked(scene) {
        None => Reading::Absent("the kernel has no connection tracking loaded".into()),
        Some(0) => Reading::Here(vec![Place::told("idle")], None),
        Some(count) => Reading::Here(vec![Place::told("in use")], Some(format!("{count} entries"))),
    }
}
