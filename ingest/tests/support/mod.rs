//! A webhook with a log in memory behind it, a clock that tests move, and a partner's hand to sign
//! with.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use touchline_core::dead::{DeadLetter, DeadLetters};
use touchline_core::event::{Content, Event, Identity, Topic};
use touchline_core::log::{
    AppendError, AppendReply, Epoch, EventLog, Lane, LaneBounds, LogBounds, LogHealthError,
    Outcome, Position, ReadError, ReadReply, ReadRequest,
};
use touchline_core::time::Timestamp;
use touchline_ingest::broadcast::{
    BroadcastOptions, BroadcastState, Partner, Secret, Sources, router, sign,
};
use tower::ServiceExt;

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const OTHER_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
pub const PATH: &str = "/v1/ingest/broadcast/skyline";
/// 2026-06-24T18:00:00Z
pub const NOW_S: i64 = 1_782_324_000;
/// R16: events older than an hour less 5 minutes are too old.
pub const TOO_OLD_S: i64 = 55 * 60;

/// What the log does with the next batches.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Takes them at once.
    Take,
    /// Takes them on another thread after a while, as a disk does.
    TakeLater(Duration),
    /// Refuses them all.
    Refuse(AppendError),
    /// Never calls back, but keeps the reply.
    Hang,
    /// Drops the reply.
    Forget,
}

/// A log in memory that keeps R14 to R16 as the journal does.
pub struct MemoryLog {
    inner: Mutex<Memory>,
}

pub struct Memory {
    pub mode: Mode,
    pub events: Vec<Event>,
    known: HashMap<Identity, Content>,
    hung: Vec<AppendReply>,
}

impl MemoryLog {
    pub fn new() -> Arc<Self> {
        let memory =
            Memory { mode: Mode::Take, events: vec![], known: HashMap::new(), hung: vec![] };
        Arc::new(Self { inner: Mutex::new(memory) })
    }

    pub fn set(&self, mode: Mode) {
        self.inner.lock().unwrap().mode = mode;
    }

    pub fn events(&self) -> Vec<Event> {
        self.inner.lock().unwrap().events.clone()
    }

    /// Answers what hung.
    pub fn let_go(&self) {
        let hung = std::mem::take(&mut self.inner.lock().unwrap().hung);
        for reply in hung {
            reply(Err(AppendError::Busy));
        }
    }
}

impl Memory {
    fn take(&mut self, events: Vec<Event>, now: Timestamp) -> Result<Vec<Outcome>, AppendError> {
        let mut known = self.known.clone();
        let mut reused = vec![];
        let mut outcomes = vec![];
        let mut fresh = vec![];
        for (index, event) in events.into_iter().enumerate() {
            match known.get(&event.identity()) {
                Some(content) if *content != event.content() => reused.push(index),
                Some(_) => outcomes.push(Outcome::Duplicate),
                None if event.occurred_at.0 < now.0 - TOO_OLD_S * 1_000_000 => {
                    outcomes.push(Outcome::TooOld);
                }
                None => {
                    let seq = (self.events.len() + fresh.len()) as u64;
                    known.insert(event.identity(), event.content());
                    outcomes.push(Outcome::Accepted(Position { lane: Lane(0), seq }));
                    fresh.push(event);
                }
            }
        }
        if !reused.is_empty() {
            return Err(AppendError::IdReused(reused));
        }
        self.known = known;
        self.events.extend(fresh);
        Ok(outcomes)
    }
}

/// So that a reply can come from another thread.
pub struct SharedLog(pub Arc<MemoryLog>);

impl EventLog for SharedLog {
    fn append(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        let mut memory = self.0.inner.lock().unwrap();
        match memory.mode.clone() {
            Mode::Take => {
                let result = memory.take(events, received_at);
                drop(memory);
                reply(result);
            }
            Mode::TakeLater(pause) => {
                let log = Arc::clone(&self.0);
                std::thread::spawn(move || {
                    std::thread::sleep(pause);
                    let result = log.inner.lock().unwrap().take(events, received_at);
                    reply(result);
                });
            }
            Mode::Refuse(error) => reply(Err(error)),
            Mode::Hang => memory.hung.push(reply),
            Mode::Forget => drop(reply),
        }
    }

    fn read(&self, _: ReadRequest, reply: ReadReply) {
        reply(Err(ReadError::Closed));
    }

    fn bounds(&self) -> LogBounds {
        LogBounds { epoch: Epoch(1), lanes: [LaneBounds::default()].into() }
    }

    fn lane_of(&self, _: &Topic) -> Lane {
        Lane(0)
    }

    fn health(&self) -> Result<(), LogHealthError> {
        Ok(())
    }
}

/// Dead letters in a list.
#[derive(Default)]
pub struct Letters(Mutex<Vec<DeadLetter>>);

impl Letters {
    pub fn all(&self) -> Vec<DeadLetter> {
        self.0.lock().unwrap().clone()
    }
}

impl DeadLetters for Letters {
    fn park(&self, letter: DeadLetter) {
        self.0.lock().unwrap().push(letter);
    }
}

/// The webhook of partner `skyline`, with a log, dead letters and a clock.
pub struct Desk {
    pub log: Arc<MemoryLog>,
    pub letters: Arc<Letters>,
    pub state: BroadcastState,
    clock: Arc<AtomicI64>,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub json: Json,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    pub fn tally(&self) -> (u64, u64, u64) {
        assert_eq!(self.status, 202, "{}", self.json);
        let count = |name: &str| self.json[name].as_u64().unwrap();
        (count("accepted"), count("duplicates"), count("too_old"))
    }
}

impl Desk {
    pub fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    pub fn with(
        options: impl FnOnce(&mut BroadcastOptions),
        partner: impl FnOnce(&mut Partner),
    ) -> Self {
        let clock = Arc::new(AtomicI64::new(NOW_S * 1_000_000));
        let read = Arc::clone(&clock);
        let mut all = BroadcastOptions {
            clock: Arc::new(move || Timestamp(read.load(Ordering::Relaxed))),
            ..Default::default()
        };
        options(&mut all);
        let mut skyline = Partner::new("skyline", &[SECRET]).unwrap();
        partner(&mut skyline);
        let log = MemoryLog::new();
        let sources = Sources::new([skyline]).unwrap();
        let letters = Arc::<Letters>::default();
        let shared = Arc::new(SharedLog(Arc::clone(&log)));
        let state = BroadcastState::new(shared, sources, all, letters.clone());
        Self { log, letters, state, clock }
    }

    pub fn advance_s(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    pub fn now_s(&self) -> i64 {
        self.clock.load(Ordering::Relaxed).div_euclid(1_000_000)
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = router(self.state.clone()).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&bytes).unwrap_or(Json::Null);
        Answer { status: head.status, headers: head.headers, json }
    }

    /// Signs `body` now and sends it.
    pub async fn post(&self, body: &Json) -> Answer {
        self.post_raw(body.to_string().as_bytes()).await
    }

    pub async fn post_raw(&self, body: &[u8]) -> Answer {
        self.send(self.signed(body)).await
    }

    pub fn signed(&self, body: &[u8]) -> Request<Body> {
        signed(SECRET, self.now_s(), body)
    }

    pub fn errors(&self, source: &str, reason: &str) -> u64 {
        let stats = self.state.stats();
        let stats = stats.iter().find(|stats| stats.source() == source).unwrap();
        stats.errors().find(|(name, _)| *name == reason).unwrap().1
    }
}

pub fn signed(secret: &str, at_s: i64, body: &[u8]) -> Request<Body> {
    let signature = sign(&Secret::parse(secret).unwrap(), "msg-1", at_s, body);
    Request::post(PATH)
        .header("content-type", "application/json")
        .header("webhook-id", "msg-1")
        .header("webhook-timestamp", at_s)
        .header("webhook-signature", signature)
        .body(Body::from(body.to_vec()))
        .unwrap()
}

pub fn event(id: &str) -> Json {
    json!({"id": id, "teams": ["ars", "che"], "type": "goal",
        "occurred_at": "2026-06-24T17:59:58Z", "data": {"minute": 12}})
}
