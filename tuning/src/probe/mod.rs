//! What can't be read from one file by its name: each a function from the scene to a reading.
//!
//! | module | what it looks at |
//! |---|---|
//! | [`process`] | limits, filters and rings of the process |
//! | [`net`] | softirqs, connection tracking |
//! | [`nic`] | settings of network interfaces |
//! | [`steering`] | interrupts, RPS, RFS, XPS |
//! | [`cpu`] | cores, quotas, idle states, mitigations, the kernel's version |
//! | [`memory`] | memory of host, group and nodes |
//! | [`cloud`] | EC2 and its network adapter |

pub mod cloud;
pub mod cpu;
pub mod memory;
pub mod net;
pub mod nic;
pub mod process;
pub mod steering;

use crate::condition::Scene;
use crate::reading::Reading;

/// Looks, and answers.
pub type Probe = fn(&Scene) -> Reading;

/// Name, function, and where it looks, for people.
const PROBES: &[(&str, Probe, &str)] = &[
    ("nofile", process::nofile, "the service's unit and drop-ins; /proc/PID/limits"),
    ("memlock", process::memlock, "the service's unit and drop-ins; /proc/PID/limits"),
    ("io_uring", process::io_uring, "SystemCallFilter= of the service's unit; by making a ring"),
    ("seccomp", process::seccomp, "SystemCallFilter= of the service's unit; /proc/PID/status"),
    ("conntrack", net::conntrack, "/proc/sys/net/netfilter/nf_conntrack_count"),
    ("softnet", net::softnet, "/proc/net/softnet_stat"),
    ("nic", nic::nic, "/sys/class/net"),
    ("nic_queues", nic::queues, "asked of the kernel, as `ethtool -l NIC`"),
    ("nic_ring_rx", nic::ring_rx, "asked of the kernel, as `ethtool -g NIC`"),
    ("nic_ring_tx", nic::ring_tx, "asked of the kernel, as `ethtool -g NIC`"),
    ("nic_coalescing", nic::coalescing, "asked of the kernel, as `ethtool -c NIC`"),
    ("nic_qdisc", nic::qdisc, "asked of the kernel, as `tc qdisc show dev NIC`"),
    ("nic_irq_affinity", steering::irq_affinity, "/proc/interrupts; /proc/irq/N/smp_affinity_list"),
    ("nic_rps", steering::rps, "/sys/class/net/NIC/queues/rx-N/rps_cpus"),
    ("nic_rps_flows", steering::rps_flows, "/sys/class/net/NIC/queues/rx-N/rps_flow_cnt"),
    ("nic_xps", steering::xps, "/sys/class/net/NIC/queues/tx-N/xps_cpus"),
    ("memory", memory::host, "/proc/meminfo"),
    (
        "cgroup_memory",
        memory::group,
        "MemoryMax= of the service's unit; memory.max, or memory.limit_in_bytes, of its slice and \
         those above, or of the process's groups",
    ),
    ("numa", memory::numa, "/sys/devices/system/node"),
    (
        "cores",
        cpu::cores,
        "CPUAffinity= and AllowedCPUs= of the service's unit; /proc/PID/status, Cpus_allowed_list",
    ),
    (
        "cgroup_cpu",
        cpu::quota,
        "CPUQuota= of the service's unit; cpu.max, or cpu.cfs_quota_us, of its slice and those \
         above, or of the process's groups",
    ),
    ("c_states", cpu::idle_states, "/sys/devices/system/cpu/cpu0/cpuidle/state*/latency"),
    ("mitigations", cpu::mitigations, "/sys/devices/system/cpu/vulnerabilities"),
    ("kernel", cpu::kernel, "/proc/sys/kernel/osrelease"),
    ("ec2", cloud::instance, "/sys/class/dmi/id"),
    ("ena", cloud::driver, "/sys/class/net/NIC/device/driver"),
    ("ena_allowances", cloud::allowances, "`ethtool -S NIC`"),
];

/// The probe of that name.
pub fn find(name: &str) -> Option<Probe> {
    PROBES.iter().find(|(other, ..)| *other == name).map(|(_, probe, _)| *probe)
}

/// Where the probe of that name looks.
pub fn words(name: &str) -> &'static str {
    PROBES.iter().find(|(other, ..)| *other == name).map_or("", |(_, _, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knob::{self, Read};

    #[test]
    fn every_probe_serves_a_knob() {
        for (name, ..) in PROBES {
            let serves = |knob: &knob::Knob| knob.read == Read::Probe((*name).into());
            assert!(knob::all().iter().any(serves), "{name}");
        }
    }
}
