//! Minds a started server: feeds the watchdog, carries out orders, stops the parts.
//!
//! The keeper is a thread of its own, so a drain can take its minutes while signals, health and
//! metrics are answered by others. Several times a second it looks at shards, log and memory: what
//! has changed for the worse, or back, is logged once and told to sessions. While memory is short,
//! newcomers are refused (FAULTS 41): it is they who would take the last of it.
//!
//! # The end, by order
//! | order | grace | sessions | then |
//! |---|---|---|---|
//! | `Drain` | `drain.grace_s`, still serving | told `reconnect`, closed 1012 at a pace | stop |
//! | `Interrupt` | none | the same, all at once | stop |
//! | `Now` | none | dropped | stop |
//!
//! A later order that is more urgent cuts an earlier one short. The stop itself: requests under way
//! are answered, the shards end, the journal is flushed and closed, the admin port goes last.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use touchline_core::event::StreamSet;
use touchline_core::metrics::Padded;
use touchline_fanout::{ShardCommand, ShardStats};

use crate::http::proxied;
use crate::limits::{
    DRAIN_OVERTIME, DRAIN_S_MAX, INTERRUPT_REQUESTS, INTERRUPT_SESSIONS, LIFE_OVER_MAX,
    LOOK_INTERVAL, MEMORY_HYSTERESIS_PERCENT, STOP_REQUESTS,
};
use crate::notify;
use crate::running::{Appliance, Order, Stage};

/// The threads that serve ports, with what tells them to stop.
pub(crate) struct Ports {
    pub api_stop: watch::Sender<Option<Duration>>,
    pub api: JoinHandle<()>,
    pub admin_stop: watch::Sender<Option<Duration>>,
    pub admin: JoinHandle<()>,
}

/// What the keeper has seen and told already.
#[derive(Default)]
pub(crate) struct Seen {
    is_dead: bool,
    takes_nothing: bool,
    is_short: bool,
    over_at: Option<Instant>,
}

/// Minds a started server until its end.
pub(crate) struct Keeper {
    pub appliance: Arc<Appliance>,
    pub orders: Receiver<Order>,
    pub ports: Ports,
    pub seen: Seen,
    /// When shards and log are looked at again.
    pub next_look: Instant,
}

/// How often shards and log are looked at, and the watchdog fed.
pub(crate) fn look_interval() -> Duration {
    notify::watchdog_interval().unwrap_or(LOOK_INTERVAL).min(LOOK_INTERVAL)
}

impl Keeper {
    /// The keeper's life.
    pub fn run(mut self) {
        let order = self.wait_for_order(None, None).unwrap_or(Order::Now);
        let drained = match order {
            Order::Drain => self.drain(),
            Order::Interrupt => self.interrupt(),
            Order::Now => false,
        };
        self.stop(if drained { STOP_REQUESTS } else { INTERRUPT_REQUESTS });
    }

    /// Feeds the watchdog until an order more urgent than `current` comes. `None`: the time is up
    /// first.
    fn wait_for_order(&mut self, current: Option<Order>, until: Option<Instant>) -> Option<Order> {
        loop {
            let wake = until.map_or(self.next_look, |until| until.min(self.next_look));
            match self.orders.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(order) if Some(order) > current => return Some(order),
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Some(Order::Now),
                Err(RecvTimeoutError::Timeout) => {}
            }
            // Also where the wait is shorter than a look's turn: a drain waits in small steps.
            if Instant::now() >= self.next_look {
                self.look();
                self.next_look = Instant::now() + look_interval();
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return None;
            }
        }
    }

    /// Feeds the watchdog while all is well, and tells of what has changed.
    fn look(&mut self) {
        let is_dead = !self.appliance.shards_alive();
        if !is_dead {
            notify::watchdog();
        } else if !self.seen.is_dead {
            let reasons = self.appliance.reasons_not_ready().join("; ");
            tracing::error!(reasons, "a shard shows no life; not ready until a restart");
        }
        let degraded = self.appliance.log.degraded();
        let takes_nothing = degraded.is_some();
        if takes_nothing != self.seen.takes_nothing {
            let state = if takes_nothing { "degraded" } else { "live" };
            let reason = degraded.as_ref().map(|(error, _)| error.to_string());
            tracing::warn!(state, reason, "the log's state has changed; sessions are told");
            let streams = degraded.map_or(StreamSet::ALL, |(_, streams)| streams);
            self.appliance.command(ShardCommand::Status { state: state.into(), streams });
        }
        let is_over = self.appliance.log.kafka().is_some_and(|kafka| kafka.is_over());
        let over_at = self.seen.over_at.or_else(|| is_over.then(Instant::now));
        self.give_up_after(over_at);
        let is_short = self.is_short_of_memory();
        if is_short != self.seen.is_short {
            self.appliance.command(ShardCommand::Door { is_open: !is_short });
        }
        self.tell_bad_proxies();
        self.seen = Seen { is_dead, takes_nothing, is_short, over_at };
    }

    /// What shards have closed of trusted proxies, a line of each at most; the metric has them all.
    fn tell_bad_proxies(&self) {
        for bad in self.appliance.shards.iter().filter_map(|shard| shard.bad_proxies.take()) {
            proxied::tell("stream", bad.proxy, bad.wrong);
        }
    }

    /// A life of the log that is over is left by a start (R8): after a while in which everybody can
    /// see why, this process ends, and whoever minds it starts it again.
    fn give_up_after(&self, over_at: Option<Instant>) {
        if over_at.is_some_and(|at| at.elapsed() >= LIFE_OVER_MAX)
            && !self.appliance.gave_up.swap(true, Ordering::Relaxed)
        {
            tracing::error!(
                "this life of the log is over: the process ends with 1, for a start into the next"
            );
            self.appliance.order(Order::Interrupt);
        }
    }

    /// Whether newcomers are to be refused. Some room must have come back before they are let in
    /// again.
    fn is_short_of_memory(&self) -> bool {
        let most = self.appliance.loaded.load().options.memory_used_max_percent;
        let was_short = self.seen.is_short;
        let Some(memory) = self.appliance.memory.read().filter(|_| most < 100) else {
            return false;
        };
        let bound = if was_short { most - MEMORY_HYSTERESIS_PERCENT } else { most };
        let is_short = memory.used_percent() >= bound;
        let (used, limit) = (memory.used_bytes, memory.limit_bytes);
        match (was_short, is_short) {
            (false, true) => {
                tracing::warn!(used, limit, "memory is short: newcomers are refused for now");
            }
            (true, false) => tracing::info!(used, limit, "newcomers are let in again"),
            _ => {}
        }
        is_short
    }

    fn enter(&self, stage: Stage) {
        self.appliance.stage.store(stage as u8, Ordering::Relaxed);
        let sessions = self.appliance.connections();
        tracing::info!(stage = stage.as_str(), sessions, "on the way down");
        notify::stopping(stage.as_str());
    }

    /// SIGTERM. `false`: it was cut short.
    fn drain(&mut self) -> bool {
        let settings = self.appliance.loaded.load().options.drain.clone();
        self.enter(Stage::Grace);
        self.appliance.command(ShardCommand::Retire);
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
    fn interrupt(&mut self) -> bool {
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
    fn wait_for_drained(&mut self, current: Order, patience: Duration) -> Option<Order> {
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
        appliance.end_parts();
        tracing::info!("stopped");
        ports.admin_stop.send_replace(Some(Duration::ZERO));
        let _ = ports.admin.join();
    }
}
