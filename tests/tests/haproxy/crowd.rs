//! Nine thousand clients as docs/protocol.md wants them: each follows one team, keeps its mark and
//! its last position, comes back when its line is gone, and notices whatever is missing, comes
//! twice or stands elsewhere than the others saw it.
//!
//! They come from ninety addresses of this host, a hundred from each, and live as tasks on two
//! threads: that keeps them cheap, and their descriptors in one table.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use touchline_tests::e2e::socket::{client_frame, upgrade};

/// Teams; each client follows one of them.
pub const TEAMS: usize = 30;
/// Addresses that clients come from.
pub const ADDRESSES: usize = 90;

/// Handshakes under way at once.
const CONNECTING_MAX: usize = 128;
/// A line that says nothing for longer is dead: heartbeats come every 25 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What all clients share.
pub struct Ledger {
    /// By team: the position of each event, as the first client saw it.
    positions: Vec<Mutex<Vec<String>>>,
    /// How many of each team have had so many events, at the end.
    heard: Vec<AtomicUsize>,
    /// Clients that are connected and subscribed.
    pub inside: AtomicUsize,
    /// Events that came, all clients together.
    pub events: AtomicU64,
    /// Resumes, and closes with 1012.
    pub resumes: AtomicU64,
    /// Sessions that were told to leave.
    pub told: AtomicU64,
    /// Connections that were refused or lost before they were sessions.
    pub failures: AtomicU64,
    /// What must not be.
    pub broken: Mutex<Vec<String>>,
    is_over: AtomicBool,
    connecting: Semaphore,
}

/// The clients, running.
pub struct Crowd {
    runtime: Option<Runtime>,
    /// What they have seen.
    pub ledger: Arc<Ledger>,
    size: usize,
}

impl Crowd {
    /// Lets `size` of them follow at `to`.
    pub fn start(to: SocketAddr, size: usize) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().expect("threads");
        let ledger = Arc::new(Ledger {
            positions: (0..TEAMS).map(|_| Mutex::default()).collect(),
            heard: (0..size).map(|_| AtomicUsize::new(0)).collect(),
            inside: AtomicUsize::new(0),
            events: AtomicU64::new(0),
            resumes: AtomicU64::new(0),
            told: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            broken: Mutex::default(),
            is_over: AtomicBool::new(false),
            connecting: Semaphore::new(CONNECTING_MAX),
        });
        for number in 0..size {
            let client = Client {
                number,
                to,
                mark: None,
                last: None,
                next: 0,
                ledger: Arc::clone(&ledger),
                is_inside: false,
            };
            runtime.spawn(client.run());
        }
        Self { runtime: Some(runtime), ledger, size }
    }

    /// Whether all of them are sessions now.
    pub fn is_whole(&self) -> bool {
        self.check();
        self.ledger.inside.load(Relaxed) == self.size
    }

    /// Whether each has had as many events of its team as `sent` says.
    pub fn has_had(&self, sent: &[usize]) -> bool {
        self.check();
        let had = |(n, heard): (usize, &AtomicUsize)| heard.load(Relaxed) == sent[n % TEAMS];
        self.ledger.heard.iter().enumerate().all(had)
    }

    /// Fails with the first of what must not be.
    pub fn check(&self) {
        let broken = lock(&self.ledger.broken);
        assert!(broken.is_empty(), "{} times, the first: {}", broken.len(), broken[0]);
    }

    /// Numbers, for a person.
    pub fn figures(&self) -> String {
        let Ledger { inside, events, resumes, told, failures, .. } = &*self.ledger;
        format!(
            "{} inside, {} events, {} resumes, {} told to leave, {} refused or lost",
            inside.load(Relaxed),
            events.load(Relaxed),
            resumes.load(Relaxed),
            told.load(Relaxed),
            failures.load(Relaxed),
        )
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.ledger.is_over.store(true, Relaxed);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of a team by its number.
pub fn team(number: usize) -> String {
    format!("t{:02}", number % TEAMS)
}

struct Client {
    number: usize,
    to: SocketAddr,
    mark: Option<String>,
    /// Topic and position of its last event since the mark.
    last: Option<(String, String)>,
    /// Events it has had, which is the number of the next.
    next: usize,
    ledger: Arc<Ledger>,
    is_inside: bool,
}

/// What a connection has come to.
enum End {
    /// Its line is gone, or it was refused.
    Lost,
    /// It was told when to come back.
    Told(Duration),
}

impl Client {
    async fn run(mut self) {
        let mut failures = 0u32;
        while !self.ledger.is_over.load(Relaxed) {
            let end = self.connect_once().await;
            let was_inside = std::mem::take(&mut self.is_inside);
            if was_inside {
                self.ledger.inside.fetch_sub(1, Relaxed);
                failures = 0;
            } else {
                self.ledger.failures.fetch_add(1, Relaxed);
                failures = (failures + 1).min(3);
            }
            let pause = match end {
                End::Told(after) => after,
                // Spread over two seconds, then four, then eight.
                End::Lost => {
                    let most = 1_000u64 << (failures + 1).min(3);
                    Duration::from_millis(rand::rng().random_range(100..most))
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection, from its handshake to its end.
    async fn connect_once(&mut self) -> End {
        let ledger = Arc::clone(&self.ledger);
        let permit = ledger.connecting.acquire().await;
        let Ok(mut stream) = self.dial().await else { return End::Lost };
        if stream.write_all(upgrade(&self.query(), "").as_bytes()).await.is_err() {
            return End::Lost;
        }
        let mut permit = Some(permit);
        let (mut buffer, mut is_upgraded) = (Vec::with_capacity(1_024), false);
        let mut told = None;
        let mut chunk = [0u8; 4 * 1_024];
        loop {
            let read = tokio::time::timeout(SILENCE_MAX, stream.read(&mut chunk)).await;
            let Ok(Ok(count @ 1..)) = read else { break };
            buffer.extend_from_slice(&chunk[..count]);
            if !is_upgraded {
                let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
                    continue;
                };
                if !buffer.starts_with(b"HTTP/1.1 101") {
                    break;
                }
                buffer.drain(..end + 4);
                is_upgraded = true;
            }
            while let Some((first, payload)) = take_frame(&mut buffer) {
                match first {
                    0x81 => self.take(&payload, &mut told),
                    0x89 => {
                        let _ = stream.write_all(&client_frame(0x8a, &payload)).await;
                    }
                    0x88 => {
                        let _ = stream.write_all(&client_frame(0x88, &payload)).await;
                        self.judge_close(&payload);
                        return told.map_or(End::Lost, End::Told);
                    }
                    other => self.break_rule(format!("a frame that begins with {other:#x}")),
                }
            }
            if self.is_inside {
                permit = None;
            }
        }
        drop(permit);
        told.map_or(End::Lost, End::Told)
    }

    async fn dial(&self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        let host = (self.number % ADDRESSES) as u8 + 1;
        socket.bind((IpAddr::V4(Ipv4Addr::new(127, 0, 1, host)), 0).into())?;
        let connected = tokio::time::timeout(Duration::from_secs(10), socket.connect(self.to));
        connected.await.map_err(|_| std::io::ErrorKind::TimedOut)?
    }

    fn query(&self) -> String {
        let mut query = format!("teams={}&streams=broadcast", team(self.number));
        if let Some(mark) = &self.mark {
            query.push_str(&format!("&mark={mark}"));
        }
        if let Some((topic, position)) = &self.last {
            query.push_str(&format!("&after={topic}~{position}"));
        }
        query
    }

    fn take(&mut self, text: &[u8], told: &mut Option<Duration>) {
        let Ok(json) = serde_json::from_slice::<Value>(text) else {
            return self.break_rule("a text that isn't JSON".into());
        };
        match json["op"].as_str() {
            Some("event") => self.take_event(&json),
            Some("subscribed") => {
                if self.mark.is_some() {
                    self.ledger.resumes.fetch_add(1, Relaxed);
                    if json["recovered"] != true {
                        self.break_rule(format!("not recovered: {json}"));
                    }
                }
                self.mark = json["mark"].as_str().map(str::to_owned);
                self.is_inside = true;
                self.ledger.inside.fetch_add(1, Relaxed);
            }
            Some("mark") => self.mark = json["mark"].as_str().map(str::to_owned),
            Some("reconnect") => {
                self.ledger.told.fetch_add(1, Relaxed);
                *told = json["after_ms"].as_u64().map(Duration::from_millis);
            }
            Some("hello" | "status") => {}
            _ => self.break_rule(json.to_string()),
        }
    }

    /// The next of its team, at the position that everybody saw it at.
    fn take_event(&mut self, json: &Value) {
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let position = text("pos");
        if json["data"]["n"].as_u64() != Some(self.next as u64) {
            let number = self.next;
            return self.break_rule(format!("event {number} was awaited, and this came: {json}"));
        }
        let is_agreed = {
            let mut positions = lock(&self.ledger.positions[self.number % TEAMS]);
            match positions.get(self.next) {
                Some(seen) => *seen == position,
                None => {
                    let is_new = !positions.contains(&position);
                    positions.push(position.clone());
                    is_new
                }
            }
        };
        if !is_agreed {
            return self.break_rule(format!("elsewhere than others saw it: {json}"));
        }
        self.last = Some((text("topic"), position));
        self.next += 1;
        self.ledger.heard[self.number].store(self.next, Relaxed);
        self.ledger.events.fetch_add(1, Relaxed);
    }

    fn judge_close(&self, payload: &[u8]) {
        let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        if code != 1012 {
            self.break_rule(format!("closed with {code}"));
        }
    }

    fn break_rule(&self, what: String) {
        lock(&self.ledger.broken).push(format!("client {}: {what}", self.number));
    }
}

/// The first whole frame; servers don't mask.
fn take_frame(buffer: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (first, second) = (*buffer.first()?, *buffer.get(1)?);
    let (head, len) = match second {
        126 => (4, usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    let payload = buffer.get(head..head + len)?.to_vec();
    buffer.drain(..head + len);
    Some((first, payload))
}
