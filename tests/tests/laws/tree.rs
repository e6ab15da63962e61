//! The tree as the laws see it: crates, Rust files, and what `git` tracks or would track.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The workspace's crates, by folder.
pub const CRATES: [&str; 8] =
    ["core", "fanout", "ingest", "store", "server", "bench", "tuning", "tests"];

/// The top of the checkout.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        tests.parent().expect("the crate lies in the workspace").to_path_buf()
    })
}

/// A Rust file of ours.
pub struct Source {
    /// Path below the root, with `/`.
    pub path: String,
    pub text: String,
}

impl Source {
    /// Its syntax. Parsed for each law anew: trees can't be shared between threads.
    pub fn syntax(&self) -> syn::File {
        syn::parse_file(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.path))
    }

    /// Whether it lies in folder `dir`, or is the file `dir`.
    pub fn is_in(&self, dir: &str) -> bool {
        self.path == dir || self.path.starts_with(&format!("{}/", dir.trim_end_matches('/')))
    }

    /// Whether it is only compiled for tests and benches.
    pub fn is_test(&self) -> bool {
        let below = self.path.split_once('/').map_or("", |(_, below)| below);
        self.is_in("tests")
            || below.starts_with("tests/")
            || below.starts_with("benches/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
    }
}

/// All Rust files that git tracks or would track.
pub fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let rust = files().iter().filter(|path| path.ends_with(".rs"));
        rust.map(|path| Source { path: path.clone(), text: read(path) }).collect()
    })
}

/// Every file of the checkout that git tracks or would track, below the root.
pub fn files() -> &'static BTreeSet<String> {
    static FILES: OnceLock<BTreeSet<String>> = OnceLock::new();
    FILES.get_or_init(|| {
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root())
            .output()
            .expect("git runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let names = String::from_utf8(output.stdout).expect("paths are UTF-8");
        let exists = |path: &&str| !path.is_empty() && root().join(path).is_file();
        names.split('\0').filter(exists).map(str::to_owned).collect()
    })
}

/// The text of a file below the root.
pub fn read(path: &str) -> String {
    let full = root().join(path);
    std::fs::read_to_string(&full).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// An exception to a law, with the reason that somebody may dispute.
pub struct Exception {
    pub path: &'static str,
    pub reason: &'static str,
}

/// Compares what breaks a law with the exceptions to it: what is new, what lacks a reason, and what
/// is no longer needed.
pub fn judge(found: &[(String, String)], exceptions: &[Exception]) -> Vec<String> {
    let excepted = |path: &str| exceptions.iter().any(|exception| exception.path == path);
    let mut violations: Vec<String> = found
        .iter()
        .filter(|(path, _)| !excepted(path))
        .map(|(path, what)| format!("{path}: {what}"))
        .collect();
    for exception in exceptions {
        if !found.iter().any(|(path, _)| path == exception.path) {
            violations.push(format!("{}: needs no exception any more; remove it", exception.path));
        }
        if exception.reason.len() < 20 {
            violations.push(format!("{}: its exception has no reason", exception.path));
        }
    }
    violations
}
