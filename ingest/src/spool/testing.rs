//! A log in memory with moods, a clock that can be set, and where letters go: for the tests.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use touchline_core::dead::DeadLetter;
use touchline_core::event::Identity;
use touchline_core::log::{Epoch, LaneBounds, Looks, Position, ReadChunk, ReadError, Record};

use super::*;

pub(super) const SECOND_US: i64 = 1_000_000;
pub(super) const START: Timestamp = Timestamp(1_782_324_000 * SECOND_US);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Takes,
    Away,
    /// Says that it doesn't know, and has taken it all the same.
    Forgetful,
    /// Fails for events of this id only.
    Chokes(&'static str),
    /// Refuses events of this id for what they are, and takes the others.
    Refuses(&'static str),
    /// Says nothing before it is in another mood, and then what it would have said.
    Stalls,
}

/// How it reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Well,
    /// Fails for so many times.
    Fails(u32),
    /// Never says anything.
    Hangs,
}

/// A log of two lanes with a dedupe window of an hour.
pub(super) struct FakeLog {
    pub(super) inner: Mutex<Inside>,
    pub(super) lanes: usize,
}

pub(super) struct Inside {
    pub(super) mood: Mood,
    pub(super) appends: u64,
    pub(super) records: Vec<Vec<Record>>,
    pub(super) known: HashMap<Identity, (Timestamp, touchline_core::event::Content)>,
    pub(super) stalled: Vec<(Vec<Event>, Timestamp, AppendReply)>,
    pub(super) reading: Reading,
    pub(super) hanging: Vec<ReadReply>,
    /// Reads, of whatever came of them.
    pub(super) reads: u64,
    /// Of a log that others write to: how it looks ahead, and records of lane 0 that it knows
    /// nothing of before that.
    pub(super) looks: Option<Looks>,
    pub(super) unseen: usize,
}

impl FakeLog {
    pub(super) fn new(lanes: usize) -> Arc<Self> {
        let (mood, records) = (Mood::Takes, vec![Vec::new(); lanes]);
        let inside = Inside {
            mood,
            appends: 0,
            records,
            known: HashMap::new(),
            stalled: Vec::new(),
            reading: Reading::Well,
            hanging: Vec::new(),
            reads: 0,
            looks: None,
            unseen: 0,
        };
        Arc::new(Self { inner: Mutex::new(inside), lanes })
    }

    pub(super) fn set(&self, mood: Mood) {
        let mut inner = lock(&self.inner);
        inner.mood = mood;
        let stalled = std::mem::take(&mut inner.stalled);
        drop(inner);
        stalled.into_iter().for_each(|(events, at, reply)| self.append(events, at, reply));
    }

    /// Another node, or we ourselves, appends what nobody will remember.
    pub(super) fn forgets(&self, events: &[Event], at: Timestamp) {
        self.append(events.to_vec(), at, Box::new(drop));
        lock(&self.inner).known.clear();
    }

    /// Begins a question how far it reaches, or answers all that were begun.
    pub(super) fn look(&self, is_answer: bool) {
        let mut inner = lock(&self.inner);
        let mut looks = inner.looks.unwrap_or_default();
        match is_answer {
            true => looks.answered = looks.begun,
            false => looks.begun += 1,
        }
        inner.looks = Some(looks);
    }

    /// Waits for so many more appends.
    pub(super) fn is_tried(&self, times: u64) {
        let before = lock(&self.inner).appends;
        until("tried", || lock(&self.inner).appends >= before + times);
    }

    pub(super) fn ids(&self, lane: usize) -> Vec<String> {
        lock(&self.inner).records[lane].iter().map(|it| it.event.id.to_string()).collect()
    }
}

impl EventLog for FakeLog {
    fn append(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        let mut inner = lock(&self.inner);
        inner.appends += 1;
        let mood = inner.mood;
        let unknown = || Err(AppendError::Unknown("lost".into()));
        match mood {
            Mood::Away => return reply(Err(AppendError::Unreachable)),
            Mood::Stalls => return inner.stalled.push((events, received_at, reply)),
            Mood::Chokes(id) if events.iter().any(|it| &*it.id == id) => return reply(unknown()),
            _ => {}
        }
        let is_reused = |event: &Event| {
            inner.known.get(&event.identity()).is_some_and(|(_, known)| *known != event.content())
        };
        let reused = events.iter().enumerate().filter(|(_, it)| is_reused(it));
        let reused: Vec<usize> = reused.map(|(n, _)| n).collect();
        if !reused.is_empty() {
            return reply(Err(AppendError::IdReused(reused)));
        }
        let (mut outcomes, mut refused) = (Vec::new(), Vec::new());
        for (n, event) in events.into_iter().enumerate() {
            if matches!(mood, Mood::Refuses(id) if &*event.id == id) {
                refused.push(n);
                continue;
            }
            let lane = self.lane_of(&topic(&event));
            if inner.known.contains_key(&event.identity()) {
                outcomes.push(Outcome::Duplicate);
                continue;
            }
            inner.known.insert(event.identity(), (received_at, event.content()));
            let records = &mut inner.records[usize::from(lane.0)];
            let position = Position { lane, seq: records.len() as u64 };
            records.push(Record { position, received_at, event });
            outcomes.push(Outcome::Accepted(position));
        }
        drop(inner);
        reply(match mood {
            Mood::Forgetful => unknown(),
            _ if !refused.is_empty() => Err(AppendError::Refused(refused)),
            _ => Ok(outcomes),
        });
    }

    fn read(&self, request: ReadRequest, reply: ReadReply) {
        let mut inner = lock(&self.inner);
        inner.reads += 1;
        match inner.reading {
            Reading::Hangs => return inner.hanging.push(reply),
            Reading::Fails(times) if times > 0 => {
                inner.reading = Reading::Fails(times - 1);
                return reply(Err(ReadError::Busy));
            }
            Reading::Well | Reading::Fails(_) => {}
        }
        let Position { lane, seq } = request.from;
        let records = &inner.records[usize::from(lane.0)];
        let found: Vec<_> = records.iter().skip(seq as usize).take(3).cloned().collect();
        let next = seq + found.len() as u64;
        drop(inner);
        reply(Ok(ReadChunk { lane, from: seq, next, records: found, holes: Vec::new() }));
    }

    fn bounds(&self) -> LogBounds {
        let inner = lock(&self.inner);
        let whole = |it: &Vec<Record>| LaneBounds::whole(0, it.len() as u64);
        let mut lanes: Box<[_]> = inner.records.iter().map(whole).collect();
        lanes[0] = LaneBounds::whole(0, lanes[0].end - inner.unseen as u64);
        LogBounds { epoch: Epoch(1), lanes }
    }

    fn look_ahead(&self) -> bool {
        lock(&self.inner).looks.is_some()
    }

    fn looks(&self, _: Lane) -> Looks {
        lock(&self.inner).looks.unwrap_or_default()
    }

    fn lane_of(&self, topic: &Topic) -> Lane {
        Lane(u16::from(self.lanes > 1 && topic.route.as_str() == "che"))
    }

    fn health(&self) -> Result<(), LogHealthError> {
        match lock(&self.inner).mood {
            Mood::Away => Err(LogHealthError::Unreachable(Duration::from_secs(1), "".into())),
            _ => Ok(()),
        }
    }
}

#[derive(Default)]
pub(super) struct Letters(pub(super) Mutex<Vec<DeadLetter>>, pub(super) AtomicBool);

impl DeadLetters for Letters {
    fn park(&self, letter: DeadLetter) {
        lock(&self.0).push(letter);
    }

    /// Like a keeper whose disk fails: the letter is taken in once, and isn't kept for good before
    /// that is over.
    fn park_durably(&self, letter: DeadLetter, gives_up: &dyn Fn() -> bool) -> bool {
        self.park(letter);
        while self.1.load(Ordering::Relaxed) {
            if gives_up() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

pub(super) fn topic(event: &Event) -> Topic {
    Topic { stream: event.stream, route: event.route.clone(), lang: None }
}

pub(super) fn event(id: &str, team: &str) -> Event {
    Event { occurred_at: START, ..Event::sample(id, team) }
}

/// The log, its spool on a disk that outlives restarts, and a clock.
pub(super) struct Stage {
    pub(super) log: Arc<FakeLog>,
    pub(super) disk: Arc<FakeLog>,
    pub(super) letters: Arc<Letters>,
    pub(super) dir: tempfile::TempDir,
    pub(super) now: Arc<AtomicI64>,
    pub(super) bytes_max: u64,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self {
            log: FakeLog::new(2),
            disk: FakeLog::new(1),
            letters: Arc::default(),
            dir: tempfile::tempdir().unwrap(),
            now: Arc::new(AtomicI64::new(START.0)),
            bytes_max: 1 << 20,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::Relaxed))
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds * SECOND_US, Ordering::Relaxed);
    }

    pub(super) fn cursor_file(&self) -> std::path::PathBuf {
        Path::join(self.dir.path(), "cursor")
    }

    pub(super) fn open(&self) -> Arc<SpooledLog> {
        let now = Arc::clone(&self.now);
        let options = SpoolOptions {
            cursor_file: self.cursor_file(),
            bytes_max: self.bytes_max,
            age_max: Duration::from_secs(1_800),
            windows: [3600, 3600, 600, 60].map(Duration::from_secs),
            clock: Arc::new(move || Timestamp(now.load(Ordering::Relaxed))),
            needed_from: Arc::new(|_| {}),
        };
        let spooled =
            SpooledLog::open(self.log.clone(), self.disk.clone(), self.letters.clone(), options);
        spooled.unwrap()
    }

    pub(super) fn append(
        &self,
        log: &SpooledLog,
        events: &[Event],
    ) -> Result<Vec<Outcome>, AppendError> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let reply = Box::new(move |answer| drop(tell.try_send(answer)));
        log.append(events.to_vec(), self.now(), reply);
        told.recv_timeout(Duration::from_secs(5)).unwrap()
    }
}

pub(super) fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
