//! The second node of `touchline demo --kafka`: this program once more, as a process of its own.
//!
//! It is started as `serve --attached`: it says where it listens, and ends when the pipe on its
//! standard input does, which the system closes however this process ends.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::Node;
use crate::config::layers::variable_of;
use crate::limits::demo::{NODE_START_MAX, NODE_STOP_MAX};
use crate::running::Addresses;

/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A started node. Dropping it ends it.
#[derive(Debug)]
pub struct SecondNode {
    child: Child,
    /// It lives as long as this.
    leash: Option<ChildStdin>,
    addresses: Addresses,
}

/// How it is started.
#[derive(Clone, Debug)]
pub struct SecondNodeOptions {
    /// Arguments after `serve --attached`.
    pub arguments: Vec<String>,
    /// Keys and texts of its configuration.
    pub keys: Vec<(String, String)>,
    /// Where its log goes.
    pub log: PathBuf,
}

impl SecondNode {
    /// Starts it, and waits until it serves or `is_wanted` says no.
    ///
    /// # Errors
    /// When it doesn't start; its own words stand in the log.
    pub fn start(
        options: &SecondNodeOptions,
        is_wanted: impl Fn() -> bool,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find this program's own file")?;
        let log = File::create(&options.log).context("make the second node's log file")?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--attached"])
            .args(&options.arguments)
            // Secrets stay out of the list of processes.
            .envs(options.keys.iter().map(|(path, text)| (variable_of(path), text)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C is for the demo alone.
            .process_group(0);
        let mut child = command.spawn().context("start the second node")?;
        let (leash, said) = (child.stdin.take(), child.stdout.take());
        let unknown = (Ipv4Addr::UNSPECIFIED, 0).into();
        let addresses = Addresses { stream: unknown, api: unknown, admin: unknown };
        let mut node = Self { child, leash, addresses };
        let (sender, receiver) = channel();
        let said = BufReader::new(said.context("read what the second node says")?);
        // Ends with the node at the latest.
        std::thread::spawn(move || drop(sender.send(said.lines().next())));
        let deadline = Instant::now() + NODE_START_MAX;
        while is_wanted() && Instant::now() < deadline {
            match receiver.recv_timeout(LOOK) {
                Ok(Some(Ok(line))) => {
                    node.addresses = serde_json::from_str(&line).context("read its addresses")?;
                    return Ok(node);
                }
                Ok(_) => bail!("the second node has ended: {}", words(&options.log)),
                Err(_) => {}
            }
        }
        bail!("the second node doesn't serve: see {}", options.log.display())
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The same, for those who treat it as a stranger.
    pub fn node(&self) -> Node {
        Node { api: self.addresses.api, stream: self.addresses.stream }
    }
}

impl Drop for SecondNode {
    fn drop(&mut self) {
        self.leash.take();
        let deadline = Instant::now() + NODE_STOP_MAX;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}
