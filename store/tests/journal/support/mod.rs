//! What all tests of the journal use: events, a blocking face of the journal, a sink that
//! remembers.

pub mod sim_disk;

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use touchline_core::event::Event;
use touchline_core::log::{AppendError, EventLog, Lane, Outcome, Position, ReadChunk, ReadRequest};
use touchline_core::log::{Record, Span, TailSink};
use touchline_core::time::Timestamp;
use touchline_store::journal::clock::{Clock, Now};
use touchline_store::journal::{Backend, Journal, JournalOptions};

/// A moment to count from: tomorrow, so that the journal's own look at the clock changes nothing.
pub fn start() -> Timestamp {
    static START: LazyLock<Timestamp> = LazyLock::new(|| {
        let since =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(86_400);
        Timestamp(since.as_secs() as i64 * 1_000_000)
    });
    *START
}

/// Seconds after [`start`].
pub fn at(seconds: i64) -> Timestamp {
    Timestamp(start().0 + seconds * 1_000_000)
}

thread_local! {
    /// Seconds and less since [`start`], in microseconds, by the clocks of this test.
    static PASSED: Arc<AtomicI64> = Arc::default();
}

/// A clock that stands until this test's thread moves it ([`append`] does, or [`let_pass`]).
pub fn clock() -> Clock {
    let passed = PASSED.with(Arc::clone);
    Clock::of(move || clock_at(passed.load(Relaxed)))
}

/// What a clock says that nobody has set, so many microseconds after [`start`].
pub fn clock_at(passed_us: i64) -> Now {
    let passed = Duration::from_micros(1_000_000_000_000 + passed_us.max(0) as u64);
    Now { wall: Timestamp(start().0 + passed_us), passed }
}

/// A clock that stands, wrong by as many seconds as `off` says.
pub fn clock_off_by(off: Arc<AtomicI64>) -> Clock {
    let passed = PASSED.with(Arc::clone);
    Clock::of(move || {
        let now = clock_at(passed.load(Relaxed));
        Now { wall: Timestamp(now.wall.0 + off.load(Relaxed) * 1_000_000), ..now }
    })
}

/// This test's clocks stand at [`start`] again.
pub fn rewind() {
    PASSED.with(|passed| passed.store(0, Relaxed));
}

/// Time passes until `now`.
pub fn let_pass(now: Timestamp) {
    PASSED.with(|passed| passed.fetch_max(now.0 - start().0, Relaxed));
}

/// A goal; `word` is what it says.
pub fn event(id: &str, word: &str, occurred_at: Timestamp) -> Event {
    let data = format!(r#"{{"note":"{word}"}}"#).into();
    Event { occurred_at, data, ..Event::sample(id, "ars+che") }
}

/// Options for a folder of a test.
pub fn options(dir: &Path, backend: Backend) -> JournalOptions {
    JournalOptions {
        dir: dir.to_owned(),
        backend,
        clock: clock(),
        segment_bytes: 64 << 10,
        // A host that builds something else meanwhile may sync for seconds.
        pending_age_max: Duration::from_secs(60),
        ..Default::default()
    }
}

/// Appends and waits.
pub fn append(
    log: &Journal,
    events: Vec<Event>,
    now: Timestamp,
) -> Result<Vec<Outcome>, AppendError> {
    let_pass(now);
    append_at(log, events, now)
}

/// The same, by a clock that may be wrong.
pub fn append_at(
    log: &Journal,
    events: Vec<Event>,
    now: Timestamp,
) -> Result<Vec<Outcome>, AppendError> {
    let (tell, told) = sync_channel(1);
    log.append(events, now, Box::new(move |result| tell.send(result).unwrap()));
    told.recv_timeout(Duration::from_secs(60)).expect("an append is answered")
}

/// Appends what was received at `received_at` and comes again now.
pub fn append_again(
    log: &Journal,
    events: Vec<Event>,
    received_at: Timestamp,
) -> Result<Vec<Outcome>, AppendError> {
    let (tell, told) = sync_channel(1);
    log.append_again(events, received_at, Box::new(move |result| tell.send(result).unwrap()));
    told.recv_timeout(Duration::from_secs(60)).expect("an append is answered")
}

/// Reads one chunk and waits.
pub fn read(log: &Journal, from: u64, bytes_max: usize) -> ReadChunk {
    let (tell, told) = sync_channel(1);
    let request = ReadRequest { from: Position { lane: Lane(0), seq: from }, bytes_max };
    log.read(request, Box::new(move |result| tell.send(result).unwrap()));
    told.recv_timeout(Duration::from_secs(60)).expect("a read is answered").unwrap()
}

/// Reads from `from` to the end.
pub fn read_all(log: &Journal, from: u64) -> ReadChunk {
    let mut all = read(log, from, 1000);
    loop {
        let more = read(log, all.next, 1000);
        if more.next == all.next {
            return all;
        }
        all.next = more.next;
        all.records.extend(more.records);
        all.holes.extend(more.holes);
    }
}

/// Ids of records, in order.
pub fn ids(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| record.event.id.to_string()).collect()
}

/// Where an event was accepted.
pub fn seq_of(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Accepted(position) => position.seq,
        other => panic!("not accepted: {other:?}"),
    }
}

/// Remembers what it was told.
#[derive(Clone, Default)]
pub struct Heard {
    /// Records, in the order they came.
    pub records: Arc<Mutex<Vec<Record>>>,
    /// One above the last span.
    pub next: Arc<Mutex<u64>>,
}

impl TailSink for Heard {
    fn durable(&mut self, records: Vec<Record>, spans: &[Span]) {
        self.records.lock().unwrap().extend(records);
        for span in spans {
            let mut next = self.next.lock().unwrap();
            assert!(*next == 0 || *next == span.from, "spans have no gap between them");
            *next = span.next;
        }
    }
}
