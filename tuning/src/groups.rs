//! Which control groups a process is in, in both layouts: the unified one (v2) and the older one
//! (v1), and where their folders are.
//!
//! A limit may stand in the process's own group or in any above it, and all of them hold.

use std::path::{Path, PathBuf};

use crate::bounds::Judged;
use crate::root::Root;

/// How a group's folder is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A hierarchy for each controller.
    V1,
    /// One for all of them.
    V2,
}

/// The folders that concern who is judged: of a process its group and those above it, of the
/// service its slice and those above. The service's own group may not be there yet, and what that
/// will be held to its unit says.
pub fn judged(root: &Root, controller: &str) -> Vec<(Layout, PathBuf)> {
    let own = |name: &str| root.raw(&root.of_self(name)).unwrap_or_default();
    let cgroup = match Judged::of(root) {
        Judged::Service(service) => {
            let first = root.raw("/proc/1/cgroup").ok();
            of_slice(first.as_deref(), &own("cgroup"), &service.slice())
        }
        Judged::Shell | Judged::Process => own("cgroup"),
    };
    folders(&cgroup, &own("mountinfo"), controller)
}

/// Slices stand beside systemd's own group, which `first` tells. Where that is hidden they are
/// taken to stand at the top of the hierarchies that we see ourselves.
fn of_slice(first: Option<&str>, own: &str, slice: &str) -> String {
    let line = |line: &str| {
        let (at, _) = line.match_indices(':').nth(1)?;
        let (hierarchy, path) = line.split_at(at + 1);
        let path = if first.is_some() { path } else { "" };
        let above = path.strip_suffix("/init.scope").unwrap_or(path).trim_end_matches('/');
        Some(format!("{hierarchy}{above}{slice}\n"))
    };
    first.unwrap_or(own).lines().filter_map(line).collect()
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

    /// In a container systemd itself sits below the container's group.
    #[test]
    fn slices_stand_beside_systemds_own_group() {
        let own = "2:memory:/user.slice\n0::/user.slice/a:b\n";
        for (first, want) in [
            (None, "2:memory:/x.slice\n0::/x.slice\n"),
            (Some("0::/init.scope\n"), "0::/x.slice\n"),
            (Some("2:memory:/\n0::/c1/init.scope\n"), "2:memory:/x.slice\n0::/c1/x.slice\n"),
        ] {
            assert_eq!(of_slice(first, own, "/x.slice"), want);
        }
    }
}
