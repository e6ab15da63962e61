//! The started server, from outside: its parts, its state, and how it is told to end.
//!
//! [`Appliance`] is shared by all who ask (admin port, demo, tests): parts, addresses, stage.
//! [`Running`] is held by whoever started it. [`Order`]s are carried out by its
//! [keeper](crate::keeper).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use touchline_core::metrics::Padded;
use touchline_fanout::{Fanout, ShardCommand, ShardStats, SlowSession, clock};
use touchline_ingest::broadcast::BroadcastState;
use touchline_store::dead::DeadKeeper;
use touchline_tuning::memory::Meter;

use crate::config::Loaded;
use crate::dead::Replayer;
use crate::dead::courier::Courier;
use crate::http::StreamPlace;
use crate::http::proxied::Gate;
use crate::limits::SHARD_SILENCE_MAX;
use crate::live::Live;
use crate::node_log::NodeLog;
use crate::reload::Reloads;
use crate::sources::FollowedSources;

/// The addresses it listens on; port 0 of the configuration has become a real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    pub log: NodeLog,
    /// How it is kept, for people: how the journal's disk is written to, or which brokers.
    pub disk: Arc<str>,
    /// What each shard counts.
    pub shards: Vec<Arc<Padded<ShardStats>>>,
    /// The shards, until they have ended.
    pub(crate) fanout: RwLock<Option<Fanout>>,
    /// The webhook source.
    pub webhooks: BroadcastState,
    /// The sources that are asked.
    pub followed: FollowedSources,
    /// What could not be accepted.
    pub dead: Arc<DeadKeeper>,
    /// Shows them to other nodes, where the log is Kafka.
    pub courier: Option<Courier>,
    /// How it is tried again.
    pub replays: Replayer,
    /// The day's matches.
    pub live: Arc<Live>,
    /// What pages are told of the stream port.
    pub place: Arc<StreamPlace>,
    /// Whose PROXY header the API port believes, and how often it was none.
    pub gate: Arc<Gate>,
    /// What memory is left.
    pub memory: Meter,
    /// What reloads have come to.
    pub reloads: Reloads,
    /// When it was started.
    pub started: Instant,
    pub(crate) stage: AtomicU8,
    pub(crate) orders: Mutex<Sender<Order>>,
    pub(crate) api_open: AtomicBool,
    pub(crate) gave_up: AtomicBool,
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

    /// Whether it ends because its log can't be mended while it runs: a new start can.
    pub fn has_given_up(&self) -> bool {
        self.gave_up.load(Ordering::Relaxed)
    }

    /// Why it should get no traffic; empty when it should.
    pub fn reasons_not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.stage() > Stage::Serving {
            reasons.push(self.stage().as_str().to_owned());
        }
        if let Err(error) = self.log.health() {
            reasons.push(format!("log: {error}"));
        }
        if let Some(Err(error)) = self.log.kafka().map(|kafka| kafka.keeps_up()) {
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

    /// Tells every shard. A shard that doesn't take it is dead or stuck, which `/readyz` tells as
    /// well.
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

    /// Ends the shards, and waits for it.
    pub(crate) fn end_shards(&self) {
        self.command(ShardCommand::Stop);
        let fanout = self.fanout.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(dead)) = fanout.map(Fanout::join) {
            tracing::error!(shards = ?dead, "shards did not end in order");
        }
    }

    /// Ends what works behind the ports: shards, live state, journal, dead
    /// letters.
    pub(crate) fn end_parts(&self) {
        self.followed.stop();
        self.replays.stop();
        self.end_shards();
        self.live.stop();
        if let Some(courier) = &self.courier {
            courier.stop();
        }
        self.log.close();
        self.dead.close();
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
