//! A host is changed, and changed back, whatever happened in between.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::check::State;
use crate::plan::{BOOT_FILE, DROP_IN_FILE, MODULE_FILE, SYSCTL_FILE};
use crate::revert::{Back, revert};
use crate::testing::{Tree, judge_host, need};
use crate::trial::{
    apply_all, apply_as_kernel, everything, files_of_service, host, plan_of, records, state, text,
    wish,
};

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
        "awk -v name=eth0-Tx-Rx-1 ",
    ] {
        assert!(boot.contains(line), "{line} in {boot}");
    }
    let drop_in = text(&tree, DROP_IN_FILE);
    assert!(drop_in.contains("[Service]\nLimitNOFILE=51747\n"), "{drop_in}");
    assert!(drop_in.contains("tune-boot.sh"), "{drop_in}");
}

#[test]
fn who_has_no_ethtool_is_told_what_a_boot_would_lack() {
    let tree = host();
    let hand = |tree: &Tree| format!("{:?}", plan_of(tree, &wish(tree), 50_000).hand);
    assert!(hand(&tree).contains("apt-get install ethtool"), "{}", hand(&tree));
    tree.file("/usr/sbin/ethtool", "");
    assert!(!hand(&tree).contains("install ethtool"), "{}", hand(&tree));
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

/// `1` is read again as `00000000,00000001`: it took, is kept, and is as before after a revert.
#[test]
fn a_mask_that_the_kernel_pads_took() {
    for queues in [2, 8, 10] {
        let tree = Tree::host(8);
        tree.nic("eth0", "ena", queues)
            .file("/sys/kernel/mm/transparent_hugepage/enabled", "madvise\n");
        for file in tree.root().glob("/sys/class/net/eth0/queues/tx-*/xps_cpus") {
            tree.file(&file, "00000000,00000000\n");
        }
        let before = everything(&tree);
        let outcomes = apply_as_kernel(&tree);
        assert!(outcomes.iter().all(|outcome| !outcome.is_bad()), "{outcomes:?}");
        let boot = text(&tree, BOOT_FILE);
        let first = if queues == 2 { "55" } else { "1" };
        let xps = format!("echo {first} >/sys/class/net/eth0/queues/tx-0/xps_cpus\n");
        assert!(boot.contains(&xps), "{boot}");
        assert_eq!(boot.contains("rx-0/rps_cpus\n"), queues == 2, "{boot}");
        let report = judge_host(&tree.root(), &need(50_000));
        for id in ["nic.rps", "nic.xps"] {
            assert_eq!(report.row(id).unwrap().state, State::Ok, "{id} of {queues}");
        }
        assert!(plan_of(&tree, &wish(&tree), 50_000).is_empty());
        assert!(!revert(&tree.root(), &state(&tree), false).unwrap().is_bad());
        assert_eq!(everything(&tree), before);
    }
}

/// The kernel would make 16384 of 32768 / 3, and that would not be what was written.
#[test]
fn flows_of_any_number_of_queues_took() {
    for (queues, flows) in [(3, 16_384), (5, 8192), (6, 8192)] {
        let tree = Tree::host(16);
        tree.nic("eth0", "ena", queues);
        let outcomes = apply_as_kernel(&tree);
        assert!(outcomes.iter().all(|outcome| !outcome.is_bad()), "{outcomes:?}");
        let line = format!("echo {flows} >/sys/class/net/eth0/queues/rx-2/rps_flow_cnt\n");
        assert!(text(&tree, BOOT_FILE).contains(&line), "{}", text(&tree, BOOT_FILE));
    }
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

/// sysctl.d(5): what a module brings is passed over at boot, unless a rule has it read again.
#[test]
fn what_comes_with_a_module_is_kept_by_a_rule_of_udevs() {
    let tree = host();
    apply_all(&tree, 50_000);
    assert!(!tree.path("/etc").join(MODULE_FILE).exists(), "nothing of a module was set");
    revert(&tree.root(), &state(&tree), false).unwrap();
    tree.file("/proc/sys/net/netfilter/nf_conntrack_max", "4096\n");
    apply_all(&tree, 50_000);
    let rule = text(&tree, MODULE_FILE);
    let line = rule.replace("\\\n", "");
    let line = line.lines().find(|line| line.starts_with("ACTION")).unwrap().to_owned();
    for part in ["KERNEL==\"nf_conntrack\"", "systemd-sysctl --prefix=/net/netfilter"] {
        assert!(line.contains(part), "{part} in {rule}");
    }
    assert!(text(&tree, SYSCTL_FILE).contains("nf_conntrack_max = 165536"));
}
