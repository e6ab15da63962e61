//! Hosts that nobody has at hand, as trees of files, and what is said about them.

use super::*;
use crate::testing::{Tree, judge_host, need};

fn judged(tree: &Tree, connections: u64) -> Report {
    judge_host(&tree.root(), &need(connections))
}

/// State, value and what is wanted.
fn row(report: &Report, id: &str) -> (State, String, String) {
    let row = report.row(id).unwrap();
    (row.state, row.now.clone(), row.wanted.clone())
}

fn state(report: &Report, id: &str) -> State {
    report.row(id).unwrap().state
}

fn note(report: &Report, id: &str) -> String {
    report.row(id).unwrap().note.clone().unwrap_or_default()
}

#[test]
fn a_sysctl_is_judged_by_what_the_configuration_asks() {
    let tree = Tree::host(8);
    let report = judged(&tree, 50_000);
    assert_eq!(row(&report, "net.core.somaxconn"), (State::Advice, "128".into(), ">= 4096".into()));
    assert_eq!(row(&report, "vm.swappiness"), (State::Advice, "60".into(), "<= 10".into()));
    assert_eq!(state(&report, "net.ipv4.tcp_rmem"), State::Ok);
    assert_eq!(state(&report, "net.ipv4.tcp_syncookies"), State::Absent, "no such file");
    tree.file("/proc/sys/net/core/somaxconn", "4096\n").file("/proc/sys/vm/swappiness", "much\n");
    let report = judged(&tree, 50_000);
    assert_eq!(state(&report, "net.core.somaxconn"), State::Ok);
    assert_eq!(state(&report, "vm.swappiness"), State::Unknown);
}

#[test]
fn a_problem_is_what_keeps_connections_from_being_held() {
    let tree = Tree::host(2);
    tree.file("/proc/sys/fs/file-max", "40000\n")
        .file("/proc/sys/fs/epoll/max_user_watches", "100000\n")
        .file("/proc/sys/net/ipv4/tcp_mem", "10000\t20000\t25000\n");
    let report = judged(&tree, 50_000);
    assert_eq!(state(&report, "fs.file-max"), State::Problem);
    assert!(note(&report, "fs.file-max").contains("needed: >= 54096"));
    assert_eq!(state(&report, "fs.epoll.max_user_watches"), State::Ok);
    // 50,000 times 2,304 bytes are 28,125 pages.
    assert_eq!(state(&report, "net.ipv4.tcp_mem"), State::Problem);
    assert_eq!(row(&report, "net.ipv4.tcp_mem").2, "* >=100000 >=200000");
    assert_eq!(state(&report, "nofile"), State::Advice, "tables may be private");
    let few = judge_host(&tree.root(), &Need { files_needed: 20_001, ..need(50_000) });
    assert_eq!(state(&few, "nofile"), State::Problem);
    let small = judged(&tree, 10_000);
    assert_eq!(small.count(State::Problem), 0, "{:?}", small.all(State::Problem).next());
}

#[test]
fn what_the_service_gets_is_judged_and_the_shell_is_told() {
    let tree = Tree::host(8);
    tree.unit(65_536);
    let report = judge_host(&tree.root().of_service(), &need(50_000));
    assert_eq!((state(&report, "nofile"), row(&report, "nofile").1), (State::Ok, "65536".into()));
    let said = note(&report, "nofile");
    assert!(said.contains("touchline.service; this shell gets 20000"), "{said}");
    // A server that starts, or one that is named by its process, is judged by what it has.
    assert_eq!(row(&judged(&tree, 50_000), "nofile").1, "20000");
}

#[test]
fn a_ring_that_is_refused_is_a_problem_where_it_is_required() {
    let tree = Tree::host(2);
    tree.file("/told/io_uring", "refused\n").file("/proc/sys/kernel/io_uring_disabled", "2\n");
    let report = judged(&tree, 1_000);
    assert_eq!(state(&report, "io_uring"), State::Advice);
    assert_eq!(state(&report, "kernel.io_uring_disabled"), State::Advice);
    let need = Need { io_uring_required: true, ..need(1_000) };
    let report = judge_host(&tree.root(), &need);
    assert_eq!(state(&report, "io_uring"), State::Problem);
    assert_eq!(state(&report, "kernel.io_uring_disabled"), State::Problem);
}

#[test]
fn tracking_matters_once_a_connection_is_tracked() {
    let tree = Tree::host(2);
    assert_eq!(state(&judged(&tree, 50_000), "conntrack"), State::Absent);
    tree.file("/proc/sys/net/netfilter/nf_conntrack_max", "32768\n")
        .file("/proc/sys/net/netfilter/nf_conntrack_count", "0\n");
    let report = judged(&tree, 50_000);
    assert_eq!(state(&report, "conntrack"), State::Ok);
    assert_eq!(state(&report, "net.netfilter.nf_conntrack_max"), State::Advice);
    tree.file("/proc/sys/net/netfilter/nf_conntrack_count", "17\n");
    let report = judged(&tree, 50_000);
    assert_eq!(state(&report, "conntrack"), State::Advice);
    assert_eq!(state(&report, "net.netfilter.nf_conntrack_max"), State::Problem);
}

/// A NIC with two queues on eight cores, all interrupts on core 0.
fn host_with_nic() -> Tree {
    let tree = Tree::host(8);
    tree.nic("eth0", "ena", 2)
        .file(
            "/told/ethtool/eth0",
            "ring_rx 1024 8192\nring_tx 1024 1024\nqueues 2 4\n\
               adaptive_rx 0\nrx_usecs 20\n",
        )
        .file("/proc/irq/41/smp_affinity_list", "0\n")
        .file("/proc/irq/42/smp_affinity_list", "0-7\n")
        .file("/proc/irq/42/effective_affinity_list", "0\n")
        .file("/proc/sys/net/core/rps_sock_flow_entries", "0\n")
        .file(
            "/proc/interrupts",
            "  40: 1 PCI 0-edge ena-mgmnt@pci:0000:00:05.0\n  \
               41: 7 PCI 1-edge eth0-Tx-Rx-0\n  42: 9 PCI 2-edge eth0-Tx-Rx-1\n",
        );
    tree
}

#[test]
fn a_nic_is_judged_by_what_its_driver_can_do() {
    let report = judged(&host_with_nic(), 50_000);
    let row = |id| row(&report, id);
    assert_eq!(row("nic.queues"), (State::Advice, "2".into(), ">= 4".into()));
    assert_eq!(row("nic.ring_rx"), (State::Advice, "1024".into(), ">= 4096".into()));
    assert_eq!(row("nic.ring_tx").0, State::Ok);
    assert_eq!(row("nic.coalescing"), (State::Advice, "20 us".into(), "adaptive".into()));
    let target = &report.row("nic.coalescing").unwrap().targets[0];
    assert_eq!((target.raw.as_str(), target.value.as_str()), ("0", "1"));
    assert_eq!(row("nic").1, "eth0: ena, 2 queues");
}

/// The sysctl is for devices to come; what a NIC has by now is another thing.
#[test]
fn a_nic_keeps_the_queue_it_came_up_with() {
    let tree = host_with_nic();
    tree.file("/proc/sys/net/core/default_qdisc", "fq\n")
        .file("/told/qdisc/eth0", "mq pfifo_fast pfifo_fast\n");
    let report = judged(&tree, 50_000);
    assert_eq!(state(&report, "net.core.default_qdisc"), State::Ok);
    let want = (State::Advice, "pfifo_fast".into(), "fq".into());
    assert_eq!(row(&report, "nic.qdisc"), want);
    tree.file("/told/qdisc/eth0", "mq fq fq_codel\n");
    assert_eq!(state(&judged(&tree, 50_000), "nic.qdisc"), State::Ok);
}

#[test]
fn packets_are_spread_over_cores() {
    let tree = host_with_nic();
    let report = judged(&tree, 50_000);
    assert_eq!(state(&report, "nic.irq_affinity"), State::Advice);
    assert!(note(&report, "nic.irq_affinity").contains("2 interrupts on 1 of 8 cores"));
    let targets = &report.row("nic.irq_affinity").unwrap().targets;
    // The first stays where it is.
    assert_eq!(targets.len(), 1);
    assert_eq!((targets[0].raw.as_str(), targets[0].value.as_str()), ("0-7\n", "1"));
    assert_eq!(row(&report, "nic.rps"), (State::Advice, "0 x2".into(), "ff".into()));
    assert_eq!(row(&report, "nic.rps_flows").2, "16384");
    assert_eq!(state(&report, "net.core.rps_sock_flow_entries"), State::Advice);
    let xps: Vec<_> = report.row("nic.xps").unwrap().targets.iter().map(|t| &t.value).collect();
    assert_eq!(xps, ["55", "aa"]);

    tree.file("/proc/irq/42/effective_affinity_list", "1\n");
    let report = judged(&tree, 50_000);
    assert_eq!(state(&report, "nic.irq_affinity"), State::Ok);
}

/// Six of eight cores are the service's: packets go there, not to the first six.
#[test]
fn packets_are_spread_over_the_cores_that_the_service_has() {
    let tree = host_with_nic();
    tree.file("/etc/systemd/system/touchline.service", "[Service]\nCPUAffinity=2-7\n");
    let report = judge_host(&tree.root().of_service(), &need(50_000));
    let wanted = |id: &str| {
        let targets = &report.row(id).unwrap().targets;
        targets.iter().map(|target| target.value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(wanted("nic.irq_affinity"), ["2", "3"]);
    assert_eq!(wanted("nic.rps"), ["fc", "fc"]);
    assert_eq!(wanted("nic.xps"), ["54", "a8"]);
}

#[test]
fn enough_queues_need_no_steering() {
    let tree = Tree::host(4);
    tree.nic("eth0", "mlx5_core", 4).file("/proc/sys/net/core/rps_sock_flow_entries", "0\n");
    let report = judged(&tree, 50_000);
    for id in ["nic.rps", "nic.rps_flows", "net.core.rps_sock_flow_entries"] {
        assert_eq!(state(&report, id), State::Ok, "{id}");
    }
}

#[test]
fn ec2_is_known_by_its_files() {
    let tree = host_with_nic();
    tree.file("/sys/class/dmi/id/sys_vendor", "Amazon EC2\n")
        .file("/sys/class/dmi/id/product_name", "t3.large\n")
        .file(
            "/told/ethtool/eth0.statistics",
            "NIC statistics:\n     bw_in_allowance_exceeded: 0\n     \
               pps_allowance_exceeded: 12\n     tx_timeout: 4\n",
        );
    let report = judged(&tree, 50_000);
    let burstable = (State::Advice, "t3.large".into(), "no burstable (t) type".into());
    assert_eq!(row(&report, "ec2"), burstable);
    assert_eq!(state(&report, "ena"), State::Ok);
    assert_eq!(row(&report, "ena.allowances"), (State::Advice, "12".into(), "0".into()));
    assert_eq!(note(&report, "ena.allowances"), "eth0 pps 12");
    tree.file("/sys/class/dmi/id/product_name", "c7i.large\n");
    assert_eq!(state(&judged(&tree, 50_000), "ec2"), State::Ok);
    tree.file("/sys/class/dmi/id/sys_vendor", "Other\n");
    assert_eq!(state(&judged(&tree, 50_000), "ec2"), State::Absent);
}

#[test]
fn both_layouts_of_control_groups_are_understood() {
    let newer = Tree::host(4);
    newer
        .file("/proc/self/cgroup", "0::/touch\n")
        .file("/cg/touch/cpu.max", "150000 100000\n")
        .file("/cg/touch/cpu.stat", "usage_usec 5\nnr_throttled 7\n")
        .file("/cg/touch/memory.max", "268435456\n");
    let older = Tree::host(4);
    older
        .file(
            "/proc/self/mountinfo",
            "31 1 0:27 / /cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
               32 1 0:28 / /mem rw - cgroup cgroup rw,memory\n",
        )
        .file("/proc/self/cgroup", "3:cpu,cpuacct:/touch\n2:memory:/touch\n")
        .file("/cpu/touch/cpu.cfs_quota_us", "150000\n")
        .file("/cpu/touch/cpu.cfs_period_us", "100000\n")
        .file("/cpu/cpu.cfs_quota_us", "-1\n")
        .file("/cpu/cpu.cfs_period_us", "100000\n")
        .file("/cpu/touch/cpu.stat", "nr_periods 9\nnr_throttled 7\n")
        .file("/mem/touch/memory.limit_in_bytes", "268435456\n")
        .file("/mem/memory.limit_in_bytes", "9223372036854771712\n");
    for tree in [&newer, &older] {
        let report = judged(tree, 50_000);
        assert_eq!(row(&report, "cgroup.cpu"), (State::Advice, "1.5".into(), ">= 4".into()));
        assert!(note(&report, "cgroup.cpu").contains("throttled 7 times"));
        assert_eq!(state(&report, "cgroup.memory"), State::Problem);
        assert_eq!(row(&report, "cgroup.memory").1, "256 MiB");
        assert_eq!(state(&report, "memory"), State::Ok, "the host has enough");
    }
    let free = judged(&Tree::host(4), 50_000);
    assert_eq!(state(&free, "cgroup.cpu"), State::Absent);
    assert_eq!(state(&free, "cgroup.memory"), State::Absent);
}

#[test]
fn cores_and_their_sleep_are_judged_where_the_host_shows_them() {
    let tree = Tree::host(2);
    let report = judged(&tree, 1_000);
    for id in ["governor", "c_states", "clock_source", "smt", "mitigations"] {
        assert_eq!(state(&report, id), State::Absent, "{id}");
    }
    let cpu = "/sys/devices/system/cpu";
    let clock = "/sys/devices/system/clocksource/clocksource0";
    tree.file(&format!("{cpu}/cpu0/cpufreq/scaling_governor"), "performance\n")
        .file(&format!("{cpu}/cpu1/cpufreq/scaling_governor"), "powersave\n")
        .file(&format!("{cpu}/cpu0/cpuidle/state1/latency"), "2\n")
        .file(&format!("{cpu}/cpu0/cpuidle/state2/latency"), "890\n")
        .file(&format!("{cpu}/cpu0/cpuidle/state2/name"), "C10\n")
        .file(&format!("{cpu}/vulnerabilities/spectre_v2"), "Mitigation: IBRS\n")
        .file(&format!("{cpu}/vulnerabilities/mds"), "Vulnerable: no microcode\n")
        .file(&format!("{cpu}/smt/control"), "on\n")
        .file(&format!("{clock}/current_clocksource"), "xen\n")
        .file(&format!("{clock}/available_clocksource"), "xen kvm-clock hpet\n");
    let report = judged(&tree, 1_000);
    let governor = (State::Advice, "performance, powersave".into(), "performance".into());
    assert_eq!(row(&report, "governor"), governor);
    assert_eq!(report.row("governor").unwrap().targets.len(), 1);
    assert_eq!(row(&report, "c_states"), (State::Advice, "890".into(), "<= 100".into()));
    assert_eq!((state(&report, "smt"), state(&report, "mitigations")), (State::Ok, State::Ok));
    assert_eq!(row(&report, "mitigations").1, "1 of 2 at work");
    // tsc would be better; the kernel doesn't offer it.
    assert_eq!(report.row("clock_source").unwrap().targets[0].value, "kvm-clock");
    tree.file(&format!("{cpu}/cpu0/cpuidle/state2/disable"), "1\n");
    assert_eq!(state(&judged(&tree, 1_000), "c_states"), State::Ok);
}

#[test]
fn advice_waits_for_a_reason() {
    let tree = Tree::host(2);
    tree.file("/proc/sys/net/core/netdev_budget", "300\n")
        .file("/proc/net/softnet_stat", "000f4240 00000000 00000001\n");
    let report = judged(&tree, 50_000);
    assert_eq!(state(&report, "net.core.netdev_budget"), State::Ok);
    assert!(
        note(&report, "net.core.netdev_budget").starts_with("1 rounds ran out of it in 1000000")
    );
    tree.file("/proc/net/softnet_stat", "000f4240 00000000 00000000\n");
    let none = judged(&tree, 50_000);
    assert_eq!(note(&none, "net.core.netdev_budget"), "no softirq ran out of it so far");
    tree.file("/proc/net/softnet_stat", "000f4240 00000003 00001000\n");
    let report = judged(&tree, 50_000);
    assert_eq!(state(&report, "net.core.netdev_budget"), State::Advice);
    assert_eq!(row(&report, "softnet").1, "3");
}

#[test]
fn swappiness_matters_where_there_is_swap() {
    let tree = Tree::host(2);
    assert_eq!(state(&judged(&tree, 50_000), "vm.swappiness"), State::Advice);
    tree.file("/proc/meminfo", "MemTotal:       16777216 kB\nSwapTotal:       0 kB\n");
    let report = judged(&tree, 50_000);
    let row = report.row("vm.swappiness").unwrap();
    assert_eq!((row.state, row.note.as_deref()), (State::Ok, Some("there is no swap")));
    assert!(row.targets.is_empty(), "nothing to plan");
}

#[test]
fn old_kernels_and_several_nodes_are_told() {
    let tree = Tree::host(2);
    tree.file("/proc/sys/kernel/osrelease", "5.15.0-91-generic\n")
        .file("/sys/devices/system/node/node0/numastat", "")
        .file("/sys/devices/system/node/node1/numastat", "")
        .file("/proc/sys/kernel/numa_balancing", "1\n");
    let report = judged(&tree, 1_000);
    assert_eq!(state(&report, "kernel"), State::Advice);
    assert_eq!(note(&report, "kernel"), "every send posts a completion");
    assert_eq!(row(&report, "numa").1, "2 nodes");
    assert_eq!(state(&report, "kernel.numa_balancing"), State::Advice);
}

#[test]
fn json_says_what_the_table_says() {
    let report = judged(&Tree::host(2), 50_000);
    let json = report.to_json();
    assert_eq!(json["connections_max"], 50_000);
    assert_eq!(json["summary"]["advice"], report.count(State::Advice));
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), report.rows.len());
    let row = rows.iter().find(|row| row["knob"] == "net.core.somaxconn").unwrap();
    assert_eq!((&row["state"], &row["now"]), (&"advice".into(), &"128".into()));
    assert!(row["cost"].as_str().unwrap().contains("reconnects"));
}

/// Ten times what is promised, on a host that builds something beside it: a tenth of it is usual.
#[test]
fn this_host_is_judged_in_less_than_a_second() {
    let began = std::time::Instant::now();
    let report = judge_host(&Root::host(), &need(1_000));
    assert!(began.elapsed().as_secs() < 1);
    assert!(report.count(State::Ok) > 5, "{report:?}");
}
