//! Which control groups a process is in, in both layouts: the unified one (v2) and the older one
//! (v1), and where their folders are.
//!
//! A limit may stand in the process's own group or in any above it, and all of them hold.

use std::path::{Path, PathBuf};

/// How a group's folder is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A hierarchy for each controller.
    V1,
    /// One for all of them.
    V2,
}

/// The folders of a process's group and of those above it that concern `controller`, the own one
/// first. `cgroup` is its `/proc/PID/cgroup`, `mountinfo` tells where a layout is mounted
/// (proc(5)).
pub fn folders(cgroup: &str, mountinfo: &str, controller: &str) -> Vec<(Layout, PathBuf)> {
    let mut groups = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let layout = match controllers {
            "" => Layout::V2,
            list if list.split(',').any(|one| one == controller) => Layout::V1,
            _ => continue,
        };
        for (root, mount) in mounts(mountinfo, layout, controller) {
            // In a container the mount shows the group itself as its root.
            let below = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(""));
            let below = below.strip_prefix("/").unwrap_or(below);
            // Joining nothing would leave a slash at the end.
            let own = if below == Path::new("") { mount.clone() } else { mount.join(below) };
            let above = own.ancestors().take_while(|folder| folder.starts_with(&mount));
            groups.extend(above.map(|folder| (layout, folder.to_owned())));
        }
    }
    groups
}

/// Root and mount point of each mount of a layout.
fn mounts(mountinfo: &str, layout: Layout, controller: &str) -> Vec<(PathBuf, PathBuf)> {
    let wanted = |line: &&str| {
        let kind = line.split_once(" - ").map_or("", |(_, kind)| kind);
        match layout {
            Layout::V2 => kind.starts_with("cgroup2 "),
            Layout::V1 => {
                let options = kind.rsplit(' ').next().unwrap_or_default();
                kind.starts_with("cgroup ") && options.split(',').any(|one| one == controller)
            }
        }
    };
    let place = |line: &str| {
        let mut fields = line.split(' ').skip(3);
        Some((PathBuf::from(fields.next()?), PathBuf::from(fields.next()?)))
    };
    mountinfo.lines().filter(wanted).filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_has_its_own_hierarchy_in_the_older_layout() {
        let mountinfo = "31 1 0:27 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                         32 1 0:28 / /cg/mem rw - cgroup cgroup rw,memory\n\
                         33 1 0:29 / /cg/unified rw - cgroup2 cgroup2 rw\n";
        let cgroup = "3:cpuacct,cpu:/x/y\n2:memory:/z\n0::/\n";
        let found = folders(cgroup, mountinfo, "cpu");
        let paths: Vec<_> = found.iter().map(|(_, path)| path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/cg/cpu/x/y", "/cg/cpu/x", "/cg/cpu", "/cg/unified"]);
        assert_eq!((found[0].0, found[3].0), (Layout::V1, Layout::V2));
    }
}
