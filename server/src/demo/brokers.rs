//! Three Kafka brokers for `touchline demo --kafka`, by `scripts/kafka.sh`.
//!
//! The script is told whose brokers they are: they end with this process, also when it is killed.
//! What they hold is of no use without the demo and goes with them; a guard sees to that where none
//! of them is left to do it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::limits::demo::{BROKERS, BROKERS_START_MAX};

/// Names the script where it isn't below the working folder.
pub const SCRIPT_VARIABLE: &str = "TOUCHLINE_KAFKA_SCRIPT";
const SCRIPT: &str = "scripts/kafka.sh";
/// Between two looks whether a broker is there.
const LOOK: Duration = Duration::from_millis(100);

/// Started brokers. Dropping them kills them and removes their folder.
#[derive(Debug)]
pub struct Brokers {
    script: PathBuf,
    folder: PathBuf,
    first_port: u16,
    /// By broker: `None` is away.
    nodes: Vec<Option<Child>>,
    guard: Option<Child>,
}

impl Brokers {
    /// Starts them in `folder`, which is emptied, and waits until all take connections.
    ///
    /// # Errors
    /// When the script, Java or Kafka isn't there, or a broker doesn't start; the text says what to
    /// do.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let script = find_script(std::env::var_os(SCRIPT_VARIABLE).map(PathBuf::from))?;
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)
            .with_context(|| format!("make the brokers' folder {}", folder.display()))?;
        let folder = folder.canonicalize().context("find the brokers' folder")?;
        let first_port = free_ports()?;
        let nodes = (0..BROKERS).map(|_| None).collect();
        let mut brokers = Self { script, folder, first_port, nodes, guard: None };
        let prepared = brokers.command(&["prepare", &BROKERS.to_string()]).output();
        let prepared = prepared.context("run scripts/kafka.sh; it needs bash")?;
        ensure!(
            prepared.status.success(),
            "the brokers can't be prepared: {}",
            String::from_utf8_lossy(&prepared.stderr).trim()
        );
        let guard = brokers.command(&["guard"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        brokers.guard = Some(guard.context("start the brokers' guard")?);
        for node in 1..=BROKERS {
            brokers.bring_back(node)?;
        }
        brokers.wait()?;
        Ok(brokers)
    }

    /// Kills broker `node`, as a host that loses power does; what it holds stays.
    pub fn take_away(&mut self, node: u16) {
        if let Some(mut child) = self.nodes[usize::from(node) - 1].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts broker `node` if it is away; doesn't wait until it listens.
    ///
    /// # Errors
    /// When the system starts no process.
    pub fn bring_back(&mut self, node: u16) -> anyhow::Result<()> {
        let index = usize::from(node) - 1;
        if self.nodes[index].is_none() {
            self.nodes[index] = Some(self.spawn(node)?);
        }
        Ok(())
    }

    /// Whether broker `node` takes connections.
    pub fn listens(&self, node: u16) -> bool {
        TcpStream::connect_timeout(&self.address(node), LOOK).is_ok()
    }

    /// For `log.kafka.brokers`.
    pub fn addresses(&self) -> String {
        let all = (1..=BROKERS).map(|node| self.address(node).to_string());
        all.collect::<Vec<_>>().join(",")
    }

    /// Where they keep what they hold, and their logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn address(&self, node: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.first_port + 2 * (node - 1)).into()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("bash");
        command
            .arg(&self.script)
            .args(arguments)
            .env("KAFKA_DIR", &self.folder)
            .env("KAFKA_PORT", self.first_port.to_string())
            .env("KAFKA_PARENT", std::process::id().to_string())
            .stdin(Stdio::null())
            // Ctrl-C is for the demo alone: it ends the brokers when its nodes have ended.
            .process_group(0);
        command
    }

    fn log_of(&self, node: u16) -> PathBuf {
        self.folder.join(node.to_string()).join("broker.log")
    }

    fn spawn(&self, node: u16) -> anyhow::Result<Child> {
        let log = File::create(self.log_of(node)).context("make a broker's log file")?;
        let mut command = self.command(&["run", &node.to_string()]);
        command.stdout(log.try_clone().context("share a log file")?).stderr(log);
        command.spawn().context("start a broker")
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + BROKERS_START_MAX;
        for node in 1..=BROKERS {
            while !self.listens(node) {
                let child = self.nodes[usize::from(node) - 1].as_mut();
                let ended =
                    child.map(Child::try_wait).transpose().context("look after a broker")?;
                if ended.flatten().is_some() {
                    // Its folder goes with the demo: what it said last is worth more than its path.
                    bail!("broker {node} has ended: {}", last_line(&self.log_of(node)));
                }
                let slow = "is the host busy, or short of memory? Three brokers take about 1 GB";
                ensure!(Instant::now() < deadline, "broker {node} doesn't listen: {slow}");
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().flatten().chain(&mut self.guard) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The script, as `named`, or below the working folder.
fn find_script(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let script = named.unwrap_or_else(|| SCRIPT.into());
    ensure!(
        script.is_file(),
        "`demo --kafka` starts its brokers by scripts/kafka.sh, and there is no {}: run it in a \
         checkout of Touchline, or name the script in {SCRIPT_VARIABLE}",
        script.display()
    );
    Ok(script.canonicalize()?)
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}

/// The first of neighbouring ports that are free now, below those that the kernel gives to clients;
/// none of those that the tests' own brokers look for, which may begin at the same moment.
fn free_ports() -> anyhow::Result<u16> {
    let seed = std::process::id() as u16;
    let candidates = (0..400u16).map(|n| 14_008 + (seed.wrapping_add(n * 37) % 1_000) * 16);
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut free = candidates.filter(|first| (*first..first + 2 * BROKERS).all(is_free));
    free.next().context("find six free ports in a row between 14000 and 30000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_script_it_says_where_to_find_it() {
        let refusal = find_script(Some("no/such/kafka.sh".into())).unwrap_err().to_string();
        assert!(refusal.contains("no/such/kafka.sh") && refusal.contains(SCRIPT_VARIABLE));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/kafka.sh");
        assert!(find_script(Some(script)).unwrap().is_absolute());
    }

    #[test]
    fn a_log_is_told_by_its_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert_eq!(last_line(&log), "it said nothing");
        std::fs::write(&log, "one\ntwo\n\n").unwrap();
        assert_eq!(last_line(&log), "two");
    }
}
