//! All shards of a process, from outside: start, commands, numbers, end.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use touchline_core::feed::{BatchSender, Feed};
use touchline_core::limits::{MAILBOX_BATCHES_MAX, MAILBOX_BYTES_MAX};
use touchline_core::log::EventLog;
use touchline_core::mailbox::{Doorbell, EventBell, Sender, channel};
use touchline_core::metrics::Padded;

use crate::admission::Admission;
use crate::limits::{COMMANDS_MAX, READS_MAX};
use crate::options::{FanoutOptions, ShardCommand};
use crate::shard::{self, Boot, Command, Mail, ShardError, ShardExit, SlowSession};
use crate::stats::{Life, ShardStats};
use crate::{clock, listener};

/// How long a command waits for room in a shard's mailbox.
const COMMAND_WAIT: Duration = Duration::from_secs(1);

/// Why the fan-out did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens there, or it isn't ours to listen on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The system's answer; [`io::ErrorKind::AddrInUse`] when the port is taken.
        source: io::Error,
    },
    /// No descriptor or thread for a shard.
    #[error("can't start shard {shard}: {source}")]
    Spawn {
        /// Which one.
        shard: usize,
        /// The system's answer.
        source: io::Error,
    },
    /// A shard found its host lacking.
    #[error("shard {shard} did not start: {source}")]
    Shard {
        /// Which one.
        shard: usize,
        /// Why.
        source: ShardError,
    },
}

/// A shard did not take a command in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shard {0} doesn't take commands: it is dead or has not turned for a second")]
pub struct CommandError(pub usize);

/// Running shards. Dropping it stops them, without waiting.
pub struct Fanout {
    local_addr: SocketAddr,
    shards: Vec<Handle>,
    stats: Vec<Arc<Padded<ShardStats>>>,
}

struct Handle {
    commands: Mutex<Sender<Command>>,
    thread: Option<JoinHandle<ShardExit>>,
}

/// What stays outside of a shard's thread.
struct Wires {
    batches: BatchSender,
    commands: Sender<Command>,
}

impl Fanout {
    /// Starts all shards of the plan on `log`. The [`Feed`] is to be attached to the log; what
    /// becomes durable before that is read from the log.
    ///
    /// Raises the soft limit on open files to the hard one.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub fn start(
        options: FanoutOptions,
        log: Arc<dyn EventLog>,
    ) -> Result<(Self, Feed), StartError> {
        let address = options.listen;
        listener::probe(address).map_err(|source| StartError::Listen { address, source })?;
        raise_descriptors();
        let admission = Arc::new(Admission::new(options.plan.connections_max));
        let options = Arc::new(options);
        let mut fanout = Self { local_addr: address, shards: Vec::new(), stats: Vec::new() };
        let mut feed = Vec::new();
        // The bells are made before any shard takes a private table, so that the numbers of none
        // are reused.
        let mut ends = Vec::new();
        for shard in 0..options.plan.shards() {
            ends.push(wire().map_err(|source| StartError::Spawn { shard, source })?);
        }
        for (number, (mail, wires)) in ends.into_iter().enumerate() {
            let boot = Boot {
                number,
                core: options.plan.cores[number],
                listen: fanout.local_addr,
                options: Arc::clone(&options),
                mail,
                log: Arc::clone(&log),
                admission: Arc::clone(&admission),
                stats: Arc::default(),
            };
            feed.push(wires.batches);
            fanout.spawn(boot, wires.commands)?;
        }
        Ok((fanout, Feed::new(log.bounds().epoch, feed, clock::monotonic)))
    }

    fn spawn(&mut self, boot: Boot, commands: Sender<Command>) -> Result<(), StartError> {
        let shard = boot.number;
        let stats = Arc::clone(&boot.stats);
        let (report, started) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name(format!("shard-{shard}"))
            .spawn(move || shard::run(boot, |result| drop(report.send(result))))
            .map_err(|source| StartError::Spawn { shard, source })?;
        self.shards.push(Handle { commands: Mutex::new(commands), thread: Some(thread) });
        self.stats.push(stats);
        match started.recv() {
            Ok(Ok(address)) => self.local_addr = address,
            Ok(Err(ShardError::Listen { address, source })) => {
                return Err(StartError::Listen { address, source });
            }
            Ok(Err(source)) => return Err(StartError::Shard { shard, source }),
            Err(_) => {
                let source = io::Error::other("its thread panicked");
                return Err(StartError::Spawn { shard, source });
            }
        }
        Ok(())
    }

    /// Where clients connect.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Numbers and heartbeat of each shard.
    pub fn stats(&self) -> &[Arc<Padded<ShardStats>>] {
        &self.stats
    }

    /// Tells every shard. Carried out within the shard's turn, a few milliseconds.
    ///
    /// # Errors
    /// The first shard that doesn't take it; the others have got it.
    pub fn command(&self, command: ShardCommand) -> Result<(), CommandError> {
        let shards = self.shards.len();
        let mut first = Ok(());
        for number in 0..shards {
            let command = Command::Shared { command: command.clone(), shards };
            first = first.and(self.send(number, command));
        }
        first
    }

    fn send(&self, number: usize, mut command: Command) -> Result<(), CommandError> {
        let begin = Instant::now();
        loop {
            let commands = &self.shards[number].commands;
            let sent = commands.lock().unwrap_or_else(PoisonError::into_inner).try_send(command);
            let Err(back) = sent else { return Ok(()) };
            if begin.elapsed() > COMMAND_WAIT || self.stats[number].life() != Life::Running {
                return Err(CommandError(number));
            }
            command = back;
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The sessions that are furthest behind, most unsent first. Shards that don't answer within
    /// `timeout` are left out.
    pub fn slow_sessions(&self, timeout: Duration) -> Vec<SlowSession> {
        let (reply, answers) = mpsc::sync_channel(self.shards.len());
        for number in 0..self.shards.len() {
            // A shard that doesn't take it is left out.
            let _ = self.send(number, Command::Slow(reply.clone()));
        }
        drop(reply);
        let deadline = Instant::now() + timeout;
        let mut all = Vec::new();
        while let Ok(some) =
            answers.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            all.extend(some);
        }
        all.sort_by_key(|session| std::cmp::Reverse(session.unsent_bytes));
        all
    }

    /// Waits until every shard has ended ([`ShardCommand::Stop`] makes them).
    ///
    /// # Errors
    /// The numbers of shards that did not end in order.
    pub fn join(mut self) -> Result<(), Vec<usize>> {
        let mut dead = Vec::new();
        for (number, shard) in self.shards.iter_mut().enumerate() {
            let exit = shard.thread.take().map(JoinHandle::join);
            if !matches!(exit, Some(Ok(ShardExit { life: Life::Stopped, .. }))) {
                dead.push(number);
            }
        }
        if dead.is_empty() { Ok(()) } else { Err(dead) }
    }
}

impl Drop for Fanout {
    fn drop(&mut self) {
        let shards = self.shards.len();
        for shard in self.shards.iter_mut().filter(|shard| shard.thread.is_some()) {
            let commands = shard.commands.get_mut().unwrap_or_else(PoisonError::into_inner);
            let _ = commands.try_send(Command::Shared { command: ShardCommand::Stop, shards });
        }
    }
}

fn wire() -> io::Result<(Mail, Wires)> {
    let bell = Arc::new(EventBell::new()?);
    let doorbell = Arc::new(Doorbell::new(Arc::clone(&bell)));
    let (batches_in, batches) = channel(MAILBOX_BATCHES_MAX, Arc::clone(&doorbell));
    let (reads_in, reads) = channel(READS_MAX, Arc::clone(&doorbell));
    let (commands_in, commands) = channel(COMMANDS_MAX, Arc::clone(&doorbell));
    let reads_sender = Arc::new(Mutex::new(reads_in));
    let mail = Mail { doorbell, bell, batches, reads, reads_sender, commands };
    let batches = batches_in.bounded(MAILBOX_BYTES_MAX);
    Ok((mail, Wires { batches, commands: commands_in }))
}

/// Best effort: where it is refused, accepting meets the limit and says so (FAULTS 41).
fn raise_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}
