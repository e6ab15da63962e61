//! How the demo's tasks learn that they should end.
//!
//! One [`Stopper`], any number of [`Stop`]s. A stopper that is dropped has stopped: nobody waits
//! for a word that can't come any more.

use std::time::Duration;

use tokio::sync::watch;

/// Ends all tasks that hold a [`Stop`] of it.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Learns when to end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stopper {
    /// A stopper and its first listener.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Stop(receiver))
    }

    /// Ends them all.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether it is time.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until it is time.
    pub async fn stopped(&mut self) {
        // An error means that the stopper is gone, which is the same.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    /// Sleeps for `duration`, or until it is time: then true.
    pub async fn sleep(&mut self, duration: Duration) -> bool {
        tokio::time::timeout(duration, self.stopped()).await.is_ok()
    }
}
