//! `touchline demo` from outside: one day, however often it is killed, told and followed without a
//! loss.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use touchline::demo::league::league_day;
use touchline::live::fact::Score;

const SEED: u64 = 5;

/// A demo under way.
struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    board: String,
}

impl Demo {
    fn start(data_dir: &Path, speed: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_touchline"))
            .args(["demo", "--seed", &SEED.to_string(), "--speed", speed, "--followers", "60"])
            .args(["--stream", "127.0.0.1:0", "--api", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(data_dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let board = loop {
            let line = lines.next().expect("it says where the board is").unwrap();
            if let Some(board) = line.strip_prefix("The board: ") {
                break board.to_owned();
            }
        };
        Self { child, lines, board }
    }

    async fn live(&self) -> Option<Value> {
        let response = reqwest::get(format!("{}v1/live", self.board)).await.ok()?;
        let text = response.error_for_status().ok()?.text().await.ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Asks until `done`, a minute at most.
    async fn eventually(&self, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut last = None;
        while Instant::now() < deadline {
            if let Some(live) = self.live().await {
                let matches = live["matches"].as_array().unwrap().clone();
                if done(&matches) {
                    return matches;
                }
                last = Some(matches);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the day never got there: {last:#?}");
    }

    /// The last line it says before it has gone.
    fn last_line(&mut self) -> String {
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

fn score(game: &Value) -> Score {
    serde_json::from_value(game["score"].clone()).unwrap()
}

fn goals(matches: &[Value]) -> u64 {
    matches.iter().map(|game| u64::from(score(game).home + score(game).away)).sum()
}

fn ids(matches: &[Value]) -> Vec<String> {
    let mut ids: Vec<_> =
        matches.iter().map(|game| game["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn check_scorers(matches: &[Value]) {
    for game in matches {
        let scorers = game["scorers"].as_array().unwrap().len();
        assert_eq!(scorers, usize::from(score(game).home + score(game).away), "{game:#}");
    }
}

#[tokio::test]
async fn a_demo_that_is_killed_goes_on_with_the_same_day_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut before: Option<Vec<String>> = None;
    let mut seen = 0;
    for _ in 0..3 {
        let mut demo = Demo::start(dir.path(), "300");
        let told = demo.eventually(|matches| matches.len() == 10 && goals(matches) > seen).await;
        check_scorers(&told);
        seen = goals(&told);
        demo.child.kill().unwrap();
        demo.child.wait().unwrap();
        assert_eq!(*before.get_or_insert_with(|| ids(&told)), ids(&told), "still the same day");
    }
    let demo = Demo::start(dir.path(), "1000");
    let over = |matches: &[Value]| {
        matches.len() == 10 && matches.iter().all(|game| game["status"] == "full_time")
    };
    let told = demo.eventually(over).await;
    assert_eq!(before.unwrap(), ids(&told));
    check_scorers(&told);
    let script = league_day(SEED, 0, "2026-06-24").unwrap();
    for fixture in &script.fixtures {
        let game = told.iter().find(|game| game["home"] == fixture.home.id.as_str()).unwrap();
        assert_eq!(score(game), fixture.moments.last().unwrap().score, "{game:#}");
    }
}

#[tokio::test]
async fn an_interrupt_ends_it_within_two_seconds_and_nobody_missed_a_thing() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(dir.path(), "600");
    demo.eventually(|matches| goals(matches) > 3).await;
    let live = demo.live().await.unwrap();
    assert_eq!(live["panel"]["sockets"], 60);
    let started = Instant::now();
    let pid = demo.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let exit = demo.child.wait().unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(exit.success(), "{exit}");
    let last = demo.last_line();
    assert!(last.starts_with("told "), "{last}");
    assert!(last.ends_with("0 received twice, 0 missing, 0 gaps"), "{last}");
}
