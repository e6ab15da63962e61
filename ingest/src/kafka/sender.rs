//! The way into the log, and what happens when the client that sends has failed for good.
//!
//! librdkafka's idempotent producer gives up on some errors: what it had under way can be neither
//! sent again nor left out without a repeat or a gap, and it takes nothing any more. For us that is
//! no reason to end. What was under way has an outcome that isn't known (R14): its source is told
//! so (503), sends again, and a repeat is hidden by every reader (R17). So another producer takes
//! the place of the one that has failed, by and by if that one fails as well.
//!
//! # Two manners
//! - [`Manner::Quick`], for sources: each message has its own time, and one that isn't
//!   acknowledged by then is unknown while those behind it go on. Of each lane one batch is under
//!   way at a time, and what comes meanwhile gathers ([`super::gate`]).
//! - [`Manner::InOrder`], for who hands on what was kept (R18): of each lane one batch is under way
//!   at a time, which brokers take as a whole or not at all, and the next follows once it is known
//!   to be in. Messages have no time of their own. If one fails, or brokers take too long, nothing
//!   else is sent, and the producer is given up with what it still had: that may come in late, and
//!   is the next batch of each lane or nothing. Whoever begins again with the first event may
//!   repeat some, and a repeat changes nothing: of all events the first copies stand in order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::message::OwnedHeaders;
use touchline_core::event::Event;
use touchline_core::log::{AppendError, Lane};
use touchline_core::retry::Backoff;
use touchline_core::time::Timestamp;

use super::client::Context;
use super::door::New;
use super::flight::Flight;
use super::gate::{EVENT_HEAD_BYTES, Gate, Waiting, fits};
use super::line::{LOOK_EVERY, Line, Message};
use super::options::{KafkaOptions, OpenError};
use super::producer::{Deliveries, Ticket, said, settle};
use super::state::{Shared, lock};
use super::wire;

/// What a message takes in a batch beside key and value: its headers, mostly.
const MESSAGE_HEAD_BYTES: usize = 200;
/// A producer that has served for so long was no part of the trouble before it.
const STEADY: Duration = Duration::from_secs(60);

/// What is promised of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As long as nothing fails.
    Quick,
    /// Whatever fails.
    InOrder,
}

impl Manner {
    /// How long librdkafka may take for a message, where messages have a time: the rest of
    /// `deliver_max` is for waiting at the gate.
    pub fn deliver_max(self, options: &KafkaOptions) -> Duration {
        match self {
            Self::Quick => options.deliver_max * 3 / 4,
            Self::InOrder => options.deliver_max,
        }
    }
}

/// The way into the log.
pub(super) struct Sender {
    options: KafkaOptions,
    context: Context,
    shared: Arc<Shared>,
    manner: Manner,
    /// `None` once it has ended.
    line: Mutex<Option<Arc<Line>>>,
    gate: Gate<Parcel>,
    replaced: AtomicU64,
}

/// An event that is ready to be sent.
struct Parcel {
    ticket: Box<Ticket>,
    key: Box<str>,
    value: Vec<u8>,
    headers: OwnedHeaders,
}

/// What wasn't taken, and why.
type Failed = (Box<Ticket>, AppendError);

impl Sender {
    pub fn new(
        options: &KafkaOptions,
        context: &Context,
        shared: &Arc<Shared>,
        manner: Manner,
    ) -> Result<Arc<Self>, OpenError> {
        let gate = Gate::new(shared.lanes.count());
        let (options, context, shared) = (options.clone(), context.clone(), Arc::clone(shared));
        let (line, replaced) = (Mutex::new(None), AtomicU64::new(0));
        let sender = Arc::new(Self { options, context, shared, manner, line, gate, replaced });
        *lock(&sender.line) = Some(sender.new_line()?);
        Ok(sender)
    }

    /// Sends `new` of `events`. Each settles its part of `flight`, here or later. In order it waits
    /// for brokers meanwhile.
    pub fn send(&self, flight: &Arc<Flight>, new: Vec<New>, events: &[Event], at: Timestamp) {
        match self.manner {
            Manner::Quick => self.send_quickly(flight, new, events, at),
            Manner::InOrder => {
                // One producer for all: what it doesn't take the next one must not be given.
                let line = self.line();
                for wave in waves(new, events) {
                    self.send_wave(line.as_deref(), flight, wave, events, at);
                }
            }
        }
    }

    fn send_quickly(
        &self,
        flight: &Arc<Flight>,
        mut new: Vec<New>,
        events: &[Event],
        at: Timestamp,
    ) {
        let until = Instant::now() + self.options.deliver_max / 4;
        // All of a lane enters at once, so that it is one batch. The sort keeps order in each.
        new.sort_by_key(|it| it.lane.0);
        for of_lane in new.chunk_by(|a, b| a.lane == b.lane) {
            let waiting = of_lane.iter().map(|new| {
                let it = Parcel::new(flight, *new, &events[new.index], at);
                Waiting { bytes: it.bytes(), it, until }
            });
            let waiting: Vec<_> = waiting.collect();
            // Held beyond the lane's lock: who drops a producer last hears of what it had.
            let line = self.line();
            let post = |it| self.post(line.as_deref(), it);
            let failed = self.gate.enter(of_lane[0].lane, waiting, post);
            self.settle_failed(failed);
        }
    }

    /// The outcome of one of `lane` is known: what has waited for that goes on.
    pub fn landed(&self, lane: Lane) {
        if self.manner == Manner::Quick {
            let line = self.line();
            self.settle_failed(self.gate.leave(lane, |it| self.post(line.as_deref(), it)));
        }
    }

    fn post(&self, line: Option<&Line>, parcel: Parcel) -> Result<(), Failed> {
        match line {
            Some(line) => self.hand_over(line, parcel),
            None => Err((parcel.ticket, AppendError::Closed)),
        }
    }

    fn hand_over(&self, line: &Line, parcel: Parcel) -> Result<(), Failed> {
        let Parcel { ticket, key, value, headers } = parcel;
        let New { lane, index, .. } = ticket.new;
        let Some((stream, partition)) = self.shared.lanes.place(lane) else {
            return Err((ticket, AppendError::Closed));
        };
        let message = Message::with_opaque_to(self.shared.lanes.topic(stream), ticket)
            .partition(partition)
            .key(&*key)
            .payload(&*value)
            .headers(headers);
        line.send(message).map_err(|(error, ticket)| {
            line.load.lose();
            (ticket, said(&error, index))
        })
    }

    fn settle_failed(&self, failed: Vec<Failed>) {
        for (ticket, error) in failed {
            settle(&self.shared, &ticket.flight, ticket.new, Err(error));
        }
    }

    /// A batch of each lane, and its outcome; nothing, once anything was lost.
    fn send_wave(
        &self,
        line: Option<&Line>,
        flight: &Arc<Flight>,
        wave: Vec<New>,
        events: &[Event],
        at: Timestamp,
    ) {
        let unknown = || AppendError::Unknown("an earlier one was not acknowledged".into());
        for new in wave {
            let parcel = Parcel::new(flight, new, &events[new.index], at);
            let sent = match line.filter(|it| !it.load.has_lost()) {
                Some(line) => self.hand_over(line, parcel),
                None => Err((parcel.ticket, unknown())),
            };
            self.settle_failed(sent.err().into_iter().collect());
        }
        let Some(line) = line else { return };
        if !line.flush(self.options.deliver_max) {
            line.load.fail("brokers did not acknowledge a batch in time");
        } else if line.load.has_lost() {
            line.load.fail("brokers did not acknowledge a batch");
        }
    }

    /// Waits until everything is settled, for so long at most; whether it is.
    pub fn flush(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let is_flushed = self.line().is_none_or(|line| line.flush(left));
            // What was settled may have let others go on.
            if is_flushed && self.gate.is_idle() {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }

    /// Gives up what is under way, and takes nothing any more.
    pub fn end(&self) {
        // Not locked meanwhile: its thread may be asking for it.
        let line = lock(&self.line).take();
        if let Some(line) = line {
            line.purge();
            line.end();
        }
    }

    /// How often a producer has taken the place of another.
    pub fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }

    /// Watches over the producer until the log is closed.
    pub fn mend(self: &Arc<Self>) {
        let mut backoff = Backoff::new();
        let mut up_since = Instant::now();
        while !self.shared.is_closing() {
            let Some(line) = self.line() else { return };
            let late = self.gate.expire(Instant::now());
            self.settle_failed(late.into_iter().map(|it| (it.ticket, AppendError::Busy)).collect());
            match line.failure() {
                Some(why) => {
                    self.replace(&line, &why, &mut backoff);
                    up_since = Instant::now();
                }
                None if up_since.elapsed() >= STEADY => backoff.reset(),
                None => {}
            }
        }
    }

    fn line(&self) -> Option<Arc<Line>> {
        lock(&self.line).clone()
    }

    fn new_line(self: &Arc<Self>) -> Result<Arc<Line>, OpenError> {
        let deliveries = Deliveries {
            context: self.context.clone(),
            shared: Arc::clone(&self.shared),
            load: Arc::default(),
            sender: Arc::downgrade(self),
        };
        Line::new(&self.options, deliveries, self.manner).map(Arc::new)
    }

    /// Puts another producer in place of `old`, if one can be made.
    fn replace(self: &Arc<Self>, old: &Line, why: &Arc<str>, backoff: &mut Backoff) {
        // Nothing gets in behind what it has lost.
        old.load.fail(why);
        old.purge();
        let wait = backoff.next(rand::random());
        if self.manner == Manner::Quick {
            self.shared.set_mending(Some(why));
            tracing::error!(
                why = &**why,
                again_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "the producer has failed for good, and another takes its place; sources of what it \
                 had under way are told that they don't know, and send again"
            );
        } else {
            tracing::warn!(why = &**why, "a group of the spool is begun again");
        }
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.shared.is_closing() {
            std::thread::sleep(LOOK_EVERY.min(wait));
        }
        match self.new_line() {
            Ok(line) => *lock(&self.line) = Some(line),
            Err(error) => {
                tracing::error!(%error, "no producer can be made; it is tried again");
                return;
            }
        }
        self.replaced.fetch_add(1, Ordering::Relaxed);
        if self.manner == Manner::Quick {
            self.shared.set_mending(None);
            tracing::info!("another producer is in place");
        }
        old.end();
    }
}

impl Parcel {
    fn new(flight: &Arc<Flight>, new: New, event: &Event, at: Timestamp) -> Self {
        Self {
            ticket: Box::new(Ticket { flight: Arc::clone(flight), new }),
            key: event.route.as_str().into(),
            value: wire::encode(event, at),
            headers: wire::headers(event),
        }
    }

    /// What it takes in a batch, about.
    fn bytes(&self) -> usize {
        self.value.len() + self.key.len() + MESSAGE_HEAD_BYTES
    }
}

/// Splits `new` so that each part holds one batch of each lane at most, in order.
fn waves(new: Vec<New>, events: &[Event]) -> Vec<Vec<New>> {
    let mut waves: Vec<Vec<New>> = Vec::new();
    // By lane: the wave of its last batch, and that batch's bytes.
    let mut ends: HashMap<Lane, (usize, usize)> = HashMap::new();
    for new in new {
        let bytes = events[new.index].size_bytes() + EVENT_HEAD_BYTES;
        let (wave, filled) = ends.entry(new.lane).or_insert((0, 0));
        if !fits(*filled, bytes) {
            (*wave, *filled) = (*wave + 1, 0);
        }
        *filled += bytes;
        if waves.len() <= *wave {
            waves.resize_with(*wave + 1, Vec::new);
        }
        waves[*wave].push(new);
    }
    waves
}
