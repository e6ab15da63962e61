//! Claim: whatever the log says, a letter is appended once, and only its own fault counts against
//! it (FAULTS 36).

use std::path::Path;

use bytes::Bytes;
use touchline_core::dead::{DeadLetter, Desk, NoDeadLetters};
use touchline_core::event::Topic;
use touchline_core::log::{
    AppendReply, Epoch, Lane, LaneBounds, LogBounds, LogHealthError, Position, ReadReply,
    ReadRequest,
};
use touchline_ingest::broadcast::{BroadcastOptions, BroadcastState, Partner, Sources};
use touchline_ingest::clock::Clock;

use super::*;

type Word = Result<Taken, AppendError>;

/// A log that says what it is told to say of every event, and notes what it was given.
#[derive(Default)]
struct Oracle {
    says: Mutex<Vec<Word>>,
    given: Mutex<Vec<(String, Timestamp)>>,
}

impl EventLog for Oracle {
    fn append(&self, _: Vec<Event>, _: Timestamp, _: AppendReply) {
        unreachable!("a replay says that it is one");
    }

    fn append_again(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        let ids = events.iter().map(|event| (event.id.to_string(), received_at));
        self.given.lock().unwrap().extend(ids);
        match self.says.lock().unwrap().pop().expect("it was told what to say") {
            Ok(word) => reply(Ok(vec![word; events.len()])),
            Err(error) => reply(Err(error)),
        }
    }

    fn read(&self, _: ReadRequest, _: ReadReply) {
        unreachable!("nobody reads it");
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

const ACCEPTED: Word = Ok(Taken::Accepted(Position { lane: Lane(0), seq: 1 }));

struct Stage {
    inner: Inner,
    log: Arc<Oracle>,
    _folder: tempfile::TempDir,
}

/// Of a node with one partner, who sends our own shape.
fn readers(log: Arc<dyn EventLog>) -> Readers {
    readers_by(log, BroadcastOptions::default())
}

fn readers_by(log: Arc<dyn EventLog>, options: BroadcastOptions) -> Readers {
    let partner = Partner::without_secrets("skyline").unwrap();
    let sources = Sources::new([partner]).unwrap();
    let dead = Arc::new(NoDeadLetters);
    let webhooks = BroadcastState::new(log, sources, options, dead);
    Readers { webhooks, sensors: Vec::new(), social: Vec::new() }
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(Oracle::default());
        let inner = Inner {
            store: DeadOptions::new(Path::new(folder.path()).join("dead-letters.db")),
            log: log.clone(),
            readers: readers(log.clone()),
            windows: [3_600, 3_600, 600, 60].map(Duration::from_secs),
            turn: Mutex::new(()),
            is_stopping: AtomicBool::new(false),
        };
        Self { inner, log, _folder: folder }
    }

    fn book(&self) -> Book {
        Book::open(self.inner.store.clone()).unwrap()
    }

    /// Parks a body with one event that happened `age_s` ago and came `received_s` ago.
    fn park(&self, id: &str, age_s: i64, received_s: i64) -> String {
        let now = system_clock();
        let ago = |s: i64| Timestamp(now.0 - s * 1_000_000);
        let raw = format!(
            r#"{{"id":"{id}","teams":["ars"],"type":"goal","occurred_at":"{}","data":{{}}}}"#,
            ago(age_s).to_rfc3339()
        );
        self.park_raw(&raw, ago(received_s))
    }

    fn park_raw(&self, raw: &str, received_at: Timestamp) -> String {
        let mut book = self.book();
        let letter = DeadLetter {
            desk: Desk::Webhook,
            stream: Stream::Broadcast,
            source: "skyline".into(),
            reason: "invalid_events",
            detail: "why".into(),
            attempts: 1,
            correlation: "c".into(),
            received_at,
            raw: Bytes::copy_from_slice(raw.as_bytes()),
        };
        book.put(&[letter], system_clock()).unwrap();
        book.list(&Filter::default(), 1, true).unwrap().remove(0).id
    }

    fn replay(&self, id: &str, ask: Ask, says: &[Word]) -> Run {
        *self.log.says.lock().unwrap() = says.to_vec();
        let run = self.inner.run(&Wanted::Ids(vec![id.into()]), ask).unwrap();
        assert!(self.log.says.lock().unwrap().is_empty(), "the log was asked: {run:?}");
        run
    }

    fn letter(&self, id: &str) -> Letter {
        self.book().show(id).unwrap().unwrap().0
    }

    fn given(&self) -> usize {
        self.log.given.lock().unwrap().len()
    }
}

fn result(run: &Run) -> Outcome {
    let [answer] = &run.results[..] else { panic!("{run:?}") };
    answer.result
}

#[test]
fn fault_36_replays_are_idempotent_and_so_are_replays_of_replays() {
    let stage = Stage::new();
    let id = stage.park("g-1", 60, 50);
    let ask = Ask::default();
    assert_eq!(result(&stage.replay(&id, ask, &[ACCEPTED])), Outcome::Accepted);
    let letter = stage.letter(&id);
    assert_eq!((letter.state, letter.attempts), (State::Replayed, 1));
    assert_eq!(stage.log.given.lock().unwrap()[0], ("g-1".into(), letter.received_at));
    for _ in 0..3 {
        assert_eq!(result(&stage.replay(&id, ask, &[])), Outcome::Duplicate);
    }
    assert_eq!(stage.given(), 1, "the log was not asked");
    let again = stage.replay(&id, Ask::new(true, false), &[Ok(Taken::Duplicate)]);
    assert_eq!(result(&again), Outcome::Duplicate);
    assert_eq!(stage.letter(&id).state, State::Replayed);
}

#[test]
fn fault_36_a_letter_that_is_refused_stays_with_one_attempt_more() {
    let stage = Stage::new();
    let bad = stage.park_raw(r#"{"id":"g-1","teams":["ars"]}"#, system_clock());
    for attempts in 2..=6 {
        let run = stage.replay(&bad, Ask::default(), &[]);
        assert_eq!(result(&run), Outcome::Refused);
        assert!(run.results[0].detail.starts_with("invalid_events: "), "{run:?}");
        let letter = stage.letter(&bad);
        assert_eq!((letter.state, letter.attempts), (State::Parked, attempts));
        assert!(letter.history.last().unwrap().what.starts_with("replay: refused: invalid_events"));
    }
    let reused = stage.park("g-2", 60, 50);
    let run = stage.replay(&reused, Ask::default(), &[Err(AppendError::IdReused(vec![0]))]);
    assert_eq!((result(&run), stage.letter(&reused).attempts), (Outcome::Refused, 2));
    assert_eq!(result(&stage.replay("none such", Ask::default(), &[])), Outcome::Refused);
}

#[test]
fn fault_36_a_log_that_takes_nothing_stops_the_run_and_costs_no_letter_an_attempt() {
    for error in [
        AppendError::Busy,
        AppendError::DiskFull,
        AppendError::Unreachable,
        AppendError::ReadOnly,
        AppendError::DedupeFull,
        AppendError::Closed,
    ] {
        let stage = Stage::new();
        let ids = vec![stage.park("g-1", 60, 50), stage.park("g-2", 60, 50)];
        stage.log.says.lock().unwrap().push(Err(error.clone()));
        let run = stage.inner.run(&Wanted::Ids(ids.clone()), Ask::default()).unwrap();
        assert_eq!((run.results.len(), run.stopped), (0, Some(error.to_string())));
        assert_eq!(stage.given(), 1, "the second was not tried");
        for id in ids {
            let letter = stage.letter(&id);
            assert_eq!((letter.state, letter.attempts), (State::Parked, 1), "{error}");
        }
    }
}

#[test]
fn fault_36_an_answer_that_nobody_knows_leaves_the_mark_and_the_next_start_asks_again() {
    let stage = Stage::new();
    let id = stage.park("g-1", 60, 50);
    let unknown = Err(AppendError::Unknown("a sync failed".into()));
    let run = stage.replay(&id, Ask::default(), &[unknown]);
    assert!(run.results.is_empty() && run.stopped.unwrap().contains("a sync failed"));
    assert_eq!(stage.letter(&id).state, State::Replaying);
    let run = stage.replay(&id, Ask::default(), &[]);
    assert!(run.results[0].detail.contains("being replayed"), "{run:?}");
    stage.log.says.lock().unwrap().push(Ok(Taken::Duplicate));
    assert!(stage.inner.settle_all().unwrap());
    assert_eq!((stage.letter(&id).state, stage.given()), (State::Replayed, 2));
}

#[test]
fn fault_36_a_mark_that_outlived_the_dedupe_window_is_left_to_a_person() {
    let stage = Stage::new();
    let id = stage.park("g-1", 9_000, 8_990);
    let long_ago = system_clock().minus(Duration::from_secs(3_400));
    assert!(matches!(stage.book().claim(&id, long_ago, false, false).unwrap(), Claim::Taken(..)));
    assert!(stage.inner.settle_all().unwrap());
    let letter = stage.letter(&id);
    assert_eq!((letter.state, letter.attempts, stage.given()), (State::Parked, 1, 0));
    assert!(letter.history.last().unwrap().what.contains("can't tell any more"), "{letter:?}");
}

#[test]
fn fault_36_what_the_dedupe_window_cannot_vouch_for_is_not_appended_by_habit() {
    let stage = Stage::new();
    let old = stage.park("old", 7_200, 7_190);
    let run = stage.replay(&old, Ask::default(), &[]);
    assert_eq!((result(&run), stage.given()), (Outcome::Refused, 0));
    assert!(run.results[0].detail.contains("`late`"), "{run:?}");
    let letter = stage.letter(&old);
    assert_eq!((letter.attempts, letter.history.len()), (1, 1), "nothing happened to it");
    let run = stage.replay(&old, Ask::new(false, true), &[ACCEPTED]);
    assert_eq!(result(&run), Outcome::Accepted, "judged by when it was received (R16)");
    let stale = stage.park("stale", 7_200, 10);
    let run = stage.replay(&stale, Ask::default(), &[Ok(Taken::TooOld)]);
    assert_eq!(result(&run), Outcome::TooOld, "it was too old when it came");
    assert_eq!(stage.letter(&stale).state, State::Replayed);
}

#[test]
fn a_filter_goes_through_all_its_letters_by_pages_and_looks_at_each_once() {
    let stage = Stage::new();
    for n in 0..3 {
        stage.park_raw(&format!("bad {n}"), system_clock());
    }
    let parked = Filter { state: Some(State::Parked), ..Filter::default() };
    let run = stage.inner.run(&Wanted::Meeting(parked.clone()), Ask::default()).unwrap();
    assert_eq!((run.results.len(), run.next), (3, None), "refused letters still meet it");
    let after = Some(run.results[0].id.clone());
    let rest = Wanted::Meeting(Filter { after, ..parked });
    assert_eq!(stage.inner.run(&rest, Ask::default()).unwrap().results.len(), 2);
    let _turn = stage.inner.turn.lock().unwrap();
    assert!(matches!(stage.inner.run(&rest, Ask::default()), Err(ReplayError::UnderWay)));
}

#[test]
fn a_letter_that_makes_us_panic_is_refused_and_keeps_no_other_from_being_replayed() {
    let mut stage = Stage::new();
    let poison = stage.park("p", 60, 60);
    let fails: Clock = Arc::new(|| panic!("a letter that we can't bear, for the test"));
    let options = BroadcastOptions { clock: fails, ..BroadcastOptions::default() };
    stage.inner.readers = readers_by(stage.log.clone(), options);
    let run = stage.replay(&poison, Ask::default(), &[]);
    assert_eq!(result(&run), Outcome::Refused);
    assert_eq!(stage.letter(&poison).state, State::Parked);
    stage.inner.readers = readers(stage.log.clone());
    let run = stage.replay(&poison, Ask::default(), &[ACCEPTED]);
    assert_eq!(result(&run), Outcome::Accepted, "once the bug is mended");
}
