//! What goes through the spool enters the log once, in order, whatever happens on the way.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use touchline_core::dead::DeadLetter;
use touchline_core::event::{Identity, Route};
use touchline_core::log::{Epoch, LaneBounds, Position, ReadChunk, Record};

use super::*;

const SECOND_US: i64 = 1_000_000;
const START: Timestamp = Timestamp(1_782_324_000 * SECOND_US);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Takes,
    Away,
    /// Says that it doesn't know, and has taken it all the same.
    Forgetful,
    /// Fails for events of this id only.
    Chokes(&'static str),
}

/// A log of two lanes with a dedupe window of an hour.
struct FakeLog {
    inner: Mutex<Inside>,
    lanes: usize,
}

struct Inside {
    mood: Mood,
    records: Vec<Vec<Record>>,
    known: HashMap<Identity, (Timestamp, touchline_core::event::Content)>,
}

impl FakeLog {
    fn new(lanes: usize) -> Arc<Self> {
        let (mood, records) = (Mood::Takes, vec![Vec::new(); lanes]);
        Arc::new(Self { inner: Mutex::new(Inside { mood, records, known: HashMap::new() }), lanes })
    }

    fn set(&self, mood: Mood) {
        lock(&self.inner).mood = mood;
    }

    fn ids(&self, lane: usize) -> Vec<String> {
        lock(&self.inner).records[lane].iter().map(|it| it.event.id.to_string()).collect()
    }
}

impl EventLog for FakeLog {
    fn append(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        let mut inner = lock(&self.inner);
        let mood = inner.mood;
        let unknown = || Err(AppendError::Unknown("lost".into()));
        match mood {
            Mood::Away => return reply(Err(AppendError::Unreachable)),
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
        let mut outcomes = Vec::new();
        for event in events {
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
        reply(if mood == Mood::Forgetful { unknown() } else { Ok(outcomes) });
    }

    fn read(&self, request: ReadRequest, reply: ReadReply) {
        let inner = lock(&self.inner);
        let Position { lane, seq } = request.from;
        let records = &inner.records[usize::from(lane.0)];
        let few = if request.bytes_max == 1 { 1 } else { 3 };
        let found: Vec<_> = records.iter().skip(seq as usize).take(few).cloned().collect();
        let next = seq + found.len() as u64;
        drop(inner);
        reply(Ok(ReadChunk { lane, from: seq, next, records: found, holes: Vec::new() }));
    }

    fn bounds(&self) -> LogBounds {
        let inner = lock(&self.inner);
        let whole = |it: &Vec<Record>| LaneBounds::whole(0, it.len() as u64);
        LogBounds { epoch: Epoch(1), lanes: inner.records.iter().map(whole).collect() }
    }

    fn lane_of(&self, topic: &Topic) -> Lane {
        Lane(u16::from(self.lanes > 1 && topic.route.as_str() == "che"))
    }

    fn health(&self) -> Result<(), LogHealthError> {
        match lock(&self.inner).mood {
            Mood::Away => Err(LogHealthError::Unreachable(Duration::from_secs(1))),
            _ => Ok(()),
        }
    }
}

#[derive(Default)]
struct Letters(Mutex<Vec<DeadLetter>>);

impl DeadLetters for Letters {
    fn park(&self, letter: DeadLetter) {
        lock(&self.0).push(letter);
    }
}

fn topic(event: &Event) -> Topic {
    Topic { stream: event.stream, route: event.route.clone(), lang: None }
}

fn event(id: &str, team: &str) -> Event {
    Event {
        stream: Stream::Broadcast,
        source: "skyline".into(),
        id: id.into(),
        route: Route::parse(team).unwrap(),
        kind: "goal".into(),
        occurred_at: START,
        data: Bytes::from_static(b"{}"),
        lang: None,
        supersedes: None,
        sensor: None,
        correlation: "c".into(),
    }
}

/// The log, its spool on a disk that outlives restarts, and a clock.
struct Stage {
    log: Arc<FakeLog>,
    disk: Arc<FakeLog>,
    letters: Arc<Letters>,
    dir: tempfile::TempDir,
    now: Arc<AtomicI64>,
    bytes_max: u64,
}

impl Stage {
    fn new() -> Self {
        Self {
            log: FakeLog::new(2),
            disk: FakeLog::new(1),
            letters: Arc::default(),
            dir: tempfile::tempdir().unwrap(),
            now: Arc::new(AtomicI64::new(START.0)),
            bytes_max: 1 << 20,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::Relaxed))
    }

    fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds * SECOND_US, Ordering::Relaxed);
    }

    fn cursor_file(&self) -> std::path::PathBuf {
        Path::join(self.dir.path(), "cursor")
    }

    fn open(&self) -> Arc<SpooledLog> {
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

    fn append(&self, log: &SpooledLog, events: &[Event]) -> Result<Vec<Outcome>, AppendError> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let reply = Box::new(move |answer| drop(tell.try_send(answer)));
        log.append(events.to_vec(), self.now(), reply);
        told.recv_timeout(Duration::from_secs(5)).unwrap()
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn events_wait_on_disk_while_brokers_are_away_and_enter_the_log_in_order() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    stage.log.set(Mood::Away);
    for id in ["2", "3", "4", "5", "6"] {
        let outcomes = stage.append(&spooled, &[event(id, "ars")]);
        assert_eq!(outcomes, Ok(vec![Outcome::Spooled]));
    }
    assert_eq!(stage.log.ids(0), ["1"], "nobody sees what has no position");
    assert_eq!(spooled.stats().events, 5);
    assert!(spooled.health().is_ok(), "sources are served");
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert_eq!(stage.log.ids(0), ["1", "2", "3", "4", "5", "6"]);
    let outcomes = stage.append(&spooled, &[event("7", "ars")]).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Accepted(_)]), "straight through again");
}

#[test]
fn a_lane_waits_behind_its_own_spool_and_not_behind_another() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    // Brokers are back, and the first of the spool doesn't get through yet.
    stage.log.set(Mood::Chokes("1"));
    assert_eq!(stage.append(&spooled, &[event("2", "ars")]), Ok(vec![Outcome::Spooled]));
    let other = stage.append(&spooled, &[event("3", "che")]).unwrap();
    assert!(matches!(other[..], [Outcome::Accepted(_)]));
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert_eq!(
        (stage.log.ids(0), stage.log.ids(1)),
        (vec!["1".into(), "2".into()], vec!["3".into()])
    );
}

#[test]
fn fault_36_a_replay_takes_no_place_in_the_spool_and_waits_behind_its_lane() {
    let stage = Stage::new();
    let spooled = stage.open();
    let replay = |id: &str, team: &str| {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let reply = Box::new(move |answer| drop(tell.try_send(answer)));
        spooled.append_again(vec![event(id, team)], stage.now(), reply);
        told.recv_timeout(Duration::from_secs(5)).unwrap()
    };
    stage.log.set(Mood::Away);
    assert_eq!(replay("1", "ars"), Err(AppendError::Unreachable));
    assert_eq!(spooled.stats().events, 0);
    stage.append(&spooled, &[event("2", "ars")]).unwrap();
    stage.log.set(Mood::Chokes("2"));
    assert_eq!(replay("1", "ars"), Err(AppendError::Unreachable), "behind what was taken");
    assert!(matches!(replay("3", "che").unwrap()[..], [Outcome::Accepted(_)]));
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert!(matches!(replay("1", "ars").unwrap()[..], [Outcome::Accepted(_)]));
}

#[test]
fn a_spool_survives_its_process_and_repeats_nothing() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    for n in 0..20 {
        stage.append(&spooled, &[event(&n.to_string(), "ars")]).unwrap();
    }
    assert_eq!(spooled.close(), 20, "and says so");
    // As after kill -9 in the middle of a drain: some are in the log, the cursor knows of none.
    stage.log.set(Mood::Takes);
    for n in 0..7 {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let reply = Box::new(move |answer| drop(tell.try_send(answer)));
        stage.log.append(vec![event(&n.to_string(), "ars")], START, reply);
        told.recv().unwrap().unwrap();
    }
    let spooled = stage.open();
    until("drained", || spooled.stats().events == 0);
    let all: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(stage.log.ids(0), all);
    assert_eq!(spooled.stats().duplicates, 7);
    spooled.close();
    // A third life finds nothing to do.
    let spooled = stage.open();
    assert_eq!(spooled.stats().events, 0);
    assert_eq!(stage.log.ids(0), all);
}

#[test]
fn an_unknown_answer_is_asked_again_and_shows_nothing_twice() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars"), event("2", "che")]).unwrap();
    stage.log.set(Mood::Forgetful);
    until("tried", || !stage.log.ids(0).is_empty());
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert_eq!((stage.log.ids(0).len(), stage.log.ids(1).len()), (1, 1));
}

#[test]
fn sensor_values_are_refused_rather_than_kept_until_they_are_stale() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    let value = Event { stream: Stream::Sensor, ..event("wind-1", "ars") };
    assert_eq!(stage.append(&spooled, &[value]), Err(AppendError::Unreachable));
}

#[test]
fn a_spool_has_bounds_in_bytes_and_in_time() {
    let stage = Stage { bytes_max: 2 * size(&event("1", "ars")), ..Stage::new() };
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars"), event("2", "ars")]).unwrap();
    let third = [event("3", "ars")];
    assert_eq!(stage.append(&spooled, &third), Err(AppendError::Unreachable), "full");
    assert!(spooled.health().is_err(), "and not fit for sources");
    drop(spooled);
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    stage.pass(541);
    let post = Event { stream: Stream::Social, ..event("post", "ars") };
    let refused = stage.append(&spooled, &[post]);
    assert_eq!(refused, Err(AppendError::Unreachable), "nine tenths of ten minutes");
    stage.append(&spooled, &[event("2", "ars")]).unwrap();
    stage.pass(1_800);
    assert_eq!(stage.append(&spooled, &third), Err(AppendError::Unreachable), "too old");
    assert_eq!(spooled.stats().refused, 2);
}

#[test]
fn fault_36_what_the_log_refuses_is_parked_and_the_rest_goes_on() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    stage.log.set(Mood::Away);
    let other = Event { data: Bytes::from_static(b"{\"a\":1}"), ..event("1", "ars") };
    stage.append(&spooled, &[event("2", "ars"), other, event("3", "ars")]).unwrap();
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert_eq!(stage.log.ids(0), ["1", "2", "3"]);
    let letters = lock(&stage.letters.0);
    let found: Vec<_> = letters.iter().map(|it| (it.reason, it.attempts)).collect();
    assert_eq!(found, [("id_reused", 1)]);
    let (kept, _) = touchline_core::log::record::decode(letters[0].raw.clone()).unwrap();
    assert_eq!(&kept.data[..], b"{\"a\":1}", "with its bytes");
}

#[test]
fn fault_36_a_record_that_fails_alone_again_and_again_is_parked_after_five_attempts() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars"), event("poison", "ars")]).unwrap();
    stage.append(&spooled, &[event("3", "ars")]).unwrap();
    stage.log.set(Mood::Chokes("poison"));
    // Five tries together, then five alone: 100 ms that double, twice.
    until("parked", || spooled.stats().events == 0);
    assert_eq!(stage.log.ids(0), ["1", "3"]);
    let letters = lock(&stage.letters.0);
    assert_eq!((letters[0].reason, letters[0].attempts), ("log_failed", 5));
}

#[test]
fn an_old_spool_repeats_nothing_that_the_log_has_forgotten() {
    let stage = Stage::new();
    let spooled = stage.open();
    // Answered "unknown" just before the brokers went away: the partner sends it again.
    stage.log.set(Mood::Forgetful);
    let unknown = stage.append(&spooled, &[event("1", "ars")]);
    assert!(matches!(unknown, Err(AppendError::Unknown(_))));
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars"), event("2", "ars")]).unwrap();
    // The window of the log passes meanwhile.
    stage.pass(7_200);
    lock(&stage.log.inner).known.clear();
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert_eq!(stage.log.ids(0), ["1", "2"]);
    assert_eq!(spooled.stats().duplicates, 1);
}
