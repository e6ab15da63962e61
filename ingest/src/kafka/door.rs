//! What an append may become, judged before anything is sent (R14 to R16); and what every record of
//! the log is, judged as it is read (R17).
//!
//! Both need to know what each lane has held within its window, so one [`Door`] answers both. An
//! event that was sent and has not been read back is *pending*: a twin that comes meanwhile waits
//! for it.
//!
//! # What it can and can't promise
//! This node's door sees what this node has read and sent. A twin that goes to another node in the
//! same moment enters the log as well; every reader then suppresses it by R17, so what is shown is
//! the same, and only the counts in the two answers differ. Where the two say different things
//! (R15), the node that has sent the second one finds that out as it reads it back.
//!
//! # Invariants
//! - An identity is pending at most once.
//! - A pending entry leaves when its sending has failed, or once it is durable and has been read.
//! - A lane forgets by a clock only what nothing that is still to be read can repeat: it goes by
//!   when its end was asked for, once all below that end has been read. A node that lags, or was
//!   cut off for longer than a window, so judges what it reads then as everybody else has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use touchline_core::event::{Content, Event, Identity, Stream};
use touchline_core::log::{AppendError, AppendReply, Lane, Outcome, Position};
use touchline_core::time::Timestamp;

use super::flight::Flight;
use super::judge::{Judge, Verdict};
use super::lanes::Lanes;
use crate::limits::TOO_OLD_MARGIN;

/// What of each lane was read, and what is on its way there.
pub(super) struct Door {
    lanes: Vec<Judge>,
    /// By lane: all below it has been judged.
    judged: Vec<u64>,
    /// By lane: an end that was found and is still to be reached, and what time it was.
    ends: Vec<Option<(u64, i64)>>,
    pending: HashMap<Identity, Pending>,
    pending_bytes: usize,
    /// What time it is by the brokers' clocks, at least.
    now_ms: i64,
    rules: Rules,
}

/// What an append is judged by.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Dedupe window by stream.
    pub windows: [Duration; 4],
    /// Entries of all lanes, and pending ones.
    pub entries_max: usize,
    /// Bytes of pending events.
    pub pending_bytes_max: usize,
}

struct Pending {
    content: Content,
    bytes: usize,
    state: State,
}

enum State {
    /// Not acknowledged. Twins that wait.
    Flying(Vec<(Arc<Flight>, usize)>),
    /// Acknowledged, and not read yet.
    Durable(Position),
}

/// An event that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct New {
    /// Its index in the batch.
    pub index: usize,
    /// Where it belongs.
    pub lane: Lane,
    /// What it is known by.
    pub identity: Identity,
}

/// What an append has come to.
pub(super) enum Admitted {
    /// All outcomes are known: nothing is to be sent or waited for.
    Settled(AppendReply, Vec<Outcome>),
    /// `new` are to be sent; each settles its index of the flight, and twins settle theirs.
    Flying(Arc<Flight>, Vec<New>),
}

enum Fate {
    New(Lane),
    /// Of one that is pending.
    Twin,
    Known(Outcome),
    Reused,
}

impl Door {
    pub fn new(lanes: &Lanes, rules: Rules) -> Self {
        let window = |lane| {
            lanes.place(lane).map_or(Duration::ZERO, |(stream, _)| rules.windows[stream as usize])
        };
        Self {
            lanes: lanes.all().map(|(lane, ..)| Judge::new(window(lane))).collect(),
            judged: vec![0; lanes.count()],
            ends: vec![None; lanes.count()],
            pending: HashMap::new(),
            pending_bytes: 0,
            now_ms: i64::MIN / 2,
            rules,
        }
    }

    /// Entries of the dedupe windows, pending ones included.
    pub fn entries(&self) -> usize {
        self.lanes.iter().map(Judge::entries).sum::<usize>() + self.pending.len()
    }

    /// Bytes of what is pending.
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Judges a batch; what is new is pending from here on. Nothing of a refused batch is.
    pub fn admit(
        &mut self,
        events: &[Event],
        received_at: Timestamp,
        lanes: &Lanes,
        reply: AppendReply,
    ) -> Result<Admitted, (AppendError, AppendReply)> {
        let identities: Vec<_> = events.iter().map(|it| (it.identity(), it.content())).collect();
        let mut fates = Vec::with_capacity(events.len());
        let mut own = HashMap::new();
        for (event, (identity, content)) in events.iter().zip(&identities) {
            let known = own.get(identity).copied();
            let fate = known.map_or_else(
                || self.fate(event, *identity, *content, received_at, lanes),
                |first| if first == *content { Fate::Twin } else { Fate::Reused },
            );
            if let Fate::New(_) = fate {
                own.insert(*identity, *content);
            }
            fates.push(fate);
        }
        if let Err(error) = self.refusal(events, &fates, own.len()) {
            return Err((error, reply));
        }
        Ok(self.enter(events, &identities, &fates, reply))
    }

    /// Brokers' clocks say `now_ms` or more. This host's own clock decides nothing here: it may
    /// jump by hours (FAULTS 40), and what a node has forgotten it would show twice.
    pub fn set_now(&mut self, now_ms: i64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// Brokers had all of `lane` below `end` when they were asked, at `asked_ms` by their clocks:
    /// what follows is stamped later. A lane in which nothing comes forgets by this; of one that
    /// hasn't been read so far it waits until it has, and further ends are passed by meanwhile.
    pub fn ends(&mut self, lane: Lane, end: u64, asked_ms: i64) {
        let lane = usize::from(lane.0);
        self.ends[lane].get_or_insert((end, asked_ms));
        self.forget_old(lane);
    }

    /// Forgets what no window of a lane holds any more, once all below the end is read.
    fn forget_old(&mut self, lane: usize) {
        let judged = self.judged[lane];
        if let Some((_, asked_ms)) = self.ends[lane].take_if(|(end, _)| *end <= judged) {
            self.lanes[lane].expire_at(asked_ms);
        }
    }

    fn fate(
        &self,
        event: &Event,
        identity: Identity,
        content: Content,
        received_at: Timestamp,
        lanes: &Lanes,
    ) -> Fate {
        let lane = lanes.of(event.stream, &event.route);
        if let Some(pending) = self.pending.get(&identity) {
            return match (&pending.state, pending.content == content) {
                (_, false) => Fate::Reused,
                (State::Flying(_), true) => Fate::Twin,
                (State::Durable(_), true) => Fate::Known(Outcome::Duplicate),
            };
        }
        match self.find(identity, lane, event.stream, lanes) {
            Some(known) if known == content => Fate::Known(Outcome::Duplicate),
            Some(_) => Fate::Reused,
            None if self.is_too_old(event, received_at) => Fate::Known(Outcome::TooOld),
            None => Fate::New(lane),
        }
    }

    /// What was said under `identity`: its own lane first, since a repeat has the same route; then
    /// the stream's others, where the same id with another route would be.
    fn find(
        &self,
        identity: Identity,
        own: Lane,
        stream: Stream,
        lanes: &Lanes,
    ) -> Option<Content> {
        let now_ms = self.now_ms;
        let first = usize::from(lanes.partitions()) * stream as usize;
        let stream = &self.lanes[first..first + usize::from(lanes.partitions())];
        let in_own = self.lanes[usize::from(own.0)].find(identity, now_ms);
        in_own.or_else(|| stream.iter().find_map(|lane| lane.find(identity, now_ms)))
    }

    fn is_too_old(&self, event: &Event, received_at: Timestamp) -> bool {
        let window = self.rules.windows[event.stream as usize].saturating_sub(TOO_OLD_MARGIN);
        event.stream != Stream::Sensor && event.occurred_at < received_at.minus(window)
    }

    fn refusal(&self, events: &[Event], fates: &[Fate], new: usize) -> Result<(), AppendError> {
        let is_reused =
            |(index, fate): (usize, &Fate)| matches!(fate, Fate::Reused).then_some(index);
        let reused: Vec<usize> = fates.iter().enumerate().filter_map(is_reused).collect();
        if !reused.is_empty() {
            return Err(AppendError::IdReused(reused));
        }
        if new > 0 && self.entries() + new > self.rules.entries_max {
            return Err(AppendError::DedupeFull);
        }
        let sent = events.iter().zip(fates).filter(|(_, fate)| matches!(fate, Fate::New(_)));
        let bytes: usize = sent.map(|(event, _)| event.size_bytes()).sum();
        // A batch that is larger than the bound alone must not be refused for ever.
        if self.pending_bytes > 0 && self.pending_bytes + bytes > self.rules.pending_bytes_max {
            return Err(AppendError::Busy);
        }
        Ok(())
    }

    fn enter(
        &mut self,
        events: &[Event],
        identities: &[(Identity, Content)],
        fates: &[Fate],
        reply: AppendReply,
    ) -> Admitted {
        let outcome = |fate: &Fate| match fate {
            Fate::Known(outcome) => *outcome,
            _ => Outcome::Duplicate,
        };
        let outcomes: Vec<_> = fates.iter().map(outcome).collect();
        let left = fates.iter().filter(|fate| matches!(fate, Fate::New(_) | Fate::Twin)).count();
        if left == 0 {
            return Admitted::Settled(reply, outcomes);
        }
        let flight = Arc::new(Flight::new(outcomes, left, reply));
        let mut new = Vec::new();
        for (index, fate) in fates.iter().enumerate() {
            let (identity, content) = identities[index];
            match fate {
                Fate::New(lane) => {
                    let bytes = events[index].size_bytes();
                    let state = State::Flying(Vec::new());
                    self.pending.insert(identity, Pending { content, bytes, state });
                    self.pending_bytes += bytes;
                    new.push(New { index, lane: *lane, identity });
                }
                Fate::Twin => {
                    let pending = self.pending.get_mut(&identity);
                    if let Some(Pending { state: State::Flying(waiting), .. }) = pending {
                        waiting.push((Arc::clone(&flight), index));
                    }
                }
                Fate::Known(_) | Fate::Reused => {}
            }
        }
        Admitted::Flying(flight, new)
    }

    /// `identity` is durable, or its sending has failed. Returns the twins that wait for it.
    #[must_use]
    pub fn landed(
        &mut self,
        identity: Identity,
        at: Option<Position>,
    ) -> Vec<(Arc<Flight>, usize)> {
        let Some(pending) = self.pending.get_mut(&identity) else { return Vec::new() };
        let State::Flying(waiting) = &mut pending.state else { return Vec::new() };
        let waiting = std::mem::take(waiting);
        let is_unread = |at: &Position| self.judged[usize::from(at.lane.0)] <= at.seq;
        match at.filter(is_unread) {
            Some(at) => pending.state = State::Durable(at),
            None => self.forget(identity),
        }
        waiting
    }

    /// Reading goes on at `next` of a lane: what was acknowledged below it and never read will not
    /// be.
    pub fn jump(&mut self, lane: Lane, next: u64) {
        self.judge_below(lane, next);
        let is_passed = |pending: &Pending| match pending.state {
            State::Durable(at) => at.lane == lane && at.seq < next,
            State::Flying(_) => false,
        };
        let passed = self.pending.iter().filter(|(_, pending)| is_passed(pending));
        let passed: Vec<_> = passed.map(|(identity, _)| *identity).collect();
        passed.into_iter().for_each(|identity| self.forget(identity));
    }

    fn forget(&mut self, identity: Identity) {
        if let Some(pending) = self.pending.remove(&identity) {
            self.pending_bytes -= pending.bytes;
        }
    }

    /// The next record of a lane has been read: what it is (R17), and whether this node has sent
    /// it, as far as that isn't settled yet.
    pub fn judge(&mut self, position: Position, at_ms: i64, event: &Event) -> (Verdict, bool) {
        let (identity, content) = (event.identity(), event.content());
        let lane = usize::from(position.lane.0);
        self.judged[lane] = position.seq + 1;
        self.now_ms = self.now_ms.max(at_ms);
        let is_own = self.pending.get(&identity).is_some_and(|pending| match pending.state {
            State::Flying(_) => pending.content == content,
            State::Durable(at) => at == position,
        });
        let is_read = |at: &Position| at.lane == position.lane && at.seq <= position.seq;
        if let Some(Pending { state: State::Durable(at), .. }) = self.pending.get(&identity)
            && is_read(at)
        {
            self.forget(identity);
        }
        let verdict = self.lanes[lane].judge(at_ms, identity, content);
        // Not before: this one may be older than the end it has reached.
        self.forget_old(lane);
        (verdict, is_own)
    }

    /// A record has been read that tells nothing.
    pub fn pass(&mut self, position: Position) {
        self.judge_below(position.lane, position.seq + 1);
    }

    /// Nothing of a lane below `next` is still to be judged.
    fn judge_below(&mut self, lane: Lane, next: u64) {
        let lane = usize::from(lane.0);
        self.judged[lane] = next;
        self.forget_old(lane);
    }
}

#[cfg(test)]
mod tests;
