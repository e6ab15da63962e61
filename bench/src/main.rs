//! `touchline-bench`: how fast is it, and how fast could it be?
//!
//! The controller ([`rows`], [`run`]) starts a server pinned to one core and a process of clients
//! ([`receive`]) pinned to another, has a partner's webhooks posted ([`publish`]) by a schedule
//! that was fixed beforehand ([`schedule`]), and looks at the server through `/proc` ([`probe`])
//! meanwhile. The same is done with a [`floor`]: a server that does nothing but send. What comes
//! out goes to [`report`].
//!
//! # Rules of honest numbers
//! - Latency counts from the time at which an event *should* have been sent to the client's read
//!   returning.
//! - Every event carries its number; each socket counts what is missing, repeated or out of order.
//! - Server and floor are run in turn, at least five times, and medians stand with their range.
//! - A run in which the generator was nearly a whole core, or in which others used the cores, says
//!   so.
//!
//! | module | what it holds |
//! |---|---|
//! | [`rows`] | the questions |
//! | [`place`] | cores, binaries, agents |
//! | [`scenario`], [`setup`], [`shipped`] | workloads as files, and what is done in a run |
//! | [`compare`], [`turns`] | scenarios on one subject or on many; who goes when |
//! | [`stage`], [`watch`], [`run`] | one run: server, clients, schedule; what was seen |
//! | [`crew`], [`agent`] | the clients, here or on other hosts |
//! | [`target`] | the servers under test |
//! | [`floor`] | the server that does nothing but send |
//! | [`lab`] | ways to use the kernel, tried on the floor |
//! | [`receive`] | clients by the ten thousand |
//! | [`publish`] | the partner |
//! | [`upstream`] | sensors and streams that Touchline asks and listens to |
//! | [`brokers`] | Kafka, for runs that want it |
//! | [`schedule`], [`stamp`], [`message`], [`frames`] | what is due when, and how it is found |
//! | [`probe`], [`meter`], [`stats`] | CPU, memory and host; medians |
//! | [`report`] | JSON Lines, the table, and what is said meanwhile |
//! | [`page`] | the report: one file of HTML |
//! | [`child`], [`sys`], [`limits`] | processes, system calls, bounds |

mod agent;
mod brokers;
mod child;
mod compare;
mod crew;
mod dialogue;
mod floor;
mod frames;
mod lab;
mod limits;
mod message;
mod meter;
mod page;
mod place;
mod probe;
mod publish;
mod receive;
mod report;
mod rows;
mod run;
mod scenario;
mod schedule;
mod setup;
mod shipped;
mod stage;
mod stamp;
mod stats;
mod sys;
mod target;
mod turns;
mod upstream;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

use place::{Place, PlaceArgs};
use rows::PLANS;
use target::Subject;

/// How fast is it, and how fast could it be?
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure the server against the floor, row by row; or play scenarios on any server.
    Run {
        /// A scenario: a name of `bench/scenarios` or a file; may be given several times. Without
        /// one, the rows of docs/performance.md are measured.
        #[arg(long, value_name = "NAME")]
        scenario: Vec<String>,
        #[command(flatten)]
        whom: TargetArgs,
        #[command(flatten)]
        play: compare::PlayArgs,
        #[command(flatten)]
        rows: RowArgs,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Carry clients for a controller on another host.
    Agent(agent::AgentArgs),
    /// Measure products side by side, floors among them, in one run.
    Compare {
        #[command(flatten)]
        what: compare::CompareArgs,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Measure ways to use the kernel: variants of the floor, in turn, against its default.
    Lab {
        #[command(flatten)]
        what: lab::LabArgs,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Make a table or a page out of results that were measured earlier.
    Report {
        /// JSON Lines of `run` or `compare`.
        #[arg(required = true)]
        results: Vec<PathBuf>,
        /// A page whose table is to be replaced.
        #[arg(long, value_name = "FILE")]
        table: Option<PathBuf>,
        /// A page of HTML to write: all workloads, tables and charts in one file.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Serve as a floor: what the kernel charges for sending. Obeys lines of JSON on standard
    /// input.
    Floor(floor::FloorArgs),
    /// Serve as clients. Obeys lines of JSON on standard input.
    Receive {
        /// Addresses from which they connect, separated by commas.
        #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
        source: Vec<std::net::Ipv4Addr>,
    },
}

/// On whom scenarios are played.
#[derive(Args)]
struct TargetArgs {
    /// `touchline` (started here), `floor`, a name of `bench/targets` or a file, or the address of
    /// a Touchline that runs already: `ws://host:port`, with a path of its own if need be.
    #[arg(long, value_name = "TARGET", default_value = "touchline", requires = "scenario")]
    target: String,
    /// `host:port` of its API, where it runs already. Default: port 8081 of the target's host.
    #[arg(long, value_name = "ADDRESS")]
    api: Option<String>,
    /// A file of `whsec_<base64>` with which the server that runs already knows the partner
    /// `bench`.
    #[arg(long, value_name = "FILE", default_value = "bench.secrets")]
    secrets_file: PathBuf,
}

/// Which rows of the table are measured, and where it goes.
#[derive(Args)]
struct RowArgs {
    /// Only this row; may be given several times.
    #[arg(long, value_name = "NAME", conflicts_with = "scenario")]
    row: Vec<String>,
    /// A page whose table is to be replaced.
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    table: Option<PathBuf>,
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let is_controller =
        matches!(command, Command::Run { .. } | Command::Compare { .. } | Command::Lab { .. });
    if let Err(error) = if is_controller { child::end_together() } else { Ok(()) } {
        eprintln!("touchline-bench: {error:#}");
        return ExitCode::FAILURE;
    }
    let done = match command {
        Command::Run { scenario, play, rows, place, .. } if scenario.is_empty() => {
            play.check_unused().and_then(|()| measure(&rows, &place))
        }
        Command::Run { scenario, whom, play, place, .. } => {
            Place::new(&place).and_then(|mut at| {
                let subject = whom.subject(&mut at)?;
                compare::run(&scenario, &play, &subject, &at, &place.out)
            })
        }
        Command::Agent(args) => agent::run(&args).map(|()| true),
        Command::Compare { what, place } => {
            Place::new(&place).and_then(|at| compare::compare(&what, &at, &place.out))
        }
        Command::Lab { what, place } => {
            Place::new(&place).and_then(|at| lab::experiment(&what, &at, &place.out))
        }
        Command::Floor(args) => floor::run(&args).map(|()| true),
        Command::Report { results, table, html } => {
            present(&results, table.as_deref(), html.as_deref())
        }
        Command::Receive { source } => receive::run(source).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("touchline-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl TargetArgs {
    fn subject(&self, place: &mut Place) -> Result<Subject> {
        match self.target.as_str() {
            "touchline" if !place.has_server() => {
                bail!("there is no server beside this bench: build it, or name it with --server")
            }
            "touchline" => Ok(Subject::Touchline),
            "floor" => Ok(Subject::Floor(floor::Kind::Volley)),
            url if url.contains("://") => {
                let (api, secrets_file) = (self.api.as_deref(), self.secrets_file.clone());
                place.running = Some(target::file::Target::running(url, api, secrets_file)?);
                Ok(Subject::Peer(url.into()))
            }
            name => compare::peer_subject(name),
        }
    }
}

/// Measures the rows that were asked for; whether all of them could be measured.
fn measure(args: &RowArgs, at: &PlaceArgs) -> Result<bool> {
    let place = Place::new(at)?;
    if let Some(name) = args.row.iter().find(|name| PLANS.iter().all(|plan| plan.name != **name)) {
        let names: Vec<&str> = PLANS.iter().map(|plan| plan.name).collect();
        bail!("there is no row {name}; there are {}", names.join(", "));
    }
    let is_wanted = |name: &str| args.row.is_empty() || args.row.iter().any(|row| row == name);
    let plans: Vec<_> = PLANS.iter().filter(|plan| is_wanted(plan.name)).collect();
    if let Some(page) = &args.table {
        // Nobody wants to know that after an hour.
        let names: Vec<&str> = plans.iter().map(|plan| plan.name).collect();
        report::table::check_page(page, &names)?;
    }
    let host = probe::Host::read();
    sys::pin(place.client_core).context("pin the controller to the clients' core")?;
    let mut sink = report::Sink::new(&at.out, &host, plans.len())?;
    let mut rows = Vec::new();
    for plan in &plans {
        sink.begin_row(plan.name, plan.question);
        match rows::measure(plan, &place, &mut sink) {
            Ok(row) => {
                sink.keep_row(&row)?;
                rows.push(row);
            }
            Err(error) => sink.say(&format!("{}: could not be measured: {error:#}", plan.name)),
        }
    }
    println!("{}", report::table::table(&host, &rows));
    if let Some(page) = &args.table {
        report::table::update_page(page, &host, &rows)?;
    }
    Ok(rows.len() == plans.len())
}

/// Writes the page of HTML if one is wanted; else, or if one is wanted too, shows the table, in
/// which of each row the last counts.
fn present(results: &[PathBuf], page: Option<&Path>, html: Option<&Path>) -> Result<bool> {
    let kept = report::kept::read(results)?;
    kept.warnings.iter().for_each(|warning| eprintln!("touchline-bench: {warning}"));
    if let Some(html) = html {
        page::write(&kept, html)?;
        eprintln!("wrote {}", html.display());
        if page.is_none() {
            return Ok(true);
        }
    }
    let (host, rows) = report::table::rows(kept, results)?;
    if let Some(page) = page {
        report::table::update_page(page, &host, &rows)?;
    }
    println!("{}", report::table::table(&host, &rows));
    Ok(true)
}
