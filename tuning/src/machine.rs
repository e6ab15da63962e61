//! What kind of host it is: the facts that wanted values depend on.
//!
//! Read once for each check, from files alone and without the network. What a file doesn't tell is
//! left at the modest side: one core, 4 KiB pages.

use std::collections::BTreeSet;

use crate::bounds::Judged;
use crate::groups::judged;
use crate::memory::group_limit;
use crate::root::Root;
use crate::unit::Service;

/// CONFIG_NR_CPUS at its largest.
const CORES_MAX: u64 = 8_192;

/// What the product wants of the host: numbers that only the configuration knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Connections of the whole process.
    pub connections_max: u64,
    /// Connections that may wait to be accepted, for each listener.
    pub backlog: u64,
    /// Open files one table must allow, or `connections_max` can't be held by any number of shards
    /// that the configuration allows.
    pub files_needed: u64,
    /// Open files that let one shard a core hold them all.
    pub files_wanted: u64,
    /// What windows and the dedupe table hold when they are full.
    pub windows_bytes: u64,
    /// Whether the configuration insists on io_uring.
    pub io_uring_required: bool,
}

/// Facts of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Cores that the process, or the service, may run on.
    pub cores: u64,
    /// Their numbers, ascending.
    pub core_numbers: Vec<u64>,
    /// Memory of the host.
    pub memory_bytes: u64,
    /// Swap of the host.
    pub swap_bytes: u64,
    /// The tightest limit of the control groups, or of the service's unit, and the folder or file
    /// that sets it.
    pub group_limit: Option<(u64, String)>,
    /// A page of memory.
    pub page_bytes: u64,
    /// As `uname -r` says it.
    pub kernel: String,
    /// Network interfaces that are judged.
    pub nics: Vec<Nic>,
    /// Memory nodes.
    pub nodes: u64,
    /// The instance type, on EC2.
    pub ec2: Option<String>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// `eth0`.
    pub name: String,
    /// Its driver, where there is hardware behind it.
    pub driver: Option<String>,
    /// What its interrupts call it: its own name, or that of its device.
    pub device: Option<String>,
    /// Receive queues.
    pub rx_queues: u64,
    /// Transmit queues.
    pub tx_queues: u64,
    /// The memory node it is attached to.
    pub node: Option<u64>,
}

impl Machine {
    /// Asks. `nics` names interfaces to judge; with none, those that have hardware are.
    pub fn read(root: &Root, nics: &[String]) -> Self {
        let service = match Judged::of(root) {
            Judged::Service(service) => Some(service),
            Judged::Shell | Judged::Process => None,
        };
        let memory_bytes = meminfo(root, "MemTotal:");
        let own = service.as_ref().and_then(|service| service.memory_bytes_max(memory_bytes));
        let own = own.map(|bound| (bound.value, bound.file));
        let cores = match &service {
            Some(service) => cores_of_service(root, service),
            None => allowed_cores(root, &root.of_self("status")),
        };
        let cores = cores.filter(|cores| !cores.is_empty()).unwrap_or_else(|| [0].into());
        Self {
            cores: cores.len() as u64,
            core_numbers: cores.into_iter().collect(),
            memory_bytes,
            swap_bytes: meminfo(root, "SwapTotal:"),
            group_limit: group_limit(root).into_iter().chain(own).min(),
            page_bytes: page_bytes(root).unwrap_or(4096),
            kernel: root.text("/proc/sys/kernel/osrelease").unwrap_or_default(),
            nics: find_nics(root, nics),
            nodes: root.glob("/sys/devices/system/node/node*").len().max(1) as u64,
            ec2: ec2(root),
        }
    }

    /// What the process may use: the host's memory, or less by its group.
    pub fn memory_usable_bytes(&self) -> u64 {
        let group = self.group_limit.as_ref().map_or(u64::MAX, |(bytes, _)| *bytes);
        self.memory_bytes.min(group)
    }

    /// Major and minor number of the kernel.
    pub fn kernel_version(&self) -> (u64, u64) {
        let mut numbers = self.kernel.split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
        (next(), next())
    }
}

/// How many numbers `0-3,7` holds.
pub fn count_of_list(list: &str) -> u64 {
    numbers_of_list(list).count() as u64
}

/// The numbers that `0-3,7` holds, each as often as it is named.
pub fn numbers_of_list(list: &str) -> impl Iterator<Item = u64> {
    let range = |range: &str| -> Option<std::ops::Range<u64>> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // No kernel has more cores; a longer range is no list of them.
        (last < CORES_MAX).then_some(first..last + 1)
    };
    list.split(',').filter_map(range).flatten()
}

/// Where a process may run, by its `status`.
fn allowed_cores(root: &Root, status: &str) -> Option<BTreeSet<u64>> {
    let status = root.text(status)?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(numbers_of_list(list).collect())
}

/// What systemd itself has, or the unit's affinity in place of it; of these what the unit and its
/// slice allow, and the host has.
fn cores_of_service(root: &Root, service: &Service) -> Option<BTreeSet<u64>> {
    let listed = |path: &str| Some(numbers_of_list(&root.text(path)?).collect::<BTreeSet<_>>());
    let online = listed("/sys/devices/system/cpu/online");
    let of_unit = |directive: &str| service.cores(directive).map(|bound| bound.value);
    let inherited = || {
        let first = allowed_cores(root, "/proc/1/status").or_else(|| online.clone());
        first.or_else(|| allowed_cores(root, &root.of_self("status")))
    };
    let of_group = |(_, folder): (_, std::path::PathBuf)| {
        listed(&format!("{}/cpuset.cpus.effective", folder.to_str()?))
    };
    let of_slice = judged(root, "cpuset").into_iter().find_map(of_group);
    let mut cores = of_unit("CPUAffinity").or_else(inherited)?;
    for allowed in [of_unit("AllowedCPUs"), of_slice, online.clone()].into_iter().flatten() {
        // The kernel passes over what would leave none.
        if !cores.is_disjoint(&allowed) {
            cores.retain(|core| allowed.contains(core));
        }
    }
    Some(cores)
}

fn meminfo(root: &Root, name: &str) -> u64 {
    let meminfo = root.text("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix(name));
    let kib = total.and_then(|text| text.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// From the auxiliary vector (getauxval(3)): pairs of a kind and a value, 6 being the page.
fn page_bytes(root: &Root) -> Option<u64> {
    const AT_PAGESZ: usize = 6;
    const WORD: usize = size_of::<usize>();
    let bytes = std::fs::read(root.path("/proc/self/auxv")).ok()?;
    let word = |bytes: &[u8]| bytes.try_into().map(usize::from_ne_bytes).ok();
    let pairs = bytes.chunks_exact(2 * WORD);
    let mut pairs = pairs.filter_map(|pair| Some((word(&pair[..WORD])?, word(&pair[WORD..])?)));
    pairs.find(|(kind, _)| *kind == AT_PAGESZ).map(|(_, value)| value as u64)
}

fn find_nics(root: &Root, named: &[String]) -> Vec<Nic> {
    let all = root.list("/sys/class/net").into_iter();
    let is_judged = |name: &String| match named {
        [] => {
            let is_up = root.text(&format!("/sys/class/net/{name}/operstate"));
            let has_hardware = root.exists(&format!("/sys/class/net/{name}/device"));
            has_hardware && is_up.as_deref() != Some("down")
        }
        named => named.contains(name),
    };
    all.filter(is_judged).map(|name| read_nic(root, name)).collect()
}

/// The interface of that name.
pub fn read_nic(root: &Root, name: String) -> Nic {
    let folder = format!("/sys/class/net/{name}");
    let queues = |kind: &str| root.glob(&format!("{folder}/queues/{kind}-*")).len() as u64;
    Nic {
        driver: root.link_name(&format!("{folder}/device/driver")),
        device: root.link_name(&format!("{folder}/device")),
        rx_queues: queues("rx"),
        tx_queues: queues("tx"),
        node: root.number(&format!("{folder}/device/numa_node")),
        name,
    }
}

/// Nitro instances say so in their DMI table, Xen ones by their hypervisor's id.
fn ec2(root: &Root) -> Option<String> {
    let dmi = |name: &str| root.text(&format!("/sys/class/dmi/id/{name}"));
    let nitro = dmi("sys_vendor").is_some_and(|vendor| vendor == "Amazon EC2");
    let xen = root.text("/sys/hypervisor/uuid").is_some_and(|uuid| uuid.starts_with("ec2"));
    match (nitro, xen) {
        (true, _) => Some(dmi("product_name").unwrap_or_else(|| "unknown type".into())),
        (false, true) => Some("a Xen type".into()),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn facts_come_from_files_below_the_root() {
        let tree = Tree::host(8);
        tree.nic("eth0", "ena", 4).file("/sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
        tree.file("/sys/class/dmi/id/product_name", "c6in.2xlarge\n");
        let machine = Machine::read(&tree.root(), &[]);
        assert_eq!((machine.cores, machine.memory_bytes), (8, 16 << 30));
        assert_eq!(machine.kernel_version(), (6, 18));
        assert_eq!(machine.ec2.as_deref(), Some("c6in.2xlarge"));
        let nic = &machine.nics[0];
        assert_eq!((nic.name.as_str(), nic.driver.as_deref()), ("eth0", Some("ena")));
        assert_eq!((nic.rx_queues, nic.tx_queues), (4, 4));
        assert_eq!(machine.nics.len(), 1, "loopback has no hardware");
    }

    #[test]
    fn lists_of_cores_are_counted() {
        for (list, count) in [("0", 1), ("0-3,7", 5), ("0-63", 64), ("", 0), ("3-1", 0)] {
            assert_eq!(count_of_list(list), count, "{list}");
        }
    }

    #[test]
    fn this_host_has_facts_too() {
        let machine = Machine::read(&Root::host(), &[]);
        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 20, "{machine:?}");
        assert!(machine.page_bytes.is_power_of_two() && machine.kernel_version().0 >= 4);
    }
}
