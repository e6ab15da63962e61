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
//! | [`scenario`], [`setup`] | workloads as files, and what is done in a run |
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
mod probe;
mod publish;
mod receive;
mod report;
mod rows;
mod run;
mod scenario;
mod schedule;
mod setup;
mod stage;
mod stamp;
mod stats;
mod sys;
mod target;
mod turns;
mod upstream;
mod watch;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

use brokers::Brokers;
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
        place: RunArgs,
    },
    /// Carry clients for a controller on another host.
    Agent(agent::AgentArgs),
    /// Measure products side by side, floors among them, in one run.
    Compare {
        #[command(flatten)]
        what: compare::CompareArgs,
        #[command(flatten)]
        place: RunArgs,
    },
    /// Measure ways to use the kernel: variants of the floor, in turn, against its default.
    Lab {
        #[command(flatten)]
        what: lab::LabArgs,
        #[command(flatten)]
        place: RunArgs,
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

/// With five runs the range from least to greatest holds the true median in 15 of 16 cases.
const PAIRS: u16 = 5;

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

#[derive(Args)]
struct RunArgs {
    /// Only this row; may be given several times.
    #[arg(long, value_name = "NAME")]
    row: Vec<String>,
    /// A twentieth of the sockets, a fifth of the time, one run of each: does it work at all? Of
    /// scenarios: one run of each, and `--time` shortens their warm-up, too.
    #[arg(long)]
    quick: bool,
    /// How often each case is run. Default: 5, and 1 with `--quick`.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    pairs: Option<u16>,
    /// The server's binary. Default: `touchline` beside this one; without it only floors are
    /// measured.
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Measure the floors alone.
    #[arg(long, conflicts_with = "server")]
    floors_only: bool,
    /// The core on which the server runs.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core on which clients and publisher run.
    #[arg(long, default_value_t = 1)]
    client_core: usize,
    /// Congestion control of the floors' sockets. Default: the host's.
    #[arg(long, value_name = "NAME")]
    congestion: Option<String>,
    /// Threads of server and floor; scenarios are played with each of several numbers, separated by
    /// commas. Default: as few as hold the sockets.
    #[arg(long, value_name = "COUNTS", value_delimiter = ',')]
    shards: Vec<usize>,
    /// Hosts that carry the clients: `host:port` of a `touchline-bench agent`, separated by commas.
    /// Default: a process on this host.
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    agents: Vec<String>,
    /// Where results go, as JSON Lines.
    #[arg(long, value_name = "FILE", default_value = "target/bench/results.jsonl")]
    out: PathBuf,
    /// A page whose table is to be replaced.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

/// Where and how thoroughly things are measured.
pub struct Place {
    server_core: usize,
    client_core: usize,
    binary: Option<PathBuf>,
    congestion: Option<String>,
    softirq_threads: [Option<u32>; 2],
    pairs: usize,
    quick: bool,
    shards: Vec<usize>,
    agents: Vec<String>,
    /// Kafka, once a run has wanted it.
    brokers: RefCell<Option<Brokers>>,
    /// A server that runs already.
    running: Option<target::file::Target>,
    /// Where other products' files are.
    targets: PathBuf,
}

impl Place {
    fn new(args: &RunArgs) -> Result<Self> {
        let beside = Some(std::env::current_exe()?.with_file_name("touchline"));
        let beside = beside.filter(|path| path.is_file() && !args.floors_only);
        if let Some(path) = args.server.as_ref().filter(|path| !path.is_file()) {
            bail!("there is no server at {}; build it, or name it with --server", path.display());
        }
        crew::check(&args.agents)?;
        let cores = std::thread::available_parallelism()?.get();
        if args.server_core == args.client_core || cores < 2 {
            bail!("server and clients need a core each; this host offers {cores}");
        }
        Ok(Self {
            server_core: args.server_core,
            client_core: args.client_core,
            binary: args.server.clone().or(beside),
            congestion: args.congestion.clone(),
            softirq_threads: [args.server_core, args.client_core].map(probe::softirq_thread),
            pairs: args.pairs.unwrap_or(if args.quick { 1 } else { PAIRS }).into(),
            quick: args.quick,
            shards: args.shards.clone(),
            agents: args.agents.clone(),
            brokers: RefCell::default(),
            running: None,
            targets: Path::new(env!("CARGO_MANIFEST_DIR")).join("targets"),
        })
    }

    /// Where Kafka's brokers are, which are started if need be.
    fn brokers(&self) -> Result<String> {
        let mut brokers = self.brokers.borrow_mut();
        if brokers.is_none() {
            *brokers = Some(Brokers::start()?);
        }
        Ok(brokers.as_ref().map_or_else(String::new, Brokers::addresses))
    }

    /// Nobody wants Kafka any more.
    fn end_brokers(&self) {
        self.brokers.take();
    }

    fn has_server(&self) -> bool {
        self.binary.is_some()
    }

    fn sockets(&self, count: usize) -> usize {
        if self.quick { count / 20 } else { count }
    }

    /// Threads that hold `sockets`: each has a table of descriptors, and the kernel spreads
    /// connections over them by chance, so the fullest gets more than its share.
    fn shards(&self, sockets: usize) -> usize {
        self.shards.first().copied().unwrap_or_else(|| limits::shards_for(sockets))
    }

    fn seconds(&self, seconds: f64) -> f64 {
        if self.quick { seconds / 5.0 } else { seconds }
    }
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
        Command::Run { scenario, place, .. } if scenario.is_empty() => measure(&place),
        Command::Run { scenario, whom, play, place } => Place::new(&place).and_then(|mut at| {
            let subject = whom.subject(&mut at)?;
            compare::run(&scenario, &play, &subject, &at, &place.out)
        }),
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
            name => compare::peer_subject(place, name),
        }
    }
}

/// Measures the rows that were asked for; whether all of them could be measured.
fn measure(args: &RunArgs) -> Result<bool> {
    let place = Place::new(args)?;
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
    let mut sink = report::Sink::new(&args.out, &host, plans.len())?;
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
