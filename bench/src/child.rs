//! Processes of the bench and how they talk: one JSON value a line, down standard input and back by
//! standard output, or both ways over a connection to another host.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;

use crate::limits::{ANSWER_S_MAX, LINE_BYTES_MAX};
use crate::{probe, sys};

/// Commands, line by line, until there are no more.
pub fn commands<C: DeserializeOwned>(mut from: impl BufRead) -> impl Iterator<Item = Result<C>> {
    std::iter::from_fn(move || {
        let line = match line_of(&mut from) {
            Ok(line) => line?,
            Err(error) => return Some(Err(error).context("read a command")),
        };
        let command = serde_json::from_str(&line);
        Some(command.with_context(|| format!("not a command: {line:.200}")))
    })
}

/// The next line, if there is one and it isn't longer than any that we send.
fn line_of(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    // One byte more than is allowed tells a line that is too long.
    match from.take(LINE_BYTES_MAX as u64 + 1).read_line(&mut line)? {
        0 => Ok(None),
        1..=LINE_BYTES_MAX => Ok(Some(line)),
        _ => Err(io::Error::other("a line that is too long")),
    }
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
    /// To an agent: shut down when this is dropped, because the thread that listens holds it open.
    line: Option<TcpStream>,
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
        let (to, answers) = (Box::new(stdin), listen(stdout));
        Ok(Self { name, child: Some(child), line: None, to, answers })
    }

    /// Speaks to the agent at the other end of `stream`.
    pub fn remote(name: &str, stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(ANSWER_S_MAX)))?;
        let (line, answers) = (Some(stream.try_clone()?), listen(stream.try_clone()?));
        Ok(Self { name: name.into(), child: None, line, to: Box::new(stream), answers })
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
        self.hear_within(Duration::from_secs(ANSWER_S_MAX))
    }

    /// Waits so long for its next answer.
    pub fn hear_within<A: DeserializeOwned>(&mut self, wait: Duration) -> Result<A> {
        let name = &self.name;
        match self.answers.recv_timeout(wait) {
            Ok(line) => serde_json::from_str(&line).with_context(|| format!("got {line:.200}")),
            Err(RecvTimeoutError::Timeout) => bail!("{name} said nothing for {wait:?}"),
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
        while let Ok(Some(line)) = line_of(&mut from) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    answers
}

impl Drop for Servant {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            // It may have hung up already, which is what is wanted.
            let _ = line.shutdown(Shutdown::Both);
        }
        let Some(child) = &mut self.child else { return };
        // It may have ended already, which is what is wanted.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Whoever starts a child or makes a folder for it holds it; once the process is asked to end,
/// nobody gets it any more.
static STARTING: Mutex<()> = Mutex::new(());
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Whether what happens now happens because the process was asked to end.
pub fn is_ending() -> bool {
    IS_ENDING.load(Relaxed)
}

/// A folder for a server of this process; none is made any more once the process is asked to end.
pub fn folder() -> io::Result<TempDir> {
    let _starting = STARTING.lock();
    tempfile::Builder::new().prefix(&folder_prefix()).tempdir()
}

/// How folders begin that servers of this process live in.
fn folder_prefix() -> String {
    format!("touchline-bench-{}-", std::process::id())
}

/// Has everything that this process has started end with it when it is asked to end: a server that
/// lives on would hold its ports and its core, and be measured by nobody. (Of `kill -9` nobody is
/// told: floors and clients then see their input end, other servers live on.)
pub fn end_together() -> Result<()> {
    // Whoever starts us may have wanted a signal to be ignored (`nohup`).
    let ignored = ignored_signals();
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|n| ignored >> (n - 1) & 1 == 0);
    let mut signals = Signals::new(wanted).context("listen for signals")?;
    let listen = move || {
        let Some(signal) = signals.forever().next() else { return };
        IS_ENDING.store(true, Relaxed);
        let _nobody_starts = STARTING.lock();
        for _ in 0..LOOKS_MAX {
            let children = probe::descendants(std::process::id());
            if children.is_empty() {
                break;
            }
            for pid in children.into_iter().filter_map(|pid| Pid::from_raw(pid as i32)) {
                // Some have ended meanwhile, which is what is wanted.
                let _ = kill_process(pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        remove_folders();
        eprintln!("touchline-bench: asked to end (signal {signal})");
        std::process::exit(128 + signal);
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen)?;
    Ok(())
}

/// Looks for children and folders that are left, 10 ms apart.
const LOOKS_MAX: usize = 100;

/// Bit `n - 1` for signal `n` (proc(5), `SigIgn`).
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// What servers have left behind: looked at again, because the thread that we interrupt may be
/// writing into a folder or removing it itself.
fn remove_folders() {
    let prefix = folder_prefix();
    for _ in 0..LOOKS_MAX {
        let folders = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
        let mut ours = folders
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .peekable();
        if ours.peek().is_none() {
            return;
        }
        // What can't be removed is left to whoever cleans the place.
        ours.for_each(|entry| drop(std::fs::remove_dir_all(entry.path())));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs `command` to its end, on whichever cores there are: what a pinned thread starts would share
/// its core.
pub fn run_anywhere(command: &mut Command) -> std::io::Result<ExitStatus> {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            sys::unpin()?;
            command.status()
        });
        run.join().expect("waiting doesn't panic")
    })
}

/// Starts `command` pinned to `core`: a child inherits the affinity of the thread that starts it.
pub fn spawn_pinned(command: &mut Command, core: usize) -> Result<Child> {
    let program = command.get_program().to_string_lossy().into_owned();
    std::thread::scope(|scope| {
        let spawned = scope.spawn(|| {
            sys::pin(core).with_context(|| format!("pin to core {core}"))?;
            let _starting = STARTING.lock();
            command.spawn().with_context(|| format!("start {program}"))
        });
        spawned.join().expect("spawning doesn't panic")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cores on which what `start` starts may run.
    fn cores(start: impl FnOnce(&mut Command) -> std::io::Result<ExitStatus>) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("grep");
        command.args(["Cpus_allowed_list", "/proc/self/status"]).stdout(file.reopen().unwrap());
        assert!(start(&mut command).unwrap().success());
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn what_a_pinned_thread_runs_anywhere_is_not_pinned() {
        let free = cores(Command::status);
        std::thread::spawn(move || {
            sys::pin(sys::current_core().unwrap()).unwrap();
            assert_eq!(cores(run_anywhere), free);
            let only_here = cores(Command::status);
            assert!(!only_here.contains([',', '-']), "{only_here}");
        })
        .join()
        .unwrap();
    }
}
