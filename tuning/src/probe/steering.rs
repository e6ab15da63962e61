//! Which core handles a packet: interrupts, RPS, RFS, XPS.

use std::collections::BTreeSet;

use crate::condition::{Scene, has_few_queues};
use crate::machine::{Nic, numbers_of_list};
use crate::mask;
use crate::probe::nic::no_nics;
use crate::reading::{Place, Reading};
use crate::root::Root;

/// Flows that RFS remembers over all queues of a NIC.
const RPS_FLOWS: u64 = 32_768;

/// The cores that take each interrupt of the NICs. They are good where together they are spread
/// over as many cores as there are interrupts, or over all.
pub fn irq_affinity(scene: &Scene) -> Reading {
    if scene.machine.nics.is_empty() {
        return no_nics();
    }
    let Some(text) = scene.root.text("/proc/interrupts") else {
        return Reading::Unknown("/proc/interrupts can't be read".into());
    };
    let (mut places, mut notes) = (Vec::new(), Vec::new());
    for nic in &scene.machine.nics {
        let irqs = interrupts_of(&text, nic);
        let (own, note) = places_of(scene, nic, &irqs);
        notes.extend(note);
        places.extend(own);
    }
    if scene.root.exists("/run/irqbalance") {
        notes.push("irqbalance runs and may move them".into());
    }
    match places.is_empty() {
        true => Reading::Absent("the NIC's interrupts have no affinity of their own".into()),
        false => Reading::Here(places, (!notes.is_empty()).then(|| notes.join("; "))),
    }
}

fn places_of(scene: &Scene, nic: &Nic, irqs: &[u64]) -> (Vec<Place>, Option<String>) {
    let path = |irq: &u64| format!("/proc/irq/{irq}/smp_affinity_list");
    let read = |irq: &u64| Some((*irq, scene.root.raw(&path(irq)).ok()?));
    let found: Vec<(u64, String)> = irqs.iter().filter_map(read).collect();
    let takes = |(irq, list): &(u64, String)| {
        let effective = format!("/proc/irq/{irq}/effective_affinity_list");
        let effective = scene.root.text(&effective).filter(|list| !list.is_empty());
        effective.unwrap_or_else(|| list.trim().to_owned())
    };
    let lists: Vec<String> = found.iter().map(takes).collect();
    let taken: BTreeSet<u64> = lists.iter().flat_map(|list| numbers_of_list(list)).collect();
    let cores = taken.len() as u64;
    let is_spread = cores >= scene.machine.cores.min(found.len() as u64);
    let place = |(n, (irq, raw)): (usize, (u64, String))| {
        let numbers = &scene.machine.core_numbers;
        let core = numbers[n % numbers.len()].to_string();
        let want = if is_spread { raw.trim().to_owned() } else { core };
        Place::of_file(&path(&irq), raw, false)
            .called(format!("{} irq {irq}", nic.name))
            .wanting(want)
    };
    let (nic_name, irqs, all) = (&nic.name, found.len(), scene.machine.cores);
    let note = format!("{nic_name}: {irqs} interrupts on {cores} of {all} cores");
    let note = (!is_spread).then_some(note);
    (found.into_iter().enumerate().map(place).collect(), note)
}

/// Lines like ` 41: 12 0 PCI-MSIX-0000:00:05.0 1-edge eth0-Tx-Rx-0`. A virtual NIC's carry the name
/// of its device. What only manages the device moves no packets.
fn interrupts_of(text: &str, nic: &Nic) -> Vec<u64> {
    let names = [Some(nic.name.as_str()), nic.device.as_deref()];
    let is_ours = |action: &str| {
        let rest = names.iter().flatten().find_map(|name| action.strip_prefix(name));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
            && !["-config", "-mgmnt", "-event"].iter().any(|end| action.ends_with(end))
    };
    let irq = |line: &str| {
        let (irq, rest) = line.trim_start().split_once(':')?;
        rest.split_whitespace().any(is_ours).then(|| irq.parse().ok())?
    };
    text.lines().filter_map(irq).collect()
}

/// The cores to which each receive queue hands packets on.
pub fn rps(scene: &Scene) -> Reading {
    let every = mask::of(scene.machine.core_numbers.iter().copied());
    let is_useful = has_few_queues(scene.machine);
    per_queue(scene, "rx", "rps_cpus", |_, _, raw| match is_useful && mask::is_empty(raw) {
        true => every.clone(),
        false => raw.trim().to_owned(),
    })
}

/// The flows each receive queue steers to the core that reads them.
pub fn rps_flows(scene: &Scene) -> Reading {
    let is_useful = has_few_queues(scene.machine);
    per_queue(scene, "rx", "rps_flow_cnt", |nic, _, raw| match is_useful && raw.trim() == "0" {
        true => flows_of_queue(nic.rx_queues).to_string(),
        false => raw.trim().to_owned(),
    })
}

/// A queue's share; the kernel takes powers of two, and makes the next one of anything else.
fn flows_of_queue(queues: u64) -> u64 {
    (RPS_FLOWS / queues.max(1)).next_power_of_two()
}

/// The cores that use each transmit queue. With a single one there is nothing to choose, and the
/// kernel answers with an error.
pub fn xps(scene: &Scene) -> Reading {
    per_queue(scene, "tx", "xps_cpus", |nic, n, raw| {
        let numbers = (0u64..).zip(scene.machine.core_numbers.iter().copied());
        let own = numbers.filter(|(at, _)| at % nic.tx_queues == n);
        let own = mask::of(own.map(|(_, core)| core));
        // With more queues than cores some are nobody's, and stay so.
        let is_useful = nic.tx_queues > 1 && scene.machine.cores > 1 && !mask::is_empty(&own);
        match is_useful && mask::is_empty(raw) {
            true => own,
            false => raw.trim().to_owned(),
        }
    })
}

fn per_queue(
    scene: &Scene,
    kind: &str,
    file: &str,
    want: impl Fn(&Nic, u64, &str) -> String,
) -> Reading {
    if scene.machine.nics.is_empty() {
        return no_nics();
    }
    let mut places = Vec::new();
    for nic in &scene.machine.nics {
        let pattern = format!("/sys/class/net/{}/queues/{kind}-*/{file}", nic.name);
        for (n, path) in (0u64..).zip(scene.root.glob(&pattern)) {
            let Ok(raw) = scene.root.raw(&path) else { continue };
            let wanted = want(nic, n, &raw);
            let label = format!("{} {kind}-{n}", nic.name);
            places.push(Place::of_file(&path, raw, false).called(label).wanting(wanted));
        }
    }
    match places.is_empty() {
        true => Reading::Absent("the NIC has a single queue".into()),
        false => Reading::Here(places, None),
    }
}

/// The files that a driver may set anew when it rebuilds a NIC's queues, each with its knob.
pub fn rebuilt(root: &Root, nic: &Nic) -> Vec<(&'static str, String)> {
    let queues = |file: &str| root.glob(&format!("/sys/class/net/{}/queues/{file}", nic.name));
    let interrupts = root.text("/proc/interrupts").unwrap_or_default();
    let affinity = |irq: u64| format!("/proc/irq/{irq}/smp_affinity_list");
    let affinities = interrupts_of(&interrupts, nic).into_iter().map(affinity).collect();
    let all = [
        ("nic.irq_affinity", affinities),
        ("nic.rps", queues("rx-*/rps_cpus")),
        ("nic.rps_flows", queues("rx-*/rps_flow_cnt")),
        ("nic.xps", queues("tx-*/xps_cpus")),
        ("nic.xps", queues("tx-*/xps_rxqs")),
    ];
    let paths = |(knob, paths): (_, Vec<String>)| paths.into_iter().map(move |path| (knob, path));
    all.into_iter().flat_map(paths).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_of_a_queue_are_a_power_of_two() {
        let want = [(1, 32_768), (2, 16_384), (3, 16_384), (5, 8192), (6, 8192), (8, 4096)];
        for (queues, flows) in want.into_iter().chain([(0, 32_768), (40_000, 1)]) {
            assert_eq!(flows_of_queue(queues), flows, "{queues}");
        }
    }

    #[test]
    fn interrupts_are_known_by_their_names() {
        let nic = |name: &str, device: &str| Nic {
            name: name.into(),
            driver: None,
            device: Some(device.into()),
            rx_queues: 2,
            tx_queues: 2,
            node: None,
        };
        let text = "           CPU0       CPU1\n\
                    40:   0  1 PCI-MSIX-0000:00:05.0   0-edge   ena-mgmnt@pci:0000:00:05.0\n\
                    41:   7  0 PCI-MSIX-0000:00:05.0   1-edge   eth0-Tx-Rx-0\n\
                    42:   0  9 PCI-MSIX-0000:00:05.0   2-edge   eth0-Tx-Rx-1\n\
                    43:   0  9 PCI-MSIX-0000:00:06.0   2-edge   eth01-Tx-Rx-1\n\
                    37:   0  0 PCI-MSIX-0000:00:03.0   0-edge   virtio2-config\n\
                    38:   0  3 PCI-MSIX-0000:00:03.0   1-edge   virtio2-input.0\n\
                    LOC:  1  1 Local timer interrupts\n";
        assert_eq!(interrupts_of(text, &nic("eth0", "0000:00:05.0")), [41, 42]);
        assert_eq!(interrupts_of(text, &nic("ens3", "virtio2")), [38]);
    }
}
