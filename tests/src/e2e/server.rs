//! A `touchline serve` of its own for each test: a folder that goes with it, ports that the kernel
//! chooses, ended when it is dropped.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::PATIENCE;
use super::http::{Answer, SECRET, post_as, post_signed, request};

/// The partners that every configuration has; all of them sign with [`SECRET`].
pub const PARTNERS: [&str; 3] = ["skyline", "arena", "pitchside"];

/// The binary under test: `$TOUCHLINE_BINARY`, else built once from this workspace, in the profile
/// of the test itself, so that no test judges an old one.
///
/// # Panics
/// When it can't be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("TOUCHLINE_BINARY") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let ours = std::env::current_exe().expect("a test has a file");
    let folder = ours.parent().and_then(Path::parent).expect("it lies in the target folder");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "touchline", "--bin", "touchline"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    if folder.ends_with("release") {
        command.arg("--release");
    }
    assert!(command.status().expect("cargo runs").success(), "the binary doesn't build");
    folder.join("touchline")
}

/// A command of the binary that sees nothing of this process's own configuration.
pub fn touchline() -> Command {
    unconfigured(binary())
}

fn unconfigured(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let ours =
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TOUCHLINE__"));
    for (name, _) in ours {
        command.env_remove(name);
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").stdin(Stdio::null());
    command
}

/// Runs a command of the binary to its end.
///
/// # Panics
/// When it can't be started.
pub fn run(arguments: &[&str]) -> Output {
    touchline().args(arguments).output().expect("the binary runs")
}

/// What a command said, on both ways out.
pub fn words(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// What is under a server: io_uring and direct I/O where the host allows, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// What the host allows.
    Auto,
    /// epoll, `send` and plain files.
    Plain,
}

impl Backend {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Auto, Self::Plain];

    /// Makes a server run on it, by its environment.
    pub fn choose(self, command: &mut Command) {
        if self == Self::Plain {
            command.env("TOUCHLINE__NODE__IO", "epoll").env("TOUCHLINE__LOG__DISK", "plain");
        }
    }
}

/// A folder with a configuration in it.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// All ports chosen by the kernel, three partners; `more` is appended to the configuration.
    ///
    /// # Panics
    /// When there is no room for a folder.
    pub fn new(more: &str) -> Self {
        let home = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::write(home.path("partner.secrets"), SECRET).expect("a file");
        home.configure(more);
        home
    }

    /// Writes the configuration anew, with another `more`.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn configure(&self, more: &str) {
        let mut text = format!(
            "[node]\nname = \"test\"\ndata_dir = {:?}\nconnections_max = 1000\n\
             [listen]\nstream = \"127.0.0.1:0\"\napi = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n",
            self.path("data").display().to_string(),
        );
        for partner in PARTNERS {
            text.push_str(&format!(
                "[sources.broadcast.{partner}]\nsecrets_file = \"partner.secrets\"\n"
            ));
        }
        std::fs::write(self.config(), text + more).expect("a file");
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.path("touchline.toml")
    }

    /// The journal's folder.
    pub fn journal(&self) -> PathBuf {
        self.path("data").join("journal")
    }

    /// The command that serves this folder on `backend`.
    pub fn command(&self, backend: Backend) -> Command {
        let mut command = touchline();
        command.arg("serve").arg("--config").arg(self.config());
        backend.choose(&mut command);
        command
    }

    /// Starts it and waits until it serves.
    pub fn serve(&self, backend: Backend) -> Server {
        Server::start(self.command(backend))
    }

    /// The same where one table holds only `files` open files.
    pub fn serve_within(&self, files: u32) -> Server {
        let mut command = unconfigured("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$@\""), "sh"]);
        command.arg(binary()).arg("serve").arg("--config").arg(self.config());
        Server::start(command)
    }
}

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// WebSockets.
    pub stream: SocketAddr,
    /// Webhooks.
    pub api: SocketAddr,
    /// Metrics and readiness.
    pub admin: SocketAddr,
}

/// A server that was started. It may be on its way up, serving, or dead.
pub struct Server {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    addresses: Option<Addresses>,
}

impl Server {
    /// Starts `command` and doesn't wait for it.
    ///
    /// # Panics
    /// When there is no such binary.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (reader, kept) = (child.stderr.take().expect("piped"), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                kept.lock().expect("no panic").push(line);
            }
        });
        Self { child, lines, addresses: None }
    }

    /// Starts `command` and waits until it serves.
    ///
    /// # Panics
    /// When it doesn't.
    pub fn start(command: Command) -> Self {
        let mut server = Self::spawn(command);
        server.wait_until_serving();
        server
    }

    /// Waits until it says where it serves.
    ///
    /// # Panics
    /// When it ends before, or takes too long.
    pub fn wait_until_serving(&mut self) -> Addresses {
        let line = self.wait_for_line("\"serving\"");
        let line: Value = serde_json::from_str(&line).expect("a JSON line");
        let address = |name: &str| {
            let text = line[name].as_str().expect("an address");
            text.parse().expect("an address")
        };
        let addresses =
            Addresses { stream: address("stream"), api: address("api"), admin: address("admin") };
        self.addresses = Some(addresses);
        addresses
    }

    /// Where it listens.
    ///
    /// # Panics
    /// Before it serves.
    pub fn addresses(&self) -> Addresses {
        self.addresses.expect("it serves")
    }

    /// The lines of its log so far.
    ///
    /// # Panics
    /// Never: the reader doesn't.
    pub fn log(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// The first line that holds `part`.
    ///
    /// # Panics
    /// When it doesn't come, or the server ends first.
    pub fn wait_for_line(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let is_over = self.child.try_wait().expect("ours").is_some();
            if let Some(line) = self.log().into_iter().find(|line| line.contains(part)) {
                return line;
            }
            let goes_on = !is_over && Instant::now() < deadline;
            assert!(goes_on, "no {part} in {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has been waited for.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Kills it, as a power cut would but for what the kernel has, and waits until it is gone.
    ///
    /// # Panics
    /// When it ended by itself before.
    pub fn kill_9(&mut self) {
        let early = self.child.try_wait().expect("ours");
        assert!(early.is_none(), "it ended by itself: {early:?} {:#?}", self.log());
        self.signal(Signal::KILL);
        self.child.wait().expect("ours");
    }

    /// Waits for its end, and answers its exit code.
    ///
    /// # Panics
    /// When it doesn't end.
    pub fn wait_for_end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("ours") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it doesn't end: {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends SIGINT and expects an end in order.
    ///
    /// # Panics
    /// When it doesn't end, or not with 0.
    pub fn stop(&mut self) {
        self.signal(Signal::INT);
        assert_eq!(self.wait_for_end(), Some(0), "{:#?}", self.log());
    }

    /// GETs from the admin port.
    ///
    /// # Panics
    /// When it doesn't answer.
    pub fn admin(&self, path: &str) -> Answer {
        request(self.addresses().admin, "GET", path, &[], "").expect("the admin port answers")
    }

    /// GETs from the API port.
    ///
    /// # Panics
    /// When it doesn't answer.
    pub fn api(&self, path: &str) -> Answer {
        request(self.addresses().api, "GET", path, &[], "").expect("the API port answers")
    }

    /// One sample of `/metrics`, by its name and labels.
    ///
    /// # Panics
    /// When there is none.
    pub fn metric(&self, sample: &str) -> f64 {
        let page = self.admin("/metrics").body;
        let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("no {sample} in {page}"));
        value.parse().expect("a number")
    }

    /// POSTs `body` as the first partner.
    ///
    /// # Panics
    /// When the API port doesn't answer.
    pub fn post(&self, body: &str) -> Answer {
        post_signed(self.addresses().api, PARTNERS[0], body).expect("the API port answers")
    }

    /// The same under a webhook id, with any secret.
    ///
    /// # Panics
    /// When the API port doesn't answer.
    pub fn post_as(&self, id: &str, secret: &str, body: &str) -> Answer {
        post_as(self.addresses().api, PARTNERS[0], id, secret, body).expect("the API port answers")
    }

    /// POSTs `body` as [`post`](Self::post) does, expecting that all of it is taken.
    ///
    /// # Panics
    /// When it isn't.
    pub fn accept(&self, body: &str) {
        let answer = self.post(body);
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
