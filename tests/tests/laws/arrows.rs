//! Who may know whom (DESIGN section 3), and law 1: no async runtime, database or broker in the
//! vocabulary and on the hot path.

use std::process::Command;

use crate::check;
use crate::tree::{CRATES, read, root};

/// What each crate may depend on among ours. `bench` and `tests` may depend on anything.
const ARROWS: [(&str, &[&str]); 6] = [
    ("touchline-core", &[]),
    ("touchline-fanout", &["touchline-core"]),
    ("touchline-ingest", &["touchline-core"]),
    ("touchline-store", &["touchline-core"]),
    ("touchline-tuning", &["touchline-core"]),
    (
        "touchline",
        &[
            "touchline-core",
            "touchline-fanout",
            "touchline-ingest",
            "touchline-store",
            "touchline-tuning",
        ],
    ),
];

/// What must not be in the normal dependencies of core and fanout, at any distance.
const BANNED: [&str; 5] = ["tokio", "sqlx", "rdkafka", "reqwest", "hyper"];

#[test]
fn crates_point_only_where_the_design_lets_them() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    let mut violations = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            if !matches!(name, "touchline-bench" | "touchline-tests") {
                violations.push(format!("{name} is no crate of DESIGN section 3"));
            }
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.name.starts_with("touchline")) {
            // A crate may enable its own features for its tests.
            if dependency.name != name && !allowed.contains(&dependency.name.as_str()) {
                violations.push(format!("{name} -> {}", dependency.name));
            }
        }
    }
    assert_eq!(metadata.packages.len(), CRATES.len(), "one package for each folder");
    check("arrows point from server to its parts, and from the parts to core", violations);
}

#[test]
fn law_1_core_and_fanout_hold_no_runtime_database_or_broker() {
    let mut violations = Vec::new();
    for package in ["touchline-core", "touchline-fanout"] {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none"])
            .current_dir(root())
            .output()
            .expect("cargo tree runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8_lossy(&output.stdout).into_owned();
        let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(names.contains(&"bytes"), "the tree of {package} was read");
        let found = BANNED.iter().filter(|banned| names.contains(banned));
        violations.extend(found.map(|banned| format!("{package} contains {banned}")));
    }
    check("law 1: core and fanout contain no tokio, sqlx, rdkafka or reqwest", violations);
}

#[test]
fn versions_stand_in_one_table_and_every_crate_obeys_the_lints() {
    let mut violations = Vec::new();
    for folder in CRATES {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        if !manifest.contains("[lints]\nworkspace = true") {
            violations.push(format!("{folder}: [lints] workspace = true is missing"));
        }
        let mut dependencies = false;
        for line in manifest.lines().map(str::trim) {
            if line.starts_with('[') {
                dependencies = line.contains("dependencies");
            } else if dependencies
                && !line.is_empty()
                && !line.starts_with('#')
                && !line.contains("workspace = true")
                && !line.contains("path = \".\"")
            {
                violations.push(format!("{folder}: `{line}` says a version of its own"));
            }
        }
    }
    for toolchain in ["rust-toolchain", "rust-toolchain.toml"] {
        if root().join(toolchain).exists() {
            violations.push(format!("{toolchain} would make rustup download"));
        }
    }
    check("one table of versions, one table of lints, no toolchain file", violations);
}
