//! The task that follows one source: connect, read, publish, wait, again.

mod turns;

use std::sync::Arc;

use reqwest::Response;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::backoff::{Backoff, Cause};
use super::connect::{Connector, Lost, Opened, Token};
use super::events::{Events, Found};
use super::funnel::{Funnel, Moment};
use super::lines::{Ends, Lines, Piece};
use super::pieces::{chunk, first_message, is_whole};
use super::place::{Mark, Place};
use super::place_file::PlaceFile;
use super::publish::{Append, Left};
use super::stats::{SocialStats, Trouble};
use super::websocket::{Heard, Messages, Socket};
use super::{Rewind, SocialKind, SocialSource};
use crate::limits::{BACKFILL_MINUTES_MAX, SOCIAL_APPENDS_MAX, SOCIAL_GATHER};
use crate::outbound::Surroundings;

/// What an append came to: its number, and what of it the log has not taken.
type Settled = (u64, Left);

/// Where the place is kept, if it is.
pub(super) struct Keeps {
    /// Read at the start.
    pub file: Option<PlaceFile>,
    /// Written down as it comes.
    pub marks: watch::Sender<Option<Mark>>,
}

/// Follows one source.
pub(super) struct Follower {
    source: SocialSource,
    connector: Arc<Connector>,
    funnel: Funnel,
    backoff: Backoff,
    around: Surroundings,
    stats: Arc<SocialStats>,
    /// Appends under way.
    appends: JoinSet<Settled>,
    /// What gathers until then goes with one append.
    flush_at: Instant,
    place: Place,
    keeps: Keeps,
    /// Nobody here knows since when nothing was heard: as far back as it may be.
    asks_all_minutes: bool,
    began: Instant,
    heard_at: Option<Instant>,
    posts_seen: u64,
    /// Of server-sent events.
    event_id: String,
}

impl Follower {
    pub fn new(
        source: SocialSource,
        connector: Arc<Connector>,
        funnel: Funnel,
        stats: Arc<SocialStats>,
        around: Surroundings,
        keeps: Keeps,
    ) -> Self {
        Self {
            place: Place::new(None, Instant::now()),
            keeps,
            asks_all_minutes: false,
            backoff: Backoff::new(source.backoff),
            source,
            connector,
            funnel,
            around,
            stats,
            appends: JoinSet::new(),
            flush_at: Instant::now(),
            began: Instant::now(),
            heard_at: None,
            posts_seen: 0,
            event_id: String::new(),
        }
    }

    fn go_back_to(&mut self, id: &str) {
        id.clone_into(&mut self.event_id);
        self.funnel.set_last_id(id);
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
        if let Some(mark) = self.place.go_back() {
            self.go_back_to(&mark.id);
            self.asks_all_minutes = true;
        }
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
                let all = self.asks_all_minutes.then_some(BACKFILL_MINUTES_MAX);
                token.minutes = all.or(minutes).map(|minutes| minutes.min(BACKFILL_MINUTES_MAX));
            }
        }
        token
    }

    async fn read(&mut self, opened: Opened) -> Lost {
        let at = Instant::now();
        self.stats.set_connected(true);
        self.asks_all_minutes = false;
        tracing::info!(source = &*self.source.name, "a stream is open");
        let lost = match (opened, self.source.kind) {
            (Opened::Body(body), SocialKind::Events) => self.read_events(body).await,
            (Opened::Body(body), _) => self.read_lines(body).await,
            (Opened::Socket(socket), _) => self.read_socket(*socket).await,
        };
        self.append();
        self.stats.set_connected(false);
        // A quiet stream is good as well; one that has stalled was, until it was last heard.
        let good_until = match lost.trouble {
            Trouble::Stalled => self.heard_at,
            _ => Some(Instant::now()),
        };
        if good_until.is_some_and(|until| until >= at + self.source.backoff.good_after) {
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
                Some(settled) = self.appends.join_next() => {
                    self.settle(settled);
                    self.flush();
                }
                () = sleep_until(self.flush_at), if self.may_append() => self.append(),
                () = sleep_until(self.place.due().unwrap_or(self.began)),
                    if self.place.due().is_some() => self.keep(),
            }
        }
    }

    fn moment(&self) -> Moment {
        Moment { received_at: (self.around.clock)(), now: self.began.elapsed() }
    }

    /// Something has come, and has been through the funnel.
    fn hear(&mut self) {
        self.heard_at = Some(Instant::now());
        if self.source.rewind != Rewind::None {
            self.place.hear();
        }
        if self.posts_seen != self.funnel.posts() {
            self.posts_seen = self.funnel.posts();
            self.stats.note_post();
        }
        while let Some(settled) = self.appends.try_join_next() {
            self.settle(settled);
        }
        self.flush();
        if self.place.due().is_some_and(|due| due <= Instant::now()) {
            self.keep();
        }
    }

    fn settle(&mut self, settled: Result<Settled, JoinError>) {
        // Of one that panicked nobody knows: its number stays, and the place stays before it.
        let Ok((number, Left { refused, unfit })) = settled else { return };
        self.funnel.forget(refused.iter().map(|id| &**id));
        // What never will be taken holds no place back, and is a repeat when it comes again.
        let now = self.began.elapsed();
        unfit.into_iter().for_each(|letter| self.funnel.keep(letter, now));
        let safe = self.place.settle(number, refused.is_empty(), Instant::now());
        self.write_down(safe);
    }

    /// Notes where the stream is, for when the log has all of it.
    fn keep(&mut self) {
        let Some(heard_at) = self.heard_at else { return };
        self.append();
        let id = match self.source.rewind {
            Rewind::None | Rewind::BackfillMinutes => String::new(),
            Rewind::LastEventId if self.source.kind == SocialKind::Events => self.event_id.clone(),
            Rewind::LastEventId | Rewind::SinceId => self.funnel.last_id().to_owned(),
        };
        let by_time = self.source.rewind == Rewind::BackfillMinutes;
        let is_place = self.funnel.is_empty() && (by_time || !id.is_empty());
        let at = (self.around.clock)().minus(heard_at.elapsed());
        let mark = is_place.then_some(Mark { id, at });
        let safe = self.place.propose(mark, Instant::now());
        self.write_down(safe);
    }

    fn write_down(&self, safe: Option<Mark>) {
        let is_news = |before: &Option<Mark>| {
            let same = before.as_ref().zip(safe.as_ref()).is_some_and(|(a, b)| a.id == b.id);
            self.source.rewind == Rewind::BackfillMinutes || !same
        };
        // A place that is kept already costs no write.
        if safe.is_some() && is_news(&self.keeps.marks.borrow()) {
            self.keeps.marks.send_replace(safe);
        }
    }

    /// Appends if it is time, or much has gathered.
    fn flush(&mut self) {
        if self.flush_at <= Instant::now() || self.funnel.is_half_full() {
            self.append();
        }
    }

    /// While the log is behind, posts gather on, up to the bound of the funnel.
    fn may_append(&self) -> bool {
        !self.funnel.is_empty() && self.appends.len() < SOCIAL_APPENDS_MAX
    }

    /// Hands what has gathered to the log.
    fn append(&mut self) {
        if self.may_append() {
            let events = self.funnel.batch();
            self.flush_at = Instant::now() + SOCIAL_GATHER;
            let (number, stats) = (self.place.begin(), Arc::clone(&self.stats));
            let append = Append::begin(&self.around.log, events, (self.around.clock)());
            self.appends.spawn(async move { (number, append.settle(stats).await) });
        }
    }
}
