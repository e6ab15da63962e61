//! A real HAProxy on `deploy/haproxy/touchline.cfg`, with the addresses of a test in it; killed
//! when it is dropped.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::brokers::free_ports;
use super::http::request;
use super::until;

/// How the file names what a test has to fill in.
const FILE: &str = "deploy/haproxy/touchline.cfg";
const NODES: [(&str, &str); 3] = [("a", "10.0.0.11"), ("b", "10.0.0.12"), ("c", "10.0.0.13")];

/// Where a node will listen.
#[derive(Clone, Copy, Debug)]
pub struct NodePorts {
    /// WebSockets.
    pub stream: SocketAddr,
    /// Webhooks.
    pub api: SocketAddr,
}

/// A balancer before three nodes, which need not run.
pub struct Haproxy {
    child: Child,
    _folder: tempfile::TempDir,
    log: PathBuf,
    /// Where clients connect.
    pub stream: SocketAddr,
    /// Where partners post.
    pub api: SocketAddr,
    metrics: SocketAddr,
}

impl Haproxy {
    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    /// When there is no HAProxy (`scripts/setup.sh all` installs it), or it refuses the file.
    pub fn start(nodes: [NodePorts; 3]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let first = free_ports(3);
        let [stream, api, metrics] =
            [0, 1, 2].map(|n| SocketAddr::from(([127, 0, 0, 1], first + n)));
        let (file, log) = (folder.path().join("haproxy.cfg"), folder.path().join("log"));
        std::fs::write(&file, filled_in(nodes, [stream, api, metrics])).expect("a file");
        let out = std::fs::File::create(&log).expect("a file");
        let child = Command::new("haproxy")
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a file"))
            .stderr(out)
            .spawn()
            .expect("haproxy, which `scripts/setup.sh all` installs");
        let mut it = Self { child, _folder: folder, log, stream, api, metrics };
        until("HAProxy listens", || {
            let has_ended = it.child.try_wait().expect("ours").is_some();
            assert!(!has_ended, "HAProxy has ended: {}", it.log());
            TcpStream::connect(metrics).is_ok()
        });
        it
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it sends newcomers of `backend` to `node`.
    ///
    /// # Panics
    /// When it doesn't answer.
    pub fn uses(&self, backend: &str, node: &str) -> bool {
        let page = request(self.metrics, "GET", "/metrics", &[], "").expect("it answers").body;
        let sample = format!(
            "haproxy_server_status{{proxy=\"{backend}\",server=\"{node}\",state=\"UP\"}} 1"
        );
        page.lines().any(|line| line == sample)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What HAProxy says of the file as it is deployed: whether it would start on it, and its words.
///
/// # Panics
/// As [`Haproxy::start`].
pub fn judge_deployed() -> (bool, String) {
    let said = Command::new("haproxy").arg("-c").arg("-f").arg(root().join(FILE)).output();
    let said = said.expect("haproxy, which `scripts/setup.sh all` installs");
    (said.status.success(), super::server::words(&said))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// The file as it is deployed, but for addresses: each of them stands where it is expected.
fn filled_in(nodes: [NodePorts; 3], [stream, api, metrics]: [SocketAddr; 3]) -> String {
    let mut text = std::fs::read_to_string(root().join(FILE)).expect("the file that is deployed");
    let mut put = |from: String, to: String| {
        let from = format!("    {from}\n");
        assert_eq!(text.matches(&from).count(), 1, "{FILE} has one line{from}");
        text = text.replace(&from, &format!("    {to}\n"));
    };
    put("bind :8080".into(), format!("bind {stream}"));
    put("bind :8081".into(), format!("bind {api}"));
    put("bind 127.0.0.1:8405".into(), format!("bind {metrics}"));
    for ((name, address), at) in NODES.into_iter().zip(nodes) {
        put(format!("server {name} {address}:8080"), format!("server {name} {}", at.stream));
        let check_port = at.stream.port();
        put(
            format!("server {name} {address}:8081 port 8080"),
            format!("server {name} {} port {check_port}", at.api),
        );
    }
    text
}
