//! A host that is changed and changed back: what the tests of that share.

use std::fs;
use std::path::PathBuf;

use crate::apply::{Outcome, apply, apply_with};
use crate::plan::{Plan, Wish, write_spot};
use crate::reading::Spot;
use crate::record::{Record, list};
use crate::testing::{Tree, judge_host, need};
use crate::unit::Service;

/// A host with something of each kind to set; no list with a chosen word, which a plain file
/// doesn't give back as the kernel does.
pub fn host() -> Tree {
    let tree = Tree::host(8);
    tree.nic("eth0", "ena", 2)
        .unit(4096)
        .file("/told/ethtool/eth0", "ring_rx 1024 8192\nqueues 4 4\n")
        .file("/proc/irq/41/smp_affinity_list", "0\n")
        .file("/proc/irq/42/smp_affinity_list", "0\n")
        .file("/proc/interrupts", "41: 7 PCI 1-edge eth0-Tx-Rx-0\n42: 9 PCI 2-edge eth0-Tx-Rx-1\n")
        .file("/proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t65536\n")
        .file("/proc/sys/net/ipv4/tcp_slow_start_after_idle", "1\n")
        .file("/sys/kernel/mm/transparent_hugepage/enabled", "madvise\n");
    tree
}

/// Where an admin has steered by hand, and it is good so.
const STEERED: [(&str, &str); 6] = [
    ("/proc/irq/41/smp_affinity_list", "2\n"),
    ("/proc/irq/42/smp_affinity_list", "3\n"),
    ("/sys/class/net/eth0/queues/rx-0/rps_cpus", "f0\n"),
    ("/sys/class/net/eth0/queues/rx-1/rps_flow_cnt", "64\n"),
    ("/sys/class/net/eth0/queues/tx-0/xps_cpus", "55\n"),
    ("/sys/class/net/eth0/queues/tx-1/xps_cpus", "aa\n"),
];

/// The host, steered by its admin; with so many queues now and at most.
pub fn steered_host(queues: &str) -> Tree {
    let tree = host();
    for (path, text) in STEERED {
        tree.file(path, text);
    }
    tree.file("/told/ethtool/eth0", &format!("ring_rx 1024 8192\nqueues {queues}\n"));
    tree
}

/// What the admin has steered that stands no longer.
pub fn lost_steering(tree: &Tree) -> Vec<&'static str> {
    let is_lost = |(path, text): &&(&str, &str)| tree.root().raw(path).unwrap() != *text;
    STEERED.iter().filter(is_lost).map(|(path, _)| *path).collect()
}

pub fn wish(tree: &Tree) -> Wish {
    Wish { only: Vec::new(), keep: true, etc: tree.path("/etc") }
}

pub fn state(tree: &Tree) -> PathBuf {
    tree.path("/var/lib/touchline-tune")
}

pub fn records(tree: &Tree) -> Vec<Record> {
    list(&state(tree)).unwrap().records.into_iter().map(|(_, record)| record).collect()
}

pub fn plan_of(tree: &Tree, wish: &Wish, connections: u64) -> Plan {
    let report = judge_host(&tree.root(), &need(connections));
    Plan::make(&tree.root(), &report, wish, &records(tree))
}

/// What the service gets, by its unit and drop-ins.
pub fn files_of_service(tree: &Tree) -> String {
    Service::read(&tree.root()).limit(&tree.root(), "LimitNOFILE").unwrap().text()
}

pub fn apply_only(tree: &Tree, knob: &str, keep: bool) {
    let wish = Wish { only: vec![knob.into()], keep, ..wish(tree) };
    let plan = plan_of(tree, &wish, 50_000);
    apply(&tree.root(), &plan, &wish, &state(tree)).unwrap();
}

pub fn apply_all(tree: &Tree, connections: u64) -> Vec<Outcome> {
    let wish = wish(tree);
    let plan = plan_of(tree, &wish, connections);
    apply(&tree.root(), &plan, &wish, &state(tree)).unwrap()
}

/// The same by a kernel that shows masks and flows otherwise than they were written.
pub fn apply_as_kernel(tree: &Tree) -> Vec<Outcome> {
    let (root, wish) = (tree.root(), wish(tree));
    let plan = plan_of(tree, &wish, 50_000);
    let mut write = |spot: &Spot, value: &str| {
        let end = spot.name().rsplit('/').next().unwrap_or_default().to_owned();
        let shown = match end.as_str() {
            "rps_cpus" | "xps_cpus" => {
                let mask = u64::from_str_radix(value.trim(), 16).unwrap();
                format!("{:08x},{:08x}\n", mask >> 32, mask & 0xffff_ffff)
            }
            "rps_flow_cnt" => {
                format!("{}\n", value.trim().parse::<u64>().unwrap().next_power_of_two())
            }
            _ => value.to_owned(),
        };
        write_spot(&root, spot, &shown)
    };
    apply_with(&root, &plan, &wish, &state(tree), &mut write).unwrap()
}

/// All that may be touched.
pub fn everything(tree: &Tree) -> Vec<(String, String)> {
    ["/proc", "/sys", "/etc", "/told", "/var"]
        .iter()
        .flat_map(|folder| tree.files(folder))
        .collect()
}

pub fn text(tree: &Tree, below_etc: &str) -> String {
    fs::read_to_string(tree.path("/etc").join(below_etc)).unwrap()
}
