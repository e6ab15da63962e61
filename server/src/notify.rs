//! What the service manager is told: ready, still alive, stopping (sd_notify).
//!
//! Without `NOTIFY_SOCKET` all of it does nothing. The watchdog is fed only while every shard's
//! heartbeat is young: a process whose timers run but whose shards hang is as good as dead, and is
//! to be restarted.

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

/// How often [`watchdog`] is to be called: half of what the service manager allows. `None`: it
/// doesn't watch us.
pub fn watchdog_interval() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    interval(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id())
}

/// A process that isn't named watches in vain; without a name, ours is meant.
fn interval(allowed_us: Option<String>, watched: Option<String>, own: u32) -> Option<Duration> {
    let allowed: u64 = allowed_us?.parse().ok()?;
    let is_ours = watched.is_none_or(|pid| pid.parse() == Ok(own));
    (is_ours && allowed > 1).then(|| Duration::from_micros(allowed / 2))
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::warn!(%error, "the service manager could not be told our state");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_watched_process_feeds_the_watchdog() {
        let some = |text: &str| Some(text.to_owned());
        let half = Some(Duration::from_millis(100));
        assert_eq!(interval(some("200000"), None, 7), half);
        assert_eq!(interval(some("200000"), some("7"), 7), half);
        assert_eq!(interval(some("200000"), some("8"), 7), None);
        assert_eq!(interval(None, some("7"), 7), None);
        assert_eq!(interval(some("soon"), None, 7), None);
        assert_eq!(interval(some("0"), None, 7), None);
    }
}
