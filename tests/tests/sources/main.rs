//! Claim: a source in trouble delays nobody, is counted by what is wrong with it, and is back as
//! soon as it is well.

mod asking;
mod by_hand;
mod devices;
mod partners;
mod sensors;
mod served;
mod social;
mod social_served;

use std::sync::{Arc, Mutex};

use touchline_core::dead::{DeadLetter, DeadLetters};
use touchline_core::event::{Event, Topic};
use touchline_core::log::{
    AppendError, AppendReply, EventLog, Lane, LaneBounds, LogBounds, LogHealthError, Outcome,
    Position, ReadReply, ReadRequest,
};
use touchline_core::time::Timestamp;

type Held = Box<dyn FnOnce() + Send>;

/// A log that keeps what it is given in a list, or refuses it; and dead letters beside it.
#[derive(Default)]
pub struct Ledger {
    events: Mutex<Vec<Event>>,
    letters: Mutex<Vec<DeadLetter>>,
    refuses: std::sync::atomic::AtomicBool,
    /// So many replies are dropped uncalled.
    lost: std::sync::atomic::AtomicU64,
    /// Ids that it knows with other content.
    reused: Mutex<Vec<String>>,
    /// Ids that it has had before.
    known: Mutex<Vec<String>>,
    /// Answers that are kept back; `None`: they are given at once.
    held: Mutex<Option<Vec<Held>>>,
}

impl Ledger {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on it refuses, or takes again.
    pub fn set_refusing(&self, refuses: bool) {
        self.refuses.store(refuses, std::sync::atomic::Ordering::Relaxed);
    }

    /// Drops the next `replies` without calling them, and their events.
    pub fn lose(&self, replies: u64) {
        self.lost.store(replies, std::sync::atomic::Ordering::Relaxed);
    }

    /// Replies that are still to be dropped.
    pub fn to_lose(&self) -> u64 {
        self.lost.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// From now on it takes `id` for one that was used for other content.
    pub fn reuse(&self, id: &str) {
        self.reused.lock().unwrap().push(id.into());
    }

    /// From now on `id` is a duplicate to it.
    pub fn know(&self, id: &str) {
        self.known.lock().unwrap().push(id.into());
    }

    /// From now on it takes what it is given, and doesn't say so until it is let go.
    pub fn hold(&self) {
        *self.held.lock().unwrap() = Some(Vec::new());
    }

    /// Says what it has kept back, and answers at once again.
    pub fn let_go(&self) {
        let held = self.held.lock().unwrap().take();
        held.into_iter().flatten().for_each(|answer| answer());
    }

    /// What it was given so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// What was parked so far.
    pub fn letters(&self) -> Vec<DeadLetter> {
        self.letters.lock().unwrap().clone()
    }
}

impl DeadLetters for Ledger {
    fn park(&self, letter: DeadLetter) {
        self.letters.lock().unwrap().push(letter);
    }
}

impl EventLog for Ledger {
    fn append(&self, events: Vec<Event>, _received_at: Timestamp, reply: AppendReply) {
        if self.refuses.load(std::sync::atomic::Ordering::Relaxed) {
            return reply(Err(AppendError::Busy));
        }
        if self.to_lose() > 0 {
            self.lost.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            return drop(reply);
        }
        let reused = self.reused.lock().unwrap().clone();
        let is_reused = |n: &usize| reused.iter().any(|id| **id == *events[*n].id);
        let which: Vec<usize> = (0..events.len()).filter(is_reused).collect();
        if !which.is_empty() {
            return reply(Err(AppendError::IdReused(which)));
        }
        let mut all = self.events.lock().unwrap();
        let known = self.known.lock().unwrap().clone();
        let mut outcomes = Vec::new();
        for event in events {
            if known.iter().any(|id| **id == *event.id) {
                outcomes.push(Outcome::Duplicate);
                continue;
            }
            let seq = all.len() as u64;
            outcomes.push(Outcome::Accepted(Position { lane: Lane(0), seq }));
            all.push(event);
        }
        drop(all);
        match &mut *self.held.lock().unwrap() {
            Some(held) => held.push(Box::new(move || reply(Ok(outcomes)))),
            None => reply(Ok(outcomes)),
        }
    }

    fn read(&self, _request: ReadRequest, _reply: ReadReply) {
        unreachable!("nobody reads it");
    }

    fn bounds(&self) -> LogBounds {
        let next = self.events.lock().unwrap().len() as u64;
        let lanes = [LaneBounds::whole(0, next)].into();
        LogBounds { epoch: touchline_core::log::Epoch(1), lanes }
    }

    fn lane_of(&self, _topic: &Topic) -> Lane {
        Lane(0)
    }

    fn health(&self) -> Result<(), LogHealthError> {
        Ok(())
    }
}
