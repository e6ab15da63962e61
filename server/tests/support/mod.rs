//! A demo under way, for the tests of it.

#![allow(dead_code, reason = "each test program uses a part")]

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Makes the same day in each test.
pub const SEED: u64 = 5;

/// A started demo; it is killed when this is dropped.
pub struct Demo {
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    board: String,
    data_dir: std::path::PathBuf,
}

/// `touchline demo` of `$TOUCHLINE_BINARY`, else of this build, on ports of the system's choice.
pub fn command(data_dir: &Path, speed: &str, more: &[&str]) -> Command {
    let program = std::env::var_os("TOUCHLINE_BINARY");
    let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_touchline").into());
    let mut command = Command::new(program);
    command
        .args(["demo", "--seed", &SEED.to_string(), "--speed", speed, "--followers", "60"])
        .args(["--stream", "127.0.0.1:0", "--api", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--log-level", "info"])
        .arg("--data-dir")
        .arg(data_dir)
        .args(more)
        .stdout(Stdio::piped());
    command
}

impl Demo {
    pub fn start(data_dir: &Path, speed: &str, more: &[&str]) -> Self {
        let log = std::fs::File::create(data_dir.join("demo.log")).unwrap();
        let mut child = command(data_dir, speed, more).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let board = loop {
            let line = lines.next().expect("it says where the board is").unwrap();
            if let Some(board) = line.strip_prefix("The board: ") {
                break board.to_owned();
            }
        };
        Self { child, lines, board, data_dir: data_dir.to_owned() }
    }

    pub async fn live(&self) -> Option<Value> {
        let response = reqwest::get(format!("{}v1/live", self.board)).await.ok()?;
        let text = response.error_for_status().ok()?.text().await.ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Asks until `done`, a minute at most.
    pub async fn eventually_live(&self, done: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut last = None;
        while Instant::now() < deadline {
            if let Some(live) = self.live().await {
                if done(&live) {
                    return live;
                }
                last = Some(live);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the day never got there: {last:#?}");
    }

    /// Asks until `done` with the matches, a minute at most.
    pub async fn eventually(&self, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let matches = |live: &Value| live["matches"].as_array().unwrap().clone();
        matches(&self.eventually_live(|live| done(&matches(live))).await)
    }

    /// Values of the metrics page's lines that hold `what`.
    pub async fn metric(&self, what: &str) -> Vec<f64> {
        let log = std::fs::read_to_string(self.data_dir.join("demo.log")).unwrap();
        let line = log.lines().find(|line| line.contains("\"serving\"")).expect("it says so");
        let line: Value = serde_json::from_str(line).unwrap();
        let url = format!("http://{}/metrics", line["admin"].as_str().unwrap());
        let page = reqwest::get(url).await.unwrap().text().await.unwrap();
        let lines = page.lines().filter(|line| line.contains(what));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect()
    }

    /// Asks until lines that hold `what` have counted something, a minute at most.
    pub async fn eventually_counted(&self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.metric(what).await.iter().sum::<f64>() == 0.0 {
            assert!(Instant::now() < deadline, "{what} has counted nothing");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it as Ctrl-C does, and gives its last line.
    pub fn interrupt(&mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        self.last_line()
    }

    /// The last line it says before it has gone.
    pub fn last_line(&mut self) -> String {
        self.lines.by_ref().map_while(Result::ok).last().unwrap_or_default()
    }
}

impl Drop for Demo {
    /// Nothing is left running when a test fails.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
