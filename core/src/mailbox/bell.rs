//! How a sleeping thread is woken: a bell to ring, and who may ring it when.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use super::sync::{AtomicBool, Ordering};

/// Something that wakes one thread. Ringing twice does no harm.
pub trait Bell: Send + Sync {
    /// Wakes the thread, now or as soon as it sleeps. Must neither block nor fail.
    fn ring(&self);
}

impl<B: Bell> Bell for std::sync::Arc<B> {
    fn ring(&self) {
        (**self).ring();
    }
}

/// A [`Bell`], and whether its thread sleeps. Shared by all mailboxes of one receiver.
pub struct Doorbell {
    dozes: AtomicBool,
    bell: Box<dyn Bell>,
}

impl Doorbell {
    /// A doorbell of a receiver that is awake.
    pub fn new(bell: impl Bell + 'static) -> Self {
        Self { dozes: AtomicBool::new(false), bell: Box::new(bell) }
    }

    /// The receiver is about to sleep. It must look into each of its mailboxes after this and
    /// before it blocks.
    pub fn doze(&self) {
        self.dozes.swap(true, Ordering::AcqRel);
    }

    /// The receiver is awake: until it dozes again, nobody needs to ring.
    pub fn rise(&self) {
        self.dozes.swap(false, Ordering::AcqRel);
    }

    /// Rings if the receiver sleeps and nobody else has rung. Called by senders after they have
    /// stored what they bring.
    pub fn notify(&self) {
        if self.dozes.swap(false, Ordering::AcqRel) {
            self.bell.ring();
        }
    }
}

/// A [`Bell`] that is an eventfd: its thread waits until the descriptor is readable.
///
/// Make it before tables of descriptors part (DESIGN section 4): it then has the same number in
/// each. Drop it in the table in which it was made.
#[derive(Debug)]
pub struct EventBell(OwnedFd);

impl EventBell {
    /// A new eventfd, not blocking for whoever rings it.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC)?))
    }
}

impl AsFd for EventBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Bell for EventBell {
    fn ring(&self) {
        // It blocks at 2^64 - 2 rings that nobody has read, which is never.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

#[cfg(all(test, not(loom)))]
#[derive(Default)]
pub(super) struct CountingBell(pub(super) std::sync::Arc<std::sync::atomic::AtomicUsize>);

#[cfg(all(test, not(loom)))]
impl Bell for CountingBell {
    fn ring(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_bell_rings_once_for_each_sleep_and_never_for_the_waking() {
        let bell = CountingBell::default();
        let rings = std::sync::Arc::clone(&bell.0);
        let rings = || rings.load(std::sync::atomic::Ordering::Relaxed);
        let doorbell = Doorbell::new(bell);
        doorbell.notify();
        assert_eq!(rings(), 0, "awake");
        doorbell.doze();
        doorbell.notify();
        doorbell.notify();
        assert_eq!(rings(), 1, "one ring for one sleep");
        doorbell.doze();
        doorbell.rise();
        doorbell.notify();
        assert_eq!(rings(), 1, "it woke by itself");
    }
}
