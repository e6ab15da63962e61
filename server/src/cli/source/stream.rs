//! A social stream, listened to for a while: what of its posts would be published. It is followed
//! as the server would follow it, into a log that keeps nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use touchline_core::dead::{DeadLetter, DeadLetters};
use touchline_core::event::{Event, Topic};
use touchline_core::log::{
    AppendReply, Epoch, EventLog, Lane, LaneBounds, LogBounds, LogHealthError, Outcome, Position,
    ReadError, ReadReply, ReadRequest,
};
use touchline_core::time::Timestamp;
use touchline_ingest::clock::Clock;
use touchline_ingest::outbound::Surroundings;
use touchline_ingest::poll::Trial;
use touchline_ingest::social::{Social, SocialSource};

use crate::cli::Failure;
use crate::wiring::StartError;

/// Posts that are shown; nobody reads more.
const POSTS_SHOWN: usize = 20;
/// Between two looks at what has come.
const LOOK: Duration = Duration::from_millis(50);
/// For the stream to be closed.
const STOP_MAX: Duration = Duration::from_secs(3);

/// What came, in place of a log and of dead letters.
#[derive(Default)]
struct Seen {
    events: Mutex<Vec<Event>>,
    letters: Mutex<Vec<(&'static str, String)>>,
}

impl Seen {
    fn count(&self) -> usize {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl DeadLetters for Seen {
    fn park(&self, letter: DeadLetter) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if letters.len() < POSTS_SHOWN {
            letters.push((letter.reason, letter.detail.into()));
        }
    }
}

impl EventLog for Seen {
    fn append(&self, events: Vec<Event>, _received_at: Timestamp, reply: AppendReply) {
        let mut seen = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seen.len() as u64;
        let place = |n| Outcome::Accepted(Position { lane: Lane(0), seq: first + n });
        let outcomes = (0..events.len() as u64).map(place).collect();
        let room = POSTS_SHOWN.saturating_sub(seen.len());
        seen.extend(events.into_iter().take(room));
        drop(seen);
        reply(Ok(outcomes));
    }

    fn read(&self, _request: ReadRequest, reply: ReadReply) {
        reply(Err(ReadError::Closed));
    }

    fn bounds(&self) -> LogBounds {
        LogBounds { epoch: Epoch(0), lanes: [LaneBounds::default()].into() }
    }

    fn lane_of(&self, _topic: &Topic) -> Lane {
        Lane(0)
    }

    fn health(&self) -> Result<(), LogHealthError> {
        Ok(())
    }
}

/// Listens to `source` for `wait` at most, or until there is enough to show.
pub fn listen(source: &SocialSource, clock: &Clock, wait: Duration) -> Result<Trial, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let seen = Arc::new(Seen::default());
        let (log, dead): (Arc<dyn EventLog>, Arc<dyn DeadLetters>) = (seen.clone(), seen.clone());
        let around = Surroundings::new(log, Arc::clone(clock), dead);
        let social = Social::start(vec![source.clone()], &around);
        let social = social.map_err(StartError::Source)?;
        let stats =
            Arc::clone(social.stats().first().ok_or_else(|| anyhow!("it is not followed"))?);
        let begin = Instant::now();
        while begin.elapsed() < wait && seen.count() < POSTS_SHOWN {
            tokio::time::sleep(LOOK).await;
        }
        let was_connected = stats.is_connected();
        let _ = tokio::time::timeout(STOP_MAX, social.stop()).await;
        let mut troubles = seen.letters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let counted = stats.troubles().filter(|(_, count)| *count > 0);
        let named = |reason: &str| troubles.iter().any(|(known, _)| *known == reason);
        let unnamed: Vec<_> = counted.filter(|(reason, _)| !named(reason)).collect();
        troubles.extend(unnamed.into_iter().map(|(why, count)| (why, format!("{count} time(s)"))));
        if !was_connected && troubles.is_empty() {
            troubles.push(("connect", format!("not connected within {} s", wait.as_secs())));
        }
        let events =
            std::mem::take(&mut *seen.events.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Trial { events, troubles, skew_us: None })
    })
}
