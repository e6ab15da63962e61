//! What a hub holds, counted piece by piece.

use super::Hub;
use super::session::Session;

/// Sizes of everything that could grow. [`HubStats`](super::HubStats) says what a scrape may ask
/// for at no cost; this walks over all of it, for tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubSizes {
    /// Sessions that are open.
    pub sessions: usize,
    /// Of those, how many wait for the log.
    pub waiting: usize,
    /// Teams that somebody follows or a topic names.
    pub teams: usize,
    /// Lists of followers by language, of all teams.
    pub lang_lists: usize,
    /// Languages of the team that has most.
    pub lang_lists_max: usize,
    /// Entries in all lists of followers.
    pub list_entries: usize,
    /// What sessions follow, in pairs of team and stream: as many as there are entries.
    pub follows: usize,
    /// Cursors of all sessions.
    pub cursors: usize,
    /// The same as topics count them.
    pub cursor_holds: usize,
    /// Topics in memory.
    pub topics: usize,
    /// Memory of all windows, added up.
    pub windows_bytes: usize,
    /// Ranges that are shared until the next batch.
    pub ranges: usize,
    /// Chunks of the log.
    pub chunks: usize,
    /// Batches kept past a gap, and their bytes.
    pub held: (usize, usize),
    /// Entries in the queue of volleys.
    pub queue: usize,
    /// Of the session with most: bytes of answers and control frames that wait.
    pub control_bytes_max: usize,
}

impl Hub {
    /// Counts all that this hub holds.
    pub fn sizes(&self) -> HubSizes {
        let of_sessions = |of: fn(&Session) -> usize| self.sessions.iter().map(of);
        let streams = |session: &Session| {
            session.follows.iter().map(|follow| follow.streams.iter().count()).sum()
        };
        let lists: Vec<(usize, usize)> = self.topics.teams().map(|team| team.sizes()).collect();
        HubSizes {
            sessions: self.stats.sessions as usize,
            waiting: self.waiting.len(),
            teams: lists.len(),
            lang_lists: lists.iter().map(|(langs, _)| langs).sum(),
            lang_lists_max: lists.iter().map(|(langs, _)| *langs).max().unwrap_or(0),
            list_entries: lists.iter().map(|(_, entries)| entries).sum(),
            follows: of_sessions(streams).sum(),
            cursors: of_sessions(|session| session.cursors.len()).sum(),
            cursor_holds: self.topics.all().map(|topic| topic.cursors as usize).sum(),
            topics: self.topics.len(),
            windows_bytes: self.topics.all().map(|topic| topic.window.bytes()).sum(),
            ranges: self.ranges.len(),
            chunks: self.chunks.len(),
            held: (self.held.len(), self.held.bytes()),
            queue: self.queue.len(),
            control_bytes_max: of_sessions(Session::control_bytes).max().unwrap_or(0),
        }
    }
}
