//! Trees that stand for a host, for the tests of this crate.

use std::fs;
use std::path::Path;

use crate::check::{Report, check};
use crate::machine::{Machine, Need};
use crate::root::Root;

/// A folder with a host's files in it.
pub struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    /// An empty one.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A plain host of 16 GiB on which nothing is set.
    pub fn host(cores: u64) -> Self {
        let tree = Self::new();
        let last = cores - 1;
        tree.file("/proc/self/status", &format!("Seccomp:\t0\nCpus_allowed_list:\t0-{last}\n"))
            .file("/sys/devices/system/cpu/online", &format!("0-{last}\n"))
            .file("/proc/self/limits", LIMITS)
            .file("/proc/self/cgroup", "0::/\n")
            .file("/proc/self/mountinfo", "30 1 0:26 / /cg rw - cgroup2 cgroup2 rw\n")
            .file("/proc/meminfo", "MemTotal:       16777216 kB\nSwapTotal:       2097152 kB\n")
            .file("/proc/sys/kernel/osrelease", "6.18.44-test\n")
            .file("/proc/sys/vm/swappiness", "60\n")
            .file("/proc/sys/net/core/somaxconn", "128\n")
            .file("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n")
            .file("/told/io_uring", "usable\n")
            .file("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n")
            .file("/sys/class/net/lo/queues/rx-0/rps_cpus", "0\n");
        fs::create_dir_all(tree.path("/etc")).unwrap();
        tree
    }

    /// The service, as docs/operating.md describes it, with so many files.
    pub fn unit(&self, files: u64) -> &Self {
        let text = format!("[Service]\nType=notify\nLimitNOFILE={files}\n");
        self.file("/etc/systemd/system/touchline.service", &text)
    }

    /// Writes a file, with the folders it needs.
    pub fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// A NIC with hardware behind it.
    pub fn nic(&self, name: &str, driver: &str, queues: u64) -> &Self {
        let folder = self.path(&format!("/sys/class/net/{name}"));
        let device = self.path("/sys/devices/pci/0000:00:05.0");
        fs::create_dir_all(&device).unwrap();
        fs::create_dir_all(&folder).unwrap();
        let _ = std::os::unix::fs::symlink(format!("/drivers/{driver}"), device.join("driver"));
        std::os::unix::fs::symlink(&device, folder.join("device")).unwrap();
        self.file(&format!("/sys/class/net/{name}/operstate"), "up\n");
        for n in 0..queues {
            self.file(&format!("/sys/class/net/{name}/queues/rx-{n}/rps_cpus"), "0\n")
                .file(&format!("/sys/class/net/{name}/queues/rx-{n}/rps_flow_cnt"), "0\n")
                .file(&format!("/sys/class/net/{name}/queues/tx-{n}/xps_cpus"), "0\n");
        }
        self
    }

    /// The tree as a host.
    pub fn root(&self) -> Root {
        Root::below(self.folder.path())
    }

    /// Where a file of it lies.
    pub fn path(&self, path: &str) -> std::path::PathBuf {
        self.root().path(path)
    }

    /// Every file with its text, below `folder`.
    pub fn files(&self, folder: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        walk(&self.path(folder), &mut found);
        found.sort();
        found
    }
}

fn walk(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => {
                found.push((format!("{}/", entry.path().display()), String::new()));
                walk(&entry.path(), found);
            }
            kind if kind.is_file() => {
                let text = fs::read_to_string(entry.path()).unwrap();
                found.push((entry.path().display().to_string(), text));
            }
            _ => {}
        }
    }
}

const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units\n\
    Max open files            1024                 20000                files\n\
    Max locked memory         65536                8388608              bytes\n";

/// What a configuration for so many connections asks.
pub fn need(connections_max: u64) -> Need {
    Need {
        connections_max,
        backlog: 4096,
        files_needed: connections_max / 256 + 200,
        files_wanted: connections_max * 100 / 97 + 201,
        windows_bytes: 512 << 20,
        io_uring_required: false,
    }
}

/// Judges a tree, with its own NICs.
pub fn judge_host(root: &Root, need: &Need) -> Report {
    check(root, Machine::read(root, &[]), need)
}

/// Eight cores, 16 GiB.
pub fn machine() -> Machine {
    Machine {
        cores: 8,
        core_numbers: (0..8).collect(),
        memory_bytes: 16 << 30,
        swap_bytes: 2 << 30,
        group_limit: None,
        page_bytes: 4096,
        kernel: "6.18.0".into(),
        nics: Vec::new(),
        nodes: 1,
        ec2: None,
    }
}
