//! A bounded queue between two threads, and the bell that wakes the one that sleeps.
//!
//! One thread sends, one receives ([`channel`]). A mailbox is full when it holds as many values as
//! it may, or as many bytes ([`Sender::bounded`]). Sending never blocks: a full mailbox gives the
//! value back and notes that something was refused ([`Receiver::take_overflowed`]), which is the
//! receiver's cue to read what it misses from the log (R26). Any number of mailboxes may share one
//! [`Doorbell`]: a shard sleeps in a single place, whoever has something for it.
//!
//! # Waking
//! A wake costs a system call, so it is made only for a receiver that sleeps, and once. The
//! receiver says that it is about to sleep ([`Doorbell::doze`]), looks into its mailboxes a last
//! time, and only then blocks on the bell's descriptor. A sender stores its value, then takes the
//! doze away; the sender that finds one rings. Both sides do so by an exchange of the same flag,
//! each of which sees what its predecessor's thread had done: an exchange of the sender's that
//! comes after the doze finds it and rings, and one that comes before shows the receiver the value
//! in its last look.
//!
//! # Invariants
//! - `head <= tail <= head + slots.len()`; only the receiver moves `head`, only the sender moves
//!   `tail`.
//! - The bytes put less the bytes taken are at most `bytes_max`; each count has one writer too.
//! - A slot is touched by the sender while it lies outside `head..tail`, by the receiver while it
//!   lies inside. The lock around each slot is therefore never contended; it is there because this
//!   crate forbids unsafe code, and costs two uncontended exchanges a value. Values are batches,
//!   not events.
//!
//! # What it leaves out
//! Blocking. The receiver waits on a descriptor of its own kind (that of [`EventBell`]), together
//! with its sockets.

mod bell;
mod sync;

#[cfg(all(test, loom))]
mod loom_tests;

pub use bell::{Bell, Doorbell, EventBell};

use sync::{Arc, AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering};

/// A mailbox of `capacity` values whose sender rings `doorbell`.
///
/// # Panics
/// If `capacity` is zero.
pub fn channel<T>(capacity: usize, doorbell: Arc<Doorbell>) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a mailbox holds at least one value");
    let shared = Arc::new(Shared {
        slots: (0..capacity).map(|_| Mutex::new(None)).collect(),
        head: Line(AtomicUsize::new(0)),
        tail: Line(AtomicUsize::new(0)),
        bytes_taken: AtomicUsize::new(0),
        overflowed: AtomicBool::new(false),
    });
    let sender = Sender {
        shared: Arc::clone(&shared),
        doorbell,
        tail: 0,
        head_seen: 0,
        bytes_max: usize::MAX,
        bytes_put: 0,
    };
    (sender, Receiver { shared, head: 0, tail_seen: 0, bytes_taken: 0 })
}

/// A value, and the bytes it counts for.
type Slot<T> = Mutex<Option<(T, usize)>>;

struct Shared<T> {
    slots: Box<[Slot<T>]>,
    /// Values taken so far.
    head: Line<AtomicUsize>,
    /// Values put so far.
    tail: Line<AtomicUsize>,
    /// Bytes of the values taken so far; wraps.
    bytes_taken: AtomicUsize,
    overflowed: AtomicBool,
}

/// A cache line of its own (two on x86, which fetches them in pairs), so that the two threads don't
/// share one.
#[repr(align(128))]
struct Line<T>(T);

/// The end that puts values in. One thread at a time.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    doorbell: Arc<Doorbell>,
    tail: usize,
    /// What `head` was when last looked at: saves reading the receiver's line for most values.
    head_seen: usize,
    bytes_max: usize,
    /// Bytes of the values put so far; wraps.
    bytes_put: usize,
}

impl<T> Sender<T> {
    /// Bounds what waits by bytes too: [`try_send_sized`](Self::try_send_sized) says how many a
    /// value counts for. A value that is larger than `bytes_max` is always refused.
    #[must_use]
    pub fn bounded(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    /// Puts `value` in and wakes the receiver if it sleeps. Never blocks.
    ///
    /// # Errors
    /// Gives `value` back when the mailbox is full; the receiver will see
    /// [`Receiver::take_overflowed`].
    pub fn try_send(&mut self, value: T) -> Result<(), T> {
        self.try_send_sized(value, 0)
    }

    /// Puts in a `value` that counts for so many `bytes`.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn try_send_sized(&mut self, value: T, bytes: usize) -> Result<(), T> {
        let capacity = self.shared.slots.len();
        if self.tail - self.head_seen == capacity {
            self.head_seen = self.shared.head.0.load(Ordering::Acquire);
        }
        if self.tail - self.head_seen == capacity || !self.has_room_for(bytes) {
            self.shared.overflowed.store(true, Ordering::Release);
            self.doorbell.notify();
            return Err(value);
        }
        *lock(&self.shared.slots[self.tail % capacity]) = Some((value, bytes));
        self.bytes_put = self.bytes_put.wrapping_add(bytes);
        self.tail += 1;
        self.shared.tail.0.store(self.tail, Ordering::Release);
        self.doorbell.notify();
        Ok(())
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        let waiting = self.bytes_put.wrapping_sub(self.shared.bytes_taken.load(Ordering::Acquire));
        bytes <= self.bytes_max.saturating_sub(waiting)
    }

    /// Values that wait at this moment, for gauges.
    pub fn len(&self) -> usize {
        self.tail - self.shared.head.0.load(Ordering::Acquire)
    }

    /// Whether nothing waits at this moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The end that takes values out. One thread at a time.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    tail_seen: usize,
    bytes_taken: usize,
}

impl<T> Receiver<T> {
    /// The oldest value, if there is one.
    pub fn try_recv(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let value = lock(&self.shared.slots[self.head % self.shared.slots.len()]).take();
        debug_assert!(value.is_some(), "a slot within head..tail holds a value");
        self.head += 1;
        self.shared.head.0.store(self.head, Ordering::Release);
        let (value, bytes) = value?;
        if bytes > 0 {
            self.bytes_taken = self.bytes_taken.wrapping_add(bytes);
            self.shared.bytes_taken.store(self.bytes_taken, Ordering::Release);
        }
        Some(value)
    }

    /// Whether nothing waits at this moment.
    pub fn is_empty(&mut self) -> bool {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.tail.0.load(Ordering::Acquire);
        }
        self.head == self.tail_seen
    }

    /// Whether a value was refused since [`take_overflowed`](Self::take_overflowed): part of the
    /// last look.
    pub fn has_overflowed(&self) -> bool {
        self.shared.overflowed.load(Ordering::Acquire)
    }

    /// Whether a value was refused since this was last asked.
    pub fn take_overflowed(&mut self) -> bool {
        // The plain load first: it is nearly always false, and costs no exchange.
        self.has_overflowed() && self.shared.overflowed.swap(false, Ordering::AcqRel)
    }
}

/// Nothing that can panic runs under the lock, so it is never poisoned; if it were, the value is
/// whole all the same.
fn lock<T>(slot: &Mutex<Option<T>>) -> MutexGuard<'_, Option<T>> {
    slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn silent() -> Arc<Doorbell> {
        Arc::new(Doorbell::new(bell::CountingBell::default()))
    }

    proptest! {
        #[test]
        fn a_mailbox_is_a_queue_bounded_by_count_and_by_bytes(
            capacity in 1..8usize,
            bytes_max in 0..40usize,
            steps in prop::collection::vec(prop::option::of(0..16usize), 0..100),
        ) {
            let (sender, mut receiver) = channel(capacity, silent());
            let mut sender = sender.bounded(bytes_max);
            let mut oracle: VecDeque<(usize, usize)> = VecDeque::new();
            let mut refused = false;
            for (n, send) in steps.into_iter().enumerate() {
                if let Some(bytes) = send {
                    let waiting: usize = oracle.iter().map(|(_, bytes)| bytes).sum();
                    let room = oracle.len() < capacity && waiting + bytes <= bytes_max;
                    let sent = sender.try_send_sized(n, bytes);
                    prop_assert_eq!(sent, if room { Ok(()) } else { Err(n) });
                    if room { oracle.push_back((n, bytes)) } else { refused = true }
                } else {
                    let oldest = oracle.pop_front().map(|(n, _)| n);
                    prop_assert_eq!(receiver.try_recv(), oldest);
                    prop_assert_eq!(receiver.take_overflowed(), std::mem::take(&mut refused));
                }
                prop_assert_eq!(sender.len(), oracle.len());
            }
        }
    }

    #[test]
    fn values_cross_threads_in_order_and_none_is_left_behind() {
        let bell = Arc::new(EventBell::new().unwrap());
        let doorbell = Arc::new(Doorbell::new(Arc::clone(&bell)));
        let (mut sender, mut receiver) = channel(16, Arc::clone(&doorbell));
        let count = 100_000u64;
        let thread = std::thread::spawn(move || {
            for mut n in 0..count {
                while let Err(back) = sender.try_send(n) {
                    n = back;
                    std::thread::yield_now();
                }
            }
        });
        let mut next = 0;
        while next < count {
            while let Some(n) = receiver.try_recv() {
                assert_eq!(n, next);
                next += 1;
            }
            doorbell.doze();
            if receiver.is_empty() && next < count {
                let mut raw = [0; 8];
                rustix::io::read(&bell, &mut raw).unwrap();
            }
            doorbell.rise();
        }
        thread.join().unwrap();
    }
}
