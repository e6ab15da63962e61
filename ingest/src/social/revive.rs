//! A task that panics begins anew: one post that we can't bear must not end its stream for good,
//! unseen, while all others go on.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::backoff::{Backoff, BackoffRules, Cause};
use super::stats::{SocialStats, Trouble};

/// Runs what `begin` makes to its end, and again after each panic, ever more rarely.
pub(super) async fn revive<F: Future<Output = ()> + Send + 'static>(
    stats: Arc<SocialStats>,
    rules: BackoffRules,
    mut stop: watch::Receiver<bool>,
    begin: impl Fn() -> F + Clone + Send + 'static,
) {
    let mut backoff = Backoff::new(rules);
    loop {
        let began = Instant::now();
        let (mut task, begin) = (JoinSet::new(), begin.clone());
        task.spawn(async move { begin().await });
        let Some(Err(error)) = task.join_next().await else { return };
        if !error.is_panic() {
            return;
        }
        stats.set_connected(false);
        stats.count(Trouble::Panicked, 1);
        if began.elapsed() >= rules.good_after {
            backoff.reset();
        }
        let wait = backoff.wait(Cause::Lost, None, rand::random());
        let (source, wait_ms) = (stats.source(), wait.as_millis() as u64);
        tracing::error!(source, wait_ms, %error, "a stream's task has panicked, which is a bug");
        tokio::select! {
            _ = stop.changed() => return,
            () = sleep(wait) => {}
        }
    }
}
