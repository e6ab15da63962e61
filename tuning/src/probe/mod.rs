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

const PROBES: &[(&str, Probe)] = &[
    ("nofile", process::nofile),
    ("memlock", process::memlock),
    ("io_uring", process::io_uring),
    ("seccomp", process::seccomp),
    ("conntrack", net::conntrack),
    ("softnet", net::softnet),
    ("nic", nic::nic),
    ("nic_queues", nic::queues),
    ("nic_ring_rx", nic::ring_rx),
    ("nic_ring_tx", nic::ring_tx),
    ("nic_coalescing", nic::coalescing),
    ("nic_irq_affinity", steering::irq_affinity),
    ("nic_rps", steering::rps),
    ("nic_rps_flows", steering::rps_flows),
    ("nic_xps", steering::xps),
    ("memory", memory::host),
    ("cgroup_memory", memory::group),
    ("numa", memory::numa),
    ("cores", cpu::cores),
    ("cgroup_cpu", cpu::quota),
    ("c_states", cpu::idle_states),
    ("mitigations", cpu::mitigations),
    ("kernel", cpu::kernel),
    ("ec2", cloud::instance),
    ("ena", cloud::driver),
    ("ena_allowances", cloud::allowances),
];

/// The probe of that name.
pub fn find(name: &str) -> Option<Probe> {
    PROBES.iter().find(|(other, _)| *other == name).map(|(_, probe)| *probe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knob::{self, Read};

    #[test]
    fn every_probe_serves_a_knob() {
        for (name, _) in PROBES {
            let serves = |knob: &knob::Knob| knob.read == Read::Probe((*name).into());
            assert!(knob::all().iter().any(serves), "{name}");
        }
    }
}
