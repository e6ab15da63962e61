//! `touchline log migrate`: the journal's records go into Kafka, once.
//!
//! The journal is opened as a server opens it: under its lock, so that no server runs on it, and
//! repaired, so that what a crash has left unproven is there as well (R12). It stays as it is.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use touchline_core::log::{EventLog as _, HoleReason, Lane, LaneBounds, Position};
use touchline_core::log::{ReadChunk, ReadRequest, Record};
use touchline_ingest::kafka::Import;
use touchline_store::journal::Journal;

use super::screen::counted;
use super::{Exit, Failure, Given, in_peace};
use crate::limits::{MIGRATE_BATCH_MAX, MIGRATE_READ_BYTES};

/// How often a line tells how far it is where there is no terminal.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long one read of the journal may take.
const READ_MAX: Duration = Duration::from_secs(30);

/// What to move.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Where to: `kafka`, as `[log.kafka]` says
    #[arg(long, value_name = "KIND", value_parser = ["kafka"])]
    to: String,
    /// Records that are sent before brokers are waited for
    #[arg(long, default_value_t = 2_000, value_name = "COUNT",
          value_parser = clap::value_parser!(u64).range(1..=MIGRATE_BATCH_MAX as u64))]
    batch: u64,
    /// Go on where something of the journal is damaged, and leave that out
    #[arg(long)]
    past_damage: bool,
}

/// Moves it.
pub(super) fn migrate(given: &Given, args: &MigrateArgs) -> Result<Exit, Failure> {
    let options = given.load_with("log.kind", "kafka")?.options;
    let Some(kafka) = options.kafka else {
        return Err(anyhow::anyhow!("`[log.kafka]` says nothing of where to").into());
    };
    let folder = options.journal.dir.clone();
    if !folder.is_dir() {
        let text = format!(
            "there is no journal in {}: --data-dir names another data folder",
            folder.display()
        );
        return Err(anyhow::anyhow!(text).into());
    }
    let opened = Journal::open(options.journal);
    let (journal, _) = opened.map_err(|error| Failure::Start(crate::StartError::Journal(error)))?;
    let bounds = journal.bounds();
    let LaneBounds { first, next: end, .. } = bounds.lanes[0];
    let Some(import) = Import::begin(&kafka, bounds.epoch, first, end)? else {
        in_peace(writeln!(
            std::io::stdout(),
            "all {end} sequences of this journal are in Kafka already; nothing was done"
        ))?;
        return Ok(Exit::Fine);
    };
    let mut moving = Moving {
        source: Source::new(Arc::clone(&journal), import.next(), end, args.past_damage),
        import,
        bar: bar(end - first),
        told_at: None,
        first,
        moved: 0,
    };
    moving.run(usize::try_from(args.batch).unwrap_or(1))?;
    journal.close();
    let (moved, skipped) = (moving.moved, moving.import.skipped());
    let (epoch, left_out) = (moving.import.epoch().0, moving.source.left_out);
    moving.import.finish(end)?;
    moving.bar.finish_and_clear();
    let mut out = std::io::stdout().lock();
    let moved_told = counted(moved, "record");
    in_peace(writeln!(
        out,
        "In Kafka now: {moved_told}; {skipped} were there from a run before, {left_out} \
         could not be read; sequences {first} to {end}, epoch {epoch:016x}\n\n\
         What is left to do:\n  \
         1. on every node: `[log] kind = \"kafka\"`, and `[log.kafka]` as it was here\n  \
         2. start the nodes; clients are told of a gap, reason `epoch`, and go on\n  \
         3. keep {} until you are sure, then remove it",
        folder.display()
    ))?;
    if moved + skipped > kafka.dedupe_entries_max as u64 {
        in_peace(writeln!(
            out,
            "  4. sources may get 429 `dedupe_full` in the first hour: brokers have stamped all of \
             this just now, so it lies in the dedupe window; raise `log.dedupe_entries_max` above \
             {} for that hour",
            moved + skipped
        ))?;
    }
    Ok(Exit::Fine)
}

fn bar(len: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{bar:40} {pos}/{len} sequences, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style);
    let bar = ProgressBar::new(len);
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

/// A journal on its way.
struct Moving {
    source: Source,
    import: Import,
    bar: ProgressBar,
    told_at: Option<Instant>,
    first: u64,
    moved: u64,
}

impl Moving {
    fn run(&mut self, batch: usize) -> Result<(), Failure> {
        loop {
            // A batch that was under way when another run ended is taken up as it was.
            let (records, until) = match self.import.until() {
                Some(until) => (self.source.up_to(until)?, until),
                None => self.source.up_to_count(batch)?,
            };
            if until == self.import.next() {
                return Ok(());
            }
            let before = self.import.skipped();
            self.import.put(&records, until)?;
            self.moved += records.len() as u64 - (self.import.skipped() - before);
            self.tell(until);
        }
    }

    fn tell(&mut self, until: u64) {
        self.bar.set_position(until - self.first);
        let is_due = self.told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY);
        if self.bar.is_hidden() && is_due {
            self.told_at = Some(Instant::now());
            let end = self.source.end;
            eprintln!("touchline: up to sequence {until} of {end} the journal is in Kafka");
        }
    }
}

/// The journal's records, in order.
struct Source {
    journal: Arc<Journal>,
    end: u64,
    /// Where the journal is read next.
    next: u64,
    /// What was read and not yet taken.
    ready: VecDeque<Record>,
    past_damage: bool,
    left_out: u64,
}

impl Source {
    fn new(journal: Arc<Journal>, next: u64, end: u64, past_damage: bool) -> Self {
        Self { journal, end, next, ready: VecDeque::new(), past_damage, left_out: 0 }
    }

    /// All records below `until`.
    fn up_to(&mut self, until: u64) -> Result<Vec<Record>, Failure> {
        while self.next < until {
            self.read()?;
        }
        let count = self.ready.iter().take_while(|it| it.position.seq < until).count();
        Ok(self.ready.drain(..count).collect())
    }

    /// The next `count` records, or those that are left; and where they end.
    fn up_to_count(&mut self, count: usize) -> Result<(Vec<Record>, u64), Failure> {
        while self.ready.len() < count && self.next < self.end {
            self.read()?;
        }
        let count = count.min(self.ready.len());
        let records: Vec<Record> = self.ready.drain(..count).collect();
        let until = self.ready.front().map_or(self.next, |it| it.position.seq);
        Ok((records, until))
    }

    fn read(&mut self) -> Result<(), Failure> {
        let from = Position { lane: Lane(0), seq: self.next };
        let (told, answer) = sync_channel(1);
        let request = ReadRequest { from, bytes_max: MIGRATE_READ_BYTES };
        self.journal.read(request, Box::new(move |chunk| drop(told.send(chunk))));
        let chunk = answer.recv_timeout(READ_MAX).context("waiting for the journal's reader")?;
        let ReadChunk { next, records, holes, .. } = chunk.context("reading the journal")?;
        for hole in holes {
            let count = hole.to - hole.from + 1;
            if hole.reason == HoleReason::Damaged && !self.past_damage {
                let text = format!(
                    "sequences {} to {} of the journal are damaged (see `touchline log verify`): \
                     --past-damage leaves them out",
                    hole.from, hole.to
                );
                return Err(anyhow::anyhow!(text).into());
            }
            self.left_out += count;
        }
        if next == self.next {
            let text = format!("the journal gives nothing at sequence {next}");
            return Err(anyhow::anyhow!(text).into());
        }
        self.next = next;
        self.ready.extend(records);
        Ok(())
    }
}
