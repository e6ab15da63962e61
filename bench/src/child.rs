//! Processes of the bench and how they talk: one JSON value a line, down standard input and back by
//! standard output.
//!
//! The same lines will do over a socket when load comes from several hosts.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{ANSWER_S_MAX, LINE_BYTES_MAX};
use crate::sys;

/// Commands from standard input, until it ends.
pub fn commands<C: DeserializeOwned>() -> Result<impl Iterator<Item = Result<C>>> {
    let lines = std::io::stdin().lines();
    Ok(lines.map(|line| {
        let line = line.context("read a command")?;
        serde_json::from_str(&line).with_context(|| format!("not a command: {line:.200}"))
    }))
}

/// Writes one answer to standard output.
pub fn answer(value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).context("the controller has gone")
}

/// A child process that obeys commands. Killed when dropped.
pub struct Servant {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
}

impl Servant {
    /// Starts this very binary with `args`, pinned to `core`.
    pub fn start(args: &[&str], core: usize) -> Result<Self> {
        let binary = std::env::current_exe().context("find the bench's own binary")?;
        let mut command = Command::new(binary);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn_pinned(&mut command, core)?;
        let stdin = child.stdin.take().context("a child without standard input")?;
        let stdout = child.stdout.take().context("a child without standard output")?;
        let (send, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.len() > LINE_BYTES_MAX || send.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, stdin, answers })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it something.
    pub fn tell(&mut self, command: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        self.stdin.write_all(&line).and_then(|()| self.stdin.flush()).context("a child has ended")
    }

    /// Waits for its next answer, for a bounded time.
    pub fn hear<A: DeserializeOwned>(&mut self) -> Result<A> {
        match self.answers.recv_timeout(Duration::from_secs(ANSWER_S_MAX)) {
            Ok(line) => serde_json::from_str(&line).with_context(|| format!("got {line:.200}")),
            Err(RecvTimeoutError::Timeout) => bail!("a child said nothing for {ANSWER_S_MAX} s"),
            Err(RecvTimeoutError::Disconnected) => bail!("a child has ended; see its last words"),
        }
    }

    /// Tells and hears.
    pub fn ask<A: DeserializeOwned>(&mut self, command: &impl Serialize) -> Result<A> {
        self.tell(command)?;
        self.hear()
    }
}

impl Drop for Servant {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `command` pinned to `core`: a child inherits the affinity of the thread that starts it.
pub fn spawn_pinned(command: &mut Command, core: usize) -> Result<Child> {
    let program = command.get_program().to_string_lossy().into_owned();
    std::thread::scope(|scope| {
        let spawned = scope.spawn(|| {
            sys::pin(core).with_context(|| format!("pin to core {core}"))?;
            command.spawn().with_context(|| format!("start {program}"))
        });
        spawned.join().expect("spawning doesn't panic")
    })
}
