//! The host as a reader of results must know it: what it is made of, and what on it moves numbers.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{kib, one_line};
use crate::sys;

/// What a reader needs to know about the host to judge a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Model, as the kernel names it.
    pub cpu: String,
    /// Cores.
    pub cores: usize,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Kernel release.
    pub kernel: String,
    /// Hard limit of open files of one table.
    pub files_max: u64,
    /// Mitigations that are not `Not affected`.
    pub mitigations: Vec<String>,
    /// Settings that move these numbers.
    pub sysctls: Vec<(String, String)>,
    /// Limits of the control group that this process runs in, where there are any.
    #[serde(default)]
    pub cgroup: Vec<(String, String)>,
    /// Of the bench, and of everybody who takes part.
    #[serde(default)]
    pub versions: Vec<String>,
    /// Commit of the tree the bench was built in, as that tree is now, when `git` knows one;
    /// `-dirty` if something in it isn't committed.
    pub commit: Option<String>,
}

const SYSCTLS: [&str; 9] = [
    "kernel.io_uring_disabled",
    "net.core.somaxconn",
    "net.core.netdev_max_backlog",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_slow_start_after_idle",
];

impl Host {
    /// This one.
    pub fn read() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        Self {
            cpu: cpu.map_or("unknown", |text| text.trim_start_matches([' ', '\t', ':'])).into(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kib(
                &fs::read_to_string("/proc/meminfo").unwrap_or_default(),
                "MemTotal:",
            ),
            kernel: one_line("/proc/sys/kernel/osrelease"),
            files_max: sys::raise_file_limit().unwrap_or(0),
            mitigations: mitigations(),
            sysctls: SYSCTLS
                .iter()
                .map(|name| {
                    let path = format!("/proc/sys/{}", name.replace('.', "/"));
                    ((*name).to_owned(), one_line(&path))
                })
                .collect(),
            cgroup: cgroup_limits(Path::new("/sys/fs/cgroup"), &one_line("/proc/self/cgroup")),
            versions: vec![Self::version()],
            commit: commit(),
        }
    }

    /// Of this program.
    pub fn version() -> String {
        format!("touchline-bench {}", env!("CARGO_PKG_VERSION"))
    }
}

fn mitigations() -> Vec<String> {
    let Ok(folder) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else {
        return Vec::new();
    };
    let mut found: Vec<String> = folder
        .filter_map(Result::ok)
        .map(|file| (file.file_name(), one_line(&file.path().to_string_lossy())))
        .filter(|(_, text)| text != "Not affected")
        .map(|(name, text)| format!("{}: {text}", name.to_string_lossy()))
        .collect();
    found.sort();
    found
}

/// CPU and memory limits, in version 2 and in version 1 of control groups; `groups` is
/// `/proc/self/cgroup` on one line. A limit counts wherever above us it is set.
fn cgroup_limits(mount: &Path, groups: &str) -> Vec<(String, String)> {
    const FILES: [(&str, &str); 4] = [
        ("", "cpu.max"),
        ("", "memory.max"),
        ("cpu", "cpu.cfs_quota_us"),
        ("memory", "memory.limit_in_bytes"),
    ];
    let mut found = Vec::new();
    for group in groups.split(' ') {
        let mut parts = group.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        for (controller, file) in FILES {
            if !controllers.split(',').any(|name| name == controller) {
                continue;
            }
            let top = mount.join(controller);
            let all = Path::new(path.trim_start_matches('/')).ancestors();
            let values = all.map(|part| one_line(&top.join(part).join(file).to_string_lossy()));
            // No limit reads as `max`, as -1, or as the largest number of pages.
            let is_set = |value: &String| {
                let is_huge = value.parse().is_ok_and(|bytes: u64| bytes > 1 << 60);
                !value.is_empty() && !value.starts_with("max") && value != "-1" && !is_huge
            };
            found.extend(values.filter(is_set).map(|value| (file.to_owned(), value)));
        }
    }
    found
}

/// The checkout's commit; with a note where this program was built before it.
fn commit() -> Option<String> {
    let commit = git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])?;
    let committed_s: u64 = git(&["log", "-1", "--format=%ct"])?.parse().ok()?;
    let built = fs::metadata(std::env::current_exe().ok()?).and_then(|file| file.modified());
    let built_s = built.ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some(if built_s < committed_s { format!("built before {commit}") } else { commit })
}

fn git(arguments: &[&str]) -> Option<String> {
    let folder = ["-C", env!("CARGO_MANIFEST_DIR")];
    let output = std::process::Command::new("git").args(folder).args(arguments).output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_both_versions_of_control_groups_are_found() {
        let mount = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = mount.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/b/cpu.max", "max 100000\n");
        write("a/cpu.max", "150000 100000\n");
        write("memory/x/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/memory.limit_in_bytes", "1000\n");
        let limits = |groups| cgroup_limits(mount.path(), groups);
        assert_eq!(limits("0::/a/b"), [("cpu.max".into(), "150000 100000".into())]);
        let first = ("memory.limit_in_bytes".into(), "1000".into());
        assert_eq!(limits("4:cpuset,memory:/x 0::/"), [first]);
        assert_eq!(limits(""), []);
    }

    #[test]
    fn the_host_can_be_described() {
        let host = Host::read();
        assert!(host.cores > 0 && host.memory_bytes > 0 && host.files_max > 0);
        assert!(!host.kernel.is_empty());
    }
}
