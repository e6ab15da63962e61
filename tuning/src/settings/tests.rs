//! What is kept stays kept, and nothing else is.

use std::fs;

use crate::apply::apply_with;
use crate::plan::{BOOT_FILE, DROP_IN_FILE, SYSCTL_FILE, Wish};
use crate::reading::Spot;
use crate::record::file_of;
use crate::revert::revert;
use crate::trial::{apply_all, apply_only, everything, host, plan_of, records, state, text, wish};

const SWAPPINESS: &str = "\nvm.swappiness = 10\n";

#[test]
fn what_was_set_for_now_only_no_apply_of_something_else_keeps() {
    let tree = host();
    let before = everything(&tree);
    apply_only(&tree, "vm.swappiness", false);
    assert!(!records(&tree)[0].kept);
    apply_only(&tree, "net.core.somaxconn", true);
    let kept = text(&tree, SYSCTL_FILE);
    assert!(kept.contains("somaxconn") && !kept.contains("swappiness"), "{kept}");
    // One that is about it does, though there is nothing left to set; from then on it is.
    apply_only(&tree, "vm.swappiness", true);
    assert!(text(&tree, SYSCTL_FILE).contains(SWAPPINESS), "{}", text(&tree, SYSCTL_FILE));
    apply_only(&tree, "net.ipv4.tcp_wmem", true);
    assert!(text(&tree, SYSCTL_FILE).contains(SWAPPINESS), "{}", text(&tree, SYSCTL_FILE));
    assert_eq!(records(&tree).len(), 4);
    assert!(!revert(&tree.root(), &state(&tree), false).unwrap().is_bad());
    assert_eq!(everything(&tree), before);
    // As if it had never been tried.
    apply_all(&tree, 50_000);
    let all = text(&tree, SYSCTL_FILE);
    revert(&tree.root(), &state(&tree), false).unwrap();
    apply_only(&tree, "vm.swappiness", false);
    apply_all(&tree, 50_000);
    assert_eq!(text(&tree, SYSCTL_FILE), all);
}

#[test]
fn a_record_that_says_nothing_about_it_was_kept() {
    let tree = host();
    apply_only(&tree, "vm.swappiness", false);
    let file = file_of(&state(&tree), 1);
    let old = fs::read_to_string(&file).unwrap().replace("  \"kept\": false,\n", "");
    fs::write(&file, &old).unwrap();
    assert!(!old.contains("kept") && records(&tree)[0].kept, "{old}");
    apply_only(&tree, "net.core.somaxconn", true);
    assert!(text(&tree, SYSCTL_FILE).contains(SWAPPINESS));
}

/// After a boot, before the service has started: nothing is in force, and one thing is set.
#[test]
fn what_a_boot_has_not_set_yet_stays_kept() {
    let tree = host();
    let outside = |(path, _): &(String, String)| !path.ends_with('/');
    let as_booted: Vec<_> = everything(&tree).into_iter().filter(outside).collect();
    apply_all(&tree, 50_000);
    let kept = || [SYSCTL_FILE, BOOT_FILE, DROP_IN_FILE].map(|file| text(&tree, file));
    let before = kept();
    for (path, text) in &as_booted {
        fs::write(path, text).unwrap();
    }
    // Interrupts have other numbers by now.
    tree.file("/proc/interrupts", "42: 7 PCI 1-edge eth0-Tx-Rx-0\n43: 9 PCI 2-edge eth0-Tx-Rx-1\n")
        .file("/proc/irq/43/smp_affinity_list", "0\n");
    apply_only(&tree, "net.core.somaxconn", true);
    assert_eq!(kept(), before);
    apply_only(&tree, "nic.irq_affinity", true);
    assert_eq!(kept(), before);
}

#[test]
fn steering_stays_kept_where_rings_change_and_not_where_queues_do() {
    let tree = host();
    tree.file("/told/ethtool/eth0", "ring_rx 1024 8192\nqueues 2 4\n");
    apply_only(&tree, "nic.rps", true);
    apply_only(&tree, "nic.irq_affinity", true);
    apply_only(&tree, "nic.ring_rx", true);
    let rps = "/sys/class/net/eth0/queues/rx-0/rps_cpus";
    assert_eq!(tree.root().text(rps).as_deref(), Some("0"), "forgotten");
    apply_only(&tree, "vm.swappiness", true);
    let boot = text(&tree, BOOT_FILE);
    for line in ["ethtool -G eth0 rx 4096\n", "echo ff >/sys/", "name=eth0-Tx-Rx-1 "] {
        assert!(boot.contains(line), "{line} in {boot}");
    }
    apply_only(&tree, "nic.queues", true);
    let boot = text(&tree, BOOT_FILE);
    assert!(!boot.contains("rps_cpus") && boot.contains("eth0-Tx-Rx-1 "), "{boot}");
    apply_only(&tree, "nic.rps", true);
    assert!(text(&tree, BOOT_FILE).contains("ethtool -L eth0 combined 4\n"));
    assert!(text(&tree, BOOT_FILE).contains("rps_cpus\n"));
}

#[test]
fn what_did_not_take_or_is_to_be_undone_stays_out() {
    let tree = host();
    let (root, swappiness) = (tree.root(), tree.path("/proc/sys/vm/swappiness"));
    let wish = Wish { only: vec!["vm.swappiness".into()], ..wish(&tree) };
    let plan = plan_of(&tree, &wish, 50_000);
    let mut refuse = |_: &Spot, _: &str| Err(std::io::ErrorKind::InvalidInput.into());
    apply_with(&root, &plan, &wish, &state(&tree), &mut refuse).unwrap();
    // Somebody else's by now.
    fs::write(&swappiness, "10\n").unwrap();
    apply_only(&tree, "net.core.somaxconn", true);
    assert!(!text(&tree, SYSCTL_FILE).contains("swappiness"));
    revert(&root, &state(&tree), false).unwrap();
    fs::write(&swappiness, "60\n").unwrap();
    apply_only(&tree, "vm.swappiness", true);
    fs::remove_file(&swappiness).unwrap();
    fs::create_dir(&swappiness).unwrap();
    assert!(revert(&root, &state(&tree), false).unwrap().is_bad());
    fs::remove_dir(&swappiness).unwrap();
    fs::write(&swappiness, "10\n").unwrap();
    apply_only(&tree, "net.core.somaxconn", true);
    assert!(!text(&tree, SYSCTL_FILE).contains("swappiness"));
}
