//! The load bench can't rot: every scenario is played small on the running binary, against a
//! server that runs already, by agents in network namespaces; and a delivery costs what the kernel
//! charges, within a third.
//!
//! Nothing here judges an absolute time, for the hosts of tests are shared: but for the minute of
//! FAULTS 43, of which a tenth of its crowd takes seconds.

mod agents;
mod faults;
mod ratio;
mod scenarios;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;
use touchline_tests::e2e::server::{binary, words};

/// Runs share two cores, so they take turns; `None` where there is no core for the server and one
/// for the clients.
fn turn() -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        touchline_tests::note("needs two cores: server and clients are pinned apart");
        return None;
    }
    Some(TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The bench: `$TOUCHLINE_BENCH_BINARY`, which has `touchline` beside it, else built in the profile
/// of the test itself.
fn bench() -> &'static Path {
    static BENCH: OnceLock<PathBuf> = OnceLock::new();
    BENCH.get_or_init(|| match std::env::var_os("TOUCHLINE_BENCH_BINARY") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let folder = binary().parent().expect("a binary lies in a folder");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "touchline-bench"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    if folder.ends_with("release") {
        command.arg("--release");
    }
    assert!(command.status().expect("cargo runs").success(), "the bench doesn't build");
    folder.join("touchline-bench")
}

/// What a bench said and kept.
struct Results {
    folder: tempfile::TempDir,
    output: Output,
}

impl Results {
    /// Of the bench with these arguments; `--out` is added.
    fn of(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(bench());
        command.args(arguments).arg("--out").arg(folder.path().join("results.jsonl"));
        let output = command.output().unwrap();
        Self { folder, output }
    }

    fn said(&self) -> String {
        words(&self.output)
    }

    /// Its runs.
    fn runs(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("results.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["run"]["run"].clone()).filter(Value::is_object).collect()
    }
}
