//! The task that follows one source, and follows it again if it fails: a mistake of ours costs a
//! source a moment, not the evening.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::follow::Follower;
use super::{Harvest, PollStats, Trouble};
use crate::outbound::SourceError;

/// Before a source is followed again; doubled with each failure.
const FIRST: Duration = Duration::from_millis(500);
/// And at most.
const LONGEST: Duration = Duration::from_secs(30);

/// Follows by `first`, from `delay` on, and after a panic by what `make` makes, until told to stop.
/// Dropping it ends what follows.
pub(super) async fn follow<H: Harvest>(
    first: Follower<H>,
    make: impl Fn() -> Result<Follower<H>, SourceError>,
    stats: Arc<PollStats>,
    delay: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let (mut follower, mut delay, mut wait) = (first, delay, FIRST);
    loop {
        let (mut task, began) = (JoinSet::new(), Instant::now());
        task.spawn(follower.run(delay, stop.clone()));
        let Some(Err(error)) = task.join_next().await else { return };
        stats.count(Trouble::Panicked, 1);
        if began.elapsed() > LONGEST {
            wait = FIRST;
        }
        let source = stats.source();
        tracing::error!(source, %error, ?wait, "what follows a source has failed: it begins anew");
        tokio::select! {
            _ = stop.changed() => return,
            () = tokio::time::sleep(wait) => {}
        }
        (delay, wait) = (Duration::ZERO, (wait * 2).min(LONGEST));
        follower = match make() {
            Ok(follower) => follower,
            // It could be followed once: only the system can be in the way.
            Err(error) => return tracing::error!(source, %error, "a source can't be followed"),
        };
    }
}
