//! A start: from addresses of brokers to a log that serves.
//!
//! 1. Topics are made or checked; the life is found, or begun.
//! 2. The ends of all lanes are compared with what nodes have noted: a log that has lost something
//!    begins a new life (R8).
//! 3. It says that it runs, and looks whether anybody has begun what it must not run beside.
//! 4. The dedupe window of every lane is read.
//!
//! While no broker answers it begins again, says what it waits for, and ends once it is told to.
//! The work is done by a thread of its own: whoever wants to stop never waits for a broker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use touchline_core::dead::DeadLetters;
use touchline_core::log::Lane;

use super::claims::{self, Entry};
use super::client::{Context, Reader, reader, unreachable};
use super::clock::millis;
use super::door::{Door, Rules};
use super::lanes::Lanes;
use super::life::{self, Life};
use super::meta::{Meta, Writer};
use super::notes::{self, Note};
use super::options::{KafkaOptions, OpenError};
use super::reach::{Reach, find_ends, watermarks};
use super::roster::Group;
use super::scan::Scan;
use super::sender::{Manner, Sender};
use super::state::Shared;
use super::tail::{Start, Tail};
use super::watch::{Watch, offset_at};
use super::witness::Witness;
use super::{KafkaLog, OpenReport, owed, topics};
use crate::limits::{BROKER_SKEW_MAX, READS_WAITING_MAX};
use crate::roster::{Alone, Roster};

/// How often a start that waits says what for.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How long it waits before it asks again.
const RETRY: Duration = Duration::from_secs(1);
/// A log counts as shorter only if it still is so after that: a leader that has just been elected
/// may not know yet how far it reaches.
const CONFIRM: Duration = Duration::from_secs(3);

impl KafkaLog {
    /// Connects, makes or checks the topics, finds the epoch, and reads the dedupe window of every
    /// lane. Blocks meanwhile, and waits for brokers that are away; ends soon after `is_stopped`
    /// says so. Records that can't be shown are parked in `dead`.
    pub fn open(
        options: &KafkaOptions,
        dead: Arc<dyn DeadLetters>,
        is_stopped: impl Fn() -> bool,
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        Self::open_telling(options, dead, is_stopped, |_| {})
    }

    /// The same; `tell` hears what keeps it from the brokers, whenever that is another trouble.
    pub fn open_telling(
        options: &KafkaOptions,
        dead: Arc<dyn DeadLetters>,
        is_stopped: impl Fn() -> bool,
        tell: impl Fn(&str),
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        options.check()?;
        let opener = Opener {
            options: options.clone(),
            context: Context::new(options),
            dead,
            is_stopped: Arc::new(AtomicBool::new(false)),
        };
        let (stop, context) = (Arc::clone(&opener.is_stopped), opener.context.clone());
        let (opened_in, opened) = sync_channel(1);
        let work = move || drop(opened_in.send(opener.open_sometime()));
        let spawned = std::thread::Builder::new().name("kafka-open".into()).spawn(work);
        spawned.map_err(|error| OpenError::Host { what: "start a thread".into(), error })?;
        let began = Instant::now();
        let (mut told_at, mut told) = (began, String::new());
        loop {
            match opened.recv_timeout(Duration::from_millis(50)) {
                Ok(opened) => return opened,
                Err(RecvTimeoutError::Disconnected) => return Err(OpenError::Stopped),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if is_stopped() {
                // The thread ends once brokers have answered it, or haven't.
                stop.store(true, Ordering::Relaxed);
                return Err(OpenError::Stopped);
            }
            let trouble = context.trouble();
            if trouble != told {
                tell(&trouble);
                told.clone_from(&trouble);
            }
            if told_at.elapsed() >= TELL_EVERY {
                told_at = Instant::now();
                let waited_s = began.elapsed().as_secs();
                let brokers = &options.brokers;
                tracing::warn!(waited_s, brokers, trouble, "the start waits for Kafka");
            }
        }
    }
}

/// What a start needs from its first step to its last.
pub(super) struct Opener {
    pub options: KafkaOptions,
    pub context: Context,
    pub dead: Arc<dyn DeadLetters>,
    pub is_stopped: Arc<AtomicBool>,
}

/// A start that has looked at the log, and has yet to say that it runs.
pub(super) struct Prospect {
    lanes: Lanes,
    asking: Reader,
    writer: Writer,
    life: Life,
    reaches: Vec<Reach>,
    meta_next: i64,
    /// When its word was heard, by the brokers' clocks.
    heard_ms: Option<i64>,
}

impl Prospect {
    /// Says so; `None`: another life has begun since it looked.
    pub fn enter(mut self, opener: &Opener) -> Result<Option<Self>, OpenError> {
        let next = self.reaches.iter().map(|reach| reach.end).collect();
        let entry = claims::enter(&opener.options, &self.asking, &self.writer, &self.life, next)?;
        match entry {
            Entry::Outlived => return Ok(None),
            Entry::In(placed) => self.heard_ms = Some(placed.at_ms),
            Entry::Unheard => {}
        }
        Ok(Some(self))
    }
}

impl Opener {
    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Again and again, while it is for lack of brokers that it fails.
    fn open_sometime(&self) -> Result<(Arc<KafkaLog>, OpenReport), OpenError> {
        let began = Instant::now();
        let mut has_told = false;
        loop {
            match self.open(began) {
                Err(error @ OpenError::Brokers { .. }) if !self.is_stopped() => {
                    if !std::mem::replace(&mut has_told, true) {
                        tracing::warn!(%error, "the start begins again until brokers answer");
                    }
                    self.context.set_trouble(&error.to_string());
                    std::thread::sleep(RETRY);
                }
                opened => return opened,
            }
        }
    }

    /// Again, while another life begins under its hands.
    fn open(&self, began: Instant) -> Result<(Arc<KafkaLog>, OpenReport), OpenError> {
        loop {
            if let Some(prospect) = self.look()?.enter(self)? {
                return self.go_on(prospect, began);
            }
            if self.is_stopped() {
                return Err(OpenError::Stopped);
            }
        }
    }

    /// Makes or checks the topics, and finds the life and how far lanes reach.
    pub fn look(&self) -> Result<Prospect, OpenError> {
        let (options, context) = (&self.options, &self.context);
        let lanes = Lanes::new(&options.prefix, options.partitions);
        let asking = reader(options, context)?;
        let before = Meta::read(options, &asking)
            .map_err(|error| context.denial(options, &asking).unwrap_or(error))?
            .life;
        let were_lost = topics::ensure(options, &lanes, &asking, context)?;
        let writer = Writer::new(options, context)?;
        let life = life::find(options, &asking, &writer, before.filter(|_| were_lost))?;
        let meta = Meta::read(options, &asking)?;
        if let Some(moving) = meta.moving(&life, None) {
            return Err(OpenError::Misfit(vec![moving.progress.told()]));
        }
        let mut reaches = watermarks(options, &lanes, &asking)?;
        let life = self.without_loss(&lanes, &asking, &writer, &meta, life, &mut reaches)?;
        find_ends(options, &lanes, context, &mut reaches, &|| self.is_stopped())?;
        Ok(Prospect { lanes, asking, writer, life, reaches, meta_next: meta.next, heard_ms: None })
    }

    /// Reads the windows and serves.
    fn go_on(
        &self,
        prospect: Prospect,
        began: Instant,
    ) -> Result<(Arc<KafkaLog>, OpenReport), OpenError> {
        let Prospect { lanes, asking, writer, life, reaches, meta_next, heard_ms } = prospect;
        let options = &self.options;
        let shared = self.shared(lanes, &life);
        // What time it is by the brokers' clocks: the stamp of our own word tells; where none could
        // be written (too few copies are left), the newest record does.
        let newest_ms = reaches.iter().filter_map(|reach| reach.newest_ms).max();
        newest_ms.into_iter().chain(heard_ms).for_each(|at_ms| shared.saw_stamp(at_ms));
        shared.set_unheard(heard_ms.is_none());
        let starts = starts(options, &shared, &asking, &reaches)?;
        let witness = Witness::new(life.clone(), writer, options.clone(), meta_next);
        let log = self.serve(asking, witness, &shared, &starts)?;
        let report = OpenReport {
            epoch: life.epoch(),
            generation: life.generation,
            lanes: shared.lanes.count(),
            records_read: shared.stats.snapshot().read,
            took: began.elapsed(),
        };
        Ok((Arc::new(log), report))
    }

    /// The life to go on in: the present one, or a new one if the log is shorter than it was seen.
    fn without_loss(
        &self,
        lanes: &Lanes,
        asking: &Reader,
        writer: &Writer,
        meta: &Meta,
        life: Life,
        reaches: &mut Vec<Reach>,
    ) -> Result<Life, OpenError> {
        let own = self.options.notes_file.as_deref().and_then(Note::load);
        let noted = meta.notes.iter().map(|(node, noted)| (node.as_str(), &noted.note));
        let noted = noted.chain(own.as_ref().map(|note| ("this node", note)));
        let look = |reaches: &[Reach]| {
            let ends: Vec<u64> = reaches.iter().map(|reach| reach.high).collect();
            notes::loss(&life, lanes, noted.clone(), &ends)
        };
        if look(reaches).is_none() {
            return Ok(life);
        }
        std::thread::sleep(CONFIRM);
        *reaches = watermarks(&self.options, lanes, asking)?;
        let Some(loss) = look(reaches) else { return Ok(life) };
        tracing::error!(
            why = loss.why,
            generation = loss.generation,
            "the log is shorter than it was: a new life begins, and clients are told of a gap"
        );
        life::begin(&self.options, asking, writer, loss.generation)
    }

    fn shared(&self, lanes: Lanes, life: &Life) -> Arc<Shared> {
        let rules = Rules {
            windows: self.options.windows,
            entries_max: self.options.dedupe_entries_max,
            pending_bytes_max: self.options.pending_bytes_max,
        };
        let door = Door::new(&lanes, rules);
        Arc::new(Shared::new(lanes, life.epoch(), door, Arc::clone(&self.dead)))
    }

    /// Starts the threads, and waits until the window is read.
    fn serve(
        &self,
        asking: Reader,
        witness: Witness,
        shared: &Arc<Shared>,
        starts: &[Start],
    ) -> Result<KafkaLog, OpenError> {
        let (options, context) = (&self.options, &self.context);
        let (ready_in, ready) = sync_channel(1);
        let tail = Tail::new(reader(options, context)?, Arc::clone(shared), starts, ready_in)
            .map_err(OpenError::Client)?;
        let scan = Scan::new(reader(options, context)?, Arc::clone(shared), options);
        let watch = Watch::new(asking, context, Arc::clone(shared), options, witness);
        let sender = Sender::new(options, context, shared, Manner::Quick)?;
        let (mended, owing) = (Arc::clone(&sender), Arc::clone(shared));
        let (reads, requests) = sync_channel(READS_WAITING_MAX);
        let (roster, threads): (Arc<dyn Roster>, _) = (Arc::new(Alone), Mutex::default());
        let (shared, orderly) = (Arc::clone(shared), Mutex::default());
        let origin = (options.clone(), context.clone());
        let mut log = KafkaLog { shared, sender, orderly, origin, reads, roster, threads };
        // From here on dropping the log ends what has begun.
        log.spawn("kafka-tail", move || tail.run())?;
        log.spawn("kafka-scan", move || scan.run(&requests))?;
        log.spawn("kafka-watch", move || watch.run())?;
        log.spawn("kafka-owed", move || owed::keep(&owing))?;
        log.spawn("kafka-mend", move || mended.mend())?;
        while let Err(error) = ready.recv_timeout(Duration::from_millis(50)) {
            if self.is_stopped() || error == RecvTimeoutError::Disconnected {
                return Err(OpenError::Stopped);
            }
        }
        // Not before it is ready: sources that fall to it are asked by nobody else.
        let group = Group::join(options, context.clone(), &log.shared)?;
        log.roster = group.roster();
        log.spawn("kafka-roster", move || group.run())?;
        Ok(log)
    }
}

/// Where reading of each lane begins: its window, and what clocks may differ by, before now as
/// brokers count time. This host's clock may be wrong by hours (FAULTS 40).
fn starts(
    options: &KafkaOptions,
    shared: &Shared,
    reader: &Reader,
    reaches: &[Reach],
) -> Result<Vec<Start>, OpenError> {
    let failed = unreachable(options, "tell how far its partitions reach");
    let now_ms = shared.broker_now_ms();
    let window = |lane: Lane| {
        let place = shared.lanes.place(lane);
        place.map_or(Duration::ZERO, |(stream, _)| options.windows[stream as usize])
    };
    let mut starts = Vec::with_capacity(shared.lanes.count());
    for (lane, topic, partition) in shared.lanes.all() {
        let Reach { low, end: until, .. } = reaches[usize::from(lane.0)];
        let from = match now_ms {
            // A log in which nothing stands tells no time, and has nothing to be read.
            None => until,
            Some(now_ms) => {
                let at_ms = now_ms - millis(window(lane) + BROKER_SKEW_MAX * 2);
                offset_at(reader, topic, partition, at_ms.max(0)).map_err(&failed)?.unwrap_or(until)
            }
        };
        let from = from.min(until).max(low.min(until));
        // Of a lane that is read from its very beginning all duplicates are known.
        let exact_from = if from == 0 { 0 } else { until };
        shared.begin(lane, low, until, exact_from);
        starts.push(Start { lane, from, until });
    }
    Ok(starts)
}
