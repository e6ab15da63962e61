//! The journal: the embedded log. Whatever a source was told 202 for stands here.
//!
//! A [`Journal`] is a folder of segments and the threads that keep it. [`EventLog::append`] queues
//! a batch; the writer takes all that has gathered, writes it as one group, syncs it once, feeds
//! the sinks, and answers (group commit). [`EventLog::read`] gives back any range that retention
//! has left, with every hole named.
//!
//! # Nouns
//! - *Group*: what one sync makes durable; records of any number of appends. Padded to whole
//!   blocks.
//! - *Watermark*: all below it is durable (R11). *Proven*: a watermark that stands in the log
//!   itself (R12).
//! - *Segment*: a file of groups, sealed at 64 MiB; its *summary* is the checkpoint of index and
//!   dedupe window.
//! - *Quarantine*: a segment in which the disk gave back something else than was written. It keeps
//!   its bytes.
//!
//! # How it is laid out
//! | module | what it holds |
//! |---|---|
//! | [`options`] | what it is told, what its start reports |
//! | [`mod@format`] | bytes of segments, groups, records |
//! | [`walk`] | going through a segment past whatever is damaged |
//! | [`engine`] | the logic of writing and opening, without threads |
//! | [`clock`] | log time, which nobody can set |
//! | [`dedupe`] | the window of what was taken already |
//! | [`summary`], [`meta`] | checkpoint of a segment; life of the log |
//! | [`reader`] | reading a range |
//! | [`queue`], [`writer`] | the threads and what stands in front of them |
//! | [`disk`] | what is asked of a disk, and two of them |
//! | [`offline`] | verifying and dumping a folder, in use or not |
//!
//! # Invariants
//! - Nobody is answered, fed or served anything that isn't durable.
//! - No caller ever waits for the disk, and no queue is unbounded.

pub mod clock;
pub mod dedupe;
pub mod disk;
pub mod engine;
pub mod format;
mod lock;
pub mod meta;
pub mod offline;
pub mod options;
mod probe;
pub mod queue;
pub mod reader;
pub mod stats;
pub mod summary;
pub mod view;
pub mod walk;
mod writer;

pub use options::{Backend, JournalOptions, OpenError, OpenReport};
pub use stats::{HistogramStats, JournalStats};

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use touchline_core::event::{Event, Topic};
use touchline_core::log::{AppendError, AppendReply, Epoch, EventLog, Lane, LogBounds};
use touchline_core::log::{LogHealthError, ReadError, ReadReply, ReadRequest, TailSink};
use touchline_core::time::Timestamp;

use crate::limits::APPEND_EVENTS_MAX;
use disk::dma::DmaDisk;
use disk::plain::PlainDisk;
use disk::{Disk, ReadDisk};
use engine::Append;
use queue::{AppendQueue, ReadQueue, ReadRefused, Refused};
use view::{Mode, Shared};
use writer::Opened;

/// The embedded log. Closed when it is dropped, at the latest.
pub struct Journal {
    shared: Arc<Shared>,
    queue: Arc<AppendQueue>,
    reads: Arc<ReadQueue>,
    threads: Mutex<Option<Threads>>,
    options: JournalOptions,
}

struct Threads {
    writer: JoinHandle<()>,
    reader: JoinHandle<()>,
    /// Ends when the writer does.
    writer_ended: Receiver<()>,
}

impl Journal {
    /// Opens the journal in `options.dir`, repairs what has to be, and starts its threads. Blocks
    /// meanwhile: reading 64 MiB at most, and 29 bytes for each event of the dedupe window.
    pub fn open(options: JournalOptions) -> Result<(Arc<Self>, OpenReport), OpenError> {
        options.check()?;
        let lock = lock::take(&options.dir)?;
        let reads = PlainDisk::new(&options.dir);
        Self::start(options, reads, write_on, Some(lock))
    }

    /// The same on any disk: `make` is called on the writer's thread. Locks nothing.
    pub fn open_on<D: Disk>(
        options: JournalOptions,
        make: impl FnOnce() -> D + Send + 'static,
        reads: impl ReadDisk + Clone,
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        options.check()?;
        let writer_reads = reads.clone();
        let work = move |options, queue: &AppendQueue, opened: &SyncSender<Opened>| {
            writer::run(make(), &writer_reads, options, "a disk of the caller's", queue, opened);
        };
        Self::start(options, reads, work, None)
    }

    fn start(
        options: JournalOptions,
        reads_disk: impl ReadDisk,
        work: impl FnOnce(JournalOptions, &AppendQueue, &SyncSender<Opened>) + Send + 'static,
        lock: Option<lock::FolderLock>,
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        let started = Instant::now();
        let queue = Arc::new(AppendQueue::default());
        let (opened_in, opened) = sync_channel(1);
        let (ended_in, writer_ended) = sync_channel::<()>(1);
        let writer = {
            let (options, queue) = (options.clone(), queue.clone());
            spawn("journal-write", &options.dir.clone(), move || {
                work(options, &queue, &opened_in);
                drop((lock, ended_in));
            })?
        };
        let gone = || OpenError::Backend("the journal's thread ended at its start".into());
        let (shared, mut report) = opened.recv().map_err(|_| gone())??;
        let reads = Arc::new(ReadQueue::default());
        let reader = {
            let (shared, reads, queue) = (shared.clone(), reads.clone(), queue.clone());
            spawn("journal-read", &options.dir, move || {
                writer::run_reader(&shared, &reads_disk, &reads, &queue);
            })?
        };
        report.took = started.elapsed();
        let threads = Mutex::new(Some(Threads { writer, reader, writer_ended }));
        Ok((Arc::new(Self { shared, queue, reads, threads, options }), report))
    }

    /// From now on every record that becomes durable goes to `sink`, in order, before its append is
    /// answered. What is below `bounds` at that moment has to be read.
    pub fn attach(&self, sink: Box<dyn TailSink>) {
        self.shared.attach(sink);
    }

    /// Retention leaves alone what stands at `seq` and above, until it is told otherwise: somebody
    /// has yet to read it. By default nothing is held.
    pub fn hold_from(&self, seq: u64) {
        self.shared.hold_from(seq);
    }

    /// Life of the log.
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// What it has counted.
    pub fn stats(&self) -> JournalStats {
        let (pending, pending_age) = self.queue.pending();
        JournalStats { pending_bytes: pending as u64, pending_age, ..self.shared.stats.snapshot() }
    }

    /// Writes what waits, proves it, and ends the threads. Waits for that at most as long as the
    /// options say; `false` if the disk took longer. Whatever comes later is refused.
    pub fn close(&self) -> bool {
        self.queue.close();
        self.reads.close();
        let Some(threads) = view::lock(&self.threads).take() else { return true };
        let ended = threads.writer_ended.recv_timeout(self.options.close_timeout);
        // The writer never sends: its end of the channel goes with it.
        let in_time = !matches!(ended, Err(std::sync::mpsc::RecvTimeoutError::Timeout));
        if in_time {
            let _ = threads.writer.join();
            let _ = threads.reader.join();
        }
        self.shared.set_mode(Mode::Closed);
        self.shared.detach_all();
        in_time
    }

    /// Hands an append to the writer, or answers at once why not.
    fn hand(&self, append: Append, reply: AppendReply) {
        let refusal = match self.shared.mode() {
            Mode::Writable if append.events.len() > APPEND_EVENTS_MAX => Some(AppendError::Busy),
            Mode::Writable => None,
            Mode::DiskFull => Some(AppendError::DiskFull),
            Mode::ReadOnly => Some(AppendError::ReadOnly),
            Mode::Closed => Some(AppendError::Closed),
        };
        if let Some(error) = refusal {
            return reply(Err(error));
        }
        let (bytes_max, age_max) = (self.options.pending_bytes_max, self.options.pending_age_max);
        match self.queue.push(append, reply, bytes_max, age_max) {
            Ok(()) => {}
            Err(Refused::Busy(reply)) => reply(Err(AppendError::Busy)),
            Err(Refused::Closed(reply)) => reply(Err(AppendError::Closed)),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

impl EventLog for Journal {
    fn append(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        self.hand(Append { events, received_at, is_again: false }, reply);
    }

    fn append_again(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        self.hand(Append { events, received_at, is_again: true }, reply);
    }

    fn read(&self, request: ReadRequest, reply: ReadReply) {
        match self.reads.push(request, reply) {
            Ok(()) => {}
            Err(ReadRefused::Busy(reply)) => reply(Err(ReadError::Busy)),
            Err(ReadRefused::Closed(reply)) => reply(Err(ReadError::Closed)),
        }
    }

    fn bounds(&self) -> LogBounds {
        self.shared.bounds()
    }

    fn lane_of(&self, _topic: &Topic) -> Lane {
        Lane(0)
    }

    fn health(&self) -> Result<(), LogHealthError> {
        self.shared.health()?;
        let (_, age) = self.queue.pending();
        if age >= self.options.pending_age_max { Err(LogHealthError::Slow(age)) } else { Ok(()) }
    }
}

/// Chooses the disk and writes until the queue is closed. The ring's executor can't leave the
/// thread that made it.
fn write_on(options: JournalOptions, queue: &AppendQueue, opened: &SyncSender<Opened>) {
    let reads = PlainDisk::new(&options.dir);
    let ring = match options.backend {
        Backend::Plain => Err("as configured".into()),
        _ => probe::ring_is_allowed().and_then(|()| DmaDisk::new(&options.dir)),
    };
    match ring {
        Ok(disk) => writer::run(disk, &reads, options, "direct I/O", queue, opened),
        Err(why) if options.backend == Backend::Glommio => {
            let _ = opened.send(Err(OpenError::Backend(why.into())));
        }
        Err(why) => {
            let backend = format!("plain files: {why}");
            writer::run(reads.clone(), &reads, options, &backend, queue, opened);
        }
    }
}

fn spawn(
    name: &str,
    dir: &Path,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let failed = |error| OpenError::Io { dir: dir.to_owned(), error };
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(failed)
}

/// A number nobody can foresee, never zero: what a new life of the log is called.
fn random_epoch() -> Epoch {
    Epoch(RandomState::new().hash_one(Instant::now()).max(1))
}
