//! The script does what an apply does, and its undo leaves nothing.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::plan::SYSCTL_FILE;
use crate::trial::{host, lost_steering, plan_of, steered_host, wish};

#[test]
fn the_script_is_plain_shell_that_says_what_it_does() {
    let tree = host();
    let plan = plan_of(&tree, &wish(&tree), 50_000);
    let script = script(&plan, 50_000);
    assert!(script.starts_with("#!/bin/sh\n"));
    for part in [
        "put /proc/sys/net/core/somaxconn 4096",
        "put /proc/sys/net/core/somaxconn 128",
        "reload\n",
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
    let link = tree.path("/etc").join(DROP_IN_FILE);
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/nowhere", &link).unwrap();
    let files = || tree.files("/etc");
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
    assert!(!link.is_symlink() && link.exists(), "ours stands there");
    assert_ne!(fs::read_to_string(&path).unwrap(), "vm.swappiness = 1");
    run(&["undo"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "vm.swappiness = 1");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_link(&link).unwrap(), PathBuf::from("/nowhere"));
    assert_eq!(files(), before, "folders that it made are gone");
}

/// Run on the tree, with an ethtool that forgets as drivers do, and gives interrupts other numbers.
#[test]
fn its_undo_puts_back_what_a_driver_forgets_with_its_queues() {
    use std::os::unix::fs::PermissionsExt as _;
    let tree = steered_host("2 4");
    let mut plan = plan_of(&tree, &wish(&tree), 50_000);
    plan.files.clear();
    plan.live.retain(|change| change.spot.rebuilds());
    let top = tree.path("/").display().to_string();
    let top = top.trim_end_matches('/');
    let mut text = script(&plan, 50_000);
    for folder in ["/proc/i", "/sys/class/"] {
        text = text.replace(folder, &format!("{top}{folder}"));
    }
    let file = tree.path("/script.sh");
    fs::write(&file, text).unwrap();
    let forgets = format!(
        "#!/bin/sh\nfor file in {top}/proc/irq/*/smp_affinity_list {top}/sys/class/net/eth0/queues/\
         ?x-*/?ps_*\ndo echo 0 >$file; done\n"
    );
    tree.file("/bin/ethtool", &forgets);
    fs::set_permissions(tree.path("/bin/ethtool"), fs::Permissions::from_mode(0o755)).unwrap();
    let search = format!("{top}/bin:{}", std::env::var("PATH").unwrap());
    let run = |arguments: &[&str]| {
        let mut shell = std::process::Command::new("sh");
        let done = shell.arg(&file).args(arguments).env("PATH", &search).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    run(&[]);
    assert!(lost_steering(&tree).len() > 2);
    // Fewer queues, and each interrupt where the other was.
    fs::remove_dir_all(tree.path("/sys/class/net/eth0/queues/rx-1")).unwrap();
    tree.file("/proc/interrupts", "41: 7 PCI 1-edge eth0-Tx-Rx-1\n42: 9 PCI 2-edge eth0-Tx-Rx-0\n");
    run(&["undo"]);
    let of = |irq: u32| tree.root().raw(&format!("/proc/irq/{irq}/smp_affinity_list")).unwrap();
    assert_eq!((of(41), of(42)), ("3\n".into(), "2\n".into()));
    tree.file("/sys/class/net/eth0/queues/rx-1/rps_flow_cnt", "64\n")
        .file("/proc/irq/41/smp_affinity_list", "2\n")
        .file("/proc/irq/42/smp_affinity_list", "3\n");
    assert_eq!(lost_steering(&tree), [""; 0]);
}
