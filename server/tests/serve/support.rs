//! A touchline of its own for each test: started in a folder that goes with it, ended when it is
//! dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use touchline_ingest::broadcast::{Secret, sign};

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
        let id = format!("wh-{}", uuid::Uuid::now_v7());
        let now = jiff::Timestamp::now().as_second();
        let secret = Secret::parse(secret).expect("a secret");
        let signature = sign(&secret, &id, now, body.as_bytes());
        let head = [
            ("content-type", "application/json"),
            ("webhook-id", &id),
            ("webhook-timestamp", &now.to_string()),
            ("webhook-signature", &signature),
        ];
        http(self.api, "POST", &format!("/v1/ingest/broadcast/{PARTNER}"), &head, body.as_bytes())
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

/// An event of the partner, as JSON.
pub fn event(id: &str, teams: &[&str]) -> String {
    let now = jiff::Timestamp::now();
    serde_json::json!({
        "id": id, "teams": teams, "type": "goal", "occurred_at": now.to_string(),
        "data": { "minute": 7 },
    })
    .to_string()
}

/// What an HTTP server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// One request on a connection of its own.
pub fn http(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).expect("it reads");
    stream.write_all(body).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status");
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Answer { status, head: head.to_ascii_lowercase(), body }
}

fn unchunked(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        out.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    out
}

/// What came over a WebSocket.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A text frame.
    Json(Value),
    /// A close frame's code.
    Close(u16),
    /// The connection is gone.
    End,
}

/// A plain WebSocket client.
pub struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Socket {
    /// Connects with `query` and expects to be let in.
    pub fn open(to: SocketAddr, query: &str) -> Self {
        let mut socket =
            Self { stream: TcpStream::connect(to).expect("it listens"), buffer: vec![] };
        socket.stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let head = format!(
            "GET /v1/stream?{query} HTTP/1.1\r\nHost: {to}\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        socket.stream.write_all(head.as_bytes()).expect("it reads");
        while !socket.buffer.windows(4).any(|four| four == b"\r\n\r\n") {
            assert!(socket.fill(), "no answer to the handshake");
        }
        let end = socket.buffer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head: Vec<u8> = socket.buffer.drain(..end).collect();
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        socket
    }

    /// The status of a handshake with these headers.
    pub fn answer(to: SocketAddr, headers: &[(&str, &str)]) -> u16 {
        let mut stream = TcpStream::connect(to).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut head = format!("GET /v1/stream HTTP/1.1\r\nHost: {to}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("it answers");
        line.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status")
    }

    fn fill(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                true
            }
        }
    }

    /// The next thing heard. Pings are skipped.
    pub fn hear(&mut self) -> Heard {
        loop {
            if let Some((first, payload)) = self.take_frame() {
                match first & 0x0f {
                    1 => return Heard::Json(serde_json::from_slice(&payload).expect("JSON")),
                    8 => {
                        let code =
                            payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                        return Heard::Close(code);
                    }
                    _ => continue,
                }
            }
            if !self.fill() {
                return Heard::End;
            }
        }
    }

    /// Skips until a text frame with this `op`.
    pub fn hear_op(&mut self, op: &str) -> Value {
        loop {
            match self.hear() {
                Heard::Json(json) if json["op"] == op => return json,
                Heard::Json(_) => {}
                other => panic!("{other:?} before {op}"),
            }
        }
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let second = *self.buffer.get(1)?;
        let (head, len) = match second {
            126 => (4, u16::from_be_bytes([*self.buffer.get(2)?, *self.buffer.get(3)?]) as usize),
            127 => (10, u64::from_be_bytes(self.buffer.get(2..10)?.try_into().unwrap()) as usize),
            len => (2, len as usize),
        };
        if self.buffer.len() < head + len {
            return None;
        }
        let frame: Vec<u8> = self.buffer.drain(..head + len).collect();
        Some((frame[0], frame[head..].to_vec()))
    }
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
