//! `touchline log verify` and `touchline log dump`.
//!
//! Both read the journal's files, while a server runs or not, and change nothing.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use touchline_store::journal::offline::{Dumped, SegmentReport, dump, verify};

use super::{Exit, Failure, Given, in_peace, records};

/// What to do with the journal.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Check every checksum; ends with 1 where something acknowledged may be lost
    Verify {
        /// The journal's folder [default: `journal` in the data folder]
        folder: Option<PathBuf>,
    },
    /// Print records
    Dump {
        /// The journal's folder [default: `journal` in the data folder]
        folder: Option<PathBuf>,
        /// First sequence
        #[arg(long, default_value_t = 0, value_name = "SEQUENCE")]
        from: u64,
        /// The sequence to stop before
        #[arg(long, default_value_t = u64::MAX, hide_default_value = true, value_name = "SEQUENCE")]
        to: u64,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

/// Carries it out.
pub fn log(given: &Given, command: LogCommand) -> Result<Exit, Failure> {
    match command {
        LogCommand::Verify { folder } => verify_folder(&folder_of(given, folder)?),
        LogCommand::Dump { folder, from, to, json } => {
            dump_folder(&folder_of(given, folder)?, from, to, json)
        }
    }
}

fn folder_of(given: &Given, folder: Option<PathBuf>) -> Result<PathBuf, Failure> {
    folder.map_or_else(|| Ok(given.load()?.options.journal.dir), Ok)
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
    in_peace(writeln!(out, "{verdict}: {segments} segment(s), {records} record(s)"))?;
    Ok(if damaged { Exit::Failed } else { Exit::Fine })
}

fn tell(out: &mut impl io::Write, report: &SegmentReport) -> io::Result<()> {
    let SegmentReport { file, first, next, records, bytes, quarantined, .. } = report;
    let aside = if *quarantined { ", set aside" } else { "" };
    writeln!(
        out,
        "{file}: sequences {first} to {next}, {records} record(s), {bytes} bytes{aside}"
    )?;
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
