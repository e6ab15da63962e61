//! The thread that keeps letters, and the queue before it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use touchline_core::dead::{DeadLetter, DeadLetters};
use touchline_core::event::Stream;
use touchline_core::retry::Backoff;
use touchline_core::time::Timestamp;

use super::book::{Book, DeadError, DeadOptions, Depths};
use crate::limits::{DEAD_BATCH_MAX, DEAD_QUEUE_BYTES_MAX, DEAD_QUEUE_MAX};

/// How often the file is looked at where nothing comes: a command may have changed it, and age
/// takes its share.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether a letter has been written, by who waits for that.
const DURABLE_LOOK: Duration = Duration::from_millis(5);
/// How often what is too old is looked for.
const TRIM_EVERY: Duration = Duration::from_secs(60);
/// How often lost letters are told of.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Numbers that a scrape may read at any time.
#[derive(Debug, Default)]
pub struct DeadStats {
    parked: Mutex<BTreeMap<(Stream, &'static str), u64>>,
    lost: AtomicU64,
    dropped: AtomicU64,
    depths: Mutex<Depths>,
}

impl DeadStats {
    /// Letters kept, by stream and reason; the same letter again counts as well.
    pub fn parked(&self) -> Vec<(Stream, &'static str, u64)> {
        let parked = lock(&self.parked);
        parked.iter().map(|((stream, reason), count)| (*stream, *reason, *count)).collect()
    }

    /// Letters that could not be kept.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Letters let go for age or room that nobody had replayed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// What the file held at the last look, a second ago at most.
    pub fn depths(&self) -> Depths {
        *lock(&self.depths)
    }
}

#[derive(Default)]
struct Queue {
    letters: VecDeque<DeadLetter>,
    bytes: usize,
    /// Letters that were ever taken in.
    taken: u64,
    is_closing: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    bell: Condvar,
    /// Letters that were ever written for good, in the order in which they were taken in.
    written: AtomicU64,
    stats: DeadStats,
}

/// Where letters are parked.
pub struct DeadKeeper {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl DeadKeeper {
    /// Keeps letters as `options` say. A file that can't be opened is told of and tried again: no
    /// start fails by it.
    ///
    /// # Errors
    /// The system gives us no thread.
    pub fn start(options: DeadOptions) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut clerk = Clerk::new(options, Arc::clone(&shared));
        let run = move || while clerk.turn() {};
        let thread = Builder::new().name("dead-letters".into()).spawn(run)?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// What is counted.
    pub fn stats(&self) -> &DeadStats {
        &self.shared.stats
    }

    /// Writes what waits, and ends the thread.
    pub fn close(&self) {
        lock(&self.shared.queue).is_closing = true;
        self.shared.bell.notify_one();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that keeps dead letters panicked");
        }
    }
}

impl Drop for DeadKeeper {
    fn drop(&mut self) {
        self.close();
    }
}

impl DeadLetters for DeadKeeper {
    fn park(&self, letter: DeadLetter) {
        if self.take_in(letter).is_none() {
            self.shared.stats.lost.fetch_add(1, Relaxed);
        }
    }

    fn park_durably(&self, letter: DeadLetter, gives_up: &dyn Fn() -> bool) -> bool {
        let Some(ticket) = self.take_in(letter) else { return false };
        while self.shared.written.load(Relaxed) < ticket {
            if gives_up() {
                return false;
            }
            std::thread::sleep(DURABLE_LOOK);
        }
        true
    }
}

impl DeadKeeper {
    /// Takes a letter into the queue, if there is room; its number.
    fn take_in(&self, letter: DeadLetter) -> Option<u64> {
        let mut queue = lock(&self.shared.queue);
        let bytes = queue.bytes + letter.raw.len();
        // One that is larger than the queue may be goes alone.
        let fits = bytes <= DEAD_QUEUE_BYTES_MAX || queue.letters.is_empty();
        if queue.is_closing || queue.letters.len() >= DEAD_QUEUE_MAX || !fits {
            return None;
        }
        queue.bytes = bytes;
        queue.letters.push_back(letter);
        queue.taken += 1;
        let ticket = queue.taken;
        drop(queue);
        self.shared.bell.notify_one();
        Some(ticket)
    }
}

/// What the thread does.
struct Clerk {
    options: DeadOptions,
    shared: Arc<Shared>,
    book: Option<Book>,
    /// Taken from the queue, and not kept yet.
    hand: Vec<DeadLetter>,
    backoff: Backoff,
    /// Not before then, after a failure.
    try_at: Instant,
    ails: bool,
    trim_at: Instant,
    seen: Option<i64>,
    told_at: Instant,
    told_lost: u64,
}

impl Clerk {
    fn new(options: DeadOptions, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            options,
            shared,
            book: None,
            hand: Vec::new(),
            backoff: Backoff::new(),
            try_at: now,
            ails: false,
            trim_at: now,
            seen: None,
            told_at: now,
            told_lost: 0,
        }
    }

    /// One batch, or a look around. `false`: it was the last.
    fn turn(&mut self) -> bool {
        let is_closing = self.take();
        if is_closing || Instant::now() >= self.try_at {
            match self.work() {
                Ok(()) => self.is_well(),
                Err(error) => self.fails(&error),
            }
        }
        if is_closing {
            let left = self.hand.len() + lock(&self.shared.queue).letters.len();
            self.shared.stats.lost.fetch_add(left as u64, Relaxed);
        }
        self.tell_lost(is_closing);
        let goes_on = !is_closing;
        if let Some(book) = self.book.take_if(|_| !goes_on) {
            book.close();
        }
        goes_on
    }

    /// Takes what has come, once its hand is empty; waits a little for something to come. Whether
    /// the queue is being closed.
    fn take(&mut self) -> bool {
        let mut queue = lock(&self.shared.queue);
        let wait = match self.ails {
            true => self.try_at.saturating_duration_since(Instant::now()).min(LOOK_EVERY),
            false => LOOK_EVERY,
        };
        let can_take = self.hand.is_empty();
        let is_idle = |queue: &mut Queue| {
            !queue.is_closing && (!can_take || self.ails || queue.letters.is_empty())
        };
        let waited = self.shared.bell.wait_timeout_while(queue, wait, is_idle);
        queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        let most = if queue.is_closing { usize::MAX } else { DEAD_BATCH_MAX };
        if can_take || queue.is_closing {
            let count = queue.letters.len().min(most);
            self.hand.extend(queue.letters.drain(..count));
            queue.bytes = queue.letters.iter().map(|letter| letter.raw.len()).sum();
        }
        queue.is_closing
    }

    fn work(&mut self) -> Result<(), DeadError> {
        if self.book.is_none() {
            self.book = Some(Book::open(self.options.clone())?);
            self.seen = None;
        }
        let Some(book) = &mut self.book else { return Ok(()) };
        let is_due = Instant::now() >= self.trim_at;
        let stats = &self.shared.stats;
        if !self.hand.is_empty() || is_due {
            let dropped = book.put(&self.hand, now())?;
            stats.dropped.fetch_add(dropped, Relaxed);
            self.shared.written.fetch_add(self.hand.len() as u64, Relaxed);
            let mut parked = lock(&stats.parked);
            for letter in self.hand.drain(..) {
                *parked.entry((letter.stream, letter.reason)).or_default() += 1;
            }
            self.trim_at = Instant::now() + TRIM_EVERY;
            self.seen = None;
        }
        let version = Some(book.version()?);
        if self.seen != version {
            *lock(&stats.depths) = book.depths()?;
            self.seen = version;
        }
        Ok(())
    }

    fn is_well(&mut self) {
        if std::mem::take(&mut self.ails) {
            tracing::info!("dead letters are kept again");
        }
        self.backoff.reset();
    }

    /// Tells of the first failure, and tries again later and later.
    fn fails(&mut self, error: &DeadError) {
        if !std::mem::replace(&mut self.ails, true) {
            tracing::error!(
                %error,
                "dead letters can't be kept: free some room, or let us write the file; it is tried \
                 again, and what finds no room in the queue meanwhile is lost"
            );
        }
        self.book = None;
        let die = f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 256.0;
        self.try_at = Instant::now() + self.backoff.next(die);
    }

    fn tell_lost(&mut self, is_last: bool) {
        let lost = self.shared.stats.lost() - self.told_lost;
        if lost > 0 && (is_last || self.told_at.elapsed() >= TELL_EVERY || self.told_lost == 0) {
            tracing::error!(lost, "dead letters were lost: more came than can be kept");
            self.told_lost += lost;
            self.told_at = Instant::now();
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
