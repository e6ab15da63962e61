//! What is asked of the world as a whole: were closes deserved, do limits hold, is anybody owed
//! anything at the end?

use touchline_core::event::Stream;

use super::world::{World, told};

impl World {
    pub(super) fn was_slow(&mut self, owner: usize) -> Result<(), String> {
        let config = &self.scenario.config;
        let limits = config.stream(Stream::Broadcast);
        let unsent = self.clients[owner].owed.unsent(Stream::Broadcast, &self.log);
        let queue: usize = unsent.values().map(|(bytes, _)| bytes).sum();
        // An entry of a window takes its frame and less than 200 bytes.
        let out_of_window =
            unsent.values().any(|(bytes, events)| bytes + events * 200 >= limits.window_bytes);
        // Where all windows together reached their bound, whole topics gave way (R6).
        let crowded = self.hub.stats().topics_evicted > 0;
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
        Ok(())
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
            client.owed.complete_below(&end, &self.log).map_err(|promise| told(index, promise))?;
        }
        self.report.from_log = self.hub.stats().resumes.from_log;
        Ok(())
    }
}
