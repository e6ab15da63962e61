//! How much memory this process may use, and how much of it is gone.
//!
//! Three things can end a process for want of memory: its control group's limit, the limit of a
//! group above it, and the host itself. [`Meter::find`] looks up once which of them there are;
//! [`Meter::read`] asks each and answers the tightest. Memory that the kernel takes back by itself
//! (the inactive half of the page cache) doesn't count as used: a journal's files would fill every
//! limit otherwise.
//!
//! Both layouts of control groups are known: the unified one (v2, `memory.max`) and the older one
//! (v1, `memory.limit_in_bytes`). Sockets' memory is charged to the group as well, so a limit is
//! felt by who accepts connections before anybody else.

use std::fs;
use std::path::{Path, PathBuf};

use crate::groups::{Layout, folders, judged};
use crate::root::Root;

/// The tightest of the limits, and what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that can't be taken back.
    pub used_bytes: u64,
    /// Bytes that there are.
    pub limit_bytes: u64,
}

impl Memory {
    /// What is used of it, in percent, rounded down.
    pub fn used_percent(&self) -> u64 {
        (u128::from(self.used_bytes) * 100 / u128::from(self.limit_bytes.max(1))) as u64
    }
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Meter {
    groups: Vec<Group>,
    meminfo: PathBuf,
}

/// A control group with a limit on memory.
#[derive(Clone, Debug)]
struct Group {
    folder: PathBuf,
    files: &'static Files,
}

/// What a layout calls its files.
#[derive(Debug)]
struct Files {
    limit: &'static str,
    used: &'static str,
    /// The line of `memory.stat` that tells what can be taken back.
    reclaimable: &'static str,
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file ",
};
const V2: Files =
    Files { limit: "memory.max", used: "memory.current", reclaimable: "inactive_file " };

impl Meter {
    /// The groups of this process that have a limit now, and the host.
    pub fn find() -> Self {
        Self::find_below(Path::new("/proc"))
    }

    /// The same with another `/proc`, for tests.
    fn find_below(proc: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(proc.join(name)).unwrap_or_default();
        let groups = own_groups(&text("self/cgroup"), &text("self/mountinfo"));
        Self { groups, meminfo: proc.join("meminfo") }
    }

    /// Asks all of them. `None` where nobody answers, as without `/proc`.
    pub fn read(&self) -> Option<Memory> {
        let host = fs::read_to_string(&self.meminfo).ok().and_then(|text| of_host(&text));
        let all = self.groups.iter().filter_map(Group::read).chain(host);
        // Of a host with 64 GiB and a group with 1 GiB, whichever is nearer to its end.
        all.max_by_key(|memory| {
            u128::from(memory.used_bytes) * 1_000_000 / u128::from(memory.limit_bytes.max(1))
        })
    }
}

impl Group {
    fn read(&self) -> Option<Memory> {
        let number = |file: &str| {
            let text = fs::read_to_string(self.folder.join(file)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        // `max` is no number, and v1's largest is no limit: the host's is tighter than both.
        let limit_bytes = number(self.files.limit)?;
        let used = number(self.files.used)?;
        let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let taken_back = stat.lines().find_map(|line| line.strip_prefix(self.files.reclaimable));
        let taken_back = taken_back.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0);
        Some(Memory { used_bytes: used.saturating_sub(taken_back), limit_bytes })
    }
}

/// The groups that have a limit: see [`folders`].
fn own_groups(cgroup: &str, mountinfo: &str) -> Vec<Group> {
    let all = folders(cgroup, mountinfo, "memory").into_iter();
    let groups = all.map(|(layout, folder)| Group { folder, files: files_of(layout) });
    groups.filter(|group| group.folder.join(group.files.limit).exists()).collect()
}

fn files_of(layout: Layout) -> &'static Files {
    match layout {
        Layout::V1 => &V1,
        Layout::V2 => &V2,
    }
}

/// The tightest limit of the groups of who is judged, and which folder sets it. `None`: there is no
/// limit.
pub fn group_limit(root: &Root) -> Option<(u64, String)> {
    let limit = |(layout, folder): (Layout, PathBuf)| {
        let folder = folder.to_str()?.to_owned();
        let bytes = root.number(&format!("{folder}/{}", files_of(layout).limit))?;
        // What v1 says where there is no limit: the largest multiple of a page.
        (bytes < u64::MAX / 4).then_some((bytes, folder))
    };
    judged(root, "memory").into_iter().filter_map(limit).min()
}

/// Of `/proc/meminfo`: what the kernel could not hand out without swapping.
fn of_host(meminfo: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib * 1024)
    };
    let limit_bytes = bytes("MemTotal:")?;
    let used_bytes = limit_bytes.saturating_sub(bytes("MemAvailable:")?);
    Some(Memory { used_bytes, limit_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A `/proc` and groups in a folder, from `(file, text)`.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let root = dir.path().display().to_string();
            fs::write(path, text.replace("ROOT", &root)).unwrap();
        }
        dir
    }

    fn read(files: &[(&str, &str)]) -> Option<Memory> {
        let dir = tree(files);
        Meter::find_below(&dir.path().join("proc")).read()
    }

    const HOST: (&str, &str) =
        ("proc/meminfo", "MemTotal:       1048576 kB\nMemFree: 1 kB\nMemAvailable:  524288 kB\n");
    const V2_MOUNT: (&str, &str) =
        ("proc/self/mountinfo", "30 1 0:26 / ROOT/cg rw,nosuid - cgroup2 cgroup2 rw\n");
    const V2_SELF: (&str, &str) = ("proc/self/cgroup", "0::/touch/line\n");

    #[test]
    fn a_host_without_groups_answers_for_itself() {
        let memory = read(&[HOST]).unwrap();
        assert_eq!(memory, Memory { used_bytes: 512 * MIB, limit_bytes: 1024 * MIB });
        assert_eq!(memory.used_percent(), 50);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn the_tightest_limit_counts_also_of_a_group_above() {
        let own = [
            ("cg/touch/line/memory.max", "max\n"),
            ("cg/touch/line/memory.current", "1\n"),
            ("cg/touch/memory.max", "104857600\n"),
            ("cg/touch/memory.current", "94371840\n"),
            ("cg/touch/memory.stat", "anon 5\ninactive_file 10485760\nactive_file 3\n"),
        ];
        let mut files = vec![HOST, V2_MOUNT, V2_SELF];
        files.extend(own);
        let memory = read(&files).unwrap();
        assert_eq!(memory, Memory { used_bytes: 80 * MIB, limit_bytes: 100 * MIB });
        // With room in the group, the host is nearer to its end.
        files[6].1 = "1048576\n";
        assert_eq!(read(&files).unwrap().limit_bytes, 1024 * MIB);
    }

    #[test]
    fn the_older_layout_is_understood_and_its_largest_number_is_no_limit() {
        let mounts = "31 1 0:27 / ROOT/cpu rw - cgroup cgroup rw,cpu\n\
                      32 1 0:28 / ROOT/mem rw - cgroup cgroup rw,memory\n";
        let files = |limit: &'static str| {
            [
                HOST,
                ("proc/self/mountinfo", mounts),
                ("proc/self/cgroup", "3:cpu:/x\n2:memory:/touch\n0::/\n"),
                ("mem/touch/memory.limit_in_bytes", limit),
                ("mem/touch/memory.usage_in_bytes", "62914560\n"),
                ("mem/touch/memory.stat", "inactive_file 7\ntotal_inactive_file 0\n"),
            ]
        };
        assert_eq!(read(&files("67108864\n")).unwrap().limit_bytes, 64 * MIB);
        assert_eq!(read(&files("9223372036854771712\n")).unwrap().limit_bytes, 1024 * MIB);
    }

    /// A container sees its own group as the root of the mount.
    #[test]
    fn a_mount_may_begin_at_the_group_itself() {
        let memory = read(&[
            HOST,
            ("proc/self/mountinfo", "30 1 0:26 /docker/c1 ROOT/cg rw - cgroup2 cgroup2 rw\n"),
            ("proc/self/cgroup", "0::/docker/c1\n"),
            ("cg/memory.max", "67108864\n"),
            ("cg/memory.current", "60000000\n"),
        ]);
        assert_eq!(memory.unwrap().limit_bytes, 64 * MIB);
    }

    #[test]
    fn this_host_answers() {
        let memory = Meter::find().read().unwrap();
        assert!(memory.used_bytes > 0 && memory.used_bytes < memory.limit_bytes, "{memory:?}");
    }
}
