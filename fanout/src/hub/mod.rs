//! Who follows what on one shard, how far each has been sent, and what is to be sent next.
//!
//! A [`Hub`] owns every topic and session of its shard. It performs no I/O and reads no clock: the
//! caller passes `now`, hands in what came from the log ([`Hub::handle_batch`]) and from clients
//! ([`Hub::handle_message`]), and takes what is to be sent from [`Hub::poll_volley`].
//!
//! # The idea
//! A socket is a cursor. A topic keeps a window of frames already encoded; a session keeps, for
//! each topic in which it lags, the sequence of the first event it has not been sent, and nothing
//! where it is caught up. Its queue is the distance to the head: nothing is pushed to it, nothing
//! is freed when it goes, and slow clients cost no memory.
//!
//! - *Publishing* ([`publish`]) appends to the window, then walks the followers of the event's
//!   teams once per batch and gives a cursor to whoever was caught up.
//! - *Visiting* ([`visit`]) turns the cursors of one session into one contiguous send, from a range
//!   that was put together once and serves all sessions at the same cursor.
//! - *Policies* ([`policy`]) act where a session has fallen too far behind in a stream.
//! - *Catching up* ([`catchup`]) reads what is older than the windows from the log, for sessions
//!   that come back and for the shard itself.
//!
//! # Invariants
//! - A session that is caught up has no cursor; it has one in each topic in which it lags.
//! - A cursor lies on a frame boundary; `partial` holds the frame that went out in part.
//! - A session is in the queue of volleys at most once, and never while its socket is blocked.
//! - In a lane that a session reads from the log it has no cursor: one of the two covers each
//!   event, never both.
//! - What a session has been sent, or told of as a `gap`, below its mark is all that it follows
//!   (R3).
//!
//! # What it leaves out
//! Sockets, clocks, identity, WebSocket control frames' meaning. See `shard` for those.

mod catchup;
mod chunks;
mod epoch;
mod held;
mod marks;
mod message;
mod policy;
mod publish;
mod ranges;
mod resume;
mod session;
mod settle;
mod sizes;
mod stats;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod topics;
mod visit;
mod volley;
mod waiting;
mod window;

pub use session::SessionId;
pub use sizes::HubSizes;
pub use stats::{HubStats, ResumeStats};
pub use volley::{News, Parcel, Volley};

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use touchline_core::config::HubConfig;
use touchline_core::log::{Epoch, Lane, LogBounds, Mark};
use touchline_core::time::Monotonic;

use chunks::Chunks;
use held::Held;
use marks::Heartbeat;
use ranges::Ranges;
use session::{Cursor, Flags, Session};
use topics::Topics;
use waiting::Waiting;

/// Why the hub wants a session closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCause {
    /// It fell out of the window or past its queue's bound in a stream that is never conflated:
    /// 4008.
    Slow,
    /// The log has a hole that it can't be told of in its place, since it lacks what lies before:
    /// it comes back and reads up to the hole from the log, 4008.
    Hole,
    /// Its socket took nothing for as long as a socket may: 4008.
    Stalled,
    /// What it needs to resume can't be read from the log at the moment: 1013, try again.
    LogUnavailable,
}

/// A session has as many answers waiting as it may: whoever asks faster than he reads is at fault
/// (1008).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session reads its answers slower than it asks")]
pub struct ControlFull;

/// One lane as this shard has read it.
#[derive(Clone, Copy, Debug, Default)]
struct LaneState {
    /// The next sequence that is to be taken in.
    progress: u64,
    /// One above the last durable sequence that we have heard of.
    known_end: u64,
    /// What the log still has.
    first: u64,
    /// Memory answers for topics it doesn't hold from here on (R6).
    floor: u64,
    /// Sequences from here on of the batch at hand are new. `None`: none of them is.
    accept: Option<u64>,
    /// What is read next begins with a hole.
    hole_ahead: bool,
}

impl LaneState {
    /// A batch was missed: the shard rereads from the log (R26).
    fn is_behind(&self) -> bool {
        self.progress < self.known_end
    }
}

/// The state of one shard's fan-out.
pub struct Hub {
    config: HubConfig,
    epoch: Epoch,
    lanes: Vec<LaneState>,
    topics: Topics,
    sessions: Vec<Session>,
    vacant: Vec<u32>,
    /// Sessions that have something to send and can.
    queue: VecDeque<u32>,
    /// Sessions that wait for a chunk of the log, or for this node to read on.
    waiting: Waiting,
    /// Batches past a gap, until it has been read.
    held: Held,
    /// Topics that the batch at hand has touched; kept for its capacity.
    touched: Vec<topics::TopicIx>,
    closes: VecDeque<(SessionId, CloseCause)>,
    ranges: Ranges,
    chunks: Chunks,
    reads: catchup::Reads,
    batches: u64,
    stamp: u32,
    /// The shared ping and mark, and the progress it speaks of.
    heartbeat: Option<Heartbeat>,
    /// Time that `now` leaves out.
    lapse: Duration,
    stats: HubStats,
}

impl Hub {
    /// A hub that will read the log from `start` on: the tail that is to be in its windows before
    /// it is ready.
    pub fn new(config: HubConfig, bounds: &LogBounds, start: &Mark) -> Self {
        let lane = |(index, bounds): (usize, &touchline_core::log::LaneBounds)| {
            let begin = start.next(Lane(index as u16)).clamp(bounds.first, bounds.next);
            LaneState {
                progress: begin,
                known_end: bounds.next,
                first: bounds.first,
                floor: begin,
                accept: None,
                hole_ahead: false,
            }
        };
        Self {
            config,
            epoch: bounds.epoch,
            lanes: bounds.lanes.iter().enumerate().map(lane).collect(),
            topics: Topics::default(),
            sessions: Vec::new(),
            vacant: Vec::new(),
            queue: VecDeque::new(),
            waiting: Waiting::default(),
            held: Held::default(),
            touched: Vec::new(),
            closes: VecDeque::new(),
            ranges: Ranges::default(),
            chunks: Chunks::default(),
            reads: catchup::Reads::default(),
            batches: 0,
            stamp: 0,
            heartbeat: None,
            lapse: Duration::ZERO,
            stats: HubStats::default(),
        }
    }

    /// Makes room for `sessions` at once. Room that isn't used costs addresses, not memory; growing
    /// step by step would leave every outgrown copy behind.
    pub fn reserve_sessions(&mut self, sessions: usize) {
        self.sessions.reserve_exact(sessions);
    }

    /// Replaces the limits; they hold from the next batch and visit on.
    pub fn set_config(&mut self, config: HubConfig) {
        self.config = config;
    }

    /// Time that passed while nobody could do anything, since the shard was stopped: the caller's
    /// `now` leaves it out, so that no session is charged for it (FAULTS 40). Events age in it all
    /// the same: they are stamped by the clock that doesn't stop.
    pub fn set_lapse(&mut self, lapse: Duration) {
        self.lapse = lapse;
    }

    /// A new session that follows nothing yet.
    pub fn open(&mut self, now: Monotonic) -> SessionId {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.sessions.push(Session::default());
            (self.sessions.len() - 1) as u32
        });
        let session = &mut self.sessions[index as usize];
        // QUEUED stays: the queue may still hold this slot's index from its last session.
        session.flags.set(Flags::OPEN);
        session.progress_at = now;
        self.stats.sessions += 1;
        SessionId { index, generation: session.generation }
    }

    /// The socket is gone: forgets the session, at the cost of what it follows and lags in.
    pub fn close(&mut self, id: SessionId) {
        if self.session(id).is_none() {
            return;
        }
        self.forget_follows(id.index);
        let session = &mut self.sessions[id.index as usize];
        // QUEUED stays with the slot: the queue still holds its index, and a second entry would
        // send twice a round.
        let queued = session.flags.has(Flags::QUEUED);
        let generation = session.generation.wrapping_add(1);
        let stamp = session.stamp;
        *session = Session { generation, stamp, ..Session::default() };
        if queued {
            session.flags.set(Flags::QUEUED);
        }
        self.vacant.push(id.index);
        self.stats.sessions -= 1;
    }

    /// Ends a session in order: it follows nothing from now on; a half-sent frame is finished,
    /// answers that wait are sent, then `last_frame`. The parcel that completes it says so.
    pub fn begin_close(&mut self, id: SessionId, last_frame: Bytes) {
        let Some(session) = self.session(id) else { return };
        if session.flags.has(Flags::CLOSING) {
            return;
        }
        self.forget_follows(id.index);
        let session = &mut self.sessions[id.index as usize];
        session.flags.clear(Flags::CONDEMNED);
        session.flags.clear(Flags::HEARTBEAT);
        session.flags.set(Flags::CLOSING);
        // Nothing follows a Close: a pong that still waits goes before it.
        let pong = session.control.as_mut().and_then(|control| control.pong.take());
        pong.into_iter().chain([last_frame]).for_each(|frame| session.push_control(frame));
        self.enqueue(id.index);
    }

    /// Queues a frame that is no event: `hello`, an error, a status. It goes before events and
    /// after what is half sent.
    pub fn push_control(&mut self, id: SessionId, frame: Bytes) -> Result<(), ControlFull> {
        let bytes_max = self.config.control_bytes_max;
        let Some(session) = self.session_mut(id) else { return Ok(()) };
        if session.flags.has(Flags::CLOSING) {
            return Ok(());
        }
        if session.control_bytes() + frame.len() > bytes_max {
            return Err(ControlFull);
        }
        session.push_control(frame);
        self.enqueue(id.index);
        Ok(())
    }

    /// Queues a WebSocket pong; it replaces one that has not been sent yet.
    pub fn push_pong(&mut self, id: SessionId, frame: Bytes) {
        let Some(session) = self.session_mut(id) else { return };
        if !session.flags.has(Flags::CLOSING) {
            session.control.get_or_insert_default().pong = Some(frame);
            self.enqueue(id.index);
        }
    }

    /// The socket takes bytes again.
    pub fn handle_writable(&mut self, id: SessionId) {
        let Some(session) = self.session_mut(id) else { return };
        if session.flags.has(Flags::BLOCKED) {
            session.flags.clear(Flags::BLOCKED);
            self.enqueue(id.index);
        }
    }

    /// The next session that a policy ends. The caller begins its close and gives it a deadline.
    pub fn poll_close(&mut self) -> Option<(SessionId, CloseCause)> {
        loop {
            let (id, cause) = self.closes.pop_front()?;
            if self.session(id).is_some() {
                return Some((id, cause));
            }
        }
    }

    /// Whether a volley would find somebody to send to.
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// What this shard has read: all below is in the windows, or was.
    pub fn progress(&self) -> Mark {
        let next = self.lanes.iter().map(|lane| lane.progress).collect();
        Mark { epoch: self.epoch, next }
    }

    /// Whether the shard has taken in all that it has heard of.
    pub fn is_ready(&self) -> bool {
        self.lanes.iter().all(|lane| !lane.is_behind())
    }

    /// Whether the session has something unsent.
    pub fn is_lagging(&self, id: SessionId) -> bool {
        self.session(id).is_some_and(|session| !session.is_caught_up())
    }

    /// Whether the socket of the session refused bytes the last time.
    pub fn is_blocked(&self, id: SessionId) -> bool {
        self.session(id).is_some_and(|session| session.flags.has(Flags::BLOCKED))
    }

    /// Whether the session follows a team.
    pub fn follows_anything(&self, id: SessionId) -> bool {
        self.session(id).is_some_and(|session| !session.follows.is_empty())
    }

    /// What the session still has to get, in bytes of this shard's windows and of its answers.
    pub fn unsent_bytes(&self, id: SessionId) -> u64 {
        let Some(session) = self.session(id) else { return 0 };
        let of_cursor =
            |cursor: &Cursor| self.topics.get(cursor.topic).window.bytes_from(cursor.seq);
        let partial = session.partial.as_ref();
        let rest =
            partial.map_or(0, |partial| partial.frame.len() as u64 - u64::from(partial.sent));
        rest + session.control_bytes() as u64 + session.cursors.iter().map(of_cursor).sum::<u64>()
    }

    /// Counters since the start, and the sizes of what is held.
    pub fn stats(&mut self) -> &HubStats {
        self.stats.topics = self.topics.len() as u64;
        self.stats.windows_bytes = self.topics.bytes as u64;
        self.stats.catching_up = self.waiting.len() as u64;
        &self.stats
    }

    fn session(&self, id: SessionId) -> Option<&Session> {
        let session = self.sessions.get(id.index as usize)?;
        (session.generation == id.generation && session.flags.has(Flags::OPEN)).then_some(session)
    }

    fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let session = self.sessions.get_mut(id.index as usize)?;
        (session.generation == id.generation && session.flags.has(Flags::OPEN)).then_some(session)
    }

    fn id_of(&self, index: u32) -> SessionId {
        SessionId { index, generation: self.sessions[index as usize].generation }
    }

    /// Puts the session into the queue of volleys, unless it is there or can't be sent to.
    fn enqueue(&mut self, index: u32) {
        let session = &mut self.sessions[index as usize];
        if !session.flags.has(Flags::QUEUED) && !session.flags.has(Flags::BLOCKED) {
            session.flags.set(Flags::QUEUED);
            self.queue.push_back(index);
        }
    }

    /// Queues an answer of the hub's own. A session that lets more than twice the bound of them
    /// pile up reads nothing.
    fn tell(&mut self, index: u32, frame: Bytes) {
        let session = &mut self.sessions[index as usize];
        session.push_control(frame);
        let full = session.control_bytes() > 2 * self.config.control_bytes_max;
        if full {
            self.condemn(index, CloseCause::Slow);
        }
        self.enqueue(index);
    }

    /// Stops sending events to the session and asks the caller to close it.
    fn condemn(&mut self, index: u32, cause: CloseCause) {
        let session = &mut self.sessions[index as usize];
        if session.flags.has(Flags::CONDEMNED) || session.flags.has(Flags::CLOSING) {
            return;
        }
        session.flags.set(Flags::CONDEMNED);
        self.stats.slow_closed += u64::from(cause != CloseCause::LogUnavailable);
        self.closes.push_back((self.id_of(index), cause));
    }
}
