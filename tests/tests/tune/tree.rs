//! Trees that stand for hosts: what the commands say and how they end.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use touchline_tests::e2e::server::{binary, touchline, words};

use crate::row;

const UNIT: &str = "etc/systemd/system/touchline.service";

/// A host on which little is as it should be: eight cores, a NIC with two queues, a unit with
/// little memory in a small slice; a login whose group is smaller still.
fn host() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    let files = [
        ("proc/self/status", "Cpus_allowed_list:\t0-7\nSeccomp:\t2\n"),
        ("proc/self/limits", "Max open files            1024       4096         files\n"),
        ("proc/self/cgroup", "0::/touch\n"),
        ("proc/self/mountinfo", "30 1 0:26 / /cg rw - cgroup2 cgroup2 rw\n"),
        ("cg/touch/memory.max", "67108864\n"),
        ("cg/system.slice/cpu.max", "200000 100000\n"),
        (UNIT, "[Service]\nLimitNOFILE=4096\nMemoryMax=128M\n"),
        ("proc/meminfo", "MemTotal:       16777216 kB\nSwapTotal:       1048576 kB\n"),
        ("proc/sys/kernel/osrelease", "6.1.0-18-cloud-amd64\n"),
        ("proc/sys/net/core/somaxconn", "128\n"),
        ("proc/sys/vm/swappiness", "60\n"),
        ("sys/class/net/eth0/device/vendor", "0x1d0f\n"),
        ("sys/class/net/eth0/operstate", "up\n"),
        ("sys/class/net/eth0/queues/rx-0/rps_cpus", "00\n"),
        ("sys/class/dmi/id/sys_vendor", "Amazon EC2\n"),
        ("sys/class/dmi/id/product_name", "t3.2xlarge\n"),
        ("told/ethtool/eth0", "ring_rx 512 4096\n"),
        ("told/io_uring", "refused\n"),
    ];
    for (path, text) in files {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    tree
}

fn tune(tree: &Path, arguments: &[&str]) -> Output {
    let mut command = touchline();
    command.args(["--config", "/dev/null", "tune"]).args(arguments);
    command.args(["--root", tree.to_str().unwrap()]).output().unwrap()
}

fn revert(tree: &Path) -> Output {
    touchline().args(["tune", "revert", "--root", tree.to_str().unwrap()]).output().unwrap()
}

#[test]
fn a_problem_ends_a_check_with_4_and_advice_does_not() {
    let tree = host();
    let checked = tune(tree.path(), &["check", "--json"]);
    assert_eq!(checked.status.code(), Some(4), "{}", words(&checked));
    let state = |knob: &str| row(&checked, knob)["state"].as_str().unwrap().to_owned();
    assert_eq!(state("cgroup.memory"), "problem");
    for knob in ["cgroup.cpu", "io_uring", "ec2", "nic.ring_rx", "nic.rps", "net.core.somaxconn"] {
        assert_eq!(state(knob), "advice", "{knob}");
    }
    assert_eq!(state("governor"), "absent");
    assert!(!row(&checked, "cgroup.memory")["cost"].is_null());
    fs::write(tree.path().join(UNIT), "[Service]\nLimitNOFILE=4096\n").unwrap();
    let checked = tune(tree.path(), &["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", words(&checked));
    assert!(words(&checked).contains("0 problems"), "{}", words(&checked));
}

#[test]
fn a_table_says_what_leaving_it_costs_and_has_no_colours_in_a_pipe() {
    let text = words(&tune(host().path(), &["check"]));
    for part in ["This host for 50000 connections: 8 cores, 128 MiB", "EC2 t3.2xlarge", "problem"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.contains("Newcomers are turned away") && !text.contains('\x1b'), "{text}");
}

#[test]
fn nothing_is_set_without_a_yes() {
    let tree = host();
    let somaxconn = || fs::read_to_string(tree.path().join("proc/sys/net/core/somaxconn")).unwrap();
    let dry = tune(tree.path(), &["apply", "--dry-run"]);
    assert_eq!(dry.status.code(), Some(0), "{}", words(&dry));
    assert!(words(&dry).contains("128 -> 4096"), "{}", words(&dry));
    let unasked = tune(tree.path(), &["apply"]);
    assert_eq!(unasked.status.code(), Some(1));
    assert!(words(&unasked).contains("say --yes"), "{}", words(&unasked));
    assert_eq!(somaxconn(), "128\n");
    for (answer, want) in [("n", "128\n"), ("y", "4096\n")] {
        let Some(said) = at_a_terminal(tree.path(), answer) else { return };
        assert!(said.contains("Apply? [y/N]"), "{said}");
        assert_eq!(somaxconn(), want, "{said}");
    }
    assert_eq!(revert(tree.path()).status.code(), Some(0));
    assert_eq!(somaxconn(), "128\n");
}

/// `script` lends a terminal; `None` where there is no such program.
fn at_a_terminal(tree: &Path, answer: &str) -> Option<String> {
    let (binary, tree) = (binary().display(), tree.display());
    let line = format!("{binary} --config /dev/null tune apply --only somaxconn --root {tree}");
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.env("NO_COLOR", "1").spawn().ok()?;
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, format!("{answer}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    assert!(!words(&output).contains('\x1b'), "NO_COLOR is heard");
    Some(words(&output))
}

#[test]
fn an_apply_writes_three_files_and_a_revert_leaves_none() {
    let tree = host();
    let applied = tune(tree.path(), &["apply", "--yes", "--connections", "600000"]);
    assert_eq!(applied.status.code(), Some(0), "{}", words(&applied));
    assert!(words(&applied).contains("with the service's next start"), "{}", words(&applied));
    let etc =
        |name: &str| fs::read_to_string(tree.path().join("etc").join(name)).unwrap_or_default();
    assert!(etc("sysctl.d/99-touchline.conf").contains("vm.swappiness = 10"));
    assert!(etc("touchline/tune-boot.sh").contains("ethtool -G eth0 rx 4096"));
    let drop_in = etc("systemd/system/touchline.service.d/99-tune.conf");
    assert!(drop_in.contains("ExecStartPre=-+/bin/sh ") && drop_in.contains("tune-boot.sh"));
    let told = || fs::read_to_string(tree.path().join("told/ethtool/eth0")).unwrap();
    assert_eq!(told(), "ring_rx 4096 4096\n");
    let reverted = revert(tree.path());
    assert_eq!(reverted.status.code(), Some(0), "{}", words(&reverted));
    assert_eq!(told(), "ring_rx 512 4096\n");
    let left = |folder: &str| {
        let entries = fs::read_dir(tree.path().join(folder)).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((left("etc"), left("etc/systemd")), (vec!["systemd".into()], vec!["system".into()]));
    assert_eq!(
        left("etc/systemd/system"),
        ["touchline.service"],
        "folders that were made are gone"
    );
    assert!(!tree.path().join("var").exists());
}

/// As docs/operating.md goes about it: the unit first, then an apply.
#[test]
fn an_apply_never_lowers_what_the_unit_gives() {
    let tree = host();
    let unit = tree.path().join(UNIT);
    let drop_in = tree.path().join("etc/systemd/system/touchline.service.d/99-tune.conf");
    for files in [65_536, 1_048_576] {
        fs::write(&unit, format!("[Service]\nLimitNOFILE={files}\n")).unwrap();
        let dry = words(&tune(tree.path(), &["apply", "--dry-run"]));
        assert!(!dry.contains("LimitNOFILE"), "{dry}");
        let applied = tune(tree.path(), &["apply", "--yes"]);
        assert_eq!(applied.status.code(), Some(0), "{}", words(&applied));
        let written = fs::read_to_string(&drop_in).unwrap_or_default();
        assert!(!written.contains("LimitNOFILE"), "{written}");
        let row = row(&tune(tree.path(), &["check", "--json"]), "nofile");
        assert_eq!((&row["state"], &row["now"]), (&"ok".into(), &files.to_string().into()));
        assert!(row["note"].as_str().unwrap().contains("this shell gets 4096"), "{row}");
    }
}

#[test]
fn a_damaged_record_ends_an_apply_and_a_revert_with_what_to_do() {
    let tree = host();
    let somaxconn = || fs::read_to_string(tree.path().join("proc/sys/net/core/somaxconn")).unwrap();
    assert_eq!(tune(tree.path(), &["apply", "--yes"]).status.code(), Some(0));
    let record = tree.path().join("var/lib/touchline-tune/0002.json");
    fs::write(&record, "{").unwrap();
    let refused = tune(tree.path(), &["apply", "--yes"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(words(&refused).contains("0002.json is damaged"), "{}", words(&refused));
    assert!(words(&refused).contains("touchline tune revert"), "{}", words(&refused));
    let reverted = revert(tree.path());
    assert_eq!((reverted.status.code(), somaxconn()), (Some(1), "128\n".into()));
    assert!(words(&reverted).contains("Then remove it"), "{}", words(&reverted));
    fs::remove_file(&record).unwrap();
    assert_eq!(revert(tree.path()).status.code(), Some(0));
    assert!(!tree.path().join("var").exists());
}

#[test]
fn every_knob_is_listed_and_has_a_page() {
    let output = touchline().args(["tune", "list", "--json"]).output().unwrap();
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let tree = host();
    let all = list.as_array().unwrap();
    assert!(all.len() > 50);
    for knob in ["nofile", "nic.ring_rx", "vm.swappiness"] {
        assert!(all.iter().any(|row| row["knob"] == knob), "{knob}");
        let page = tune(tree.path(), &["explain", knob]);
        assert!(page.status.success() && words(&page).starts_with(knob), "{}", words(&page));
    }
    let page = words(&tune(tree.path(), &["explain", "somaxconn"]));
    assert!(page.contains("advice: 128") && page.contains("sysctl -w"), "{page}");
    let stranger = tune(tree.path(), &["explain", "tcp_memm"]);
    assert_eq!(stranger.status.code(), Some(1));
    assert!(words(&stranger).contains("did you mean `net.ipv4.tcp_mem`"), "{}", words(&stranger));
}
