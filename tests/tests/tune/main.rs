//! The host doctor as its owner runs it: the real binary, on real sysctls where that harms nobody,
//! on trees of files where a host lacks what is to be judged.
//!
//! | module | its claim |
//! |---|---|
//! | `namespace` | `net.*` sysctls of a network namespace are set, kept and put back byte for byte, also after a kill |
//! | `global` | so is one of the whole host, in one test that puts it back whatever ends it |
//! | `tree` | codes, JSON, the question, and hosts that nobody has at hand |
//! | `surface` | no rights for a check, a line at the start of a server |
//!
//! Namespaces and sysctls need root. Where they aren't to be had the tests say so and pass: then
//! the trees are all that was tested.

mod global;
mod namespace;
mod surface;
mod tree;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::geteuid;
use serde_json::Value;

/// Whether this process may make a network namespace; says so where it may not.
fn may_make_namespaces() -> bool {
    let mut tried = Command::new("unshare");
    tried.args(["-n", "nsenter", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    let may = geteuid().is_root() && tried.status().is_ok_and(|status| status.success());
    if !may {
        touchline_tests::note("not root, or no namespaces here: only trees of files were tested");
    }
    may
}

/// The arguments that keep everything but the host itself in a folder of the test's.
fn apart(folder: &Path) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    ["--etc".into(), path("etc"), "--state-dir".into(), path("state")].to_vec()
}

/// The row of a knob in what `check --json` printed.
fn row(output: &Output, knob: &str) -> Value {
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = report["rows"].as_array().expect("rows").iter();
    rows.into_iter().find(|row| row["knob"] == knob).expect("every knob has a row").clone()
}
