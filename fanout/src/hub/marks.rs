//! Heartbeats, and the marks that come with them (R3).
//!
//! All that are caught up share one frame, written once for each progress of the shard. A session
//! that lags gets a mark of its own, just below the lowest event it still has to get.

use bytes::Bytes;
use touchline_core::log::{Mark, Position};
use touchline_core::protocol::answer;

use super::session::Flags;
use super::{Hub, SessionId};

/// The ping and mark that all sessions share that are caught up.
pub(super) struct Heartbeat {
    pub(super) ping: Bytes,
    /// What the mark says.
    pub(super) progress: Box<[u64]>,
    pub(super) frame: Bytes,
}

impl Hub {
    /// Queues a ping and a mark: the shared frame for who is caught up, its own for who lags (R3).
    pub fn handle_heartbeat(&mut self, id: SessionId, ws_ping: &Bytes) {
        let Some(session) = self.session_mut(id) else { return };
        if session.flags.has(Flags::CLOSING) {
            return;
        }
        session.flags.set(Flags::HEARTBEAT);
        self.refresh_heartbeat(ws_ping);
        self.enqueue(id.index);
    }

    /// Makes the shared heartbeat speak of the shard's progress.
    pub(super) fn refresh_heartbeat(&mut self, ws_ping: &Bytes) {
        let same = |of: &Heartbeat| {
            of.ping == *ws_ping
                && of.progress.iter().eq(self.lanes.iter().map(|lane| &lane.progress))
        };
        if !self.heartbeat.as_ref().is_some_and(same) {
            let mark = self.progress();
            let frame = [&ws_ping[..], &answer::mark(&mark)].concat().into();
            let ping = ws_ping.clone();
            self.heartbeat = Some(Heartbeat { ping, progress: mark.next, frame });
        }
    }

    /// The session's own mark (R3).
    ///
    /// Its cursors are moved to what is really unsent first: a mark that was given must not sink
    /// when something between a loose cursor and the first living event is evicted later.
    pub(super) fn mark_of(&mut self, index: u32) -> Mark {
        let mut mark = self.progress();
        let Self { sessions, topics, .. } = self;
        let session = &mut sessions[index as usize];
        for cursor in &mut session.cursors {
            let window = &topics.get(cursor.topic).window;
            // What was evicted is not declared before the session is visited: until then the mark
            // stays below it.
            if cursor.seq >= window.floor() {
                let unsent = window.live_from(cursor.seq).next();
                cursor.seq = unsent.map_or(window.last_seq() + 1, |entry| entry.seq);
            }
        }
        session.fit_mark(&mut mark, |cursor| {
            let topic = topics.get(cursor.topic);
            let lags = cursor.seq <= topic.window.last_seq();
            lags.then_some(Position { lane: topic.lane, seq: cursor.seq })
        });
        mark
    }
}
