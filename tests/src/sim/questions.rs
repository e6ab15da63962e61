//! What is asked of the world as a whole: were closes deserved, do limits hold, is anybody owed
//! anything at the end?

use std::collections::HashSet;

use touchline_core::event::Stream;
use touchline_fanout::limits::{
    HELD_BATCHES_MAX, HELD_BYTES_MAX, LANGS_MAX, SNAPSHOT_BYTES_MAX, TOPICS_MAX,
};

use super::causes::{ENTRY_BYTES_MAX, Grounds};
use super::world::{World, told};

impl World {
    /// The client takes what has arrived, and is seen caught up or not.
    pub(super) fn receive(&mut self, index: usize) -> Result<(), String> {
        let grounds = self.grounds(index);
        let client = &mut self.clients[index];
        client.receive(&self.log, &grounds).map_err(|promise| told(index, promise))?;
        if let Some(id) = client.session
            && !self.hub.is_lagging(id)
            && !self.hub.is_blocked(id)
            && !self.hub.has_work()
        {
            client.evicted_before = self.hub.stats().topics_evicted;
        }
        Ok(())
    }

    fn grounds(&mut self, index: usize) -> Grounds {
        let evicted = self.hub.stats().topics_evicted;
        let crowded = evicted > self.clients[index].evicted_before;
        Grounds { config: self.scenario.config.clone(), crowded }
    }

    pub(super) fn was_slow(&mut self, owner: usize) -> Result<(), String> {
        let grounds = self.grounds(owner);
        let limits = grounds.config.stream(Stream::Broadcast);
        let unsent = self.clients[owner].owed.unsent(Stream::Broadcast, &self.log);
        let queue: usize = unsent.values().map(|(bytes, _)| bytes).sum();
        let out_of_window = unsent
            .values()
            .any(|(bytes, events)| bytes + events * ENTRY_BYTES_MAX >= limits.window_bytes);
        let crowded = !unsent.is_empty() && grounds.excuse_eviction(&self.log);
        if queue > limits.queue_bytes_max || out_of_window || crowded {
            return Ok(());
        }
        Err(told(owner, format!("R24: closed as slow with {queue} bytes unsent: {limits:?}")))
    }

    pub(super) fn limits_hold(&mut self) -> Result<(), String> {
        let config = &self.scenario.config;
        let windows = self.hub.stats().windows_bytes as usize;
        let one =
            config.streams.iter().map(|stream| stream.window_bytes).max().unwrap_or(0) + 1_000;
        if windows > config.windows_bytes_max + one {
            return Err(format!("windows hold {windows} of {} bytes", config.windows_bytes_max));
        }
        let sizes = self.hub.sizes();
        self.report.held_most = self.report.held_most.max(sizes.held.0);
        let connected = self.clients.iter().filter(|client| client.session.is_some()).count();
        let langs: HashSet<_> = self.clients.iter().filter_map(|client| client.lang).collect();
        // Two more than the bound of answers may wait: the one that went past it, and a snapshot.
        let control_bytes = 2 * config.control_bytes_max + 2 * SNAPSHOT_BYTES_MAX;
        let bounds = [
            ("sessions", sizes.sessions, connected),
            ("sessions that wait", sizes.waiting, connected),
            ("teams", sizes.teams, self.scenario.teams),
            ("languages of a team", sizes.lang_lists_max, langs.len().min(LANGS_MAX) + 1),
            ("cursors", sizes.cursors, connected * sizes.topics),
            ("topics", sizes.topics, TOPICS_MAX),
            ("ranges", sizes.ranges, 16),
            ("chunks", sizes.chunks, config.chunks_max),
            ("batches held", sizes.held.0, HELD_BATCHES_MAX),
            ("bytes held", sizes.held.1, HELD_BYTES_MAX),
            ("the queue of volleys", sizes.queue, self.owners.len()),
            ("bytes of answers to one session", sizes.control_bytes_max, control_bytes),
        ];
        if let Some((what, now, most)) = bounds.iter().find(|(_, now, most)| now > most) {
            return Err(format!("law 3: {what}: {now} of {most} at most"));
        }
        let pairs = [
            ("entries in lists", sizes.list_entries, sizes.follows),
            ("cursors", sizes.cursors, sizes.cursor_holds),
            ("bytes of windows", windows, sizes.windows_bytes),
        ];
        match pairs.iter().find(|(_, counted, held)| counted != held) {
            Some((what, counted, held)) => Err(format!("{what}: {counted} counted, {held} held")),
            None => Ok(()),
        }
    }

    /// Everybody is back, every socket takes everything: each client has all it was promised, up to
    /// the log's end.
    pub(super) fn nothing_is_owed(&mut self) -> Result<(), String> {
        let end = self.hub.progress();
        let bounds = self.log.bounds();
        for (lane, bounds) in bounds.lanes.iter().enumerate() {
            if end.next[lane] != bounds.next {
                return Err(format!(
                    "R26: lane {lane} was read to {} of {}",
                    end.next[lane], bounds.next
                ));
            }
        }
        for (index, client) in self.clients.iter_mut().enumerate() {
            let Some(id) = client.session else {
                return Err(told(index, "it could not come back".into()));
            };
            if self.hub.is_lagging(id) {
                return Err(told(index, "R7: it never became live".into()));
            }
            if !client.before.is_empty() {
                return Err(told(index, "R8: it was never told of the new life".into()));
            }
            client.owed.complete_below(&end, &self.log).map_err(|promise| told(index, promise))?;
        }
        let sizes = self.hub.sizes();
        if (sizes.waiting, sizes.cursors, sizes.held.0) != (0, 0, 0) {
            return Err(format!("law 3: at rest there is still {sizes:?}"));
        }
        self.report.from_log = self.hub.stats().resumes.from_log;
        Ok(())
    }
}
