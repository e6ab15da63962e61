//! One thread, its sockets, and the loop that joins them with the hub.
//!
//! A shard owns everything it works with: listener, connections, hub, timer wheel, rings. It shares
//! nothing that it writes but counters. It meets other threads in three mailboxes (batches of the
//! log, answers of the log, commands) that ring one bell.
//!
//! # One turn
//! ```text
//! mail      batches -> hub, answers of the log -> hub, commands
//! send      volleys, while the hub has work and the turn's share lasts
//! sockets   whatever is ready: accept, read, unblock
//! timers    whatever is due: deadlines, heartbeats, stalls
//! nap       if nothing is left to do: until a socket, the bell, or the next timer
//! ```
//! Each step takes a bounded share, so none holds up another for long: a storm of connections waits
//! while an event is sent, and an event that arrives during a volley joins the next one. That is
//! all the batching there is: the batch grows as fast as the host falls behind.
//!
//! # Invariants
//! - The hub's index of a session is the index of its connection and of its timer.
//! - Between filling a volley and its last settlement nothing else happens to the hub.
//! - Handling one session may panic: that session ends (1011), nothing else does. A panic anywhere
//!   else ends the shard, which its stats then say.
//! - The doorbell is silent while the shard is awake; before a nap every mailbox is looked at once
//!   more.
//!
//! # What it leaves out
//! Who is sent what (`hub`), how bytes go out (`volley`), and who starts and stops it (`fanout`).

mod accept;
mod ahead;
mod command;
mod conn;
mod drain;
mod inbound;
mod lobby;
mod outbound;
mod poller;
mod proxied;
mod put_off;
mod session;
mod spread;
mod start;
mod timers;

pub(crate) use command::Command;
pub use command::SlowSession;
pub use start::ShardError;
pub(crate) use start::{Boot, ShardExit, run};

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use touchline_core::frame::Batch;
use touchline_core::log::{EventLog, ReadError};
use touchline_core::mailbox::{Doorbell, EventBell, Receiver, Sender};
use touchline_core::metrics::Padded;
use touchline_core::time::Monotonic;

use crate::admission::Admission;
use crate::clock;
use crate::hub::{Hub, SessionId, Volley};
use crate::limits::{BATCHES_MAX, SCRATCH_BYTES};
use crate::options::{FanoutOptions, Rules};
use crate::stats::ShardStats;
use crate::volley::{Launcher, Miss};
use crate::wheel::Wheel;

use accept::Door;
use ahead::Ahead;
use conn::Conns;
use drain::Drain;
use lobby::Lobby;
use poller::{Napper, Poller, Ready};
use proxied::Clients;
use put_off::PutOff;
use spread::Spreads;

/// The longest nap: how often a shard shows that it lives, looks at the log's bounds and publishes
/// its numbers.
const NAP_MAX: Duration = Duration::from_secs(1);
/// The nap while something is awaited that rings no bell: a retried read, the pace of a drain.
const NAP_SHORT: Duration = Duration::from_millis(20);
/// A turn that comes this late was not the sessions' fault: the process was stopped, or the host
/// was busy elsewhere. Their deadlines move by as much (FAULTS 40).
const LAPSE_MIN: Duration = Duration::from_secs(2);

/// An answer of the log.
pub(crate) type ReadAnswer = Result<Arc<Batch>, ReadError>;

/// What other threads send to a shard.
pub(crate) struct Mail {
    pub(crate) doorbell: Arc<Doorbell>,
    pub(crate) bell: Arc<EventBell>,
    pub(crate) batches: Receiver<Arc<Batch>>,
    pub(crate) reads: Receiver<ReadAnswer>,
    /// Handed to the log with each read.
    pub(crate) reads_sender: Arc<Mutex<Sender<ReadAnswer>>>,
    pub(crate) commands: Receiver<Command>,
}

/// One shard.
pub(crate) struct Shard {
    number: usize,
    options: Arc<FanoutOptions>,
    rules: Arc<Rules>,
    /// The frame of `status` while it isn't `live`, for those who come later.
    status: Option<(Arc<str>, Bytes)>,
    mail: Mail,
    log: Arc<dyn EventLog>,
    admission: Arc<Admission>,
    stats: Arc<Padded<ShardStats>>,

    hub: Hub,
    conns: Conns,
    clients: Clients,
    wheel: Wheel,
    poller: Poller,
    listener: Option<TcpListener>,
    door: Door,
    lobby: Lobby,
    drain: Option<Drain>,

    launcher: Launcher,
    volley: Volley,
    misses: Vec<Miss>,
    spreads: Spreads,
    put_off: PutOff,
    ahead: Ahead,
    /// Sockets that had more to read than a turn allows.
    unread: Vec<SessionId>,
    ready: Vec<Ready>,
    fired: Vec<u32>,
    scratch: Box<[u8]>,
    ping: Bytes,

    /// The monotonic clock, as of the last look.
    now: Monotonic,
    /// Time that sessions are not charged for.
    lapse: Duration,
    turned_at: Monotonic,
    /// How long the last nap was to be.
    planned: Duration,
    housekept_at: Monotonic,
    slept: Duration,
    /// Sessions whose last frame is queued and not sent.
    closes_unsent: usize,
    is_stopped: bool,
    /// Load balancers that ask are told to send nobody any more.
    is_retired: bool,
}

impl Shard {
    /// Turns until it is told to stop.
    async fn serve(&mut self, mut napper: Napper) -> std::io::Result<()> {
        while !self.is_stopped {
            let is_busy = self.turn()?;
            if !is_busy && !self.is_stopped {
                self.nap(&mut napper).await;
            }
        }
        Ok(())
    }

    /// Does each step's share; answers whether something is left to do at once.
    fn turn(&mut self) -> std::io::Result<bool> {
        self.look_at_the_clock();
        #[cfg(any(test, feature = "testing"))]
        self.options.faults.in_turn();
        let mut is_busy = self.take_mail();
        is_busy |= self.send();
        is_busy |= self.serve_sockets()?;
        self.fire_timers();
        self.drain_some();
        self.housekeep();
        Ok(is_busy | self.hub.has_work())
    }

    fn look_at_the_clock(&mut self) {
        self.now = clock::monotonic();
        let late = self.now.since(self.turned_at);
        let planned = std::mem::take(&mut self.planned);
        if late > planned + LAPSE_MIN {
            self.lapse += late - planned;
            self.hub.set_lapse(self.lapse);
        }
        self.turned_at = self.now;
        self.stats.set_beat(self.now);
    }

    /// The time that sessions are judged by, by their deadlines and by the hub.
    fn session_now(&self) -> Monotonic {
        self.now - self.lapse
    }

    fn take_mail(&mut self) -> bool {
        let mut taken = 0;
        while taken < BATCHES_MAX {
            let Some(batch) = self.mail.batches.try_recv() else { break };
            self.hub.handle_batch(&batch, self.session_now());
            taken += 1;
        }
        if self.mail.batches.take_overflowed() {
            self.stats.mailbox_overflows.increment();
            self.hub.handle_bounds(&self.log.bounds());
        }
        while let Some(answer) = self.mail.reads.try_recv() {
            self.hub.handle_read(answer, self.session_now());
        }
        while let Some(command) = self.mail.commands.try_recv() {
            self.obey(command);
        }
        self.serve_ahead();
        self.ask_the_log();
        taken == BATCHES_MAX
    }

    fn serve_sockets(&mut self) -> std::io::Result<bool> {
        let mut is_busy = self.poller.fetch(&mut self.ready)?;
        for id in std::mem::take(&mut self.unread) {
            // Its end may have come with what was read: no other edge will tell of it.
            self.read(id, true);
        }
        let mut ready = std::mem::take(&mut self.ready);
        for ready in ready.drain(..) {
            match ready {
                Ready::Listener => self.door.knock(),
                // Edge-triggered: whoever rings again makes a new edge, so the count need not be
                // read.
                Ready::Bell => {}
                Ready::Session { id, can_read, can_write, is_ended } => {
                    if can_write {
                        self.unblock(id);
                    }
                    if can_read {
                        self.read(id, is_ended);
                    }
                }
            }
        }
        self.ready = ready;
        is_busy |= self.accept_some();
        Ok(is_busy | !self.unread.is_empty())
    }

    /// About once a second: what changes slowly, and what nobody rings for.
    fn housekeep(&mut self) {
        let elapsed = self.now.since(self.housekept_at);
        if elapsed < NAP_MAX {
            return;
        }
        let busy = elapsed.saturating_sub(std::mem::take(&mut self.slept));
        self.stats.busy_permille.set((busy.as_millis() * 1000 / elapsed.as_millis()) as i64);
        self.housekept_at = self.now;
        self.hub.handle_bounds(&self.log.bounds());
        self.lobby.expire(self.now);
        self.publish_stats();
    }

    fn publish_stats(&mut self) {
        self.stats.take_hub(self.hub.stats());
        self.stats.connections.set(self.conns.open() as i64);
        if self.hub.is_ready() {
            self.stats.is_ready.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    async fn nap(&mut self, napper: &mut Napper) {
        self.spreads.settle(&self.stats);
        self.publish_stats();
        let before = clock::monotonic();
        let at_most = self.nap_length(before);
        self.mail.doorbell.doze();
        let is_called = !self.mail.batches.is_empty()
            || !self.mail.reads.is_empty()
            || !self.mail.commands.is_empty()
            || self.mail.batches.has_overflowed();
        if !is_called && !at_most.is_zero() {
            self.planned = at_most;
            napper.nap(at_most).await;
            self.slept += clock::monotonic().since(before);
        }
        self.mail.doorbell.rise();
    }

    fn nap_length(&mut self, now: Monotonic) -> Duration {
        let stats = self.hub.stats();
        let awaits = stats.catching_up > 0
            || !self.hub.is_ready()
            || self.drain.is_some()
            || self.door.is_paused()
            || self.ahead.is_waiting();
        let at_most = if awaits { NAP_SHORT } else { NAP_MAX };
        let at_most = at_most.min(self.put_off.wait(now).unwrap_or(NAP_MAX));
        match self.wheel.next_poll() {
            Some(next) => at_most.min((next + self.lapse).since(now)),
            None => at_most,
        }
    }
}

fn scratch() -> Box<[u8]> {
    vec![0; SCRATCH_BYTES].into()
}
