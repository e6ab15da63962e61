//! `touchline dlq`: what could not be accepted.
//!
//! Listing, showing and dropping open the file of the data folder, while a server runs or not. A
//! replay asks the running server by its admin port: it alone may append to its log.

mod page;
mod replay;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use touchline_core::time::Timestamp;
use touchline_ingest::clock::system_clock;
use touchline_ingest::kafka::letters::read_letters;
use touchline_store::dead::{Book, Filter};

use super::{Exit, Failure, Given, in_peace, say, screen};
use crate::dead::{Which, courier};

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// List letters, the newest first
    List {
        #[command(flatten)]
        which: Which,
        /// So many at most
        #[arg(long, default_value_t = 100, value_name = "COUNT")]
        limit: usize,
        /// Those of all nodes, as the topics of dead letters in Kafka show them
        #[arg(long)]
        all_nodes: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one letter with its history and its bytes
    Show {
        /// Its id
        id: String,
        /// Write its bytes as they came, and nothing else
        #[arg(long, conflicts_with = "json")]
        raw: bool,
        /// As one JSON object, bytes in base64
        #[arg(long)]
        json: bool,
    },
    /// Have letters tried again by the running server; ends with 1 where one was refused
    Replay(replay::ReplayArgs),
    /// Let go of letters
    Drop {
        #[command(flatten)]
        chosen: Chosen,
        /// Don't ask
        #[arg(long)]
        yes: bool,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Letters by id, or those that flags mean.
#[derive(Clone, Debug, Args)]
pub struct Chosen {
    /// These letters
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// All letters that no flag leaves out
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

impl Chosen {
    /// Ids and flags together would leave open which of them decide; neither could be a slip.
    fn check(&self) -> Result<(), Failure> {
        let fault = match (self.ids.is_empty(), self.which.is_any(), self.all) {
            (false, false, _) => "name letters by their ids or by flags, not by both",
            (true, true, false) => "name letters by their ids or by flags; --all means all of them",
            _ => return Ok(()),
        };
        Err(anyhow!(fault).into())
    }
}

/// Carries it out.
pub fn dlq(given: &Given, command: DlqCommand) -> Result<Exit, Failure> {
    match command {
        DlqCommand::List { which, limit, all_nodes: true, json } => {
            list_all(given, &which, limit, json)
        }
        DlqCommand::List { which, limit, all_nodes: false, json } => {
            list(given, &which, limit, json)
        }
        DlqCommand::Show { id, raw, json } => show(given, &id, raw, json),
        DlqCommand::Replay(args) => replay::replay(given, &args),
        DlqCommand::Drop { chosen, yes, json } => drop_letters(given, &chosen, yes, json),
    }
}

/// The file, if there is one: a node that has refused nothing has none. Without a data folder it
/// isn't a node's.
fn open(given: &Given) -> Result<Option<Book>, Failure> {
    let options = given.load()?.options;
    if !options.data_dir.is_dir() {
        let dir = options.data_dir.display();
        let fault = format!("there is no data folder {dir}; --data-dir or --config names another");
        return Err(anyhow!(fault).into());
    }
    Ok(Book::open_existing(options.dead).context("opening the dead letters")?)
}

fn filter(which: &Which, now: Timestamp) -> Result<Filter, Failure> {
    which.read(now).map_err(|fault| anyhow!(fault).into())
}

fn list(given: &Given, which: &Which, limit: usize, json: bool) -> Result<Exit, Failure> {
    let now = system_clock();
    let filter = filter(which, now)?;
    let Some(mut book) = open(given)? else { return Ok(Exit::Fine) };
    // One more tells whether there are more.
    let mut letters =
        book.list(&filter, limit.saturating_add(1), true).map_err(anyhow::Error::from)?;
    book.close();
    let is_cut = letters.len() > limit;
    letters.truncate(limit);
    let text = match json {
        true => letters.iter().map(page::to_json).collect(),
        false => page::table(&letters, None, now, screen::width()),
    };
    say(text.as_bytes())?;
    if is_cut {
        eprintln!("there are more: raise --limit, or say which");
    }
    Ok(Exit::Fine)
}

/// Letters of every node, by the topics: none of their files is opened.
fn list_all(given: &Given, which: &Which, limit: usize, json: bool) -> Result<Exit, Failure> {
    let now = system_clock();
    let filter = filter(which, now)?;
    let Some(kafka) = given.load()?.options.kafka else {
        let text = "this node's log is no Kafka: ask each node for its own, without --all-nodes";
        return Err(anyhow!(text).into());
    };
    let (sheets, is_whole) = read_letters(&kafka).map_err(anyhow::Error::from)?;
    let all: Vec<_> = sheets.values().map(courier::read).collect();
    let unread = all.iter().filter(|it| it.is_none()).count();
    let mut found: Vec<_> =
        all.into_iter().flatten().filter(|(_, letter)| filter.meets(letter)).collect();
    // Ids ascend with the time of parking.
    found.reverse();
    let is_cut = found.len() > limit;
    found.truncate(limit);
    let (nodes, letters): (Vec<String>, Vec<_>) = found.into_iter().unzip();
    let text = match json {
        true => letters.iter().zip(&nodes).map(page::to_json_of).collect(),
        false => page::table(&letters, Some(&nodes), now, screen::width()),
    };
    say(text.as_bytes())?;
    if is_cut {
        eprintln!("there are more: raise --limit, or say which");
    }
    if unread > 0 {
        eprintln!("{unread} letter(s) can't be read: another build's, or nobody's");
    }
    if !is_whole {
        return Err(anyhow!("the topics hold more letters than are read at once").into());
    }
    Ok(Exit::Fine)
}

fn show(given: &Given, id: &str, raw: bool, json: bool) -> Result<Exit, Failure> {
    let found = match open(given)? {
        Some(mut book) => {
            let found = book.show(id).map_err(anyhow::Error::from)?;
            book.close();
            found
        }
        None => None,
    };
    let Some((letter, bytes)) = found else {
        return Err(anyhow!("no letter has the id {id:?}: `touchline dlq list` tells them").into());
    };
    match (raw, json) {
        (true, _) => say(&bytes),
        (_, true) => say(page::to_whole_json(&letter, &bytes).as_bytes()),
        _ => say(page::whole(&letter, &bytes).as_bytes()),
    }
}

fn drop_letters(given: &Given, chosen: &Chosen, yes: bool, json: bool) -> Result<Exit, Failure> {
    chosen.check()?;
    let now = system_clock();
    let filter = filter(&chosen.which, now)?;
    let mut dropped = 0;
    if let Some(mut book) = open(given)? {
        let failed = anyhow::Error::from;
        let count = match chosen.ids.len() as u64 {
            0 => book.count(&filter).map_err(failed)?,
            count => count,
        };
        if count > 0 && !yes && !agrees(count)? {
            return Ok(Exit::Failed);
        }
        if chosen.ids.is_empty() {
            dropped = book.drop_all(&filter, now).map_err(failed)?;
        }
        for id in &chosen.ids {
            dropped += u64::from(book.drop_one(id, now).map_err(failed)?);
        }
        book.close();
    }
    let text = match json {
        true => format!("{}\n", json!({ "dropped": dropped })),
        false => format!("{dropped} letter(s) dropped\n"),
    };
    say(text.as_bytes())?;
    // What was named and isn't gone was not there, or is being replayed.
    Ok(if dropped < chosen.ids.len() as u64 { Exit::Failed } else { Exit::Fine })
}

/// Asks a person.
fn agrees(count: u64) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(anyhow!("{count} letter(s) would be dropped: say so with --yes").into());
    }
    let mut err = io::stderr().lock();
    in_peace(write!(err, "Drop {count} letter(s)? They can't be brought back. [y/N] "))?;
    err.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// Where the running server's admin port is.
fn admin(given: &Given) -> anyhow::Result<String> {
    let mut address = given.load().map_err(|failure| anyhow!("{failure}"))?.options.listen.admin;
    if address.port() == 0 {
        bail!("the configuration lets the kernel choose the admin port: name it with --admin");
    }
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = match address.is_ipv4() {
            true => std::net::Ipv4Addr::LOCALHOST.into(),
            false => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    Ok(format!("http://{address}/dlq/replay"))
}
