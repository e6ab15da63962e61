//! An agent serves one controller at a time: a second one is told so at once, and is served when
//! the first has gone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An agent and its address.
fn agent() -> (Agent, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchline-bench"));
    command.args(["agent", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let address = line.trim().rsplit(' ').next().unwrap().to_owned();
    // It goes on speaking.
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    (Agent(child), address)
}

fn call(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// What it answers to a question for the time.
fn clock(mut stream: &TcpStream) -> String {
    stream.write_all(b"\"clock\"\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn a_busy_agent_says_with_whom_and_serves_the_next_when_the_first_has_gone() {
    let (_agent, address) = agent();
    let first = call(&address);
    assert!(clock(&first).starts_with("{\"clock\":"));
    let asked = Instant::now();
    let said = clock(&call(&address));
    let named = format!("busy with the controller {}", first.local_addr().unwrap());
    assert!(said.contains(&named), "{said}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    drop(first);
    assert!(clock(&call(&address)).starts_with("{\"clock\":"), "the next one is served");
}

#[test]
fn an_agent_that_is_named_twice_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_touchline-bench"))
        .args(["run", "--scenario", "hot-topic", "--target", "floor"])
        .args(["--agents", "127.0.0.1:1,127.0.0.1:1"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("named twice"), "{said}");
}
