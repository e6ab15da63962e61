//! Volleys: what the hub wants sent, handed to the kernel, and what came of it.

use std::os::fd::AsFd;
use std::sync::Arc;

use touchline_core::feed::encode_chunk;
use touchline_core::log::{Epoch, ReadChunk, ReadError};
use touchline_core::mailbox::Sender;
use touchline_core::time::Monotonic;

use super::{ReadAnswer, Shard};
use crate::clock;
use crate::hub::{News, SessionId};
use crate::limits::{VOLLEY_SENDS_MAX, VOLLEYS_MAX};
use crate::volley::{Outcome, Shot};

impl Shard {
    /// Fires volleys while the hub has work, a turn's share at most. Answers whether there is more.
    pub(super) fn send(&mut self) -> bool {
        for _ in 0..VOLLEYS_MAX {
            if !self.hub.has_work() {
                return false;
            }
            let (began, now) = (self.now, self.session_now());
            if self.hub.poll_volley(&mut self.volley, VOLLEY_SENDS_MAX, now) == 0 {
                return self.hub.has_work();
            }
            self.fire_volley();
            self.look_at_the_clock();
            self.count_volley(began);
            self.settle_volley();
        }
        true
    }

    fn fire_volley(&mut self) {
        let volley = &self.volley;
        self.misses.clear();
        #[cfg(any(test, feature = "testing"))]
        if self.options.faults.puts_off() {
            let put_off = |shot| crate::volley::Miss { shot, outcome: Outcome::TryAgain };
            return self.misses.extend((0..volley.parcels().len()).map(put_off));
        }
        let mut shots = Vec::with_capacity(volley.parcels().len());
        for parcel in volley.parcels() {
            // A session that the hub sends to has a connection; were it not so, the shot would have
            // no target.
            let Some(conn) = self.conns.get(parcel.session) else { continue };
            shots.push(Shot { socket: conn.socket.as_fd(), bytes: volley.bytes(parcel) });
        }
        assert_eq!(shots.len(), volley.parcels().len(), "hub and shard know the same sessions");
        if self.launcher.fire(&shots, &mut self.misses) {
            self.stats.ring_failures.increment();
        }
    }

    /// Takes back what did not go out, and only then lets anything else happen to the hub.
    fn settle_volley(&mut self) {
        let volley = std::mem::take(&mut self.volley);
        let misses = std::mem::take(&mut self.misses);
        for miss in &misses {
            let parcel = &volley.parcels()[miss.shot];
            let sent = match miss.outcome {
                Outcome::Sent(sent) => sent,
                Outcome::TryAgain | Outcome::Dead(_) => 0,
            };
            self.guarded(parcel.session, |shard| {
                #[cfg(any(test, feature = "testing"))]
                shard.options.faults.at_settle();
                shard.hub.settle(&volley, parcel, sent);
            });
        }
        for miss in &misses {
            self.suffer(volley.parcels()[miss.shot].session, miss.outcome);
        }
        for (number, parcel) in volley.parcels().iter().enumerate() {
            if parcel.last && !misses.iter().any(|miss| miss.shot == number) {
                self.last_is_sent(parcel.session);
            }
        }
        self.volley = volley;
        self.misses = misses;
    }

    fn suffer(&mut self, id: SessionId, outcome: Outcome) {
        match outcome {
            Outcome::Sent(_) => {
                self.stats.sends_blocked.increment();
                self.look_again(id);
            }
            Outcome::TryAgain => {
                self.put_off(id);
                self.look_again(id);
            }
            Outcome::Dead(_) => self.lose(id),
        }
    }

    /// The socket takes bytes again.
    pub(super) fn unblock(&mut self, id: SessionId) {
        if self.hub.is_blocked(id) {
            self.hub.handle_writable(id);
            if let Some(conn) = self.conns.get_mut(id) {
                conn.is_pinged = false;
            }
        }
    }

    /// Notes how long the events of this volley have taken. Neighbours nearly always carry the same
    /// ones.
    fn count_volley(&mut self, began: Monotonic) {
        let wall = clock::wall();
        let parcels = self.volley.parcels();
        let empty = self.misses.iter().filter(|miss| miss.outcome == Outcome::Sent(0)).count();
        self.stats.sends.add((parcels.len() - empty) as u64);
        let mut missed: Vec<usize> = self.misses.iter().map(|miss| miss.shot).collect();
        missed.sort_unstable();
        let mut missed = missed.into_iter().peekable();
        let mut run: Option<(News, u64)> = None;
        for (number, parcel) in parcels.iter().enumerate() {
            if missed.next_if_eq(&number).is_some() || parcel.news.durable_at.is_none() {
                continue;
            }
            match &mut run {
                Some((news, count)) if *news == parcel.news => *count += 1,
                _ => {
                    let done = run.replace((parcel.news, 1));
                    note(&mut self.spreads, &self.stats, done, began, self.now, wall);
                }
            }
        }
        note(&mut self.spreads, &self.stats, run, began, self.now, wall);
    }

    /// Passes on what the hub wants to read; one read is outstanding at a time.
    pub(super) fn ask_the_log(&mut self) {
        let Some(request) = self.hub.poll_read(self.session_now()) else { return };
        let reply = Reply {
            sender: Arc::clone(&self.mail.reads_sender),
            epoch: self.hub.progress().epoch,
            is_answered: false,
        };
        self.log.read(request, Box::new(move |answer| reply.answer(answer)));
    }
}

fn note(
    spreads: &mut super::Spreads,
    stats: &crate::stats::ShardStats,
    run: Option<(News, u64)>,
    began: Monotonic,
    now: Monotonic,
    wall: touchline_core::time::Timestamp,
) {
    let Some((news, count)) = run else { return };
    if let Some(durable_at) = news.durable_at {
        stats.delivery_latency.record_many(now.since(durable_at), count);
        spreads.note(durable_at, began, now, stats);
    }
    if let Some((stream, occurred_at)) = news.occurred_at {
        let age = u64::try_from(wall.0.saturating_sub(occurred_at.0)).unwrap_or(0);
        let age = std::time::Duration::from_micros(age);
        stats.event_age[stream as usize].record_many(age, count);
    }
}

/// The way back from the log's reader to the shard. Answers even when the log drops it.
struct Reply {
    sender: Arc<std::sync::Mutex<Sender<ReadAnswer>>>,
    epoch: Epoch,
    is_answered: bool,
}

impl Reply {
    /// Runs on the log's thread, so that encoding costs the shard nothing.
    fn answer(mut self, answer: Result<ReadChunk, ReadError>) {
        let epoch = self.epoch;
        let (now, wall) = (clock::monotonic(), clock::wall());
        let encode = |chunk| Arc::new(encode_chunk(&chunk, epoch, now, wall));
        self.send(answer.map(encode));
    }

    fn send(&mut self, answer: ReadAnswer) {
        self.is_answered = true;
        let mut sender = self.sender.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // One read is outstanding, and the mailbox has room for two answers.
        let _ = sender.try_send(answer);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.is_answered {
            self.send(Err(ReadError::Closed));
        }
    }
}
