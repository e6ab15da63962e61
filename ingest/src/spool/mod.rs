//! What a node takes while the shared log is away (R18).
//!
//! A [`SpooledLog`] stands in front of a log that brokers keep. While they can't be reached it
//! writes events to a *spool*, a log on this host's own disk, and answers once that is durable;
//! when they are back it hands the spool's events on, oldest first, and from then on new ones go
//! straight through again. Spooled events have no position and reach no socket: they get both when
//! the shared log has them.
//!
//! It is as durable as one disk. Whoever can't live with that leaves it off, and sources get 503.
//!
//! | module | what it holds |
//! |---|---|
//! | `ledger` | what is in the spool: by lane, in bytes, since when |
//! | `drain` | the thread that hands it on |
//! | `cursor` | how far that has come, on disk |
//! | `twins` | what an old spool may repeat, or says otherwise |
//! | `asking` | questions to either log, and how long they may take |
//!
//! # Invariants
//! - While the spool holds anything for a lane, every event of that lane goes through it: order
//!   within a topic is kept. It is kept where handing on fails half-way as well: a group is begun
//!   again with its first event, and the log takes none out of turn
//!   ([`EventLog::append_in_order`]).
//! - An event leaves the spool only once the shared log has answered that it is durable there, or
//!   it is a dead letter.
//! - Sensor values are never spooled: they would be stale before they arrive.
//! - How far it has been handed on is on the disk before more is. Where that is lost all the same,
//!   what the log may have had and forgotten becomes a dead letter: nothing is shown twice.
//!
//! # What it can't promise
//! The same id with other content (R15) is judged against what the spool holds; what the shared log
//! held before, it can't ask. Such an event becomes a dead letter when its turn comes.

mod asking;
mod cursor;
mod drain;
mod ledger;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod twins;

pub use ledger::SpoolStats;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use touchline_core::dead::DeadLetters;
use touchline_core::event::{Event, Stream, Topic};
use touchline_core::log::{AppendError, AppendReply, EventLog, Lane, LogBounds, LogHealthError};
use touchline_core::log::{Looks, Outcome, ReadReply, ReadRequest};
use touchline_core::time::Timestamp;

use crate::clock::Clock;
use cursor::Cursor;
use drain::Drain;
use ledger::Ledger;

/// How a spool is kept.
#[derive(Clone)]
pub struct SpoolOptions {
    /// The file that says how far it has been handed on.
    pub cursor_file: PathBuf,
    /// Bytes of events that may wait in it; past it sources get 503.
    pub bytes_max: u64,
    /// While its oldest event is older, sources get 503. Never more than nine tenths of the
    /// stream's dedupe window, whatever stands here.
    pub age_max: Duration,
    /// Dedupe window of each stream in the shared log (R16).
    pub windows: [Duration; 4],
    /// Where the time comes from.
    pub clock: Clock,
    /// Told the first sequence of the spool that is still needed: what lies below may go.
    pub needed_from: Arc<dyn Fn(u64) + Send + Sync>,
}

/// Why a spool can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// How far it has been handed on can't be read or kept.
    #[error("{}: {error}: the spool needs this file", file.display())]
    Cursor {
        /// Which.
        file: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// What it holds can't be read.
    #[error("the spool can't be read: {0}: check the disk; what it holds was acknowledged")]
    Unreadable(Box<str>),
    /// No thread.
    #[error("start a thread for the spool: {0}")]
    Thread(std::io::Error),
}

/// A shared log with a spool in front of it. Ended when it is dropped, at the latest.
pub struct SpooledLog {
    shared: Arc<Shared>,
    drain: Mutex<Option<JoinHandle<()>>>,
}

/// Shared by those who append and the thread that drains.
struct Shared {
    log: Arc<dyn EventLog>,
    spool: Arc<dyn EventLog>,
    dead: Arc<dyn DeadLetters>,
    options: SpoolOptions,
    ledger: Mutex<Ledger>,
    is_closing: AtomicBool,
}

impl SpooledLog {
    /// Puts `spool` in front of `log`, and begins to hand on what it holds from an earlier life.
    ///
    /// # Errors
    /// See [`SpoolError`]. A spool that can't be read isn't passed over: what it holds was
    /// acknowledged.
    pub fn open(
        log: Arc<dyn EventLog>,
        spool: Arc<dyn EventLog>,
        dead: Arc<dyn DeadLetters>,
        options: SpoolOptions,
    ) -> Result<Arc<Self>, SpoolError> {
        let bounds = spool.bounds();
        let first = bounds.lanes.first().copied().unwrap_or_default();
        let cursor = Cursor::open(&options.cursor_file, bounds.epoch, first.first, first.end);
        let cursor = cursor
            .map_err(|error| SpoolError::Cursor { file: options.cursor_file.clone(), error })?;
        (options.needed_from)(cursor.next());
        let ledger = Ledger::new(log.bounds().lanes.len());
        let is_closing = AtomicBool::new(false);
        let shared =
            Arc::new(Shared { log, spool, dead, options, ledger: Mutex::new(ledger), is_closing });
        let drain = Drain::new(Arc::clone(&shared), cursor);
        drain.count_what_is_left().map_err(|why| SpoolError::Unreadable(why.into()))?;
        let thread = std::thread::Builder::new().name("spool-drain".into());
        let thread = thread.spawn(move || drain.run()).map_err(SpoolError::Thread)?;
        Ok(Arc::new(Self { shared, drain: Mutex::new(Some(thread)) }))
    }

    /// What it holds and has done.
    pub fn stats(&self) -> SpoolStats {
        self.shared.ledger().stats((self.shared.options.clock)())
    }

    /// Whether events would go into the spool now.
    pub fn is_away(&self) -> bool {
        self.shared.is_away()
    }

    /// Ends the thread; what the spool still holds is handed on by the next start. Says how many
    /// events that are.
    pub fn close(&self) -> u64 {
        self.shared.is_closing.store(true, Ordering::Relaxed);
        let thread = lock(&self.drain).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        self.shared.ledger().events()
    }
}

impl Drop for SpooledLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    fn is_away(&self) -> bool {
        use LogHealthError::{Mending, Unreachable};
        matches!(self.log.health(), Err(Mending(_) | Unreachable(..)))
    }

    fn lane(&self, event: &Event) -> Lane {
        self.log.lane_of(&Topic {
            stream: event.stream,
            route: event.route.clone(),
            lang: event.lang,
        })
    }

    /// For how long the log knows what `event` repeats.
    fn window(&self, event: &Event) -> Duration {
        self.options.windows[event.stream as usize]
    }

    /// How old the spool's oldest event may be while `stream` still adds to it.
    fn age_max(&self, stream: Stream) -> Duration {
        let window = self.options.windows[stream as usize];
        self.options.age_max.min(window - window / 10)
    }

    /// Takes a place in the spool for `events`, if that is where they belong. `Err`: it is, and
    /// there is none.
    fn reserve(&self, events: &[Event], now: Timestamp) -> Result<Option<Vec<Lane>>, AppendError> {
        if events.iter().any(|event| event.stream == Stream::Sensor) {
            return Ok(None);
        }
        let is_away = self.is_away();
        let mut ledger = self.ledger();
        if !is_away && ledger.is_empty() {
            return Ok(None);
        }
        let lanes: Vec<Lane> = events.iter().map(|event| self.lane(event)).collect();
        if !is_away && !lanes.iter().any(|lane| ledger.holds(*lane)) {
            return Ok(None);
        }
        let bytes: u64 = events.iter().map(size).sum();
        let is_old = |stream| ledger.age(now) > self.age_max(stream);
        if ledger.bytes() + bytes > self.options.bytes_max
            || events.first().is_some_and(|event| is_old(event.stream))
        {
            ledger.count_refused(events.len() as u64);
            return Err(AppendError::Unreachable);
        }
        for (event, lane) in events.iter().zip(&lanes) {
            ledger.enter(*lane, size(event), now);
        }
        ledger.begin_append();
        Ok(Some(lanes))
    }
}

impl EventLog for SpooledLog {
    fn append(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        let lanes = match self.shared.reserve(&events, received_at) {
            Ok(Some(lanes)) => lanes,
            Ok(None) => return self.shared.log.append(events, received_at, reply),
            Err(error) => return reply(Err(error)),
        };
        let shared = Arc::clone(&self.shared);
        let sizes: Vec<u64> = events.iter().map(size).collect();
        let settle = move |answer: Result<Vec<Outcome>, AppendError>| {
            let mut ledger = shared.ledger();
            ledger.end_append();
            let is_kept = |n: usize| {
                answer.as_ref().is_ok_and(|it| matches!(it.get(n), Some(Outcome::Accepted(_))))
            };
            for (n, (lane, bytes)) in lanes.iter().zip(&sizes).enumerate() {
                match is_kept(n) {
                    true => ledger.count_spooled(),
                    false => ledger.leave(*lane, *bytes),
                }
            }
            drop(ledger);
            let spooled = |outcome| match outcome {
                Outcome::Accepted(_) => Outcome::Spooled,
                other => other,
            };
            reply(answer.map(|outcomes| outcomes.into_iter().map(spooled).collect()));
        };
        self.shared.spool.append(events, received_at, Box::new(settle));
    }

    /// What comes again is kept where it comes from: it takes no place in the spool, and waits
    /// until nothing of its lanes is in there.
    fn append_again(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        let shared = &self.shared;
        let is_behind = || {
            let ledger = shared.ledger();
            !ledger.is_empty() && events.iter().any(|event| ledger.holds(shared.lane(event)))
        };
        if shared.is_away() || is_behind() {
            return reply(Err(AppendError::Unreachable));
        }
        shared.log.append_again(events, received_at, reply);
    }

    fn read(&self, request: ReadRequest, reply: ReadReply) {
        self.shared.log.read(request, reply);
    }

    fn bounds(&self) -> LogBounds {
        self.shared.log.bounds()
    }

    fn look_ahead(&self) -> bool {
        self.shared.log.look_ahead()
    }

    fn looks(&self, lane: Lane) -> Looks {
        self.shared.log.looks(lane)
    }

    fn lane_of(&self, topic: &Topic) -> Lane {
        self.shared.log.lane_of(topic)
    }

    /// While brokers are away and the spool takes events, the node is fit for its sources.
    fn health(&self) -> Result<(), LogHealthError> {
        let shared = &self.shared;
        match shared.log.health() {
            Err(error @ (LogHealthError::Mending(_) | LogHealthError::Unreachable(..))) => {
                shared.spool.health()?;
                let ledger = shared.ledger();
                let is_full = ledger.bytes() >= shared.options.bytes_max
                    || ledger.age((shared.options.clock)()) > shared.age_max(Stream::Broadcast);
                if is_full { Err(error) } else { Ok(()) }
            }
            other => other,
        }
    }
}

/// What an event counts for in the spool: its own bytes and a record's head.
fn size(event: &Event) -> u64 {
    event.size_bytes() as u64 + 64
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
