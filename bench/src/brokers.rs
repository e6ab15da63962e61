//! Three Kafka brokers on this host, by `scripts/kafka.sh`: started for the first run that wants
//! them, gone with the row that did.
//!
//! They are pinned to nothing and share both cores with server and clients, as the reference host
//! has no others. What they use shows as used by others, and the rows say so.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::child;

/// How many.
pub const BROKERS: u16 = 3;
/// Heap of each in MB: what Kafka's own start script gives. With the 256 that tests make do with,
/// each stops for a tenth of a second every 20 s to collect all of it (docs/decisions/kafka.md).
const HEAP_MB: u32 = 1_024;

/// Running brokers. Dropping them ends them and removes what they hold; so does our end, however
/// it comes.
pub struct Brokers {
    folder: tempfile::TempDir,
    first_port: u16,
}

impl Brokers {
    /// Starts them, and waits until they listen.
    ///
    /// # Errors
    /// When Java or Kafka is missing (`scripts/setup.sh all` installs both), or one doesn't start.
    pub fn start() -> Result<Self> {
        let folder = child::folder()?;
        let brokers = Self { folder, first_port: free_ports()? };
        let log = std::fs::File::create(brokers.folder.path().join("log"))?;
        let mut command = brokers.command(&["start", &BROKERS.to_string()]);
        let started = child::run_anywhere(command.stdout(log.try_clone()?).stderr(log))
            .context("run scripts/kafka.sh; it needs bash")?;
        let said = std::fs::read_to_string(brokers.folder.path().join("log")).unwrap_or_default();
        ensure!(started.success(), "the brokers can't be started: {}", said.trim());
        Ok(brokers)
    }

    /// For `log.kafka.brokers`.
    pub fn addresses(&self) -> String {
        let ports = (0..BROKERS).map(|node| self.first_port + 2 * node);
        ports.map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("bash");
        command
            .arg(script())
            .args(arguments)
            .env("KAFKA_DIR", self.folder.path().join("nodes"))
            .env("KAFKA_PORT", self.first_port.to_string())
            .env("KAFKA_PARENT", std::process::id().to_string())
            .env("KAFKA_HEAP_MB", HEAP_MB.to_string())
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        let quiet = self.command(&["wipe"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        // They end with us, too, so nothing is left for good.
        drop(quiet);
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/kafka.sh")
}

/// The first of neighbouring ports that are free now, below those that the kernel gives to clients.
fn free_ports() -> Result<u16> {
    let seed = std::process::id() as u16;
    let candidates = (0..400u16).map(|n| 14_000 + (seed.wrapping_add(n * 37) % 1_000) * 16);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut free = candidates.filter(|first| (*first..first + 2 * BROKERS).all(is_free));
    free.next().context("find six free ports in a row between 14000 and 30000")
}
