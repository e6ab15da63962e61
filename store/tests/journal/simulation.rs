//! The journal's logic on a disk that lies, against an oracle that only keeps a list. By seed.
//!
//! Claims, after any sequence of appends, power cuts, kills, failed writes and syncs, full disks
//! and damage:
//! - what was acknowledged is there exactly once, at its position, or the log says that the disk
//!   has damaged it;
//! - what was not acknowledged is there at most once, and nothing is there that nobody sent;
//! - whatever was once shown stays: nothing is served before it is durable;
//! - right after a restart the dedupe window knows all that is in the log, and nothing else;
//! - without damage the life of the log never changes.
//!
//! `TOUCHLINE_SEED=n` runs one seed, `TOUCHLINE_SEEDS_S=n` new seeds for so many seconds.

#[path = "checks.rs"]
mod checks;

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use touchline_core::event::Event;
use touchline_core::log::{Epoch, HoleReason, Lane, Position, ReadRequest, Record};
use touchline_core::time::Timestamp;
use touchline_store::journal::JournalOptions;
use touchline_store::journal::clock::{Clock, Now};
use touchline_store::journal::engine::{Append, Engine};
use touchline_store::journal::reader::{DamageFound, read};
use touchline_store::journal::view::Mode;

use crate::support::event;
use crate::support::sim_disk::{SimDisk, Trouble};

const FIXED_SEEDS: u64 = 1_500;
const STEPS: usize = 60;
/// Retention is so small that it always waits for the window.
const WINDOW_S: i64 = 3_600;

#[test]
fn the_journal_keeps_its_word_on_a_disk_that_lies() {
    if let Some(seed) = number("TOUCHLINE_SEED") {
        return World::run(seed);
    }
    (0..FIXED_SEEDS).for_each(run);
    let until = Instant::now() + Duration::from_secs(number("TOUCHLINE_SEEDS_S").unwrap_or(0));
    while Instant::now() < until {
        run(rand::rng().random_range(FIXED_SEEDS..u64::MAX));
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| World::run(seed))) {
        eprintln!(
            "seed {seed} failed; to repeat it: TOUCHLINE_SEED={seed} cargo test -p touchline-store \
             --test journal keeps_its_word"
        );
        std::panic::resume_unwind(panic);
    }
}

/// What the oracle knows of an event.
#[derive(Clone, Debug)]
struct Sent {
    event: Event,
    /// Where it was acknowledged, and the log time then.
    acked: Option<u64>,
}

struct World {
    rng: SmallRng,
    disk: SimDisk,
    options: JournalOptions,
    engine: Option<Engine<SimDisk>>,
    now: Timestamp,
    /// What the journal's clock reads: `now`.
    clock: Arc<AtomicI64>,
    sent: Vec<Sent>,
    by_id: HashMap<String, usize>,
    /// What was ever shown, by sequence: index in `sent`.
    shown: BTreeMap<u64, usize>,
    /// Log time at which each sequence became durable.
    taken_at: BTreeMap<u64, Timestamp>,
    epoch: Option<Epoch>,
    damaged: bool,
    reopened: u64,
}

impl World {
    fn run(seed: u64) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let disk = SimDisk::new(rng.random());
        let now = Timestamp(1_782_324_000_000_000);
        let clock = Arc::new(AtomicI64::new(now.0));
        let reads = clock.clone();
        let options = JournalOptions {
            dir: "simulated".into(),
            clock: Clock::of(move || {
                let now = reads.load(Relaxed);
                Now { wall: Timestamp(now), passed: Duration::from_micros(now as u64) }
            }),
            segment_bytes: 64 << 10,
            retention_bytes: 200 << 10,
            ..Default::default()
        };
        let mut world = Self {
            rng,
            disk,
            options,
            engine: None,
            now,
            clock,
            sent: Vec::new(),
            by_id: HashMap::new(),
            shown: BTreeMap::new(),
            taken_at: BTreeMap::new(),
            epoch: None,
            damaged: false,
            reopened: 0,
        };
        for _ in 0..STEPS {
            world.step();
        }
        world.end_machine();
        world.open();
    }

    fn step(&mut self) {
        if self.engine.is_none() {
            self.open();
        }
        match self.rng.random_range(0..100) {
            0..60 => self.append(),
            60..66 => self.engine().prove(),
            66..70 => self.pass_time(),
            70..76 => self.read_some(),
            76..84 => self.plan_trouble(),
            84..87 => self.end_machine(),
            87..90 => self.fill_disk(),
            90..92 => self.spoil_a_checkpoint(),
            92..94 => self.damage(),
            94..96 => self.close(),
            _ => self.engine().tidy(),
        }
        if self.disk.stopped().is_some() {
            self.end_machine();
        }
    }

    fn engine(&mut self) -> &mut Engine<SimDisk> {
        self.engine.as_mut().expect("the machine is on")
    }

    fn append(&mut self) {
        self.now = Timestamp(self.now.0 + self.rng.random_range(0..3_000_000));
        self.clock.store(self.now.0, Relaxed);
        let appends: Vec<Append> =
            (0..self.rng.random_range(1..4)).map(|_| self.some_append()).collect();
        let asked = appends.clone();
        let mode = self.engine().shared().mode();
        let before = self.engine().shared().next();
        let commit = self.engine().commit(appends);
        for record in &commit.records {
            self.show(record);
        }
        let shared = self.engine().shared().clone();
        shared.publish(commit.records, commit.from, commit.next);
        let room = shared.mode();
        for (append, verdict) in asked.iter().zip(commit.verdicts) {
            self.check_verdict(append, verdict, before, mode);
        }
        if room == Mode::ReadOnly && self.disk.stopped().is_none() {
            self.check_nothing_more_is_shown();
        }
    }

    fn some_append(&mut self) -> Append {
        let count = self.rng.random_range(1..6);
        let events = (0..count).map(|_| self.some_event()).collect();
        Append { events, received_at: self.now, is_again: false }
    }

    /// A new event, or one that was sent before, or one that takes another's id.
    fn some_event(&mut self) -> Event {
        let choice = self.rng.random_range(0..10);
        if choice < 7 || self.sent.is_empty() {
            let id = format!("e{}", self.sent.len());
            let filler = "x".repeat(self.rng.random_range(0..1_500));
            let event = event(&id, &filler, self.now);
            self.by_id.insert(id, self.sent.len());
            self.sent.push(Sent { event: event.clone(), acked: None });
            return event;
        }
        let recent = self.sent.len().saturating_sub(40);
        let n = self.rng.random_range(recent..self.sent.len());
        let mut again = self.sent[n].event.clone();
        if choice == 9 {
            again.data = "{\"other\":true}".into();
        }
        again
    }

    /// A record is shown to somebody: from now on it must stay.
    fn show(&mut self, record: &Record) {
        let (seq, event) = (record.position.seq, &record.event);
        let n = *self.by_id.get(&*event.id).expect("only what was sent is there");
        let known = self.shown.insert(seq, n);
        assert!(known.is_none_or(|known| known == n), "sequence {seq} has become another event");
        if self.sent[n].acked.is_none() {
            // Of those that were sent under this id, this is the one that counts.
            self.sent[n].event = event.clone();
        }
        self.taken_at.insert(seq, record.received_at);
    }

    fn read_some(&mut self) {
        let next = self.engine().shared().next();
        let from = self.rng.random_range(0..=next + 2);
        let bytes_max = self.rng.random_range(1..20_000);
        self.read_from(from, bytes_max);
    }

    /// Reads one chunk, checks it, and lets the log set aside what is damaged. Returns where to go
    /// on.
    fn read_from(&mut self, from: u64, bytes_max: usize) -> u64 {
        let shared = self.engine().shared().clone();
        let request = ReadRequest { from: Position { lane: Lane(0), seq: from }, bytes_max };
        let mut found: Vec<DamageFound> = Vec::new();
        let chunk = read(&shared, &self.disk, request, &mut found).unwrap();
        assert!(self.damaged || found.is_empty(), "damage on a sound disk: {found:?}");
        let mut at = from;
        let mut records = chunk.records.iter().peekable();
        let mut holes = chunk.holes.iter().peekable();
        while at < chunk.next {
            if records.peek().is_some_and(|record| record.position.seq == at) {
                let record = records.next().unwrap();
                self.show(record);
                let sent = &self.sent[self.by_id[&*record.event.id]];
                let same = sent.event == record.event || sent.acked.is_none();
                assert!(same || self.damaged, "{at} says what was sent");
                at += 1;
            } else {
                let hole = holes.next().expect("nothing is left out in silence");
                assert_eq!(hole.from, at);
                match hole.reason {
                    HoleReason::Retention => assert!(hole.to < shared.first()),
                    HoleReason::Damaged => assert!(self.damaged, "{hole:?} on a sound disk"),
                    other => panic!("{other}"),
                }
                at = hole.to + 1;
            }
        }
        assert!(records.next().is_none() && holes.next().is_none());
        for damage in found {
            self.engine().quarantine(damage.first, damage.offset);
        }
        chunk.next
    }

    fn pass_time(&mut self) {
        let seconds = [60, 900, 2_000, 5_000][self.rng.random_range(0..4)];
        self.now = Timestamp(self.now.0 + seconds * 1_000_000);
        self.clock.store(self.now.0, Relaxed);
        self.engine().tidy();
        self.check_retention();
    }

    fn plan_trouble(&mut self) {
        let trouble = [Trouble::Kill, Trouble::PowerCut, Trouble::Eio][self.rng.random_range(0..3)];
        let calls = self.rng.random_range(1..20);
        self.disk.plan(calls, trouble);
    }

    fn fill_disk(&mut self) {
        let room = self.rng.random_range(0..40_000);
        self.disk.set_capacity(self.disk.used() + room);
        for _ in 0..self.rng.random_range(1..8) {
            if self.disk.stopped().is_none() {
                self.append();
            }
        }
        if self.disk.stopped().is_none() && self.rng.random_bool(0.3) {
            // Whoever restarts it meanwhile finds it as it was: what is there is served.
            self.restart_full();
        }
        self.disk.set_capacity(u64::MAX);
        if self.disk.stopped().is_none() {
            let full = self.engine().shared().mode() == Mode::DiskFull;
            let happened = self.disk.happened();
            self.engine().prove();
            // Trouble at a new segment's first bytes is tried again as well.
            let calm = self.disk.happened() == happened;
            let mode = self.engine().shared().mode();
            assert!(!full || !calm || mode != Mode::DiskFull, "it recovers by itself");
        }
    }

    /// The machine goes off and on while there is no room at all.
    fn restart_full(&mut self) {
        self.engine = None;
        self.disk.restart(self.rng.random_bool(0.5));
        self.disk.set_capacity(self.disk.used());
        self.open();
    }

    fn spoil_a_checkpoint(&mut self) {
        let names = self.disk.names();
        let checkpoints: Vec<_> = names.iter().filter(|name| name.ends_with(".ids")).collect();
        if let Some(name) = checkpoints.get(self.rng.random_range(0..checkpoints.len().max(1))) {
            let len = self.disk.content(name).len() as u64;
            let (offset, bit) = (self.rng.random_range(0..len.max(1)), self.rng.random_range(0..8));
            self.disk.flip(name, offset, bit);
        }
    }

    /// Flips a bit of something that is proven.
    fn damage(&mut self) {
        if self.rng.random_bool(0.7) {
            return;
        }
        self.engine().prove();
        if self.disk.stopped().is_some() || self.engine().shared().mode() != Mode::Writable {
            return;
        }
        let view = self.engine().shared().view();
        let Some(segment) = view.segments.get(self.rng.random_range(0..view.segments.len().max(1)))
        else {
            return;
        };
        let len = self.disk.content(&segment.name).len() as u64;
        if len <= 4096 {
            return;
        }
        // The last block is the proof itself: nothing yet says that it was synced.
        let (offset, bit) = (self.rng.random_range(0..len - 4096), self.rng.random_range(0..8));
        self.disk.flip(&segment.name, offset, bit);
        self.damaged = true;
    }

    fn close(&mut self) {
        self.engine().close();
        self.engine = None;
    }

    fn end_machine(&mut self) {
        let cut = match self.disk.stopped() {
            Some(Trouble::PowerCut) => true,
            Some(_) => false,
            None => self.rng.random_bool(0.5),
        };
        self.engine = None;
        self.disk.restart(cut);
    }

    /// Opens the log, perhaps with trouble on the way, and holds all of it against the oracle.
    fn open(&mut self) {
        let report = loop {
            if self.rng.random_bool(0.2) {
                let trouble = [Trouble::Kill, Trouble::PowerCut][self.rng.random_range(0..2)];
                let calls = self.rng.random_range(1..12);
                self.disk.plan(calls, trouble);
            }
            self.reopened += 1;
            let happened = self.disk.happened();
            let fresh = Epoch(self.reopened);
            let (disk, reads) = (self.disk.clone(), self.disk.clone());
            let opened = Engine::open(disk, &reads, self.options.clone(), fresh);
            match opened {
                Ok(recovered) if self.disk.stopped().is_none() => {
                    self.engine = Some(recovered.engine);
                    break recovered.report;
                }
                Ok(_) => {}
                Err(error) => assert!(self.disk.happened() > happened, "{error}"),
            }
            self.end_machine();
        };
        self.check_life(&report);
        self.check_all();
        self.check_dedupe();
    }
}
