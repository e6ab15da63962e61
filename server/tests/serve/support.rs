//! A touchline of its own for each test: started in a folder that goes with it, ended when it is
//! dropped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use touchline_ingest::broadcast::{Secret, sign};

use crate::client::try_http;

pub use crate::client::{Answer, Heard, Socket, http};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_touchline");
/// The partner that every test's configuration has.
pub const PARTNER: &str = "skyline";
/// Its secret.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Longer than anything takes on a busy host; only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A command of the binary that sees nothing of this process's own configuration.
pub fn touchline() -> Command {
    let mut command = Command::new(BINARY);
    let ours =
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TOUCHLINE__"));
    for (name, _) in ours {
        command.env_remove(name);
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").stdin(Stdio::null());
    command
}

/// Runs a command of the binary to its end.
pub fn run(arguments: &[&str]) -> Output {
    touchline().args(arguments).output().expect("the binary runs")
}

/// What an output said, both ways.
pub fn words(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// A folder with a configuration in it.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// All ports chosen by the kernel, one partner, a short grace; `more` is appended.
    pub fn new(more: &str) -> Self {
        let home = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::write(home.path("skyline.secrets"), SECRET).expect("a file");
        home.configure(more);
        home
    }

    /// Writes the configuration anew.
    pub fn configure(&self, more: &str) {
        let text = format!(
            "[node]\nname = \"test\"\ndata_dir = {:?}\nconnections_max = 1000\n\
             [listen]\nstream = \"127.0.0.1:0\"\napi = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
             [sources.broadcast.{PARTNER}]\nsecrets_file = \"skyline.secrets\"\n{more}",
            self.path("data").display().to_string(),
        );
        std::fs::write(self.config(), text).expect("a file");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("touchline.toml")
    }

    /// Starts `serve` and waits until it serves.
    pub fn serve(&self) -> Server {
        self.serve_with(|_| {})
    }

    /// The same; `adjust` sees the command first.
    pub fn serve_with(&self, adjust: impl FnOnce(&mut Command)) -> Server {
        let mut command = touchline();
        command.arg("serve").arg("--config").arg(self.config());
        adjust(&mut command);
        Server::spawn(command)
    }

    /// Starts `serve` where one table holds only `files` open files.
    pub fn serve_within(&self, files: u32) -> Server {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$@\""), "sh", BINARY, "serve"]);
        command.arg("--config").arg(self.config());
        Server::spawn(command)
    }
}

/// A running server.
pub struct Server {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    pub stream: SocketAddr,
    pub api: SocketAddr,
    pub admin: SocketAddr,
}

impl Server {
    fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (reader, kept) = (child.stderr.take().expect("piped"), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                kept.lock().expect("no panic").push(line);
            }
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Self { child, lines, stream: nowhere, api: nowhere, admin: nowhere };
        let line = server.wait_for_line("\"serving\"");
        let line: Value = serde_json::from_str(&line).expect("a JSON line");
        let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
        (server.stream, server.api, server.admin) =
            (address("stream"), address("api"), address("admin"));
        server
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("ours");
    }

    /// The lines of its log so far.
    pub fn log(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// The first line that holds `part`.
    pub fn wait_for_line(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log().into_iter().find(|line| line.contains(part)) {
                return line;
            }
            assert!(Instant::now() < deadline, "no {part} in {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end; its exit code and how long it took.
    pub fn wait(&mut self) -> (Option<i32>, Duration) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("ours") {
                return (status.code(), begin.elapsed());
            }
            assert!(begin.elapsed() < PATIENCE, "it doesn't end: {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn get(&self, from: SocketAddr, path: &str) -> Answer {
        http(from, "GET", path, &[], b"")
    }

    /// POSTs a body as the partner, signed by `secret`.
    pub fn post_signed(&self, secret: &str, body: &str) -> Answer {
        try_post(self.api, secret, body).expect("it answers")
    }

    /// The same with the configured secret, under `webhook_id`, which also names the request.
    pub fn post_as(&self, webhook_id: &str, body: &str) -> Answer {
        post_under(self.api, SECRET, webhook_id, body).expect("it answers")
    }

    /// The same with the configured secret, expecting that all of it is taken.
    pub fn post(&self, body: &str) {
        let answer = self.post_signed(SECRET, body);
        assert_eq!(answer.status, 202, "{}", answer.body);
    }

    /// One sample of `/metrics`, by its name and labels.
    pub fn metric(&self, sample: &str) -> f64 {
        let page = self.get(self.admin, "/metrics").body;
        let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {sample} in {page}")).parse().expect("a number")
    }

    /// `/readyz`: status and reasons.
    pub fn readiness(&self) -> (u16, String) {
        let answer = self.get(self.admin, "/readyz");
        (answer.status, answer.body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// POSTs a body as the partner to `api`, signed by `secret`.
pub fn try_post(api: SocketAddr, secret: &str, body: &str) -> std::io::Result<Answer> {
    post_under(api, secret, &format!("wh-{}", uuid::Uuid::now_v7()), body)
}

fn post_under(api: SocketAddr, secret: &str, id: &str, body: &str) -> std::io::Result<Answer> {
    let now = jiff::Timestamp::now().as_second();
    let secret = Secret::parse(secret).expect("a secret");
    let signature = sign(&secret, id, now, body.as_bytes());
    let head = [
        ("content-type", "application/json"),
        ("webhook-id", id),
        ("x-request-id", id),
        ("webhook-timestamp", &now.to_string()),
        ("webhook-signature", &signature),
    ];
    let path = format!("/v1/ingest/broadcast/{PARTNER}");
    try_http(api, "POST", &path, &head, body.as_bytes())
}

/// An event of the partner, as JSON.
pub fn event(id: &str, teams: &[&str]) -> String {
    let now = jiff::Timestamp::now();
    serde_json::json!({
        "id": id, "teams": teams, "type": "goal", "occurred_at": now.to_string(),
        "data": { "minute": 7 },
    })
    .to_string()
}

/// Files of a journal that hold records, oldest first.
pub fn segments(data: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(data.join("journal"))
        .expect("a journal")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "seg"))
        .collect();
    files.sort();
    files
}
