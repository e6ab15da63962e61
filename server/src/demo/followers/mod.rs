//! The crowd: real WebSocket clients that follow teams and come back when they are cut off.
//!
//! Where there are several nodes they are spread over them, and whoever is cut off comes back at
//! the next. A quarter of them follow all streams, the others what a client gets unasked.
//!
//! A follower is a task with a [`Line`](line::Line) and a [`Book`](book::Book), all of them on one
//! thread, so that they cost little and never compete with each other for the meter. Which teams it
//! follows is a matter of the seed: popularity falls off as Zipf says, so a few teams have most of
//! the followers.
//!
//! # Coming back
//! As the protocol asks: after anything but 4500 to 4999, after a random part of a pause that
//! doubles up to 30 s; after `reconnect`, after the time it named. It goes on with what its book
//! says, and counts duplicates, announced gaps and unannounced losses.
//!
//! # What is promised
//! Events of matches come once, all of them: a follower knows holes by their numbers, and when it
//! leaves it compares what it has with what the server has acknowledged. Of posts some may be left
//! out, which is counted as that; values are replaced by newer ones and are not counted.

mod book;
mod line;
mod numbers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use touchline_core::event::{Stream, Team};
use touchline_core::ws::close::CloseCode;

use super::Stop;
use super::meter::Meter;
use crate::limits::demo::{
    CONNECT_WAIT_MAX, CONNECTS_MAX, FOLLOWED_TEAMS_MAX, FOLLOWS_ALL_ONE_IN, NODES_MAX,
    RECONNECT_WAIT_MAX, RECONNECT_WAIT_MIN, SILENT_HEARTBEATS_MAX,
};
use book::{Book, Meaning};
use line::{Incoming, Line, LineError};

/// For whoever follows more than a client gets unasked.
const ALL_STREAMS: &str = "&streams=broadcast,update,social,sensor";

/// Who follows what, and where.
#[derive(Clone, Debug)]
pub struct FollowersOptions {
    /// The stream port of each node, [`NODES_MAX`] at most.
    pub addresses: Vec<SocketAddr>,
    /// How many.
    pub count: usize,
    /// The most popular first.
    pub teams: Vec<Team>,
    /// Decides who follows what.
    pub seed: u64,
}

/// The followers' thread.
#[derive(Debug)]
pub struct Followers {
    thread: JoinHandle<()>,
}

impl Followers {
    /// Lets them come, [`CONNECTS_MAX`] at a time.
    ///
    /// # Errors
    /// When the system gives no thread or no event loop.
    pub fn start(options: FollowersOptions, meter: Meter, stop: Stop) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || runtime.block_on(follow(options, meter, stop));
        let thread = std::thread::Builder::new().name("followers".into()).spawn(run)?;
        Ok(Self { thread })
    }

    /// Waits for them to leave; they do so within a moment once their `stop` says so.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the followers' thread has panicked");
        }
    }
}

async fn follow(options: FollowersOptions, meter: Meter, mut stop: Stop) {
    let doors = Arc::new(Semaphore::new(CONNECTS_MAX));
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut followers = JoinSet::new();
    let nodes: Arc<[SocketAddr]> = options.addresses.iter().take(NODES_MAX).copied().collect();
    for n in 0..options.count {
        let follower = Follower {
            node: n % nodes.len().max(1),
            nodes: Arc::clone(&nodes),
            follows_all: n % FOLLOWS_ALL_ONE_IN == FOLLOWS_ALL_ONE_IN - 1,
            teams: choose(&options.teams, &mut rng),
            book: Book::default(),
            meter: meter.clone(),
            doors: doors.clone(),
            heartbeat: Duration::from_secs(25),
            hint: None,
            since: None,
        };
        followers.spawn(follower.live(stop.clone()));
    }
    while followers.join_next().await.is_some() {}
    stop.stopped().await;
}

/// One to three different teams, by Zipf: the nth is followed half as often as the one at half of
/// n.
fn choose(teams: &[Team], rng: &mut StdRng) -> String {
    let weights = (1..=teams.len()).map(|rank| 1.0 / rank as f64);
    let Ok(zipf) = WeightedIndex::new(weights) else { return String::new() };
    let count = rng.random_range(1..=FOLLOWED_TEAMS_MAX.min(teams.len()));
    let mut chosen: Vec<usize> = (0..count).map(|_| zipf.sample(rng)).collect();
    chosen.sort_unstable();
    chosen.dedup();
    let names: Vec<&str> = chosen.into_iter().map(|n| teams[n].as_str()).collect();
    names.join(",")
}

struct Follower {
    nodes: Arc<[SocketAddr]>,
    /// Where it is, or tries next.
    node: usize,
    follows_all: bool,
    teams: String,
    book: Book,
    meter: Meter,
    doors: Arc<Semaphore>,
    heartbeat: Duration,
    /// What the server asked it to wait.
    hint: Option<Duration>,
    /// When it was first told that it follows.
    since: Option<Instant>,
}

impl Follower {
    async fn live(mut self, mut stop: Stop) {
        self.come_and_go(&mut stop).await;
        let owed = self.meter.ledger(|ledger| {
            let games = ledger.settled(&self.teams, self.since, Instant::now());
            games.map(|it| self.book.owed(it.name, it.first, it.last)).sum::<u64>()
        });
        self.meter.count(|totals| totals.owed += owed);
    }

    async fn come_and_go(&mut self, stop: &mut Stop) {
        let mut pause = RECONNECT_WAIT_MIN;
        while !stop.is_stopped() {
            let mut got_in = false;
            let error = self.connection(stop, &mut got_in).await;
            let Err(error) = error else { return };
            if is_final(&error) {
                self.meter.count(|totals| totals.trouble = Some(format!("a follower was {error}")));
                return;
            }
            if got_in {
                pause = RECONNECT_WAIT_MIN;
            }
            let wait = self.hint.take().unwrap_or_else(|| wait(&error, pause));
            if stop.sleep(wait.min(RECONNECT_WAIT_MAX)).await {
                return;
            }
            pause = (pause * 2).min(RECONNECT_WAIT_MAX);
            self.node = (self.node + 1) % self.nodes.len();
            self.meter.count(|totals| totals.reconnects += 1);
        }
    }

    /// One connection from its handshake to its end. `Ok` when it was told to stop.
    async fn connection(&mut self, stop: &mut Stop, got_in: &mut bool) -> Result<(), LineError> {
        let streams = if self.follows_all { ALL_STREAMS } else { "" };
        let target = format!("/v1/stream?teams={}{streams}{}", self.teams, self.book.query());
        let Some(address) = self.nodes.get(self.node).copied() else { return Ok(()) };
        let mut line = {
            let doors = self.doors.clone();
            let open = async {
                // The semaphore lives as long as its followers and is never closed.
                let _door = doors.acquire().await;
                timed(CONNECT_WAIT_MAX, Line::open(address, &target)).await
            };
            tokio::select! {
                line = open => line?,
                () = stop.stopped() => return Ok(()),
            }
        };
        *got_in = true;
        self.meter.count(|totals| totals.sockets[self.node] += 1);
        let ended = self.listen(&mut line, stop).await;
        self.meter.count(|totals| totals.sockets[self.node] -= 1);
        ended
    }

    async fn listen(&mut self, line: &mut Line, stop: &mut Stop) -> Result<(), LineError> {
        let mut pong: Option<Vec<u8>> = None;
        loop {
            let silence = self.heartbeat * SILENT_HEARTBEATS_MAX as u32;
            let receive = line.receive(|incoming| self.take(incoming, &mut pong));
            tokio::select! {
                received = timed(silence, receive) => received?,
                () = stop.stopped() => {
                    line.close(CloseCode::GoingAway.number());
                    return Ok(());
                }
            }
            if let Some(payload) = pong.take() {
                line.pong(&payload).await?;
            }
        }
    }

    fn take(
        &mut self,
        incoming: Incoming<'_>,
        pong: &mut Option<Vec<u8>>,
    ) -> Result<(), LineError> {
        match incoming {
            Incoming::Ping(payload) => *pong = Some(payload.to_vec()),
            Incoming::Close(code) => return Err(LineError::Closed(code)),
            Incoming::Text(text) => match self.book.handle(text) {
                Some(meaning) => self.note(meaning),
                None => return Err(LineError::Protocol("a message that is none of ours")),
            },
        }
        Ok(())
    }

    fn note(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Event { id, stream, missing } => {
                self.meter.received(&id);
                let is_post = stream == Some(Stream::Social);
                self.meter.count(|totals| {
                    let missed = match is_post {
                        true => &mut totals.left_out,
                        false => &mut totals.missing,
                    };
                    *missed = missed.saturating_add_signed(missing);
                    totals.posts += u64::from(is_post);
                    totals.values += u64::from(stream == Some(Stream::Sensor));
                });
            }
            Meaning::Duplicate => self.meter.count(|totals| totals.duplicates += 1),
            Meaning::Gap => self.meter.count(|totals| totals.gaps += 1),
            Meaning::Heartbeat { every_s: Some(every_s) } => {
                self.heartbeat = Duration::from_secs(every_s.max(1));
            }
            Meaning::Reconnect(after_ms) => self.hint = Some(Duration::from_millis(after_ms)),
            Meaning::Error(code) => {
                self.meter.count(|totals| totals.trouble = Some(format!("a follower got {code}")));
            }
            Meaning::Subscribed(_) => drop(self.since.get_or_insert_with(Instant::now)),
            Meaning::Heartbeat { every_s: None } | Meaning::Other => {}
        }
    }
}

/// Closes after which coming back would change nothing.
fn is_final(error: &LineError) -> bool {
    matches!(error, LineError::Closed(4500..=4999))
}

/// A random part of `pause`; 1012 asks for 5 to 30 s.
fn wait(error: &LineError, pause: Duration) -> Duration {
    let mut rng = rand::rng();
    match error {
        LineError::Closed(1012) => Duration::from_millis(rng.random_range(5_000..=30_000)),
        _ => pause.mul_f64(rng.random()),
    }
}

async fn timed<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, LineError>>,
) -> Result<T, LineError> {
    let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late().into()))
}

#[cfg(test)]
mod tests;
