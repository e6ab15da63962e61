//! Clients that have seen more of the log than this node knows it to hold.
//!
//! Where several nodes share a log, one that has just come back from another node may be a moment
//! ahead. Whether its positions belong to this life of the log is for the log to say (R4), and that
//! takes a question to its brokers: until it is answered the client's first message waits here, and
//! with it whatever the client says after it.

use std::collections::HashMap;
use std::time::Duration;

use touchline_core::log::{LogBounds, LogHealthError};
use touchline_core::protocol::ClientMessage;
use touchline_core::time::Monotonic;
use touchline_core::ws::CloseCode;

use super::Shard;
use crate::hub::SessionId;
use crate::limits::AHEAD_MESSAGES_MAX;

/// How long the log may take to say how far it reaches. Then the client is told that nobody knows
/// its positions.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How often those who wait are looked at: in a crowd that has lost another node, all are here.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Who waits: sessions of this shard, and so never more than it may hold.
#[derive(Default)]
pub(super) struct Ahead {
    waiting: HashMap<SessionId, Waiting>,
    looked_at: Monotonic,
}

struct Waiting {
    messages: Vec<ClientMessage>,
    until: Monotonic,
}

impl Ahead {
    /// A session is gone.
    pub(super) fn forget(&mut self, id: SessionId) {
        self.waiting.remove(&id);
    }

    /// Whether somebody waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Shard {
    /// Puts `message` off if its client waits already, or has positions that the log must be asked
    /// about. Gives it back if it can be carried out now.
    pub(super) fn put_off_if_ahead(
        &mut self,
        id: SessionId,
        message: ClientMessage,
        bounds: &LogBounds,
    ) -> Option<ClientMessage> {
        if let Some(waiting) = self.ahead.waiting.get_mut(&id) {
            if waiting.messages.len() < AHEAD_MESSAGES_MAX {
                waiting.messages.push(message);
                return None;
            }
            self.end(id, CloseCode::Policy, "too many messages before the first was answered");
            return None;
        }
        if !is_ahead(&message, bounds) || !self.log.look_ahead() {
            return Some(message);
        }
        let waiting = Waiting { messages: vec![message], until: self.now + WAIT_MAX };
        self.ahead.waiting.insert(id, waiting);
        None
    }

    /// Carries out what waits for nothing any more.
    pub(super) fn serve_ahead(&mut self) {
        let is_due = self.now.since(self.ahead.looked_at) >= LOOK_EVERY;
        if !self.ahead.is_waiting() || !is_due {
            return;
        }
        self.ahead.looked_at = self.now;
        let (bounds, now) = (self.log.bounds(), self.now);
        let is_over = |_: &SessionId, waiting: &mut Waiting| {
            now >= waiting.until || !waiting.messages.iter().any(|it| is_ahead(it, &bounds))
        };
        let over: Vec<_> = self.ahead.waiting.extract_if(is_over).collect();
        if self.ahead.is_waiting() {
            self.log.look_ahead();
        }
        let is_unreachable = matches!(self.log.health(), Err(LogHealthError::Unreachable(..)));
        for (id, Waiting { messages, .. }) in over {
            if is_unreachable && messages.iter().any(|it| is_ahead(it, &bounds)) {
                // Nobody can say whose positions these are, and so nobody may deny them.
                self.end(id, CloseCode::TryLater, "the log can't say how far it reaches now");
                continue;
            }
            self.guarded(id, |shard| {
                messages.into_iter().for_each(|message| shard.carry_out_now(id, message, &bounds));
            });
        }
    }
}

/// Whether it resumes, in this life of the log, from beyond what the log is known to hold.
fn is_ahead(message: &ClientMessage, bounds: &LogBounds) -> bool {
    let ClientMessage::Subscribe(subscribe) = message else { return false };
    let Some(resume) = &subscribe.resume else { return false };
    let mark = resume
        .mark
        .as_ref()
        .filter(|mark| mark.epoch == bounds.epoch && mark.next.len() == bounds.lanes.len());
    let mut marks = mark.into_iter().flat_map(|mark| mark.next.iter().zip(&bounds.lanes));
    let mut after = resume.after.iter().filter(|(_, epoch, _)| *epoch == bounds.epoch);
    marks.any(|(next, lane)| *next > lane.end)
        || after.any(|(.., position)| {
            let lane = bounds.lanes.get(usize::from(position.lane.0));
            lane.is_some_and(|lane| position.seq >= lane.end)
        })
}
