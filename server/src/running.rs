//! The started server: what it is made of, what state it is in, and how it comes to an end.
//!
//! [`Appliance`] is shared by all who ask (admin port, demo, tests): parts, addresses, stage. [`Running`] is held by
//! whoever started it. Its *keeper*, a thread, feeds the service manager's watchdog and carries out [`Order`]s; so a
//! drain can take its minutes while signals, health and metrics are answered by others.
//!
//! # The end, by order
//! | order | grace | sessions | then |
//! |---|---|---|---|
//! | `Drain` | `drain.grace_s`, not ready, still serving | told `reconnect`, closed 1012 at the configured pace | stop |
//! | `Interrupt` | none | the same, all at once | stop |
//! | `Now` | none | dropped | stop |
//!
//! A later order that is more urgent cuts an earlier one short. The stop itself: requests under way are answered, the
//! shards end, the journal is flushed and closed, the admin port goes last.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use touchline_core::log::EventLog as _;
use touchline_core::metrics::Padded;
use touchline_fanout::{Fanout, ShardCommand, ShardStats, SlowSession, clock};
use touchline_ingest::broadcast::BroadcastState;
use touchline_store::journal::Journal;

use crate::config::Loaded;
use crate::http::StreamPlace;
use crate::limits::{
    DRAIN_OVERTIME, DRAIN_S_MAX, INTERRUPT_REQUESTS, INTERRUPT_SESSIONS, SHARD_SILENCE_MAX,
    STOP_REQUESTS,
};
use crate::live::Live;
use crate::notify;
use crate::reload::Reloads;

/// The addresses it listens on; port 0 of the configuration has become a real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// WebSockets.
    pub stream: SocketAddr,
    /// Webhooks, REST, the board.
    pub api: SocketAddr,
    /// Metrics and health.
    pub admin: SocketAddr,
}

/// How far it is in its life. Only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// It serves.
    Serving = 0,
    /// Not ready any more, still serving: load balancers are to notice.
    Grace = 1,
    /// Sessions are being told to leave.
    Leaving = 2,
    /// The parts are being stopped.
    Stopping = 3,
}

impl Stage {
    /// For `/readyz` and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Grace => "draining: not ready, still serving",
            Self::Leaving => "draining: sessions are told to leave",
            Self::Stopping => "stopping",
        }
    }
}

/// How it is to end, the more urgent the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// SIGTERM, `/drain`.
    Drain,
    /// SIGINT.
    Interrupt,
    /// A second signal.
    Now,
}

/// The parts and their state, shared.
pub struct Appliance {
    /// The configuration in force.
    pub loaded: ArcSwap<Loaded>,
    /// Where it listens.
    pub addresses: Addresses,
    /// The log.
    pub journal: Arc<Journal>,
    /// How the journal's disk is written to, for people.
    pub disk: Arc<str>,
    /// What each shard counts.
    pub shards: Vec<Arc<Padded<ShardStats>>>,
    /// The shards, until they have ended.
    pub(crate) fanout: RwLock<Option<Fanout>>,
    /// The webhook source.
    pub webhooks: BroadcastState,
    /// The day's matches.
    pub live: Arc<Live>,
    /// What pages are told of the stream port.
    pub place: Arc<StreamPlace>,
    /// What reloads have come to.
    pub reloads: Reloads,
    /// When it was started.
    pub started: Instant,
    pub(crate) stage: AtomicU8,
    pub(crate) orders: Mutex<Sender<Order>>,
    pub(crate) api_open: std::sync::atomic::AtomicBool,
}

impl Appliance {
    /// How far it is.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Serving,
            1 => Stage::Grace,
            2 => Stage::Leaving,
            _ => Stage::Stopping,
        }
    }

    /// Begins the end; returns at once. Repeating an order, or a less urgent one, changes nothing.
    pub fn order(&self, order: Order) {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        // Fails once the keeper has ended, and with it everything.
        let _ = orders.send(order);
    }

    /// Why it should get no traffic; empty when it should.
    pub fn reasons_not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.stage() > Stage::Serving {
            reasons.push(self.stage().as_str().to_owned());
        }
        if let Err(error) = self.journal.health() {
            reasons.push(format!("log: {error}"));
        }
        let now = clock::monotonic();
        for (n, shard) in self.shards.iter().enumerate() {
            if !shard.is_alive(now, SHARD_SILENCE_MAX) {
                let silence = now.since(shard.beat());
                reasons.push(format!("shard {n}: no sign of life for {} s", silence.as_secs()));
            } else if !shard.is_ready.load(Ordering::Relaxed) {
                reasons.push(format!("shard {n}: still reads the log"));
            }
        }
        if !self.api_open.load(Ordering::Relaxed) {
            reasons.push("API port: not open".into());
        }
        reasons
    }

    /// Whether every shard has shown life lately: what the watchdog is fed on.
    pub fn shards_alive(&self) -> bool {
        let now = clock::monotonic();
        self.shards.iter().all(|shard| shard.is_alive(now, SHARD_SILENCE_MAX))
    }

    /// Tells every shard. A shard that doesn't take it is dead or stuck, which `/readyz` tells as well.
    pub fn command(&self, command: ShardCommand) {
        let fanout = self.fanout.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = fanout.as_ref().map(|fanout| fanout.command(command)) {
            tracing::error!(%error, "a shard could not be told");
        }
    }

    /// The sessions that are furthest behind. Blocks up to `timeout`.
    pub fn slow_sessions(&self, timeout: Duration) -> Vec<SlowSession> {
        let fanout = self.fanout.read().unwrap_or_else(PoisonError::into_inner);
        fanout.as_ref().map_or_else(Vec::new, |fanout| fanout.slow_sessions(timeout))
    }

    fn end_shards(&self) {
        self.command(ShardCommand::Stop);
        let fanout = self.fanout.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(dead)) = fanout.map(Fanout::join) {
            tracing::error!(shards = ?dead, "shards did not end in order");
        }
    }

    /// Open sessions.
    pub fn connections(&self) -> u64 {
        let open = self.shards.iter().map(|shard| shard.connections.get()).sum::<i64>();
        u64::try_from(open).unwrap_or(0)
    }

    /// The folder with the journal and whatever else is kept.
    pub fn data_dir(&self) -> std::path::PathBuf {
        Path::new(&self.loaded.load().options.data_dir).to_owned()
    }
}

/// A started server. Dropping it stops it without grace.
pub struct Running {
    pub(crate) appliance: Arc<Appliance>,
    pub(crate) keeper: Option<JoinHandle<()>>,
}

impl Running {
    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.appliance.addresses
    }

    /// The shared part: state, parts, orders.
    pub fn appliance(&self) -> Arc<Appliance> {
        Arc::clone(&self.appliance)
    }

    /// Returns when it has come to its end.
    pub fn wait(mut self) {
        self.join();
    }

    /// Ends it, and returns when that is done.
    pub fn stop(mut self, order: Order) {
        self.appliance.order(order);
        self.join();
    }

    fn join(&mut self) {
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            tracing::error!("the keeper panicked; the process should be restarted");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.keeper.is_some() {
            self.appliance.order(Order::Now);
            self.join();
        }
    }
}

/// The threads that serve ports, with what tells them to stop.
pub(crate) struct Ports {
    pub api_stop: watch::Sender<Option<Duration>>,
    pub api: JoinHandle<()>,
    pub admin_stop: watch::Sender<Option<Duration>>,
    pub admin: JoinHandle<()>,
}

/// Minds a started server until its end.
pub(crate) struct Keeper {
    pub appliance: Arc<Appliance>,
    pub orders: Receiver<Order>,
    pub ports: Ports,
}

impl Keeper {
    /// The keeper's life.
    pub fn run(self) {
        let order = self.wait_for_order(None, None).unwrap_or(Order::Now);
        let drained = match order {
            Order::Drain => self.drain(),
            Order::Interrupt => self.interrupt(),
            Order::Now => false,
        };
        self.stop(if drained { STOP_REQUESTS } else { INTERRUPT_REQUESTS });
    }

    /// Feeds the watchdog until an order more urgent than `current` comes. `None`: the time is up first.
    fn wait_for_order(&self, current: Option<Order>, until: Option<Instant>) -> Option<Order> {
        let mut alive = true;
        loop {
            let tick = notify::watchdog_interval().unwrap_or(Duration::from_secs(1));
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match self.orders.recv_timeout(left.map_or(tick, |left| left.min(tick))) {
                Ok(order) if Some(order) > current => return Some(order),
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Some(Order::Now),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return None;
            }
            alive = self.feed_watchdog(alive);
        }
    }

    fn feed_watchdog(&self, was_alive: bool) -> bool {
        let alive = self.appliance.shards_alive();
        if alive {
            notify::watchdog();
        } else if was_alive {
            let reasons = self.appliance.reasons_not_ready().join("; ");
            tracing::error!(reasons, "a shard shows no life; not ready until a restart");
        }
        alive
    }

    fn enter(&self, stage: Stage) {
        self.appliance.stage.store(stage as u8, Ordering::Relaxed);
        let sessions = self.appliance.connections();
        tracing::info!(stage = stage.as_str(), sessions, "on the way down");
        notify::stopping(stage.as_str());
    }

    /// SIGTERM. `false`: it was cut short.
    fn drain(&self) -> bool {
        let settings = self.appliance.loaded.load().options.drain.clone();
        self.enter(Stage::Grace);
        let until = Instant::now() + settings.grace;
        match self.wait_for_order(Some(Order::Drain), Some(until)) {
            Some(Order::Interrupt) => return self.interrupt(),
            Some(_) => return false,
            None => {}
        }
        self.enter(Stage::Leaving);
        let sessions = self.appliance.connections();
        let needed = u32::try_from(sessions.div_ceil(DRAIN_S_MAX)).unwrap_or(u32::MAX);
        self.send_away(settings.sessions_per_s.max(needed), "drain");
        let patience = Duration::from_secs(DRAIN_S_MAX) + DRAIN_OVERTIME;
        match self.wait_for_drained(Order::Drain, patience) {
            Some(Order::Interrupt) => self.interrupt(),
            Some(_) => false,
            None => true,
        }
    }

    /// SIGINT.
    fn interrupt(&self) -> bool {
        self.enter(Stage::Leaving);
        self.send_away(u32::MAX, "restart");
        self.wait_for_drained(Order::Interrupt, INTERRUPT_SESSIONS);
        false
    }

    fn send_away(&self, sessions_per_s: u32, reason: &str) {
        self.appliance.command(ShardCommand::Drain {
            sessions_per_s,
            reason: reason.into(),
            reconnect_after: (Duration::from_secs(5), Duration::from_secs(30)),
        });
    }

    /// `None`: everybody has gone, or the time is up.
    fn wait_for_drained(&self, current: Order, patience: Duration) -> Option<Order> {
        let deadline = Instant::now() + patience;
        loop {
            let gone = |shard: &Arc<Padded<ShardStats>>| shard.is_drained.load(Ordering::Relaxed);
            let drained = self.appliance.shards.iter().all(gone);
            if drained || Instant::now() >= deadline {
                let left = self.appliance.connections();
                tracing::info!(left, "sessions have been told to leave");
                return None;
            }
            let soon = Instant::now() + Duration::from_millis(20);
            if let Some(order) = self.wait_for_order(Some(current), Some(soon)) {
                return Some(order);
            }
        }
    }

    fn stop(self, requests: Duration) {
        self.enter(Stage::Stopping);
        let Self { appliance, ports, .. } = self;
        ports.api_stop.send_replace(Some(requests));
        let _ = ports.api.join();
        appliance.end_shards();
        appliance.live.stop();
        if !appliance.journal.close() {
            tracing::error!("the disk took too long; what was acknowledged is on it all the same");
        }
        tracing::info!("stopped");
        ports.admin_stop.send_replace(Some(Duration::ZERO));
        let _ = ports.admin.join();
    }
}
