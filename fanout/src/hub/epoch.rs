//! A new life of the log: positions of the old one mean nothing any more (R8).
//!
//! Everybody is told and goes on live. It happens once in the life of a log, so every session may
//! be visited.

use touchline_core::log::{HoleReason, LaneBounds, LogBounds, Mark};

use super::{Hub, LaneState};

impl Hub {
    pub(super) fn begin_epoch(&mut self, bounds: &LogBounds) {
        let all = 0..self.sessions.len() as u32;
        let follows = |index: &u32| !self.sessions[*index as usize].follows.is_empty();
        let told: Vec<u32> = all.clone().filter(follows).collect();
        // What a session may miss begins where it stands, not where the shard does.
        let told: Vec<(u32, Mark)> =
            told.into_iter().map(|index| (index, self.mark_of(index))).collect();
        all.for_each(|index| self.forget_places(index));
        self.chunks.clear();
        self.ranges.clear();
        self.held.clear();
        self.reads.begin_anew();
        self.topics.forget_all();
        self.epoch = bounds.epoch;
        let lane = |of: &LaneBounds| LaneState {
            progress: of.next,
            known_end: of.next,
            first: of.first,
            floor: of.next,
            accept: None,
            hole_ahead: false,
        };
        self.lanes = bounds.lanes.iter().map(lane).collect();
        // A heartbeat that is due is still due, and speaks of the new life.
        if let Some(before) = self.heartbeat.take() {
            self.refresh_heartbeat(&before.ping);
        }
        let to = self.progress();
        for (index, from) in told {
            self.push_gap_of_teams(index, &from, &to, HoleReason::Epoch);
        }
    }

    /// Forgets whatever the session knows by a position of the old life. A half-sent frame is
    /// finished (R25) but stands nowhere: no mark of the new life may sink to it.
    fn forget_places(&mut self, index: u32) {
        self.end_catchup(index);
        let session = &mut self.sessions[index as usize];
        if let Some(partial) = &mut session.partial {
            partial.place = None;
        }
        let cursors = std::mem::take(&mut session.cursors);
        cursors.iter().for_each(|cursor| self.release_cursor(cursor.topic));
    }
}
