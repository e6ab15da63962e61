//! The log as its readers and writers see it: lanes, positions, marks, epochs, and the trait both
//! kinds implement.
//!
//! A log is a set of lanes (R1); the journal has one, Kafka one for each partition. A [`Position`]
//! is a place in one lane, a [`Mark`] says for every lane which sequence is to be read next. Both
//! reach clients only as opaque tokens ([`token`]), which carry the [`Epoch`]: one life of a log.
//!
//! # What a reader may rely on
//! - It never sees anything beyond the durable watermark (R11).
//! - [`EventLog::read`] either returns what it was asked for or names the hole ([`Hole`]): silence
//!   is never a hole.
//! - [`TailSink::durable`] is called in order of position, exactly once for each record that
//!   becomes durable while the sink is attached. The journal calls it before the writer is told, so
//!   that a 202 is never older than the feed; Kafka when the record has been read back.
//!
//! # What threads may rely on
//! Every method may be called from any thread, shards with a private table of descriptors included:
//! implementations hand work to their own threads by queues that need no descriptor, or by one that
//! was opened before tables parted.

pub mod record;
pub mod token;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Event, Topic};
use crate::time::Timestamp;

/// One life of a log; positions of different epochs don't compare. Random, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// One sequence of the log, below [`LANES_MAX`](crate::limits::LANES_MAX).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lane(pub u16);

/// Where an event stands. Comparable within a lane only; the derived order (by lane first) is for
/// keys of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Its lane.
    pub lane: Lane,
    /// Its sequence, at most [`SEQ_MAX`](crate::limits::SEQ_MAX).
    pub seq: u64,
}

/// For each lane the next sequence to be read: all below it is known, all from it on is not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Life of the log it belongs to.
    pub epoch: Epoch,
    /// By lane.
    pub next: Box<[u64]>,
}

impl Mark {
    /// The next sequence of `lane`; zero for a lane the mark doesn't know.
    pub fn next(&self, lane: Lane) -> u64 {
        self.next.get(usize::from(lane.0)).copied().unwrap_or(0)
    }
}

/// What of a lane can be read: `first..next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LaneBounds {
    /// The oldest sequence that retention has left.
    pub first: u64,
    /// One above the durable watermark, as far as this node has read.
    pub next: u64,
    /// One above the last record that the log is known to hold. Above `next` where several nodes
    /// share a log and this one has yet to read what another may have shown already.
    pub end: u64,
}

impl LaneBounds {
    /// Of a lane of which all can be read.
    pub const fn whole(first: u64, next: u64) -> Self {
        Self { first, next, end: next }
    }
}

/// What of the log can be read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// Life of the log.
    pub epoch: Epoch,
    /// By lane.
    pub lanes: Box<[LaneBounds]>,
}

/// A durable event with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// When its source handed it over, by this host's clock.
    pub received_at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// Why a reader can't be given something (R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoleReason {
    /// The session was too slow for its stream's policy.
    Slow,
    /// Retention has removed it.
    Retention,
    /// It belongs to another life of the log.
    Epoch,
    /// The disk gave back something else than was written.
    Damaged,
}

impl HoleReason {
    /// All of them: the values of the metric label `reason`.
    pub const ALL: [Self; 4] = [Self::Slow, Self::Retention, Self::Epoch, Self::Damaged];

    /// The name that stands in a `gap` and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Retention => "retention",
            Self::Epoch => "epoch",
            Self::Damaged => "damaged",
        }
    }
}

impl fmt::Display for HoleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Sequences `from..=to` of a lane that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// First missing sequence.
    pub from: u64,
    /// Last missing sequence.
    pub to: u64,
    /// Why.
    pub reason: HoleReason,
}

/// What [`EventLog::read`] found: everything of one lane in `from..next`, except the `holes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadChunk {
    /// The lane that was read.
    pub lane: Lane,
    /// Where reading began.
    pub from: u64,
    /// Where to go on. Equal to `from` when there was nothing (the end was reached).
    pub next: u64,
    /// The records, by position.
    pub records: Vec<Record>,
    /// What can't be read, by position.
    pub holes: Vec<Hole>,
}

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// Where to begin.
    pub from: Position,
    /// Stop after the record with which this many bytes are reached; at least one record is read.
    pub bytes_max: usize,
}

/// A read that failed as a whole; trying again later may help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The log's reader is gone or was told to stop.
    #[error("the log has been closed")]
    Closed,
    /// Too many reads wait.
    #[error("the log has too many reads to do; try again in a moment")]
    Busy,
    /// The disk or broker failed.
    #[error("the log can't be read: {0}")]
    Io(Arc<str>),
}

/// What became of one event of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, here.
    Accepted(Position),
    /// It is durable on this host's disk, on its way to a log that can't be reached: it has no
    /// position yet, and nobody sees it before it has one (R18).
    Spooled,
    /// An equal one is durable already (R14).
    Duplicate,
    /// It is older than its stream's dedupe window: acknowledged, not shown (R16).
    TooOld,
}

/// Why a batch was not taken; nothing of it, but for what is said below. Each says what the source
/// is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// 422: these events (by index in the batch) carry an id that was used for other content (R15).
    #[error("an id was used before for other content")]
    IdReused(Vec<usize>),
    /// 422: brokers refuse these events (by index in the batch) for what they are: sending them
    /// again changes nothing. The others of an [`append`](EventLog::append) are durable. Brokers
    /// refuse batches, so several that are named may be refused for one's sake: it shows when each
    /// comes alone.
    #[error("the log's brokers refuse an event as it is: larger than their topics take")]
    Refused(Vec<usize>),
    /// 429: the dedupe window holds as many entries as it may (R16).
    #[error("the dedupe window is full; retry after it has aged")]
    DedupeFull,
    /// 503: more waits for the disk, or for brokers, than may, or for longer.
    #[error("the log is behind; retry")]
    Busy,
    /// 503: no broker of the cluster answers.
    #[error("the log's brokers can't be reached; retry")]
    Unreachable,
    /// 503: there is no room on the disk (R13).
    #[error("the log's disk is full; free some room")]
    DiskFull,
    /// 503 until restart: a sync has failed (R13), or a cluster has lost what it acknowledged.
    #[error("the log is read-only until a restart: `/readyz` says why")]
    ReadOnly,
    /// 503: it is not known whether the batch is durable (R14).
    #[error("the log could not say whether the batch is durable: {0}")]
    Unknown(Arc<str>),
    /// 503: the log is being shut down.
    #[error("the log has been closed")]
    Closed,
}

/// Called once with what became of a batch: one outcome for each of its events, in order.
pub type AppendReply = Box<dyn FnOnce(Result<Vec<Outcome>, AppendError>) + Send>;
/// Called once with what was read.
pub type ReadReply = Box<dyn FnOnce(Result<ReadChunk, ReadError>) + Send>;

/// Learns of every record that becomes durable. Called on the log's own thread: it must neither
/// block nor panic.
pub trait TailSink: Send {
    /// `records` are durable, ascending by position within each lane; each lane of `spans` is now
    /// complete to its end. A span that begins beyond the end of the one before leaves a hole,
    /// which a read names. It may be empty: then the lane goes on there, and nothing is left of
    /// what lies before.
    fn durable(&mut self, records: Vec<Record>, spans: &[Span]);
}

/// Sequences `from..next` of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its lane.
    pub lane: Lane,
    /// First sequence.
    pub from: u64,
    /// One above the last.
    pub next: u64,
}

/// Questions where a lane ends, which takes a log a moment where others write to it too. They are
/// counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// How many were begun.
    pub begun: u64,
    /// The latest of them that was answered: [`EventLog::bounds`] tell what it found, or more.
    pub answered: u64,
}

/// Where events become durable and get their order. Journal and Kafka implement it.
pub trait EventLog: Send + Sync {
    /// Makes all of `events` durable or none, but for [`AppendError::Refused`]; `reply` is called
    /// from the log's thread once that is known (R14).
    fn append(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply);
    /// As [`EventLog::append`], for events that were received earlier and come again (a replay):
    /// `received_at` is what their age is judged by (R16), and nothing is concluded from it about
    /// this host's clock. What has left the dedupe window meanwhile is taken again: who calls this
    /// has to know that it was never taken.
    fn append_again(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        self.append(events, received_at, reply);
    }
    /// As [`EventLog::append`], and no failure changes the order: of two events of one topic the
    /// later one doesn't become part of the log before it is known that the earlier one has. May
    /// wait for brokers meanwhile. Whoever is told of a failure begins again with the first of
    /// `events` (what was taken is a repeat then), and appends nothing else of these topics
    /// meanwhile. That brokers refuse one is told before anything else, and may name its neighbours
    /// as well.
    fn append_in_order(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        self.append(events, received_at, reply);
    }
    /// Reads from a position towards the watermark; `reply` is called from the log's reader.
    fn read(&self, request: ReadRequest, reply: ReadReply);
    /// What can be read now. Cheap: it takes no lock that a writer holds over a disk operation.
    fn bounds(&self) -> LogBounds;
    /// A client has positions beyond the `end` that [`EventLog::bounds`] knows (R4). `true`:
    /// another node may have shown them; the log asks how far it reaches, and bounds will tell in a
    /// moment. `false`, where nobody else writes: nobody can have seen them in this life of the
    /// log.
    fn look_ahead(&self) -> bool {
        false
    }
    /// How far the log is with asking where `lane` ends: whoever needs an end that is no older than
    /// its question notes what was `begun`, looks ahead, and waits until more was `answered`.
    /// For logs that look ahead, which all say so here; of others bounds tell the end as it is.
    fn looks(&self, _lane: Lane) -> Looks {
        Looks::default()
    }
    /// Topics fixed for an epoch: the lane of a topic (R1).
    fn lane_of(&self, topic: &Topic) -> Lane;
    /// Whether it can be written to, for `/readyz` and back-pressure: `Err` says why not, and whose
    /// turn it is.
    fn health(&self) -> Result<(), LogHealthError>;
}

/// Why a log doesn't take events at the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogHealthError {
    /// Room is missing; writing goes on by itself once there is some.
    #[error("the log's disk is full: free some room, writing goes on by itself")]
    DiskFull,
    /// A sync has failed.
    #[error("a sync of the log failed: check the disk, then restart")]
    ReadOnly,
    /// Parts can't be read back as they were written.
    #[error("segment {file} is damaged at byte {offset}: see `touchline log verify`")]
    Damaged {
        /// The file that was set aside.
        file: Arc<str>,
        /// Where in it.
        offset: u64,
    },
    /// The host's clock and the time that has passed disagree by this much; until they agree again
    /// appends are refused.
    #[error(
        "this host's clock is off by {0:?} against the time since the start: put it right, or \
         restart if it is right now"
    )]
    Clock(Duration),
    /// Something can't be mended while it runs.
    #[error("the log takes nothing until this node is restarted: {0}")]
    Broken(Arc<str>),
    /// Something has failed, and what writes to the log is being made anew.
    #[error("the log takes nothing at the moment, and is mended by itself: {0}")]
    Mending(Arc<str>),
    /// No broker answers, none lets us in, or none can take anything: for how long, and what that
    /// most likely means, as far as it is known.
    #[error("no broker of the log answers or takes anything since {0:?}: {likely}", likely = likely(.1))]
    Unreachable(Duration, Arc<str>),
    /// The oldest waiting append has waited longer than it should.
    #[error("the log's disk is slow: the oldest append has waited {0:?}")]
    Slow(Duration),
}

fn likely(known: &str) -> &str {
    if known.is_empty() { "check the cluster, and the way to it" } else { known }
}
