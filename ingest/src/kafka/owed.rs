//! What this node has acknowledged and nobody will be shown, on its way to the dead letters.
//!
//! A letter that is owed is kept for good, however long the disk takes; the thread that reads the
//! log shows goals meanwhile, and never waits. So it hands letters over, and a thread of its own
//! keeps one after the other.
//!
//! # Where more wait than may
//! The disk has failed for long then, and one more letter is lost rather than the reading held up:
//! no client would be shown anything for want of a letter. What it is of still stands in the log,
//! and a line of ours names its place. It is counted by itself, and told of once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use touchline_core::dead::DeadLetter;
use touchline_core::retry::Backoff;

use super::state::{Shared, lock};
use crate::limits::{OWED_BYTES_MAX, OWED_LETTER_BYTES};

/// How often a thread that waits looks whether the log is being closed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Letters that wait.
#[derive(Default)]
pub(super) struct Owed {
    letters: Mutex<Waiting>,
    bell: Condvar,
    has_told: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    letters: VecDeque<DeadLetter>,
    bytes: usize,
}

impl Owed {
    /// Takes a letter over, without waiting for anything. `false`: it is lost.
    pub fn push(&self, letter: DeadLetter) -> bool {
        let mut waiting = lock(&self.letters);
        let bytes = waiting.bytes + size(&letter);
        if bytes > OWED_BYTES_MAX {
            drop(waiting);
            if !self.has_told.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    "acknowledged events that nobody is shown are lost: they can't be kept as dead \
                     letters, and more wait for that than may; see why dead letters can't be \
                     written. The lines \"an id was used twice\" name their places in the log"
                );
            }
            return false;
        }
        waiting.bytes = bytes;
        waiting.letters.push_back(letter);
        drop(waiting);
        self.bell.notify_one();
        true
    }

    /// The next one; `None` once the log is being closed and none waits.
    fn take(&self, shared: &Shared) -> Option<DeadLetter> {
        let mut waiting = lock(&self.letters);
        loop {
            if let Some(letter) = waiting.letters.pop_front() {
                waiting.bytes -= size(&letter);
                return Some(letter);
            }
            if shared.is_closing() {
                return None;
            }
            let woken = self.bell.wait_timeout(waiting, LOOK_EVERY);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn size(letter: &DeadLetter) -> usize {
    OWED_LETTER_BYTES + letter.raw.len()
}

/// Keeps what is owed until the log is being closed and nothing of it waits.
pub(super) fn keep(shared: &Shared) {
    while let Some(letter) = shared.owed.take(shared) {
        keep_one(shared, letter);
    }
}

fn keep_one(shared: &Shared, letter: DeadLetter) {
    let gives_up = || shared.is_closing();
    let mut backoff = Backoff::new();
    while !shared.dead.park_durably(letter.clone(), &gives_up) {
        if gives_up() {
            // Who keeps letters ends after the log, and writes what it was given. It may have this
            // one already: the same again is one letter.
            return shared.dead.park(letter);
        }
        // There is no room among those that wait to be written.
        let until = Instant::now() + backoff.next(rand::random());
        while !gives_up() && Instant::now() < until {
            std::thread::sleep(LOOK_EVERY);
        }
    }
    shared.owed.has_told.store(false, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::super::door::{Door, Rules};
    use super::super::lanes::Lanes;
    use super::*;
    use std::sync::Arc;
    use touchline_core::dead::DeadLetters;
    use touchline_core::event::Event;
    use touchline_core::log::Epoch;
    use touchline_core::time::Timestamp;

    /// Keeps nothing for good while its disk fails; what is merely parked then is lost.
    #[derive(Default)]
    struct Disk {
        kept: Mutex<Vec<DeadLetter>>,
        given_at_end: Mutex<Vec<DeadLetter>>,
        fails: AtomicBool,
    }

    impl DeadLetters for Disk {
        fn park(&self, letter: DeadLetter) {
            lock(&self.given_at_end).push(letter);
        }

        fn park_durably(&self, letter: DeadLetter, _: &dyn Fn() -> bool) -> bool {
            let is_kept = !self.fails.load(Ordering::Relaxed);
            is_kept.then(|| lock(&self.kept).push(letter));
            is_kept
        }
    }

    fn shared(disk: &Arc<Disk>) -> Arc<Shared> {
        let lanes = Lanes::new("", 1);
        let windows = [Duration::from_secs(60); 4];
        let door = Door::new(&lanes, Rules { windows, entries_max: 9, pending_bytes_max: 9 });
        Arc::new(Shared::new(lanes, Epoch(1), door, disk.clone()))
    }

    fn letter(data: &str) -> DeadLetter {
        let event = Event { data: data.to_owned().into(), ..Event::sample("a", "ars") };
        DeadLetter::of_event(&event, Timestamp(1), "id_reused", "")
    }

    #[test]
    fn what_a_failing_disk_does_not_take_waits_for_it_and_holds_up_nobody() {
        let disk = Arc::new(Disk { fails: true.into(), ..Disk::default() });
        let shared = shared(&disk);
        let keeper = Arc::clone(&shared);
        let thread = std::thread::spawn(move || keep(&keeper));
        let data = "x".repeat(1 << 20);
        let begin = Instant::now();
        let taken = (0..20).filter(|_| shared.owed.push(letter(&data))).count();
        assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
        // One may be in the thread's hand.
        assert!((15..=16).contains(&taken), "bounded in bytes: {taken}");
        assert!(shared.owed.has_told.load(Ordering::Relaxed), "what is lost is told of");
        std::thread::sleep(Duration::from_millis(50));
        assert!(lock(&disk.kept).is_empty());
        disk.fails.store(false, Ordering::Relaxed);
        while lock(&disk.kept).len() < taken {
            assert!(begin.elapsed() < Duration::from_secs(10), "never kept");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(shared.owed.push(letter("{}")), "there is room again");
        shared.is_closing.store(true, Ordering::Relaxed);
        thread.join().unwrap();
        assert_eq!((lock(&disk.kept).len(), lock(&shared.owed.letters).bytes), (taken + 1, 0));
        assert!(lock(&disk.given_at_end).is_empty());
        assert!(!shared.owed.has_told.load(Ordering::Relaxed), "the next loss is told of again");
    }

    #[test]
    fn what_waits_when_the_log_is_closed_is_left_to_who_keeps_letters() {
        let disk = Arc::new(Disk { fails: true.into(), ..Disk::default() });
        let shared = shared(&disk);
        assert!(shared.owed.push(letter("{}")) && shared.owed.push(letter("[]")));
        shared.is_closing.store(true, Ordering::Relaxed);
        keep(&shared);
        assert_eq!(lock(&disk.given_at_end).len(), 2);
    }
}
