//! The unit's word counts, and the shell's group, cores and filters don't.

use super::*;
use crate::check::{Report, State};
use crate::machine::Need;
use crate::testing::{Tree, judge_host, need};

const UNIT: &str = "/etc/systemd/system/touchline.service";
const DROP_IN: &str = "/etc/systemd/system/touchline.service.d/50-a.conf";

/// A host of eight cores, looked at from a login whose group is tight.
fn host() -> Tree {
    let tree = Tree::host(8);
    tree.file("/proc/self/status", "Seccomp:\t2\nCpus_allowed_list:\t0\n")
        .file("/proc/1/status", "Cpus_allowed_list:\t0-7\n")
        .file("/proc/self/cgroup", "0::/user.slice/login\n")
        .file("/proc/1/cgroup", "0::/init.scope\n")
        .file("/cg/user.slice/login/memory.max", "67108864\n")
        .file("/cg/user.slice/login/cpu.max", "50000 100000\n")
        .unit(65_536);
    tree
}

/// The same with these lines in the unit.
fn host_with(lines: &str) -> Tree {
    let tree = host();
    tree.file(UNIT, &format!("[Service]\n{lines}\n"));
    tree
}

fn service(lines: &str) -> Service {
    Service::read(&host_with(lines).root())
}

fn judged(tree: &Tree) -> Report {
    judge_host(&tree.root().of_service(), &need(50_000))
}

/// State, value and note of a row.
fn row(tree: &Tree, id: &str) -> (State, String, String) {
    let report = judged(tree);
    let row = report.row(id).unwrap();
    (row.state, row.now.clone(), row.note.clone().unwrap_or_default())
}

#[test]
fn memory_is_what_the_unit_allows_and_not_what_the_shells_group_does() {
    let free = row(&host(), "cgroup.memory");
    assert_eq!(free.0, State::Absent, "a login's group holds no service: {free:?}");
    assert!(free.2.contains("touchline.service has no MemoryMax="), "{free:?}");
    let tight = host_with("MemoryMax=256M");
    let said = row(&tight, "cgroup.memory");
    assert_eq!((said.0, said.1.as_str()), (State::Problem, "256 MiB"));
    assert!(said.2.starts_with(UNIT), "{said:?}");
    assert_eq!(judged(&tight).machine.memory_usable_bytes(), 256 << 20);
    tight.file(DROP_IN, "[Service]\nMemoryMax=50%\n");
    let wide = row(&tight, "cgroup.memory");
    assert_eq!((wide.0, wide.1.as_str(), wide.2.as_str()), (State::Ok, "8 GiB", DROP_IN));
    // Of a unit and its slice the tighter counts, of slices each above it as well.
    tight.file("/cg/system.slice/memory.max", "134217728\n");
    assert_eq!(row(&tight, "cgroup.memory").1, "128 MiB");
    tight.file(DROP_IN, "[Service]\nMemoryMax=50%\nSlice=a-b.slice\n");
    assert_eq!(row(&tight, "cgroup.memory").1, "8 GiB");
    tight.file("/cg/a.slice/memory.max", "33554432\n");
    let said = row(&tight, "cgroup.memory");
    assert!(said.1 == "32 MiB" && said.2.starts_with("/cg/a.slice;"), "{said:?}");
}

#[test]
fn cores_and_quota_are_what_the_unit_allows() {
    let free = host();
    assert_eq!(row(&free, "cores"), (State::Ok, "8".into(), String::new()));
    assert_eq!(row(&free, "cgroup.cpu").0, State::Absent);
    let bound = host_with("CPUAffinity=0-2 9\nAllowedCPUs=1,2,3\nCPUQuota=150%");
    bound.file("/cg/system.slice/touchline.service/cpu.stat", "nr_throttled 7\n");
    let (_, cores, said) = row(&bound, "cores");
    assert_eq!(cores, "2", "{said}");
    assert!(said.contains("CPUAffinity= in /etc") && said.contains("AllowedCPUs= in"), "{said}");
    let (state, quota, said) = row(&bound, "cgroup.cpu");
    assert_eq!((state, quota.as_str()), (State::Advice, "1.5"));
    assert_eq!(said, format!("{UNIT}; throttled 7 times"));
    bound.file("/cg/system.slice/cpu.max", "100000 100000\n");
    assert_eq!(row(&bound, "cgroup.cpu").1, "1");
    // What systemd itself has a service inherits; what its slice has not it can't get.
    free.file("/proc/1/status", "Cpus_allowed_list:\t0-5\n");
    assert_eq!(row(&free, "cores").1, "6");
    free.file("/cg/system.slice/cpuset.cpus.effective", "4-7\n");
    assert_eq!(row(&free, "cores").1, "2");
}

#[test]
fn a_filter_of_the_unit_that_forbids_rings_refuses_them() {
    let free = host();
    assert_eq!(row(&free, "io_uring").0, State::Ok);
    assert!(row(&free, "seccomp").2.contains("touchline.service has no SystemCallFilter="));
    let tight = host_with("SystemCallFilter=@system-service\nSystemCallFilter=~@aio");
    let required = Need { io_uring_required: true, ..need(50_000) };
    let report = judge_host(&tight.root().of_service(), &required);
    let ring = report.row("io_uring").unwrap();
    assert_eq!((ring.state, ring.now.as_str()), (State::Problem, "refused"));
    let said = ring.note.clone().unwrap();
    assert!(said.contains("forbids io_uring_setup and kills who calls it"), "{said}");
    let filter = row(&tight, "seccomp");
    assert_eq!((filter.1, filter.2), ("filter".into(), format!("SystemCallFilter= in {UNIT}")));
}

#[test]
fn without_a_unit_the_shells_own_count_and_that_is_said() {
    let tree = host();
    std::fs::remove_file(tree.path(UNIT)).unwrap();
    for (id, now) in
        [("cgroup.memory", "64 MiB"), ("cgroup.cpu", "0.5"), ("cores", "1"), ("seccomp", "filter")]
    {
        let (_, value, said) = row(&tree, id);
        assert_eq!(value, now, "{id}");
        assert!(said.contains("this shell's, there is no touchline.service"), "{id}: {said}");
    }
    assert!(row(&tree, "io_uring").2.starts_with("as this shell tried it"));
    // A process that starts, or was named, is no shell.
    let report = judge_host(&tree.root(), &need(50_000));
    let said = report.row("cgroup.memory").unwrap().note.clone().unwrap();
    assert!(said.starts_with("/cg/user.slice/login; needed"), "{said}");
}

#[test]
fn bounds_are_written_in_several_ways() {
    const MIB: u64 = 1 << 20;
    for (lines, bytes) in [
        ("MemoryMax=1.5G", Some(1536 * MIB)),
        ("MemoryMax=268435456", Some(256 * MIB)),
        ("MemoryMax=25%", Some(256 * MIB)),
        ("MemoryMax=1T\nMemoryMax=infinity", None),
        ("MemoryMax=1M\nMemoryMax=", None),
        ("MemoryMax=1M\nMemoryMax=101%\nMemoryMax=0\nMemoryMax=much", Some(MIB)),
    ] {
        let read = service(lines).memory_bytes_max(1024 * MIB).map(|bound| bound.value);
        assert_eq!(read, bytes, "{lines}");
    }
    for (lines, cores) in
        [("CPUQuota=20%", Some(0.2)), ("CPUQuota=250%\nCPUQuota=2", Some(2.5)), ("CPUQuota=", None)]
    {
        assert_eq!(service(lines).cpu_quota().map(|bound| bound.value), cores, "{lines}");
    }
    for (lines, cores) in [
        ("CPUAffinity=0-1,4 6", vec![0, 1, 4, 6]),
        ("CPUAffinity=0\nCPUAffinity=3", vec![0, 3]),
        ("CPUAffinity=0\nCPUAffinity=\nCPUAffinity=3", vec![3]),
        ("CPUAffinity=numa", vec![]),
    ] {
        let read = service(lines).cores("CPUAffinity").map(|bound| bound.value);
        assert_eq!(read.into_iter().flatten().collect::<Vec<_>>(), cores, "{lines}");
    }
    for (lines, path) in [
        ("", "/system.slice"),
        ("Slice=a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
        ("Slice=-.slice", ""),
    ] {
        assert_eq!(service(lines).slice(), path, "{lines}");
    }
}

#[test]
fn a_filter_lists_what_it_allows_or_what_it_forbids() {
    for (lines, has_rings) in [
        ("", true),
        ("SystemCallFilter=@system-service", true),
        ("SystemCallFilter=@basic-io\nSystemCallFilter=@aio", true),
        ("SystemCallFilter=@basic-io", false),
        ("SystemCallFilter=@basic-io io_uring_setup io_uring_enter", false),
        ("SystemCallFilter=~@mount @swap", true),
        ("SystemCallFilter=~@mount io_uring_register:EPERM", false),
        ("SystemCallFilter=~@known\nSystemCallFilter=@aio", true),
        ("SystemCallFilter=@basic-io\nSystemCallFilter=", true),
    ] {
        assert_eq!(service(lines).ring_fault().is_none(), has_rings, "{lines}");
    }
    let mild = service("SystemCallFilter=@basic-io\nSystemCallErrorNumber=EPERM");
    assert!(mild.ring_fault().unwrap().ends_with("forbids io_uring_setup"));
}
