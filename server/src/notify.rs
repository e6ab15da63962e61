//! What the service manager is told: ready, still alive, stopping (sd_notify).
//!
//! Without `NOTIFY_SOCKET` all of it does nothing. The watchdog is fed only while every shard's heartbeat is young:
//! a process whose timers run but whose shards hang is as good as dead, and is to be restarted.

use std::time::Duration;

use sd_notify::NotifyState;

/// Ready to serve. systemd starts what waits for us.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// On the way down; systemd no longer minds the watchdog's silence.
pub fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Alive.
pub fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

/// A reload begins, then ends with [`ready`].
pub fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// How often [`watchdog`] is to be called: half of what systemd allows. `None`: it doesn't watch us.
pub fn watchdog_interval() -> Option<Duration> {
    let mut allowed_us = 0;
    sd_notify::watchdog_enabled(false, &mut allowed_us)
        .then(|| Duration::from_micros(allowed_us) / 2)
        .filter(|interval| !interval.is_zero())
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::warn!(%error, "the service manager could not be told our state");
    }
}
