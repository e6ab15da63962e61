//! What is kept stays kept, and nothing else is.

use std::fs;

use crate::plan::SYSCTL_FILE;
use crate::record::file_of;
use crate::revert::revert;
use crate::trial::{apply_all, apply_only, everything, host, records, state, text};

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
