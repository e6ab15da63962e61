//! Real brokers of Apache Kafka, by `scripts/kafka.sh`: as many nodes as a test asks for, in a
//! folder that goes with them, killed when they are dropped.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Three brokers on two cores take about ten seconds; a busy host several times that.
const START_MAX: Duration = Duration::from_secs(120);

/// A cluster of its own.
pub struct Brokers {
    folder: tempfile::TempDir,
    first_port: u16,
    is_secured: bool,
    nodes: Vec<Option<Child>>,
}

impl Brokers {
    /// Starts `nodes` of them and waits until each takes connections.
    ///
    /// # Panics
    /// When they don't start: `scripts/setup.sh all` installs what they need.
    pub fn start(nodes: u16) -> Self {
        Self::start_as(nodes, false)
    }

    /// The same, where clients speak TLS and sign in by SCRAM: see [`secret`](Self::secret).
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_secured(nodes: u16) -> Self {
        Self::start_as(nodes, true)
    }

    fn start_as(nodes: u16, is_secured: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let first_port = free_ports(2 * nodes);
        let none = (0..nodes).map(|_| None).collect();
        let mut brokers = Self { folder, first_port, is_secured, nodes: none };
        let prepared = brokers.script().args(["prepare", &nodes.to_string()]).output();
        let prepared = prepared.expect("the script runs");
        assert!(prepared.status.success(), "{}", super::server::words(&prepared));
        (1..=nodes).for_each(|node| brokers.start_node(node));
        (1..=nodes).for_each(|node| brokers.await_node(node));
        brokers
    }

    fn script(&self) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let mut command = Command::new("bash");
        command
            .arg(root.join("scripts/kafka.sh"))
            .env("KAFKA_DIR", self.folder.path())
            .env("KAFKA_PORT", self.first_port.to_string())
            .env("KAFKA_PARENT", std::process::id().to_string())
            .stdin(Stdio::null());
        if self.is_secured {
            command.env("KAFKA_SECURE", "yes");
        }
        command
    }

    /// A file of secured brokers: `ca.pem`, `other-ca.pem`, or `password`, of user `touchline`.
    pub fn secret(&self, name: &str) -> PathBuf {
        self.folder.path().join("tls").join(name)
    }

    /// For `log.kafka.brokers`.
    pub fn addresses(&self) -> String {
        let all = (1..=self.nodes.len() as u16).map(|node| self.address(node).to_string());
        all.collect::<Vec<_>>().join(",")
    }

    /// Where a node listens.
    pub fn address(&self, node: u16) -> SocketAddr {
        ([127, 0, 0, 1], self.first_port + 2 * (node - 1)).into()
    }

    /// The log of a node.
    pub fn log_of(&self, node: u16) -> PathBuf {
        self.folder.path().join(node.to_string()).join("broker.log")
    }

    /// Starts a node, from 1 on, that doesn't run.
    ///
    /// # Panics
    /// When there is no script.
    pub fn start_node(&mut self, node: u16) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_of(node));
        let log = log.expect("a file");
        let mut command = self.script();
        command.args(["run", &node.to_string()]).process_group(0);
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        self.nodes[usize::from(node - 1)] = Some(command.spawn().expect("the script runs"));
    }

    /// Whether a node takes connections.
    pub fn listens(&self, node: u16) -> bool {
        TcpStream::connect(self.address(node)).is_ok()
    }

    /// Waits until a node takes connections.
    ///
    /// # Panics
    /// When it doesn't.
    pub fn await_node(&mut self, node: u16) {
        let deadline = Instant::now() + START_MAX;
        while !self.listens(node) {
            let child = self.nodes[usize::from(node - 1)].as_mut().expect("it was started");
            let has_ended = child.try_wait().expect("ours").is_some();
            if has_ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.log_of(node)).unwrap_or_default();
                panic!("broker {node} doesn't start: {log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `kill -9` of a node.
    ///
    /// # Panics
    /// When it doesn't run.
    pub fn kill(&mut self, node: u16) {
        let mut child = self.nodes[usize::from(node - 1)].take().expect("it runs");
        child.kill().expect("ours");
        child.wait().expect("ours");
    }

    /// SIGTERM to a node, and waits for its end.
    ///
    /// # Panics
    /// When it doesn't run.
    pub fn stop(&mut self, node: u16) {
        self.signal(node, Signal::TERM);
        let mut child = self.nodes[usize::from(node - 1)].take().expect("it runs");
        child.wait().expect("ours");
    }

    /// What any client may write to each broker in a second, in bytes; `None`: as much as it likes.
    ///
    /// # Panics
    /// When the first broker doesn't take it.
    pub fn set_quota(&self, bytes: Option<u32>) {
        let bytes = bytes.map_or("none".to_owned(), |bytes| bytes.to_string());
        let set = self.script().args(["quota", &bytes]).output().expect("the script runs");
        assert!(set.status.success(), "{}", super::server::words(&set));
    }

    fn data_of(&self, node: u16) -> PathBuf {
        self.folder.path().join(node.to_string()).join("data")
    }

    /// A copy of what a node holds that doesn't run.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn copy(&self, node: u16) -> PathBuf {
        let copy = self.folder.path().join(format!("copy-of-{node}"));
        copy_folder(&self.data_of(node), &copy);
        copy
    }

    /// Puts a copy in place of what a node holds.
    ///
    /// # Panics
    /// When the disk doesn't let us.
    pub fn put_back(&self, node: u16, copy: PathBuf) {
        std::fs::remove_dir_all(self.data_of(node)).expect("a folder of ours");
        std::fs::rename(copy, self.data_of(node)).expect("a folder of ours");
    }

    /// SIGSTOP or SIGCONT to a node: a broker that is there and doesn't answer.
    ///
    /// # Panics
    /// When it doesn't run.
    pub fn signal(&self, node: u16, signal: Signal) {
        let child = self.nodes[usize::from(node - 1)].as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("ours");
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a new folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let copy = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &copy);
        } else {
            std::fs::copy(entry.path(), copy).expect("room");
        }
    }
}

/// The first of `count` neighbouring ports that are free now, below those that the kernel gives to
/// clients. The demo's brokers look for theirs in the second half of each 16.
///
/// # Panics
/// When there are none, or more than 8 are wanted.
pub fn free_ports(count: u16) -> u16 {
    assert!(count <= 8, "{count} ports");
    // Nobody holds them yet: who asks twice gets others.
    static ASKED: AtomicU16 = AtomicU16::new(0);
    let asked = ASKED.fetch_add(1, Ordering::Relaxed);
    let seed = (std::process::id() as u16).wrapping_add(asked.wrapping_mul(101));
    let candidates = (0..400u16).map(|n| 12_000 + (seed.wrapping_add(n * 37) % 1_000) * 16);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut free = candidates.filter(|first| (*first..first + count).all(is_free));
    free.next().expect("free ports")
}
