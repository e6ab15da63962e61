//! The Touchline binary, in a folder of its own.

use std::fs::{self, File};
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::counters::{self, Counters};
use super::{READY_S_MAX, SECRET, answers_ok, free_ports, get, last_lines};
use crate::brokers::BROKERS;
use crate::child::{self, spawn_pinned};
use crate::place::Place;
use crate::publish::SOURCE;
use crate::setup::{Log, Setup};
use crate::sys;
use crate::upstream::Upstream;
use crate::upstream::sections::sections;

/// The Touchline binary with a data folder of its own. It can be killed and started again.
pub struct Appliance {
    folder: tempfile::TempDir,
    binary: PathBuf,
    /// As `--set` takes them.
    settings: Vec<String>,
    core: usize,
    /// Stream, API and admin.
    pub ports: [SocketAddrV4; 3],
    child: Option<Child>,
}

impl Appliance {
    /// For the clients of `setup`, on the server's core; sources are served by `upstream`. Not
    /// started yet.
    ///
    /// # Errors
    /// When there is no binary, or no broker can be started where the setup wants Kafka.
    pub fn new(
        place: &Place,
        setup: &Setup,
        shards: usize,
        upstream: Option<&Upstream>,
    ) -> Result<Self> {
        let binary = place.binary.clone().context("there is no server to measure")?;
        let folder = child::folder()?;
        let ports = free_ports()?;
        let [stream, api, admin] = ports;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        let mut config = format!(
            "[node]\nname = \"bench\"\ndata_dir = \"{}\"\nconnections_max = {}\nshards = {shards}\n\
             [listen]\nstream = \"{stream}\"\napi = \"{api}\"\nadmin = \"{admin}\"\n\
             [sources.broadcast.{SOURCE}]\nsecrets = [\"whsec_{}\"]\n",
            data.display(),
            setup.crowd.sockets + 100,
            STANDARD.encode(SECRET),
        );
        config += &upstream.map_or_else(String::new, |at| sections(setup, at.address));
        if setup.log == Log::Kafka {
            // Topics of its own: what an earlier run has left is nobody's business. A partition
            // for each broker: more are more batches for the same events (decisions/kafka.md).
            let (brokers, prefix) = (place.brokers()?, sys::now_ns());
            config += &format!(
                "[log]\nkind = \"kafka\"\n\
                 [log.kafka]\nbrokers = \"{brokers}\"\ntopic_prefix = \"run-{prefix:x}.\"\n\
                 partitions = {BROKERS}\n"
            );
        }
        fs::write(folder.path().join("touchline.toml"), config)?;
        let (core, settings) = (place.server_core, setup.settings.clone());
        Ok(Self { folder, binary, settings, core, ports, child: None })
    }

    /// Starts it; says how long it took until it was ready.
    pub fn start(&mut self) -> Result<Duration> {
        let started = Instant::now();
        let log = File::create(self.folder.path().join("log"))?;
        let mut command = Command::new(&self.binary);
        command
            .arg("serve")
            .arg("--config")
            .arg(self.folder.path().join("touchline.toml"))
            .args(self.settings.iter().flat_map(|setting| ["--set", setting]))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(spawn_pinned(&mut command, self.core)?);
        let ready = format!("http://{}/readyz", self.ports[2]);
        loop {
            if answers_ok(&ready) {
                return Ok(started.elapsed());
            }
            let exited = self.child.as_mut().map_or(Ok(None), Child::try_wait)?;
            if let Some(status) = exited {
                bail!("{} ended with {status}: {}", self.binary.display(), self.last_words());
            }
            if started.elapsed() > Duration::from_secs(READY_S_MAX) {
                bail!("not ready after {READY_S_MAX} s: {}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().context("kill the server")?;
            child.wait()?;
        }
        Ok(())
    }

    /// What it counts of its sources; empty where it doesn't answer.
    pub fn counters(&self) -> Counters {
        get(&format!("http://{}/metrics", self.ports[2]))
            .map_or_else(Counters::new, |t| counters::of(&t))
    }

    /// Its connections by shard; nothing where it doesn't answer.
    pub fn by_shard(&self) -> Vec<u64> {
        get(&format!("http://{}/metrics", self.ports[2]))
            .map_or_else(Vec::new, |text| counters::by_shard(&text))
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The end of what it logged.
    pub fn last_words(&self) -> String {
        last_lines(&self.folder.path().join("log"))
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.kill();
    }
}
