//! What a shard is told by the rest of the process, and what it answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use touchline_core::event::StreamSet;
use touchline_core::protocol::answer;

use super::Shard;
use super::conn::Stage;
use super::drain::Drain;
use crate::hub::SessionId;
use crate::limits::SLOW_SESSIONS_MAX;
use crate::options::ShardCommand;

/// A command on its way to one shard.
pub(crate) enum Command {
    /// For all of them.
    Shared {
        /// What.
        command: ShardCommand,
        /// How many shards have been told: a pace is divided by it.
        shards: usize,
    },
    /// Name the sessions that are behind; the answer is never waited for.
    Slow(SyncSender<Vec<SlowSession>>),
}

/// A session that is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowSession {
    /// Its name, as in its `hello`.
    pub session: String,
    /// Its shard.
    pub shard: usize,
    /// Where it comes from, as a trusted proxy says or its socket still knows.
    pub peer: Option<SocketAddr>,
    /// Bytes that wait for it in this shard's memory.
    pub unsent_bytes: u64,
    /// Whether its socket refuses bytes, or it is merely waiting for its turn.
    pub is_blocked: bool,
}

impl Shard {
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Shared { command, shards } => self.obey_shared(command, shards),
            // Whoever asked may have stopped waiting.
            Command::Slow(reply) => drop(reply.try_send(self.slow_sessions())),
        }
    }

    fn obey_shared(&mut self, command: ShardCommand, shards: usize) {
        match command {
            ShardCommand::Drain { sessions_per_s, reason, reconnect_after } => {
                let pace = f64::from(sessions_per_s.max(1)) / shards.max(1) as f64;
                let seed = self.now.0 ^ self.number as u64;
                self.drain = Some(Drain::new(pace, reason, reconnect_after, self.now, seed));
            }
            ShardCommand::Reload(rules) => {
                self.hub.set_config(rules.hub.clone());
                self.door.set_retry_after(rules.sessions.retry_after_s);
                self.rules = rules;
            }
            ShardCommand::Status { state, streams } => self.announce(state, streams),
            ShardCommand::Retire => self.is_retired = true,
            ShardCommand::Door { is_open } => self.door.set_open(is_open),
            ShardCommand::Stop => self.is_stopped = true,
        }
    }

    fn announce(&mut self, state: Arc<str>, streams: StreamSet) {
        let frame = answer::status(&state, streams);
        let ids: Vec<_> = self.conns.ids().collect();
        for id in ids {
            if self.conns.get(id).is_some_and(|conn| conn.stage == Stage::Open) {
                self.tell(id, frame.clone());
            }
        }
        self.status = (&*state != "live").then_some((state, frame));
    }

    /// The sessions with most unsent. Looks at every one: for a person who asks, not for a scrape.
    fn slow_sessions(&self) -> Vec<SlowSession> {
        let lagging = self.conns.ids().filter(|id| self.hub.is_lagging(*id));
        let mut lagging: Vec<_> = lagging.map(|id| (self.hub.unsent_bytes(id), id)).collect();
        lagging.sort_unstable_by_key(|(unsent, _)| std::cmp::Reverse(*unsent));
        lagging.truncate(SLOW_SESSIONS_MAX);
        lagging.into_iter().map(|(unsent, id)| self.slow_session(id, unsent)).collect()
    }

    fn slow_session(&self, id: SessionId, unsent_bytes: u64) -> SlowSession {
        SlowSession {
            session: self.name_of(id),
            shard: self.number,
            peer: self.client_of(id),
            unsent_bytes,
            is_blocked: self.hub.is_blocked(id),
        }
    }
}
