//! What the hub knows of one client, in as few bytes as an idle one should cost.

use std::collections::VecDeque;

use bytes::Bytes;
use smallvec::SmallVec;
use touchline_core::event::{Lang, Stream, StreamSet, Topic};
use touchline_core::log::{Lane, Mark, Position};
use touchline_core::time::Monotonic;

use super::topics::{TeamIx, TopicIx, TopicState};

/// Names a session within its shard. The index is dense, so that a shard can keep what it knows
/// beside it; the generation tells sessions apart that had the same index one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// Slot in the shard.
    pub index: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

/// The lowest sequence of a topic that the session has not been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) topic: TopicIx,
    pub(super) seq: u64,
}

/// One team that is followed, and where the session stands in the team's lists.
pub(super) struct Follow {
    pub(super) team: TeamIx,
    pub(super) streams: StreamSet,
    pub(super) slots: [u32; 4],
}

/// A frame that went out in part: to be finished whatever becomes of its topic (R25).
pub(super) struct Partial {
    pub(super) frame: Bytes,
    pub(super) sent: u32,
    /// Of an event: where it stands; a mark stays below it.
    pub(super) place: Option<Position>,
}

/// Answers and control frames that wait.
#[derive(Default)]
pub(super) struct Control {
    pub(super) frames: VecDeque<Bytes>,
    pub(super) bytes: usize,
    /// The newest pong; older ones it replaces (RFC 6455, 5.5.3).
    pub(super) pong: Option<Bytes>,
}

/// How far a session that reads from the log has come in one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LaneCatchup {
    pub(super) lane: Lane,
    /// The next sequence to be looked at.
    pub(super) next: u64,
}

/// A session that starts below the windows, or ahead of what this node has read (R4, R7).
pub(super) struct Catchup {
    pub(super) lanes: SmallVec<[LaneCatchup; 1]>,
    /// Last positions that the client named, by topic.
    pub(super) after: Vec<(Topic, Position)>,
    /// Teams that were subscribed while the session was on its way back: they start at the head of
    /// then (R5).
    pub(super) late: Vec<(TeamIx, Stream, Mark)>,
    /// Since when it waits for the log; `None` while it has something to send.
    pub(super) waiting_since: Option<Monotonic>,
    /// Its place among those that wait ([`waiting`](super::waiting)); `None` while it doesn't.
    pub(super) ticket: Option<u64>,
}

impl Catchup {
    pub(super) fn lane(&self, lane: Lane) -> Option<&LaneCatchup> {
        self.lanes.iter().find(|of| of.lane == lane)
    }

    pub(super) fn lane_mut(&mut self, lane: Lane) -> Option<&mut LaneCatchup> {
        self.lanes.iter_mut().find(|of| of.lane == lane)
    }

    /// One above the last position that the client has in `topic`; zero when it named none.
    pub(super) fn after(&self, topic: &Topic) -> u64 {
        let after = self.after.iter().find(|(of, _)| of == topic);
        after.map_or(0, |(_, position)| position.seq + 1)
    }

    /// Where an event stream of `team` begins for this session in `lane`: at the head, if it was
    /// subscribed late.
    pub(super) fn since(&self, team: TeamIx, stream: Stream, lane: Lane) -> u64 {
        let mut late =
            self.late.iter().filter(|(of, in_stream, _)| *of == team && *in_stream == stream);
        late.next().map_or(0, |(_, _, mark)| mark.next(lane))
    }

    /// One above the highest position that the client has in `lane`.
    pub(super) fn after_in(&self, lane: Lane) -> u64 {
        let of_lane = self.after.iter().filter(|(_, position)| position.lane == lane);
        of_lane.map(|(_, position)| position.seq + 1).max().unwrap_or(0)
    }
}

/// Set of facts about a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u16);

impl Flags {
    /// The slot is in use.
    pub(super) const OPEN: Self = Self(1);
    /// It stands in the queue of the next volleys.
    pub(super) const QUEUED: Self = Self(2);
    /// Its socket takes nothing at the moment.
    pub(super) const BLOCKED: Self = Self(4);
    /// A policy ends it: nothing but its last frames is sent any more.
    pub(super) const CONDEMNED: Self = Self(8);
    /// Its last frame has been queued.
    pub(super) const CLOSING: Self = Self(16);
    /// A heartbeat is due.
    pub(super) const HEARTBEAT: Self = Self(32);
    /// It has subscribed before: marks count no more (R5).
    pub(super) const SUBSCRIBED: Self = Self(64);
    /// It came back and has not been caught up since: its queue's bound doesn't hold yet (R7).
    pub(super) const RETURNING: Self = Self(128);
    /// The last try to send to it moved less than all.
    pub(super) const STUCK: Self = Self(256);
    /// So did the one before the try that is under way.
    pub(super) const PROBING: Self = Self(512);
    /// It came back, and the send under way is to be the one that makes it caught up.
    pub(super) const LANDING: Self = Self(1024);

    pub(super) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(super) fn set(&mut self, flag: Self) {
        self.0 |= flag.0;
    }

    pub(super) fn clear(&mut self, flag: Self) {
        self.0 &= !flag.0;
    }

    /// A try to send begins. Success isn't reported, so it is taken for granted until it fails.
    pub(super) fn begin_try(&mut self) {
        self.clear(Self::PROBING);
        if self.has(Self::LANDING) {
            self.clear(Self::LANDING);
            self.clear(Self::RETURNING);
        }
        if self.has(Self::STUCK) {
            self.clear(Self::STUCK);
            self.set(Self::PROBING);
        }
    }
}

/// One client.
#[derive(Default)]
pub(super) struct Session {
    pub(super) generation: u32,
    /// The last walk over follower lists that met this session (R23).
    pub(super) stamp: u32,
    pub(super) flags: Flags,
    pub(super) lang: Option<Lang>,
    pub(super) cursors: SmallVec<[Cursor; 1]>,
    pub(super) follows: Vec<Follow>,
    /// In a box: few sessions have one at a time, and an idle one should be small. Its allocation
    /// is paid for where a socket refuses bytes, next to a system call of microseconds.
    pub(super) partial: Option<Box<Partial>>,
    pub(super) control: Option<Box<Control>>,
    pub(super) catchup: Option<Box<Catchup>>,
    /// When its socket last took something, or refused for the first time since.
    pub(super) progress_at: Monotonic,
}

/// The user memory that the hub promises for an idle session that follows one team: 600 bytes less
/// the shard's part.
const _: () = assert!(size_of::<Session>() + size_of::<Follow>() <= 128);

impl Session {
    /// Whether an event of `topic` is for this session, given its teams by name.
    pub(super) fn wants(&self, stream: Stream, lang: Option<Lang>, teams: &[TeamIx]) -> bool {
        if stream == Stream::Update && lang.is_some() && lang != self.lang {
            return false;
        }
        let mut follows = self.follows.iter().filter(|follow| follow.streams.contains(stream));
        follows.any(|follow| teams.contains(&follow.team))
    }

    /// While it is on its way back: the first sequence of `topic` that it may lack, by what the
    /// client named and by when it followed which team.
    pub(super) fn begin_of(&self, topic: &TopicState) -> u64 {
        let Some(catchup) = &self.catchup else { return 0 };
        let stream = topic.key.stream;
        let follows = self.follows.iter().filter(|of| of.streams.contains(stream));
        let wanted = follows.filter(|of| topic.teams.contains(&of.team));
        let since = wanted.map(|of| catchup.since(of.team, stream, topic.lane)).min();
        catchup.after(&topic.key).max(since.unwrap_or(0))
    }

    /// All streams it follows, of whatever team.
    pub(super) fn streams(&self) -> StreamSet {
        self.follows.iter().fold(StreamSet::EMPTY, |streams, follow| streams.union(follow.streams))
    }

    /// Whether there is something that a visit could send.
    pub(super) fn has_work(&self) -> bool {
        self.partial.is_some()
            || !self.cursors.is_empty()
            || self.control.is_some()
            || self.flags.has(Flags::HEARTBEAT)
            || self.catchup.as_ref().is_some_and(|catchup| catchup.ticket.is_none())
    }

    /// Everything it follows, up to the shard's progress, has been sent.
    pub(super) fn is_caught_up(&self) -> bool {
        let half_sent = self.partial.as_ref().is_some_and(|partial| partial.place.is_some());
        self.cursors.is_empty() && self.catchup.is_none() && !half_sent
    }

    /// Moves `mark` to what this session has been sent (R3). `place` names a topic's lane and the
    /// first sequence that is still unsent from a cursor on.
    pub(super) fn fit_mark(&self, mark: &mut Mark, place: impl Fn(&Cursor) -> Option<Position>) {
        // A lane that is read from the log stands where the reading does: also ahead of this node,
        // for a client that came from one that had read further.
        for of in self.catchup.iter().flat_map(|catchup| &catchup.lanes) {
            if let Some(next) = mark.next.get_mut(usize::from(of.lane.0)) {
                *next = of.next;
            }
        }
        let half_sent = self.partial.as_ref().and_then(|partial| partial.place);
        for position in self.cursors.iter().filter_map(place).chain(half_sent) {
            if let Some(next) = mark.next.get_mut(usize::from(position.lane.0)) {
                *next = (*next).min(position.seq);
            }
        }
    }

    pub(super) fn control_bytes(&self) -> usize {
        self.control.as_ref().map_or(0, |control| control.bytes)
    }

    pub(super) fn push_control(&mut self, frame: Bytes) {
        let control = self.control.get_or_insert_default();
        control.bytes += frame.len();
        control.frames.push_back(frame);
    }
}
