//! Processes of the bench and how they talk: one JSON value a line, down standard input and back by
//! standard output, or both ways over a connection to another host.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::limits::{ANSWER_S_MAX, LINE_BYTES_MAX};
use crate::{probe, sys};

/// Commands, line by line, until there are no more.
pub fn commands<C: DeserializeOwned>(from: impl BufRead) -> impl Iterator<Item = Result<C>> {
    from.lines().map(|line| {
        let line = line.context("read a command")?;
        serde_json::from_str(&line).with_context(|| format!("not a command: {line:.200}"))
    })
}

/// Writes one answer.
pub fn answer(to: &mut impl Write, value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line).and_then(|()| to.flush()).context("the controller has gone")
}

/// Somebody who obeys commands: a child process, which is killed when this is dropped, or an agent
/// on another host, which then loses its connection.
pub struct Servant {
    name: String,
    child: Option<Child>,
    to: Box<dyn Write + Send>,
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
        let name = args.first().map_or("a child", |verb| *verb).into();
        Ok(Self { name, child: Some(child), to: Box::new(stdin), answers: listen(stdout) })
    }

    /// Speaks to the agent at the other end of `stream`.
    pub fn remote(name: &str, stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(ANSWER_S_MAX)))?;
        let answers = listen(stream.try_clone()?);
        Ok(Self { name: name.into(), child: None, to: Box::new(stream), answers })
    }

    /// Its process id; `None` on another host.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Tells it something.
    pub fn tell(&mut self, command: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        let told = self.to.write_all(&line).and_then(|()| self.to.flush());
        told.with_context(|| format!("{} has ended", self.name))
    }

    /// Waits for its next answer, for a bounded time.
    pub fn hear<A: DeserializeOwned>(&mut self) -> Result<A> {
        let name = &self.name;
        match self.answers.recv_timeout(Duration::from_secs(ANSWER_S_MAX)) {
            Ok(line) => serde_json::from_str(&line).with_context(|| format!("got {line:.200}")),
            Err(RecvTimeoutError::Timeout) => bail!("{name} said nothing for {ANSWER_S_MAX} s"),
            Err(RecvTimeoutError::Disconnected) => bail!("{name} has ended; see its last words"),
        }
    }

    /// Tells and hears.
    pub fn ask<A: DeserializeOwned>(&mut self, command: &impl Serialize) -> Result<A> {
        self.tell(command)?;
        self.hear()
    }
}

/// Lines from somewhere, read by a thread of its own so that whoever waits can give up.
fn listen(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, answers) = channel();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        loop {
            let mut line = String::new();
            // One byte more than is allowed tells a line that is too long.
            match (&mut from).take(LINE_BYTES_MAX as u64 + 1).read_line(&mut line) {
                Ok(1..=LINE_BYTES_MAX) => {}
                _ => return,
            }
            if send.send(line).is_err() {
                return;
            }
        }
    });
    answers
}

impl Drop for Servant {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // It may have ended already, which is what is wanted.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Has everything that this process has started end with it when it is asked to end: a server that
/// lives on would hold its ports and its core, and be measured by nobody. (Of `kill -9` nobody is
/// told: floors and clients then see their input end, other servers live on.)
pub fn end_together() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("listen for signals")?;
    let listen = move || {
        let Some(signal) = signals.forever().next() else { return };
        for pid in probe::descendants(std::process::id()) {
            // Some have ended meanwhile, which is what is wanted.
            let _ = Pid::from_raw(pid as i32).map(|pid| kill_process(pid, Signal::KILL));
        }
        eprintln!("touchline-bench: asked to end (signal {signal})");
        std::process::exit(128 + signal);
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen)?;
    Ok(())
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
