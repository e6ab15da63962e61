//! What is happening right now: teams and matches of the day, from memory, for a page opened in the
//! middle.
//!
//! A [`LiveTap`] learns of every durable record on the log's own thread and passes it on without
//! waiting. A thread of our own keeps a [`MatchDay`](state::MatchDay) from it, with the mark of
//! exactly what it contains, and now and then builds the answer of `GET /v1/live` that all requests
//! share. A client that follows from that mark misses nothing and gets nothing twice (R27).
//!
//! # Invariants
//! - The log's thread never waits for us: a full channel drops the batch, and the worker rereads it
//!   from the log.
//! - The answer is built at most once in [`BUILD_INTERVAL`], however many ask.
//! - State, channel and reread tail are bounded (`limits::live`).
//!
//! # What it leaves out
//! Sockets (the shards have them), the past (the log has it), and SQL: nothing here survives a
//! restart, because the log's tail says it all again.
//!
//! | module | what it holds |
//! |---|---|
//! | [`fact`] | what `data` of a match event says: the agreement with partners |
//! | [`state`] | the matches, derived from events |
//! | [`sources`], [`log`] | how each source does, and the log |
//! | `follow` | keeps the state in step with the log |
//! | `snapshot`, `http` | the answer, and who gets it |

pub mod fact;
mod follow;
mod http;
pub mod log;
mod snapshot;
pub mod sources;
pub mod state;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use serde::Serialize;
use touchline_core::log::{EventLog, ReadError, Record, Span, TailSink};
use touchline_core::time::Timestamp;

pub use http::router;

use crate::limits::live::{BUILD_INTERVAL, RECORD_BYTES, TAP_BATCHES_MAX, TAP_BYTES_MAX};
use follow::Reader;
use log::{Log, LogFigures};
use snapshot::Snapshot;
use sources::{Rates, SourceFigures, Sources};

/// Where a page finds the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamAddress {
    /// At the page's own host, on this port.
    Port(u16),
    /// Elsewhere: `wss://live.example.com/v1/stream`.
    Url(String),
}

/// What the shards know of themselves, asked about once a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Open sockets.
    pub sockets: u64,
    /// Deliveries since the start.
    pub deliveries_total: u64,
    /// Durable to handed to the kernel, 99th percentile of the last while, in milliseconds; `None`
    /// when idle.
    pub p99_ms: Option<f64>,
    /// First to last socket of one event, of the last while, in milliseconds; `None` when idle.
    pub spread_ms: Option<f64>,
    /// Dead letters that wait for somebody.
    pub dead_letters: u64,
    /// What is known of each source.
    pub sources: Vec<SourceFigures>,
    /// And of the log.
    pub log: LogFigures,
}

/// Gives the shards' figures; called from our thread, about once a second.
pub type FigureSource = Box<dyn Fn() -> Figures + Send>;

/// What the page's panel shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Panel {
    sockets: u64,
    events_per_s: f64,
    deliveries_per_s: f64,
    p99_ms: Option<f64>,
    spread_ms: Option<f64>,
    last_event_age_ms: Option<u64>,
    dead_letters: u64,
}

/// What the page is told beside the day.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Around {
    panel: Panel,
    #[serde(flatten)]
    sources: Sources,
    log: Log,
}

/// A batch on its way from the log's thread to ours.
struct TapBatch {
    records: Vec<Record>,
    spans: Vec<Span>,
    bytes: usize,
}

/// The live state, shared with whoever answers requests.
pub struct Live {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    snapshot: ArcSwap<Snapshot>,
    stop: Arc<AtomicBool>,
}

/// To be attached to the log: passes on what becomes durable and never waits.
pub struct LiveTap {
    sender: SyncSender<TapBatch>,
    /// Bytes of all that waits: added here, taken off by whoever receives.
    waiting_bytes: Arc<AtomicUsize>,
}

impl TailSink for LiveTap {
    fn durable(&mut self, records: Vec<Record>, spans: &[Span]) {
        let bytes = records.iter().map(|record| RECORD_BYTES + record.event.data.len()).sum();
        let waiting = self.waiting_bytes.load(Ordering::Relaxed);
        // Past either bound: dropped here, found missing by its sequences there, and reread.
        if waiting > 0 && waiting + bytes > TAP_BYTES_MAX {
            return;
        }
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.sender.try_send(TapBatch { records, spans: spans.to_vec(), bytes }).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Live {
    /// Starts to read `log`'s tail on a thread of its own. Attach the tap to the log right after.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        log: Arc<dyn EventLog>,
        stream: StreamAddress,
        figures: FigureSource,
    ) -> std::io::Result<(Arc<Self>, LiveTap)> {
        let (sender, receiver) = sync_channel(TAP_BATCHES_MAX);
        let waiting_bytes = Arc::<AtomicUsize>::default();
        let shared = Arc::new(Shared { snapshot: ArcSwap::default(), stop: Arc::default() });
        let worker = Worker {
            reader: Reader::new(log.clone(), shared.stop.clone()),
            log,
            receiver,
            waiting_bytes: Arc::clone(&waiting_bytes),
            shared: shared.clone(),
            stream,
            gauge: Gauge {
                figures,
                last: Figures::default(),
                events_total: 0,
                rates: Rates::default(),
                at: None,
            },
            around: Around::default(),
        };
        let thread = std::thread::Builder::new().name("live".into()).spawn(|| worker.run())?;
        let live = Arc::new(Self { shared, thread: Mutex::new(Some(thread)) });
        Ok((live, LiveTap { sender, waiting_bytes }))
    }

    /// Whether the log's tail has been read and there is something to answer.
    pub fn is_ready(&self) -> bool {
        !self.shared.snapshot.load().live.is_empty()
    }

    /// Ends the thread, within a quarter of a second, also where it waits for the log.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }
}

struct Worker {
    log: Arc<dyn EventLog>,
    reader: Reader,
    receiver: Receiver<TapBatch>,
    waiting_bytes: Arc<AtomicUsize>,
    shared: Arc<Shared>,
    stream: StreamAddress,
    gauge: Gauge,
    around: Around,
}

impl Worker {
    fn run(mut self) {
        let mut read = self.reader.catch_up();
        let mut due = Instant::now();
        while !self.shared.stop.load(Ordering::Relaxed) && read != Err(ReadError::Closed) {
            if read.is_ok() && Instant::now() >= due {
                self.publish();
                due = Instant::now() + BUILD_INTERVAL;
            }
            let wait = due.saturating_duration_since(Instant::now()).min(BUILD_INTERVAL);
            read = match self.receiver.recv_timeout(wait) {
                Ok(TapBatch { records, spans, bytes }) => {
                    self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                    self.reader.handle_batch(records, &spans)
                }
                Err(RecvTimeoutError::Timeout) => self.look_at_the_log(),
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(wait);
                    self.look_at_the_log()
                }
            };
            if let Err(error) = &read
                && !self.shared.stop.load(Ordering::Relaxed)
            {
                tracing::warn!(%error, "the live state can't read the log; it tries again");
                std::thread::sleep(BUILD_INTERVAL);
                due = Instant::now();
            }
        }
    }

    /// The tap brought nothing for a while: is there something it dropped?
    fn look_at_the_log(&mut self) -> Result<(), ReadError> {
        if self.reader.is_behind(&self.log.bounds()) { self.reader.catch_up() } else { Ok(()) }
    }

    fn publish(&mut self) {
        let day = self.reader.day();
        if let Some(around) = self.gauge.read(day.events_total) {
            self.around = around;
        }
        let age = day.last_event_age(now());
        self.around.panel.last_event_age_ms = age.map(|age| age.as_millis() as u64);
        match Snapshot::build(day, self.reader.mark(), &self.stream, &self.around) {
            Ok(snapshot) => self.shared.snapshot.store(Arc::new(snapshot)),
            Err(error) => tracing::error!(%error, "the live state can't be written as JSON"),
        }
    }
}

/// Makes rates out of totals, once a second.
struct Gauge {
    figures: FigureSource,
    last: Figures,
    events_total: u64,
    rates: Rates,
    at: Option<Instant>,
}

impl Gauge {
    fn read(&mut self, events_total: u64) -> Option<Around> {
        let now = Instant::now();
        let first = self.at.is_none();
        let elapsed = self.at.map_or(Duration::ZERO, |at| now - at);
        if !first && elapsed < Duration::from_secs(1) {
            return None;
        }
        let figures = (self.figures)();
        let rate = |now: u64, before: u64| match first {
            true => 0.0,
            false => round(now.saturating_sub(before) as f64 / elapsed.as_secs_f64()),
        };
        let panel = Panel {
            sockets: figures.sockets,
            events_per_s: rate(events_total, self.events_total),
            deliveries_per_s: rate(figures.deliveries_total, self.last.deliveries_total),
            p99_ms: figures.p99_ms.map(round),
            spread_ms: figures.spread_ms.map(round),
            last_event_age_ms: None,
            dead_letters: figures.dead_letters,
        };
        let log = figures.log.into();
        let sources = self.rates.judge(&figures.sources, elapsed.as_secs_f64());
        (self.last, self.events_total, self.at) = (figures, events_total, Some(now));
        Some(Around { panel, sources, log })
    }
}

/// Hundredths are enough for a panel, and keep the answer short.
fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_micros() as i64)
}

#[cfg(test)]
mod tests;
