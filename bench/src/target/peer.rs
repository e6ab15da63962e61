//! Another product, started as its file says, in a process group of its own that ends with it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, ToSocketAddrs as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use super::file::{Places, Publish, Start, Target};
use super::{READY_S_MAX, answers_ok, free_ports, last_lines};
use crate::child::spawn_pinned;
use crate::dialogue::Dialogue;

/// How long an install may take: a Go build and a C++ build on a slow line.
const INSTALL_S_MAX: u64 = 1_800;

/// A product that runs. Its whole process group is killed when this is dropped.
pub struct Peer {
    /// Where clients connect.
    pub stream: SocketAddrV4,
    /// How they become followers.
    pub dialogue: Dialogue,
    /// How events are published, without placeholders of places.
    pub publish: Publish,
    child: Option<Child>,
    log: tempfile::NamedTempFile,
}

/// Where `bench/peers` is, in the tree this was built from.
pub fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// Where peers are installed: `$TOUCHLINE_CACHE/peers`, by default in a cache folder of the user.
pub fn installed() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = variable("TOUCHLINE_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let user = variable("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(variable("HOME").unwrap_or_default()).join(".cache");
        user.unwrap_or_else(home).join("touchline")
    });
    cache.join("peers")
}

/// Puts the product in place. Takes a moment where it is already.
pub fn install(target: &Target) -> Result<()> {
    let Some(script) = target.start.as_ref().and_then(|start| start.install.as_ref()) else {
        return Ok(());
    };
    let mut command = Command::new("timeout");
    command.arg(INSTALL_S_MAX.to_string()).arg(tree().join(script));
    command.env("TOUCHLINE_CACHE", installed().parent().context("a folder above")?);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("run {script}"))?;
    if !status.success() {
        bail!("{} could not be installed: {script} ended with {status}", target.name);
    }
    Ok(())
}

impl Peer {
    /// Starts `target` on `core` and waits until it is ready; one that runs already is only looked
    /// up.
    pub fn start(target: &Target, core: usize) -> Result<Self> {
        let [first, second, _] = free_ports()?;
        let ports = [first.port(), second.port()];
        let places = Places { ports, peers: installed(), tree: tree() };
        let stream = match &target.address {
            Some(address) => resolve(address)?,
            None => SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports[0]),
        };
        let mut peer = Self {
            stream,
            dialogue: target.connect.clone(),
            publish: fill(&target.publish, &places),
            child: None,
            log: tempfile::NamedTempFile::new()?,
        };
        if let Some(start) = &target.start {
            peer.spawn(start, &places, core)?;
            peer.wait_until_ready(&places.fill(&start.ready))?;
        }
        Ok(peer)
    }

    fn spawn(&mut self, start: &Start, places: &Places, core: usize) -> Result<()> {
        let words: Vec<String> = start.command.iter().map(|word| places.fill(word)).collect();
        let (program, rest) = words.split_first().context("an empty command")?;
        let log: File = self.log.reopen()?;
        let mut command = Command::new(program);
        command.args(rest).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.envs(start.env.iter().map(|(name, value)| (name, places.fill(value))));
        command.process_group(0);
        self.child = Some(spawn_pinned(&mut command, core)?);
        Ok(())
    }

    fn wait_until_ready(&mut self, ready: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(READY_S_MAX);
        loop {
            if self.answers(ready) {
                return Ok(());
            }
            let ended = self.child.as_mut().map_or(Ok(None), Child::try_wait)?;
            if ended.is_some() || Instant::now() > deadline {
                bail!("it did not come up: {}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self, ready: &str) -> bool {
        if ready == "tcp" {
            return TcpStream::connect(self.stream).is_ok();
        }
        answers_ok(ready)
    }

    /// Its process id; `None` for one that was not started here.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The end of what it said.
    pub fn last_words(&self) -> String {
        last_lines(self.log.path())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Some have ended already, which is what is wanted.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
        }
    }
}

/// The first IPv4 address of `host:port`.
fn resolve(address: &str) -> Result<SocketAddrV4> {
    let found = address.to_socket_addrs().with_context(|| format!("{address} is no address"))?;
    let v4 = |address| if let SocketAddr::V4(address) = address { Some(address) } else { None };
    found.filter_map(v4).next().with_context(|| format!("{address} has no IPv4 address"))
}

/// `publish` with ports in it; team and data are filled in for each event.
fn fill(publish: &Publish, places: &Places) -> Publish {
    let mut publish = publish.clone();
    match &mut publish {
        Publish::Http { url, .. } => *url = places.fill(url),
        Publish::Tcp { address, .. } => *address = places.fill(address),
        Publish::Webhook { .. } => {}
    }
    publish
}
