//! `touchline tail`: events as they come, out of the journal's files or [of
//! Kafka](super::tail_kafka).
//!
//! Of a journal it needs no server and asks none: it reads what is proven durable, so an event
//! shows a tenth of a second after its source got its 202. While the newest file doesn't change,
//! looking for news costs a listing of the folder.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::Args;
use touchline_core::event::Stream;
use touchline_core::log::Record;
use touchline_store::journal::offline::{Dumped, dump, end};

use super::records::Place;
use super::{Exit, Failure, Given, in_peace, records, screen, tail_kafka};

/// Between two looks.
const POLL: Duration = Duration::from_millis(250);

/// What to show.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// One JSON object a line, whole; without it a terminal's lines are cut to its width
    #[arg(long)]
    pub(super) json: bool,
    /// Begin so many events back
    #[arg(long, short = 'n', default_value_t = 10, value_name = "COUNT")]
    pub(super) last: u64,
    /// Begin at this sequence; of Kafka, at this position of its lane
    #[arg(long, conflicts_with = "last", value_name = "PLACE")]
    pub(super) from: Option<Place>,
    /// End at the end instead of waiting for more
    #[arg(long)]
    pub(super) no_follow: bool,
    /// Only events of this team; may be repeated
    #[arg(long, value_name = "TEAM")]
    team: Vec<String>,
    /// Only events of this type; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    kind: Vec<String>,
    /// Only events of this source; may be repeated
    #[arg(long, value_name = "SOURCE")]
    source: Vec<String>,
    /// Only events of this stream; may be repeated
    #[arg(long, value_name = "STREAM", value_parser = ["broadcast", "update", "social", "sensor"])]
    only: Vec<String>,
}

impl TailArgs {
    pub(super) fn wants(&self, record: &Record) -> bool {
        let event = &record.event;
        let one_of =
            |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
        let stream = self.only.iter().filter_map(|name| Stream::parse(name));
        (self.team.is_empty() || event.route.teams().any(|team| one_of(&self.team, team)))
            && one_of(&self.kind, &event.kind)
            && one_of(&self.source, &event.source)
            && (self.only.is_empty() || stream.into_iter().any(|stream| stream == event.stream))
    }
}

/// Prints until interrupted, or with `--no-follow` to the end.
pub fn tail(given: &Given, args: &TailArgs) -> Result<Exit, Failure> {
    let options = given.load()?.options;
    if let Some(kafka) = &options.kafka {
        return tail_kafka::tail(kafka, args);
    }
    let dir = options.journal.dir;
    let no_journal = || {
        let dir = dir.display();
        format!("there is no journal to read in {dir}; --data-dir names another data folder")
    };
    let mut next = match args.from {
        Some(from) => from.seq,
        None => end(&dir).with_context(no_journal)?.saturating_sub(args.last),
    };
    let mut seen = None;
    loop {
        let newest = newest(&dir).with_context(no_journal)?;
        if seen != newest {
            let reached = print(&dir, next, args)?;
            let Some(reached) = reached else { return Ok(Exit::Fine) };
            // What was written lately may not be proven yet: look again until there is nothing new.
            seen = if reached == next { newest } else { None };
            next = reached;
        }
        if args.no_follow {
            return Ok(Exit::Fine);
        }
        std::thread::sleep(POLL);
    }
}

/// Which file was changed last, and when.
fn newest(dir: &Path) -> io::Result<Option<(SystemTime, std::ffi::OsString, u64)>> {
    let mut newest = None;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // A file that retention removes between listing and looking is no news.
        let Ok(metadata) = entry.metadata() else { continue };
        let this = (metadata.modified()?, entry.file_name(), metadata.len());
        newest = newest.max(Some(this));
    }
    Ok(newest)
}

/// Prints what is there from `from` on. `None`: nobody reads our output any more.
fn print(dir: &Path, from: u64, args: &TailArgs) -> Result<Option<u64>, Failure> {
    let width = screen::width();
    let mut out = io::stdout().lock();
    let mut written = Ok(true);
    let reached = dump(dir, from, u64::MAX, |found| {
        let line = match found {
            Dumped::Record { epoch, record, .. } if args.wants(&record) => {
                match (args.json, width) {
                    (true, _) => records::to_json(epoch, &record),
                    (false, Some(width)) => records::to_screen(&record, false, width),
                    (false, None) => records::to_text(&record),
                }
            }
            Dumped::Record { .. } => return true,
            Dumped::Damage { file, offset, reason } => {
                eprintln!("touchline: {file} at {offset}: {reason}");
                return true;
            }
        };
        written = in_peace(writeln!(out, "{line}"));
        matches!(written, Ok(true))
    })?;
    let whole = written? && in_peace(out.flush())?;
    Ok(whole.then_some(reached))
}
