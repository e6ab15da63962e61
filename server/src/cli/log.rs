//! `touchline log verify` and `touchline log dump`: here of a journal.
//!
//! Both read the journal's files, while a server runs or not, and change nothing. Where Kafka is
//! the log they [read that](super::log_kafka), unless a folder is named.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use touchline_store::journal::offline::{Dumped, SegmentReport, dump, verify};

use super::records::Place;
use super::screen::counted;
use super::{Exit, Failure, Given, in_peace, log_kafka, migrate_log, records};

/// What to do with the log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Check every record; ends with 1 where something acknowledged may be lost
    Verify {
        /// A journal's folder [default: the log that is configured]
        folder: Option<PathBuf>,
    },
    /// Print records
    Dump {
        /// A journal's folder [default: the log that is configured]
        folder: Option<PathBuf>,
        /// First sequence, or the position of the first event as `pos` tells it
        #[arg(long, default_value = "0", hide_default_value = true, value_name = "PLACE")]
        from: Place,
        /// The sequence or position to stop before
        #[arg(long, value_name = "PLACE")]
        to: Option<Place>,
        /// Of Kafka only this lane: its number, or TOPIC/PARTITION
        #[arg(long, value_name = "LANE")]
        lane: Option<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Move the journal into Kafka, once: what was interrupted goes on when it is run again
    Migrate(migrate_log::MigrateArgs),
}

/// Carries it out.
pub fn log(given: &Given, command: LogCommand) -> Result<Exit, Failure> {
    let kafka = || Ok::<_, Failure>(given.load()?.options.kafka);
    match command {
        LogCommand::Verify { folder: None } => match kafka()? {
            Some(kafka) => log_kafka::verify(&kafka),
            None => verify_folder(&folder_of(given)?),
        },
        LogCommand::Verify { folder: Some(folder) } => verify_folder(&folder),
        LogCommand::Dump { folder, from, to, lane, json } => {
            let kafka = if folder.is_none() { kafka()? } else { None };
            match kafka {
                Some(kafka) => log_kafka::dump(&kafka, from, to, lane.as_deref(), json),
                None => {
                    let folder = folder.map_or_else(|| folder_of(given), Ok)?;
                    dump_folder(&folder, from.seq, to.map_or(u64::MAX, |to| to.seq), json)
                }
            }
        }
        LogCommand::Migrate(args) => migrate_log::migrate(given, &args),
    }
}

fn folder_of(given: &Given) -> Result<PathBuf, Failure> {
    Ok(given.load()?.options.journal.dir)
}

fn verify_folder(folder: &Path) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    let mut damaged = false;
    let (mut segments, mut records) = (0u64, 0u64);
    let reading = || format!("reading {}", folder.display());
    for report in verify(folder).with_context(reading)? {
        let report = report.with_context(reading)?;
        segments += 1;
        records += report.records;
        damaged |= report.is_damaged();
        if !in_peace(tell(&mut out, &report))? {
            break;
        }
    }
    let verdict = if damaged { "damaged" } else { "sound" };
    let (segments, records) = (counted(segments, "segment"), counted(records, "record"));
    in_peace(writeln!(out, "{verdict}: {segments}, {records}"))?;
    Ok(if damaged { Exit::Failed } else { Exit::Fine })
}

fn tell(out: &mut impl io::Write, report: &SegmentReport) -> io::Result<()> {
    let SegmentReport { file, first, next, records, bytes, quarantined, .. } = report;
    let aside = if *quarantined { ", set aside" } else { "" };
    let bytes = counted(*bytes, "byte");
    match next.checked_sub(1).filter(|last| last >= first) {
        Some(last) => {
            let records = counted(*records, "record");
            writeln!(out, "{file}: sequences {first} to {last}, {records}, {bytes}{aside}")?;
        }
        None => writeln!(out, "{file}: no records yet, {bytes}{aside}")?,
    }
    for problem in &report.problems {
        let kind = if problem.unproven_tail { "unproven tail" } else { "damage" };
        writeln!(out, "{file}: {kind} at byte {}: {}", problem.offset, problem.reason)?;
    }
    Ok(())
}

fn dump_folder(folder: &Path, from: u64, to: u64, json: bool) -> Result<Exit, Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut written = Ok(true);
    let mut damaged = false;
    dump(folder, from, to, |found| {
        let line = match found {
            Dumped::Record { epoch, record, .. } if json => records::to_json(epoch, &record),
            Dumped::Record { record, .. } => records::to_text(&record),
            Dumped::Damage { file, offset, reason } => {
                damaged = true;
                eprintln!("touchline: {file} at byte {offset}: {reason}");
                return true;
            }
        };
        written = in_peace(writeln!(out, "{line}"));
        matches!(written, Ok(true))
    })
    .with_context(|| format!("reading {}", folder.display()))?;
    if written? {
        in_peace(out.flush())?;
    }
    Ok(if damaged { Exit::Failed } else { Exit::Fine })
}
