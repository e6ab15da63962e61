//! What can be put back is put back exactly, whatever became of the rest.

use std::fs;

use super::*;
use crate::apply::apply;
use crate::plan::{DROP_IN_FILE, Plan, SYSCTL_FILE, Wish};
use crate::trial::{
    apply_all, apply_only, everything, host, lost_steering, plan_of, records, state, steered_host,
    wish,
};

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
    assert_eq!(mode("/var/lib/touchline-tune"), 0o700);
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

/// Each has its own list, also where others stand between them and all have other numbers.
#[test]
fn interrupts_of_one_name_each_get_their_own_list_back() {
    let tree = host();
    let list = |irq: u32| format!("/proc/irq/{irq}/smp_affinity_list");
    tree.file("/proc/interrupts", "41: 7 PCI 1-edge eth0\n42: 9 PCI 2-edge eth0\n")
        .file(&list(41), "0-1\n")
        .file(&list(42), "0,1\n");
    for irq in [41, 42] {
        tree.file(&format!("/proc/irq/{irq}/effective_affinity_list"), "0\n");
    }
    apply_all(&tree, 50_000);
    let of = |irq: u32| tree.root().raw(&list(irq)).unwrap();
    assert_eq!((of(41), of(42)), ("0\n".into(), "1\n".into()));
    let boot = crate::trial::text(&tree, crate::plan::BOOT_FILE);
    assert!(boot.contains("=eth0 -v nth=0 ") && boot.contains("=eth0 -v nth=1 "), "{boot}");
    tree.file("/proc/interrupts", "50: 7 PCI eth0\n51: 1 PCI nvme0\n52: 9 PCI eth0\n");
    for irq in [50, 51, 52] {
        tree.file(&list(irq), "7\n");
    }
    let reverted = revert(&tree.root(), &state(&tree), false).unwrap();
    assert!(!reverted.is_bad(), "{reverted:?}");
    assert_eq!([50, 51, 52].map(of), ["0-1\n", "7\n", "0,1\n"]);
}

/// What a first apply knows of one says nothing about another.
#[test]
fn interrupts_of_one_name_are_recorded_by_the_apply_that_set_each() {
    let tree = host();
    let list = |irq: u32| format!("/proc/irq/{irq}/smp_affinity_list");
    tree.file("/proc/interrupts", "41: 7 PCI 1-edge eth0\n42: 9 PCI 2-edge eth0\n")
        .file(&list(41), "0-1\n")
        .file(&list(42), "1\n");
    for irq in [41, 42] {
        tree.file(&format!("/proc/irq/{irq}/effective_affinity_list"), "0\n");
    }
    apply_only(&tree, "nic.irq_affinity", true);
    tree.file(&list(42), "5\n");
    apply_only(&tree, "nic.irq_affinity", true);
    assert_eq!(records(&tree).iter().map(|it| it.live.len()).collect::<Vec<_>>(), [1, 1]);
    assert!(!revert(&tree.root(), &state(&tree), false).unwrap().is_bad());
    assert_eq!([41, 42].map(|irq| tree.root().raw(&list(irq)).unwrap()), ["0-1\n", "5\n"]);
}

/// By a kernel that shows the host more cores than when it was recorded.
#[test]
fn a_mask_that_is_padded_otherwise_is_back() {
    let tree = host();
    apply_only(&tree, "nic.rps", true);
    let root = tree.root();
    let mut pad =
        |spot: &Spot, value: &str| write_spot(&root, spot, &format!("0000,0000000{value}"));
    let reverted = revert_with(&root, &state(&tree), false, &mut pad).unwrap();
    assert!(!reverted.is_bad(), "{reverted:?}");
    let rps = root.text("/sys/class/net/eth0/queues/rx-0/rps_cpus");
    assert_eq!(rps.as_deref(), Some("0000,00000000"));
    // What stands as it was is left alone, however little of its text is the same.
    apply_only(&tree, "nic.rps", true);
    tree.file("/sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n");
    let reverted = revert(&root, &state(&tree), false).unwrap();
    let untouched = reverted.undone.iter().filter(|one| one.result == Back::Untouched);
    assert_eq!(untouched.count(), 1, "{reverted:?}");
}

/// A driver makes queues and interrupts anew, and what was set on them is in nothing we wrote.
#[test]
fn what_a_driver_forgets_with_its_queues_or_rings_is_put_back_after_them() {
    // Queues change, and rings with them; rings alone.
    for queues in ["2 4", "4 4"] {
        let tree = steered_host(queues);
        let before = everything(&tree);
        apply_all(&tree, 50_000);
        assert!(lost_steering(&tree).len() > 2, "the tree forgets as drivers do");
        // What it forgot the next one judges and sets; the first record knows better.
        apply_all(&tree, 50_000);
        assert_eq!(records(&tree).len(), 2);
        let reverted = revert(&tree.root(), &state(&tree), false).unwrap();
        assert!(!reverted.is_bad(), "{reverted:?}");
        assert_eq!(lost_steering(&tree), [""; 0], "{queues}");
        assert_eq!(everything(&tree), before, "{queues}");
    }
}

/// The next revert sets the queues, and the driver forgets once more.
#[test]
fn steering_stays_recorded_until_the_queues_are_back() {
    let tree = steered_host("2 4");
    let before = everything(&tree);
    apply_all(&tree, 50_000);
    apply_all(&tree, 50_000);
    let root = tree.root();
    let mut refuse = |spot: &Spot, value: &str| match spot.name() {
        name if name.starts_with("ethtool -L") => Err(ErrorKind::ResourceBusy.into()),
        _ => write_spot(&root, spot, value),
    };
    assert!(revert_with(&root, &state(&tree), false, &mut refuse).unwrap().is_bad());
    assert_eq!(lost_steering(&tree), [""; 0], "good as it is");
    assert!(!revert(&root, &state(&tree), false).unwrap().is_bad());
    assert_eq!(everything(&tree), before);
}
