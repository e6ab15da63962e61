//! The clients: a process of their own, so that their cost is never the server's.
//!
//! The controller speaks to it in lines of JSON: a [`Command`] on standard input, an [`Answer`] on
//! standard output. Behind that are as many [`worker`] threads as the sockets need descriptor
//! tables.

mod back;
mod conn;
pub mod crowd;
mod ended;
pub mod harvest;
mod order;
pub mod tally;
pub mod timeline;
mod told;
mod worker;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::child::{answer, commands};
use crate::dialogue::Dialogue;
use crate::limits::{SOCKETS_PER_TABLE_MAX, WINDOWS_MAX};
use crate::probe::{self, Host};
use crate::schedule::{Schedule, Window};
use crate::sys;
use crowd::{Crowd, Part};
use order::{Manner, Order, Progress};
use tally::{Record, Tally};
use worker::Worker;

/// What the controller wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// What time is it?
    Clock,
    /// Open clients and subscribe them. Answered once all are ready.
    Connect(Box<Connect>),
    /// Record what comes in from now on.
    Record {
        /// What is going to be published, on the controller's clock.
        schedule: Schedule,
        /// What is measured together.
        windows: Vec<Window>,
        /// How far the controller's clock is ahead of ours, nanoseconds.
        clock_ahead_ns: i64,
    },
    /// Close every connection and come back at some time within so many seconds.
    Leave {
        /// The longest absence.
        within_s: f64,
    },
    /// How far it is.
    Progress,
    /// What was recorded.
    Finish,
    /// What host it runs on.
    Describe,
}

/// Which clients to open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connect {
    /// The server's stream address.
    pub target: SocketAddrV4,
    /// How its clients become followers.
    pub dialogue: Dialogue,
    /// Everybody.
    pub crowd: Crowd,
    /// Those of them that are ours.
    pub part: Part,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Events received so far, once for each client.
    pub delivered: u64,
    /// Connections that ended.
    pub closed: u64,
    /// Clients that follow their team now.
    pub present: u64,
    /// Median of the last whole second, microseconds, of the slowest receiver.
    pub p50_us: u64,
    /// 99th percentile, likewise.
    pub p99_us: u64,
    /// CPU that the receivers' process has used so far, nanoseconds.
    #[serde(default)]
    pub cpu_ns: u64,
    /// Its threads of clients, or the cores they have to share where those are fewer.
    #[serde(default)]
    pub threads: u64,
    /// How long its host's cores have been busy, all of them together, nanoseconds.
    #[serde(default)]
    pub busy_ns: u64,
}

/// What the controller is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The time here, nanoseconds.
    Clock(u64),
    /// All clients are subscribed.
    Connected {
        /// From the first connect to the last `subscribed`.
        seconds: f64,
        /// Attempts that failed on the way.
        #[serde(default)]
        retried: u64,
    },
    /// Recording has begun.
    Recording,
    /// They have left.
    Left,
    /// How far it is.
    Progress(Standing),
    /// What was recorded.
    Recorded(Box<Record>),
    /// The host, and the version of this program.
    Host(Box<Host>),
    /// It can't be done; the text says why.
    Failed(String),
}

struct Handle {
    orders: Sender<Order>,
    progress: Arc<Progress>,
}

/// The clients of this process.
struct Receivers {
    workers: Vec<Handle>,
    sources: Vec<Ipv4Addr>,
}

/// Runs the process: carries out commands from standard input until it ends. Clients come from
/// `sources`, if there are any.
pub fn run(sources: Vec<Ipv4Addr>) -> Result<()> {
    sys::raise_file_limit().context("raise the limit of open files")?;
    let mut receivers = Receivers { workers: Vec::new(), sources };
    let (from, mut to) = (std::io::stdin().lock(), std::io::stdout().lock());
    for command in commands(from) {
        let said = match receivers.carry_out(command?) {
            Ok(said) => said,
            Err(error) => Answer::Failed(format!("{error:#}")),
        };
        answer(&mut to, &said)?;
    }
    Ok(())
}

impl Receivers {
    fn carry_out(&mut self, command: Command) -> Result<Answer> {
        match command {
            Command::Clock => Ok(Answer::Clock(sys::now_ns())),
            Command::Connect(connect) => self.open(*connect),
            Command::Record { schedule, windows, clock_ahead_ns } => {
                if windows.len() > WINDOWS_MAX {
                    bail!("{} windows are more than {WINDOWS_MAX}", windows.len());
                }
                let plan = Arc::new(schedule.plan());
                self.tell(|_| Order::Record(plan.clone(), windows.clone(), clock_ahead_ns))?;
                Ok(Answer::Recording)
            }
            Command::Leave { within_s } => {
                self.tell(|_| Order::Leave((within_s * 1e9) as u64))?;
                Ok(Answer::Left)
            }
            Command::Progress => Ok(Answer::Progress(Standing {
                delivered: self.total(|progress| &progress.delivered),
                closed: self.total(|progress| &progress.closed),
                present: self.total(|progress| &progress.present),
                p50_us: self.greatest(|progress| &progress.p50_us),
                p99_us: self.greatest(|progress| &progress.p99_us),
                cpu_ns: sys::process_cpu_ns(std::process::id())?,
                threads: self.workers.len().min(cores()) as u64,
                busy_ns: probe::busy_ns(),
            })),
            Command::Finish => self.finish(),
            Command::Describe => Ok(Answer::Host(Box::new(Host::read()))),
        }
    }

    fn tell(&self, order: impl Fn(usize) -> Order) -> Result<()> {
        for (index, worker) in self.workers.iter().enumerate() {
            worker.orders.send(order(index)).map_err(|_| anyhow!("receiver {index} has ended"))?;
        }
        Ok(())
    }

    fn total(&self, field: impl Fn(&Progress) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|worker| field(&worker.progress).load(Relaxed)).sum()
    }

    fn greatest(&self, field: impl Fn(&Progress) -> &AtomicU64) -> u64 {
        let values = self.workers.iter().map(|worker| field(&worker.progress).load(Relaxed));
        values.max().unwrap_or(0)
    }

    fn open(&mut self, connect: Connect) -> Result<Answer> {
        let Connect { target, dialogue, crowd, part } = connect;
        let clients = crowd.part(part);
        let count = clients.len().div_ceil(SOCKETS_PER_TABLE_MAX).max(1);
        while self.workers.len() < count {
            self.workers.push(start_worker(self.workers.len())?);
        }
        let (slow_bytes_per_s, returns) = (crowd.slow_bytes_per_s, crowd.returns);
        let sources = self.sources.clone();
        let manner = Arc::new(Manner { target, dialogue, slow_bytes_per_s, returns, sources });
        let started = Instant::now();
        let share = |index| clients.iter().copied().skip(index).step_by(count).collect();
        self.tell(|index| Order::Connect(Arc::clone(&manner), share(index)))?;
        let deadline = connect_within(clients.len());
        loop {
            let ready = self.total(|progress| &progress.present) as usize;
            let failed = self.total(|progress| &progress.failed);
            if failed > 0 {
                let why =
                    self.workers.iter().find_map(|worker| worker.progress.why.lock().ok()?.clone());
                let why = why.unwrap_or_default();
                bail!("{failed} of {} clients could not connect to {target}: {why}", clients.len());
            }
            if ready >= clients.len() {
                let seconds = started.elapsed().as_secs_f64();
                let retried = self.total(|progress| &progress.retried);
                return Ok(Answer::Connected { seconds, retried });
            }
            if started.elapsed() > deadline {
                let awaited = manner.dialogue.subscribed.as_ref();
                let awaited =
                    awaited.map_or("the 101".into(), |text| format!("a message with {text}"));
                bail!(
                    "only {ready} of {} clients are subscribed after {deadline:?}: they wait \
                     for {awaited}",
                    clients.len()
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn finish(&self) -> Result<Answer> {
        let (reply, tallies) = channel();
        self.tell(|_| Order::Finish(reply.clone()))?;
        drop(reply);
        let mut merged: Tally = tallies.recv().context("no receiver is left")?;
        for tally in tallies {
            merged.merge(&tally);
        }
        Ok(Answer::Recorded(Box::new(merged.to_record())))
    }
}

/// How long so many clients may take until all of them are subscribed.
pub fn connect_within(clients: usize) -> Duration {
    Duration::from_secs(20 + clients as u64 / 1_000)
}

fn start_worker(index: usize) -> Result<Handle> {
    let (orders, inbox) = channel();
    let progress = Arc::new(Progress::default());
    let number = u8::try_from(index).ok().filter(|number| *number < u8::MAX);
    let number = number.context("more receivers than 127.0.x.y has room for")?;
    let shared = progress.clone();
    let run = move || {
        let worker = sys::unshare_files().and_then(|()| Worker::new(number, inbox, shared));
        if let Err(error) = worker.and_then(Worker::run) {
            eprintln!("receiver {index}: {error}");
        }
    };
    std::thread::Builder::new().name(format!("receiver-{index}")).spawn(run)?;
    Ok(Handle { orders, progress })
}

/// Cores that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}
