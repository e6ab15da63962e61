//! The task that follows one source: connect, read, publish, wait, again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastwebsockets::{Frame, Payload};
use reqwest::Response;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::backoff::{Backoff, Cause};
use super::connect::{Connector, Lost, Opened, Token};
use super::events::{Events, Found};
use super::funnel::{Funnel, Moment};
use super::lines::{Ends, Lines, Piece};
use super::publish::Append;
use super::stats::{SocialStats, Trouble};
use super::websocket::{Heard, Messages, Socket};
use super::{Rewind, SocialKind, SocialSource};
use crate::limits::{BACKFILL_MINUTES_MAX, SOCIAL_APPENDS_MAX};
use crate::outbound::Surroundings;
use crate::roster::Roster;

/// How often it is looked whether it is this node's turn.
const TURN_LOOK: Duration = Duration::from_millis(200);

/// Follows one source.
pub(super) struct Follower {
    source: SocialSource,
    connector: Arc<Connector>,
    funnel: Funnel,
    backoff: Backoff,
    around: Surroundings,
    stats: Arc<SocialStats>,
    /// Appends under way; each ends with the ids that were refused.
    appends: JoinSet<Vec<Box<str>>>,
    began: Instant,
    heard_at: Option<Instant>,
    posts_seen: u64,
    /// Of server-sent events.
    event_id: String,
}

/// Returns once it is our turn, or no longer. While it isn't, the stream is nobody's worry here.
async fn turn(roster: &dyn Roster, source: &str, awaited: bool, stats: &SocialStats) {
    while roster.is_mine(source) != awaited {
        if awaited {
            stats.set_assigned(false);
            stats.note_post();
        }
        sleep(TURN_LOOK).await;
    }
}

impl Follower {
    pub fn new(
        source: SocialSource,
        connector: Connector,
        funnel: Funnel,
        stats: Arc<SocialStats>,
        around: Surroundings,
    ) -> Self {
        Self {
            backoff: Backoff::new(source.backoff),
            source,
            connector: Arc::new(connector),
            funnel,
            around,
            stats,
            appends: JoinSet::new(),
            began: Instant::now(),
            heard_at: None,
            posts_seen: 0,
            event_id: String::new(),
        }
    }

    /// Follows it until it is told to stop, while it is this node's.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (roster, source) = (Arc::clone(&self.around.roster), self.source.name.clone());
        let stats = Arc::clone(&self.stats);
        loop {
            let begins = turn(&*roster, &source, true, &stats);
            tokio::select! {
                _ = stop.changed() => return,
                () = begins => stats.set_assigned(true),
            }
            let goes_on = tokio::select! {
                _ = stop.changed() => false,
                () = turn(&*roster, &source, false, &stats) => true,
                () = self.follow() => true,
            };
            stats.set_connected(false);
            if !goes_on {
                return;
            }
            tracing::info!(source = &*source, "another node follows this stream now");
        }
    }

    async fn follow(&mut self) {
        loop {
            self.stats.count_connect();
            let token = self.token();
            let connector = Arc::clone(&self.connector);
            let lost = match self.wait(connector.open(&token)).await {
                Ok(opened) => self.read(opened).await,
                Err(lost) => lost,
            };
            self.stats.count(lost.trouble, 1);
            let wait = self.backoff.wait(lost.cause, lost.asked, rand::random());
            let (source, why, wait_ms) = (&*self.source.name, &*lost.why, wait.as_millis() as u64);
            if lost.cause == Cause::Barred {
                tracing::error!(source, why, wait_ms, "a stream turns us away: see to its section");
            } else {
                tracing::warn!(source, why, wait_ms, "a stream is lost; it is asked for again");
            }
            self.wait(sleep(wait)).await;
        }
    }

    fn token(&mut self) -> Token {
        let mut token = Token::default();
        match self.source.rewind {
            Rewind::None => {}
            Rewind::LastEventId if self.source.kind == SocialKind::Events => {
                token.id.clone_from(&self.event_id);
            }
            Rewind::LastEventId | Rewind::SinceId => {
                self.funnel.last_id().clone_into(&mut token.id)
            }
            Rewind::BackfillMinutes => {
                let minutes = self.heard_at.map(|at| at.elapsed().as_secs() / 60 + 1);
                token.minutes = minutes.map(|minutes| minutes.min(BACKFILL_MINUTES_MAX));
            }
        }
        token
    }

    async fn read(&mut self, opened: Opened) -> Lost {
        let (at, posts) = (Instant::now(), self.funnel.posts());
        self.stats.set_connected(true);
        tracing::info!(source = &*self.source.name, "a stream is open");
        let lost = match (opened, self.source.kind) {
            (Opened::Body(body), SocialKind::Events) => self.read_events(body).await,
            (Opened::Body(body), _) => self.read_lines(body).await,
            (Opened::Socket(socket), _) => self.read_socket(*socket).await,
        };
        self.stats.set_connected(false);
        if self.funnel.posts() > posts && at.elapsed() >= self.source.backoff.good_after {
            self.backoff.reset();
        }
        lost
    }

    async fn read_lines(&mut self, mut body: Response) -> Lost {
        let mut lines = Lines::new(Ends::LineFeed, self.source.post_bytes_max);
        loop {
            let chunk = self.wait(chunk(&mut body, self.source.stall)).await;
            let at = self.moment();
            let funnel = &mut self.funnel;
            match chunk {
                Ok(chunk) => lines.feed(&chunk, |piece| match piece {
                    Piece::Line(line) => funnel.take(line, at),
                    Piece::TooLong => funnel.skip(),
                }),
                Err(lost) => {
                    // Who ends after a whole post may have left out its line feed.
                    if is_whole(lines.unfinished()) {
                        funnel.take(lines.unfinished(), at);
                    }
                    self.flush();
                    return lost;
                }
            }
            self.hear();
            // A flood is always ready: others of this thread want their turn.
            tokio::task::yield_now().await;
        }
    }

    async fn read_events(&mut self, mut body: Response) -> Lost {
        let mut events = Events::new(self.source.post_bytes_max, &self.event_id);
        loop {
            let chunk = match self.wait(chunk(&mut body, self.source.stall)).await {
                Ok(chunk) => chunk,
                Err(lost) => return Lost { asked: lost.asked.or(events.retry()), ..lost },
            };
            let at = self.moment();
            let (funnel, wanted) = (&mut self.funnel, self.source.event.as_deref());
            events.feed(&chunk, |found| match found {
                Found::Event { name, data } if wanted.is_none_or(|it| it == name) => {
                    funnel.take(data, at);
                }
                Found::Event { .. } => {}
                Found::TooLong => funnel.skip(),
            });
            events.last_id().clone_into(&mut self.event_id);
            self.hear();
            tokio::task::yield_now().await;
        }
    }

    async fn read_socket(&mut self, mut socket: Socket) -> Lost {
        let stall = self.source.stall;
        if let Some(subscribe) = &self.source.subscribe {
            let sent = timeout(stall, socket.write_frame(first_message(subscribe))).await;
            if !matches!(sent, Ok(Ok(()))) {
                return Lost::new(Trouble::Broken, "it doesn't take the first message");
            }
        }
        let mut messages = Messages::new(self.source.post_bytes_max);
        loop {
            let heard = match self.wait(messages.read(&mut socket, stall)).await {
                Ok(heard) => heard,
                Err(lost) => return lost,
            };
            let at = self.moment();
            match heard {
                Heard::Message(message) => self.funnel.take(&message, at),
                Heard::TooLong => self.funnel.skip(),
                Heard::BadText => self.funnel.take(b"(no UTF-8)", at),
                Heard::Nothing => {}
            }
            self.hear();
        }
    }

    /// Waits for what is to come, and for the log meanwhile.
    async fn wait<T>(&mut self, for_it: impl Future<Output = T>) -> T {
        tokio::pin!(for_it);
        loop {
            tokio::select! {
                biased;
                it = &mut for_it => return it,
                Some(refused) = self.appends.join_next() => {
                    self.funnel.forget(refused.iter().flatten().map(|id| &**id));
                    self.flush();
                }
            }
        }
    }

    fn moment(&self) -> Moment {
        Moment { received_at: (self.around.clock)(), now: self.began.elapsed() }
    }

    /// Something has come, and has been through the funnel.
    fn hear(&mut self) {
        self.heard_at = Some(Instant::now());
        if self.posts_seen != self.funnel.posts() {
            self.posts_seen = self.funnel.posts();
            self.stats.note_post();
        }
        while let Some(refused) = self.appends.try_join_next() {
            self.funnel.forget(refused.iter().flatten().map(|id| &**id));
        }
        self.flush();
    }

    /// Hands what has gathered to the log. While that is behind, posts gather on, up to the bound
    /// of the funnel.
    fn flush(&mut self) {
        if self.appends.len() >= SOCIAL_APPENDS_MAX {
            return;
        }
        let events = self.funnel.batch();
        if !events.is_empty() {
            let append = Append::begin(&self.around.log, events, (self.around.clock)());
            self.appends.spawn(append.settle(Arc::clone(&self.stats)));
        }
    }
}

/// The next bytes, keep-alives included.
async fn chunk(body: &mut Response, stall: Duration) -> Result<Bytes, Lost> {
    match timeout(stall, body.chunk()).await {
        Err(_) => Err(Lost::new(Trouble::Stalled, format!("nothing has come for {stall:?}"))),
        Ok(Ok(Some(chunk))) => Ok(chunk),
        Ok(Ok(None)) => Err(Lost::new(Trouble::Ended, "it has ended the stream")),
        Ok(Err(error)) => Err(Lost::of(error)),
    }
}

fn first_message(text: &str) -> Frame<'static> {
    Frame::text(Payload::Owned(text.as_bytes().to_vec()))
}

fn is_whole(line: &[u8]) -> bool {
    line.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}
