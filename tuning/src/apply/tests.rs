//! A host is changed, and changed back, whatever happened in between.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::*;
use crate::check::State;
use crate::plan::{BOOT_FILE, DROP_IN_FILE, SYSCTL_FILE};
use crate::revert::{Back, revert};
use crate::script::script;
use crate::testing::{Tree, judge_host, need};
use crate::unit::Service;

/// A host with something of each kind to set; no list with a chosen word, which a plain file
/// doesn't give back as the kernel does.
fn host() -> Tree {
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

fn wish(tree: &Tree) -> Wish {
    Wish { only: Vec::new(), keep: true, etc: tree.path("/etc") }
}

fn state(tree: &Tree) -> PathBuf {
    tree.path("/var/lib/touchline/tune")
}

fn records(tree: &Tree) -> Vec<Record> {
    list(&state(tree)).unwrap().records.into_iter().map(|(_, record)| record).collect()
}

fn plan_of(tree: &Tree, wish: &Wish, connections: u64) -> Plan {
    let report = judge_host(&tree.root(), &need(connections));
    Plan::make(&tree.root(), &report, wish, &records(tree))
}

/// What the service gets, by its unit and drop-ins.
fn files_of_service(tree: &Tree) -> String {
    Service::read(&tree.root()).limit(&tree.root(), "LimitNOFILE").unwrap().text()
}

fn apply_all(tree: &Tree, connections: u64) -> Vec<Outcome> {
    let wish = wish(tree);
    let plan = plan_of(tree, &wish, connections);
    apply(&tree.root(), &plan, &wish, &state(tree)).unwrap()
}

/// All that may be touched.
fn everything(tree: &Tree) -> Vec<(String, String)> {
    ["/proc", "/sys", "/etc", "/told", "/var"]
        .iter()
        .flat_map(|folder| tree.files(folder))
        .collect()
}

fn text(tree: &Tree, below_etc: &str) -> String {
    fs::read_to_string(tree.path("/etc").join(below_etc)).unwrap()
}

#[test]
fn what_is_applied_holds_and_what_is_reverted_is_as_before() {
    let tree = host();
    let before = everything(&tree);
    let outcomes = apply_all(&tree, 50_000);
    assert!(outcomes.iter().all(|outcome| !outcome.is_bad()), "{outcomes:?}");
    let report = judge_host(&tree.root(), &need(50_000));
    for id in
        ["net.core.somaxconn", "net.ipv4.tcp_wmem", "nic.ring_rx", "nic.irq_affinity", "nic.rps"]
    {
        assert_eq!(report.row(id).unwrap().state, State::Ok, "{id}");
    }
    let reverted = revert(&tree.root(), &state(&tree), false).unwrap();
    assert!(!reverted.is_bad(), "{reverted:?}");
    assert_eq!(everything(&tree), before);
    assert!(!state(&tree).exists(), "nothing is left to revert");
    assert_eq!(revert(&tree.root(), &state(&tree), false).unwrap().records, 0);
}

#[test]
fn settings_are_kept_for_the_boot_in_three_files() {
    let tree = host();
    apply_all(&tree, 50_000);
    let sysctls = text(&tree, SYSCTL_FILE);
    assert!(sysctls.contains("\nnet.core.somaxconn = 4096\n"), "{sysctls}");
    assert!(sysctls.contains("\nnet.ipv4.tcp_wmem = 4096 16384 4194304\n"), "{sysctls}");
    let boot = text(&tree, BOOT_FILE);
    for line in [
        "ethtool -G eth0 rx 4096\n",
        "echo ff >/sys/class/net/eth0/queues/rx-0/rps_cpus\n",
        "$NF == \"eth0-Tx-Rx-1\"",
    ] {
        assert!(boot.contains(line), "{line} in {boot}");
    }
    let drop_in = text(&tree, DROP_IN_FILE);
    assert!(drop_in.contains("[Service]\nLimitNOFILE=51747\n"), "{drop_in}");
    assert!(drop_in.contains("tune-boot.sh"), "{drop_in}");
}

/// Dies at each write in turn, before and after it; what is on disk is all that a revert has.
#[test]
fn an_apply_that_ended_anywhere_can_be_reverted() {
    let tree = host();
    let before = everything(&tree);
    let wish = wish(&tree);
    let writes = plan_of(&tree, &wish, 50_000).live.len();
    assert!(writes > 8, "{writes}");
    for last in 0..writes {
        let (root, plan) = (tree.root(), plan_of(&tree, &wish, 50_000));
        let mut left = last;
        let mut die = |spot: &Spot, value: &str| {
            assert!(left > 0, "killed");
            left -= 1;
            write_spot(&root, spot, value)
        };
        let killed = AssertUnwindSafe(|| apply_with(&root, &plan, &wish, &state(&tree), &mut die));
        assert!(catch_unwind(killed).is_err());
        assert!(!records(&tree)[0].complete);
        let reverted = revert(&root, &state(&tree), false).unwrap();
        let back = reverted.undone.iter().filter(|one| matches!(one.result, Back::Restored { .. }));
        assert!(back.count() <= last && !reverted.is_bad(), "{reverted:?}");
        assert_eq!(everything(&tree), before, "after {last} writes");
    }
}

#[test]
fn a_value_that_is_refused_is_told_and_not_kept() {
    let tree = host();
    let before = everything(&tree);
    let (root, wish) = (tree.root(), wish(&tree));
    let plan = plan_of(&tree, &wish, 50_000);
    let mut picky = |spot: &Spot, value: &str| match spot.name().as_str() {
        "vm.swappiness" => Err(io::ErrorKind::InvalidInput.into()),
        // Taken, and forgotten.
        "net.core.somaxconn" => Ok(()),
        _ => write_spot(&root, spot, value),
    };
    let outcomes = apply_with(&root, &plan, &wish, &state(&tree), &mut picky).unwrap();
    let of = |what: &str| &outcomes.iter().find(|outcome| outcome.what == what).unwrap().took;
    assert!(matches!(of("vm.swappiness"), Took::Refused(_)));
    assert_eq!(of("net.core.somaxconn"), &Took::Otherwise("128".into()));
    assert_eq!(of("net.ipv4.tcp_wmem"), &Took::Yes);
    assert_eq!(of("LimitNOFILE=51747"), &Took::NextStart);
    let kept = text(&tree, SYSCTL_FILE);
    assert!(!kept.contains("swappiness") && !kept.contains("somaxconn"), "{kept}");
    assert!(!revert(&root, &state(&tree), false).unwrap().is_bad());
    assert_eq!(everything(&tree), before);
}

/// systemd doesn't start a service whose limit can't be set.
#[test]
fn a_limit_on_files_is_never_kept_above_what_the_kernel_allows() {
    let tree = host();
    tree.file("/proc/sys/fs/nr_open", "30000\n");
    let only = Wish { only: vec!["nofile".into()], ..wish(&tree) };
    let plan = plan_of(&tree, &only, 50_000);
    assert_eq!(plan.limits[0].value, "30000");
    let both = plan_of(&tree, &wish(&tree), 50_000);
    assert_eq!(both.limits[0].value, "51747", "nr_open is raised with it");
    let root = tree.root();
    let mut refuse = |spot: &Spot, value: &str| match spot.name().as_str() {
        "fs.nr_open" => Err(io::ErrorKind::PermissionDenied.into()),
        _ => write_spot(&root, spot, value),
    };
    apply_with(&root, &both, &wish(&tree), &state(&tree), &mut refuse).unwrap();
    assert!(text(&tree, DROP_IN_FILE).contains("LimitNOFILE=30000\n"));
}

/// The shell has 20,000 at most, the unit says more: a drop-in of ours would win, and take from it.
#[test]
fn a_limit_is_never_kept_below_what_the_service_gets_already() {
    for files in [51_747, 65_536, 1_048_576] {
        let tree = host();
        tree.unit(files);
        for root in [tree.root(), tree.root().of_service()] {
            let report = judge_host(&root, &need(50_000));
            let plan = Plan::make(&root, &report, &wish(&tree), &[]);
            assert!(plan.limits.is_empty(), "{files}: {plan:?}");
            apply(&root, &plan, &wish(&tree), &state(&tree)).unwrap();
            assert_eq!(files_of_service(&tree), files.to_string());
            assert!(!text(&tree, DROP_IN_FILE).contains("LimitNOFILE"));
        }
    }
    let tree = host();
    assert_eq!(plan_of(&tree, &wish(&tree), 50_000).limits[0].before, "4096");
    apply_all(&tree, 50_000);
    assert_eq!(files_of_service(&tree), "51747");
    apply_all(&tree, 25_000);
    assert_eq!(files_of_service(&tree), "51747", "what was raised stays raised");
}

#[test]
fn a_drop_in_of_others_that_wins_and_a_host_without_the_unit_are_told() {
    let tree = host();
    tree.file("/etc/systemd/system/touchline.service.d/zz.conf", "[Service]\nLimitNOFILE=64\n");
    let hand = |tree: &Tree| format!("{:?}", plan_of(tree, &wish(tree), 50_000).hand);
    assert!(hand(&tree).contains("zz.conf is read after ours"), "{}", hand(&tree));
    let bare = host();
    fs::remove_file(bare.path("/etc/systemd/system/touchline.service")).unwrap();
    let plan = plan_of(&bare, &wish(&bare), 50_000);
    assert!(plan.limits.is_empty(), "systemd gives 524288 by itself");
    assert!(hand(&bare).contains("there is no touchline.service"), "{}", hand(&bare));
}

#[test]
fn a_second_apply_adds_to_the_first_and_both_are_reverted() {
    let tree = host();
    let before = everything(&tree);
    apply_all(&tree, 50_000);
    let again = plan_of(&tree, &wish(&tree), 50_000);
    assert!(again.is_empty(), "{again:?}");
    // A sysctl that wasn't there.
    tree.file("/proc/sys/fs/file-max", "60000\n");
    apply_all(&tree, 50_000);
    let kept = text(&tree, SYSCTL_FILE);
    assert!(kept.contains("fs.file-max = 125536") && kept.contains("somaxconn"), "{kept}");
    assert_eq!(records(&tree).len(), 2);
    assert!(!revert(&tree.root(), &state(&tree), false).unwrap().is_bad());
    fs::remove_dir_all(tree.path("/proc/sys/fs")).unwrap();
    assert_eq!(everything(&tree), before);
}

#[test]
fn files_of_others_are_put_back_with_bytes_and_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let tree = host();
    let path = tree.path("/etc").join(SYSCTL_FILE);
    tree.file(&format!("/etc/{SYSCTL_FILE}"), "vm.swappiness = 1\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let before = everything(&tree);
    apply_all(&tree, 50_000);
    assert_ne!(fs::read_to_string(&path).unwrap(), "vm.swappiness = 1\n");
    assert!(!revert(&tree.root(), &state(&tree), false).unwrap().is_bad());
    assert_eq!(everything(&tree), before);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_link_an_owner_and_folders_are_as_before() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    let tree = host();
    let (link, owned) = (tree.path("/etc").join(SYSCTL_FILE), tree.path("/etc").join(DROP_IN_FILE));
    tree.file("/srv/sysctl.conf", "vm.swappiness = 2\n").file("/etc/sysctl.d/10-a.conf", "");
    std::os::unix::fs::symlink("../../srv/sysctl.conf", &link).unwrap();
    tree.file(&format!("/etc/{DROP_IN_FILE}"), "[Service]\n");
    let user = if rustix::process::geteuid().is_root() { 1234 } else { 0 };
    if user > 0 {
        chown(&owned, Some(user), Some(user)).unwrap();
    }
    fs::create_dir(tree.path("/var")).unwrap();
    let before = everything(&tree);
    apply_all(&tree, 50_000);
    assert!(!link.is_symlink(), "ours stands there");
    assert_eq!(fs::read_to_string(tree.path("/srv/sysctl.conf")).unwrap(), "vm.swappiness = 2\n");
    let mode = |path: &str| fs::metadata(tree.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("/var/lib/touchline/tune"), 0o700);
    assert_ne!(mode("/var/lib"), 0o700, "others have to get through");
    assert!(!revert(&tree.root(), &state(&tree), false).unwrap().is_bad());
    assert_eq!(fs::read_link(&link).unwrap(), PathBuf::from("../../srv/sysctl.conf"));
    if user > 0 {
        let facts = fs::metadata(&owned).unwrap();
        assert_eq!((facts.uid(), facts.gid()), (user, user));
    }
    assert_eq!(everything(&tree), before);
    assert!(tree.path("/var").exists() && !tree.path("/var/lib").exists());
}

#[test]
fn what_somebody_changed_since_goes_back_to_the_record_too() {
    let tree = host();
    let before = everything(&tree);
    apply_all(&tree, 50_000);
    tree.file("/proc/sys/vm/swappiness", "5\n");
    let dry = revert(&tree.root(), &state(&tree), true).unwrap();
    let swappiness = dry.undone.iter().find(|one| one.what == "vm.swappiness").unwrap();
    let goes = Back::Restored { from: "5".into(), to: "60".into() };
    assert_eq!(swappiness.result, goes);
    assert_eq!(tree.root().text("/proc/sys/vm/swappiness").as_deref(), Some("5"));
    revert(&tree.root(), &state(&tree), false).unwrap();
    assert_eq!(everything(&tree), before);
}

#[test]
fn a_record_that_cannot_be_undone_stays() {
    let tree = host();
    apply_all(&tree, 50_000);
    let swappiness = tree.path("/proc/sys/vm/swappiness");
    fs::remove_file(&swappiness).unwrap();
    fs::create_dir(&swappiness).unwrap();
    assert!(revert(&tree.root(), &state(&tree), false).unwrap().is_bad());
    assert_eq!(tree.root().text("/proc/sys/net/core/somaxconn").as_deref(), Some("128"));
    let left = &records(&tree)[0];
    assert_eq!((left.live.len(), left.files.len()), (1, 0), "only that is left");
    fs::remove_dir(&swappiness).unwrap();
    fs::write(&swappiness, "10\n").unwrap();
    assert!(!revert(&tree.root(), &state(&tree), false).unwrap().is_bad());
    assert_eq!(fs::read_to_string(&swappiness).unwrap(), "60\n");
}

/// Of two applies; the second set what is gone by now.
#[test]
fn what_a_module_took_with_it_holds_up_nothing() {
    let tree = host();
    let before = everything(&tree);
    let only = |id: &str| Wish { only: vec![id.into()], ..wish(&tree) };
    let apply_only = |id: &str| {
        let plan = plan_of(&tree, &only(id), 50_000);
        apply(&tree.root(), &plan, &only(id), &state(&tree)).unwrap();
    };
    apply_only("net.core.somaxconn");
    tree.file("/proc/sys/net/netfilter/nf_conntrack_max", "4096\n");
    apply_only("net.netfilter.nf_conntrack_max");
    assert_eq!(records(&tree).len(), 2);
    fs::remove_dir_all(tree.path("/proc/sys/net/netfilter")).unwrap();
    let reverted = revert(&tree.root(), &state(&tree), false).unwrap();
    assert!(!reverted.is_bad(), "{reverted:?}");
    assert!(reverted.undone.iter().any(|one| one.result == Back::Gone));
    assert_eq!(everything(&tree), before);
}

#[test]
fn a_device_that_is_gone_holds_up_nothing_and_a_proc_that_is_not_mounted_is_no_answer() {
    let tree = host();
    apply_all(&tree, 50_000);
    fs::remove_dir_all(tree.path("/sys/class/net/eth0")).unwrap();
    fs::remove_file(tree.path("/told/ethtool/eth0")).unwrap();
    fs::rename(tree.path("/proc/sys"), tree.path("/proc/elsewhere")).unwrap();
    let reverted = revert(&tree.root(), &state(&tree), false).unwrap();
    let bad: Vec<_> = reverted.undone.iter().filter(|one| one.is_bad()).collect();
    assert!(!bad.is_empty() && bad.iter().all(|one| !one.what.contains('/')), "{bad:?}");
    fs::rename(tree.path("/proc/elsewhere"), tree.path("/proc/sys")).unwrap();
    assert!(!revert(&tree.root(), &state(&tree), false).unwrap().is_bad());
    assert_eq!(tree.root().text("/proc/sys/net/core/somaxconn").as_deref(), Some("128"));
}

#[test]
fn a_damaged_record_is_named_and_everything_else_is_put_back() {
    let tree = host();
    let before = everything(&tree);
    apply_all(&tree, 50_000);
    let damaged = state(&tree).join("0002.json");
    fs::write(&damaged, "{ \"made_at_s\": 17").unwrap();
    let refused = apply(&tree.root(), &Plan::default(), &wish(&tree), &state(&tree));
    assert!(refused.unwrap_err().to_string().contains("0002.json is damaged"));
    let reverted = revert(&tree.root(), &state(&tree), false).unwrap();
    let bad: Vec<_> = reverted.undone.iter().filter(|one| one.is_bad()).collect();
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert_eq!(bad[0].what, damaged.display().to_string());
    assert!(format!("{bad:?}").contains("Then remove it"), "{bad:?}");
    let outside = |(path, _): &(String, String)| !path.contains("/var/");
    let all: Vec<_> = everything(&tree).into_iter().filter(outside).collect();
    assert_eq!(all, before, "everything else is back");
    fs::remove_file(&damaged).unwrap();
    assert!(!revert(&tree.root(), &state(&tree), false).unwrap().is_bad());
    assert_eq!(everything(&tree), before, "folders that we made went with the last record");
}

/// After a boot, or once queues change, an interrupt has another number and its number another
/// owner.
#[test]
fn an_interrupt_is_found_by_its_name_and_one_that_is_gone_holds_up_nothing() {
    let tree = host();
    apply_all(&tree, 50_000);
    let of = |irq: u32| {
        let path = format!("/proc/irq/{irq}/smp_affinity_list");
        tree.root().text(&path).map(|text| text.trim().to_owned())
    };
    let set = of(41).unwrap();
    tree.file("/proc/interrupts", "41: 7 PCI 1-edge nvme0\n51: 7 PCI 1-edge eth0-Tx-Rx-0\n")
        .file("/proc/irq/41/smp_affinity_list", "3\n")
        .file("/proc/irq/51/smp_affinity_list", &format!("{set}\n"));
    let reverted = revert(&tree.root(), &state(&tree), false).unwrap();
    assert!(!reverted.is_bad(), "{reverted:?}");
    assert_eq!((of(41).as_deref(), of(51).as_deref()), (Some("3"), Some("0")));
    let gone = reverted.undone.iter().filter(|one| one.result == Back::Gone).count();
    assert_eq!(gone, 1, "that of the second queue");
    assert!(records(&tree).is_empty());
}

#[test]
fn steering_waits_for_the_queues_it_follows_from() {
    let tree = host();
    tree.file("/told/ethtool/eth0", "ring_rx 1024 8192\nqueues 2 4\n");
    let first = plan_of(&tree, &wish(&tree), 50_000);
    let knobs = |plan: &Plan| plan.live.iter().map(|it| it.knob.clone()).collect::<Vec<_>>();
    assert!(knobs(&first).contains(&"nic.queues".into()), "{first:?}");
    let steers = |knob: &String| ["nic.irq_affinity", "nic.rps"].contains(&knob.as_str());
    assert!(!knobs(&first).iter().any(steers));
    assert!(
        first.hand.iter().any(|(knob, said)| knob == "nic.queues" && said[0].contains("again"))
    );
    apply_all(&tree, 50_000);
    assert!(knobs(&plan_of(&tree, &wish(&tree), 50_000)).iter().any(steers));
    apply_all(&tree, 50_000);
    let boot = text(&tree, BOOT_FILE);
    let at = |part: &str| boot.find(part).unwrap_or_else(|| panic!("{part} in {boot}"));
    assert!(at("ethtool -L eth0 combined 4") < at("smp_affinity_list"), "{boot}");
}

#[test]
fn a_choice_of_knobs_and_nothing_kept_touch_only_those() {
    let tree = host();
    let before = everything(&tree);
    let only = Wish { only: vec!["vm.swappiness".into()], keep: false, ..wish(&tree) };
    let plan = plan_of(&tree, &only, 50_000);
    assert_eq!((plan.live.len(), plan.files.len(), plan.limits.len()), (1, 0, 0));
    apply(&tree.root(), &plan, &only, &state(&tree)).unwrap();
    let changed = everything(&tree).iter().zip(&before).filter(|(a, b)| a != b).count();
    assert_eq!(changed, 1);
}

#[test]
fn the_script_is_plain_shell_that_says_what_it_does() {
    let tree = host();
    let plan = plan_of(&tree, &wish(&tree), 50_000);
    let script = script(&plan, 50_000);
    assert!(script.starts_with("#!/bin/sh\n"));
    for part in [
        "put '/proc/sys/net/core/somaxconn' '4096'",
        "put '/proc/sys/net/core/somaxconn' '128'",
        "ethtool -G eth0 rx 4096 || failed=1",
        "ethtool -G eth0 rx 1024 || failed=1",
        "LimitNOFILE=51747",
    ] {
        assert!(script.contains(part), "{part} in {script}");
    }
    let file = tree.path("/script.sh");
    fs::write(&file, &script).unwrap();
    let sound = std::process::Command::new("sh").arg("-n").arg(&file).status().unwrap();
    assert!(sound.success(), "{script}");
}

#[test]
fn the_script_keeps_files_of_others_with_bytes_and_mode_and_touches_none_it_has_no_copy_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let tree = host();
    let path = tree.path("/etc").join(SYSCTL_FILE);
    tree.file(&format!("/etc/{SYSCTL_FILE}"), "vm.swappiness = 1");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let files = || {
        let is_file = |(path, _): &(String, String)| !path.ends_with('/');
        tree.files("/etc").into_iter().filter(is_file).collect::<Vec<_>>()
    };
    let before = files();
    let mut plan = plan_of(&tree, &wish(&tree), 50_000);
    plan.live.clear();
    let file = tree.path("/script.sh");
    fs::write(&file, script(&plan, 50_000)).unwrap();
    let run = |arguments: &[&str]| {
        let done = std::process::Command::new("sh").arg(&file).args(arguments).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    run(&["undo"]);
    assert_eq!(files(), before, "nothing was applied");
    run(&[]);
    run(&[]);
    assert_ne!(fs::read_to_string(&path).unwrap(), "vm.swappiness = 1");
    run(&["undo"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "vm.swappiness = 1");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(files(), before);
}
