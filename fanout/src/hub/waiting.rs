//! Sessions that wait: for a chunk of the log, or for this node to read as far as their client.
//!
//! Whoever waits holds a ticket, ascending by when he began to; it lies with what he knows of his
//! way back, and goes with it. So leaving, for whatever reason, costs one look-up, and nobody who
//! has left is waited for. A chunk that has come may help anybody; a batch helps only those that
//! are *ahead*, and none of them before the shard has caught up with the log.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;
use touchline_core::time::Monotonic;

use super::session::LaneCatchup;
use super::{CloseCause, Hub};

#[derive(Default)]
pub(super) struct Waiting {
    tickets: u64,
    /// Sessions by ticket: who has waited longest comes first.
    by_ticket: BTreeMap<u64, u32>,
    /// Tickets of sessions whose client has read further than this node.
    ahead: BTreeSet<u64>,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.by_ticket.len()
    }

    /// All of them, who has waited longest first.
    pub(super) fn all(&self) -> impl Iterator<Item = u32> {
        self.by_ticket.values().copied()
    }

    fn ahead(&self) -> impl Iterator<Item = u32> {
        self.ahead.iter().filter_map(|ticket| self.by_ticket.get(ticket).copied())
    }

    fn remove(&mut self, ticket: u64) {
        self.by_ticket.remove(&ticket);
        self.ahead.remove(&ticket);
    }

    fn set_ahead(&mut self, ticket: u64, is_ahead: bool) {
        match is_ahead {
            true => self.ahead.insert(ticket),
            false => self.ahead.remove(&ticket),
        };
    }
}

impl Hub {
    /// Puts the session among those that wait for the log.
    pub(super) fn wait(&mut self, index: u32, now: Monotonic) {
        let is_ahead = self.is_ahead(index);
        let Self { sessions, waiting, .. } = self;
        let Some(catchup) = &mut sessions[index as usize].catchup else { return };
        catchup.waiting_since.get_or_insert(now);
        let ticket = *catchup.ticket.get_or_insert_with(|| {
            waiting.tickets += 1;
            waiting.by_ticket.insert(waiting.tickets, index);
            waiting.tickets
        });
        waiting.set_ahead(ticket, is_ahead);
    }

    /// The session has been given something, or can be: it waits no more.
    pub(super) fn go_on(&mut self, index: u32) {
        self.leave_the_waiting(index);
        if let Some(catchup) = &mut self.sessions[index as usize].catchup {
            catchup.waiting_since = None;
        }
    }

    /// The session's way back ends: it is live, or gone.
    pub(super) fn end_catchup(&mut self, index: u32) {
        self.leave_the_waiting(index);
        self.sessions[index as usize].catchup = None;
    }

    fn leave_the_waiting(&mut self, index: u32) {
        let catchup = self.sessions[index as usize].catchup.as_mut();
        if let Some(ticket) = catchup.and_then(|catchup| catchup.ticket.take()) {
            self.waiting.remove(ticket);
        }
    }

    /// Lets sessions go on whose chunk has come.
    pub(super) fn wake_waiting(&mut self) {
        let all: Vec<u32> = self.waiting.all().collect();
        self.wake(&all);
    }

    /// Lets sessions go on that this node has caught up with.
    ///
    /// Called with each batch. While the shard rereads nobody can join, and nobody is looked at;
    /// afterwards only those whose place has been reached.
    pub(super) fn wake_ahead(&mut self) {
        if self.waiting.ahead.is_empty() || self.lanes.iter().all(|lane| lane.is_behind()) {
            return;
        }
        let reached = self.waiting.ahead().filter(|index| self.is_reached(*index));
        let reached: Vec<u32> = reached.collect();
        self.wake(&reached);
    }

    fn wake(&mut self, indices: &[u32]) {
        for index in indices.iter().copied() {
            if self.can_go_on(index) {
                self.leave_the_waiting(index);
                self.enqueue(index);
                continue;
            }
            let is_ahead = self.is_ahead(index);
            let catchup = self.sessions[index as usize].catchup.as_ref();
            if let Some(ticket) = catchup.and_then(|catchup| catchup.ticket) {
                self.waiting.set_ahead(ticket, is_ahead);
            }
        }
    }

    /// Whether the client of this session has read further than this node: then progress helps it,
    /// otherwise only a chunk does.
    fn is_ahead(&self, index: u32) -> bool {
        let Some(catchup) = &self.sessions[index as usize].catchup else { return false };
        catchup.lanes.iter().any(|of| {
            let progress = self.lanes[usize::from(of.lane.0)].progress;
            of.next >= progress || catchup.after_in(of.lane) > progress
        })
    }

    /// Whether in some lane this node is where the client of this session stands.
    fn is_reached(&self, index: u32) -> bool {
        let Some(catchup) = &self.sessions[index as usize].catchup else { return true };
        catchup.lanes.iter().any(|of| {
            let lane = &self.lanes[usize::from(of.lane.0)];
            !lane.is_behind() && lane.progress >= of.next.max(catchup.after_in(of.lane))
        })
    }

    fn can_go_on(&mut self, index: u32) -> bool {
        let Some(catchup) = &self.sessions[index as usize].catchup else { return true };
        let lanes: SmallVec<[LaneCatchup; 1]> = catchup.lanes.clone();
        lanes
            .iter()
            .any(|of| self.chunks.find(of.lane, of.next).is_some() || self.can_join(index, of))
    }

    /// Ends sessions that have waited for the log as long as anybody may. Looks at all that wait:
    /// once a second, and only while the log doesn't answer.
    pub(super) fn judge_waiting(&mut self, now: Monotonic) {
        self.reads.judged_at = now;
        let stall_max = self.config.stall_max;
        let is_late = |index: &u32| {
            let catchup = self.sessions[*index as usize].catchup.as_ref();
            let since = catchup.and_then(|catchup| catchup.waiting_since);
            since.is_some_and(|since| now.since(since) >= stall_max)
        };
        let late: Vec<u32> = self.waiting.all().filter(is_late).collect();
        late.into_iter().for_each(|index| self.condemn(index, CloseCause::LogUnavailable));
    }
}
