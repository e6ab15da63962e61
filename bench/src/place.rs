//! Where and how thoroughly things are measured: cores, binaries, agents, and how often.

use std::cell::RefCell;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::brokers::Brokers;
use crate::{crew, limits, probe, target};

/// With five runs the range from least to greatest holds the true median in 15 of 16 cases.
const PAIRS: u16 = 5;

/// What the command line says of it.
#[derive(Args)]
pub struct PlaceArgs {
    /// A twentieth of the sockets, a fifth of the time, one run of each: does it work at all? Of
    /// scenarios: one run of each, and `--time` shortens their warm-up, too.
    #[arg(long)]
    pub quick: bool,
    /// How often each case is run. Default: 5, and 1 with `--quick`.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub pairs: Option<u16>,
    /// The server's binary. Default: `touchline` beside this one; without it only floors are
    /// measured.
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Measure the floors alone.
    #[arg(long, conflicts_with = "server")]
    pub floors_only: bool,
    /// The core on which the server runs.
    #[arg(long, default_value_t = 0)]
    pub server_core: usize,
    /// The core on which clients and publisher run.
    #[arg(long, default_value_t = 1)]
    pub client_core: usize,
    /// Congestion control of the floors' sockets. Default: the host's.
    #[arg(long, value_name = "NAME")]
    pub congestion: Option<String>,
    /// Threads of server and floor; scenarios are played with each of several numbers, separated by
    /// commas. Default: as few as hold the sockets.
    #[arg(long, value_name = "COUNTS", value_delimiter = ',')]
    pub shards: Vec<usize>,
    /// Hosts that carry the clients: `host:port` of a `touchline-bench agent`, separated by commas.
    /// Default: a process on this host.
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    pub agents: Vec<String>,
    /// Where results go, as JSON Lines.
    #[arg(long, value_name = "FILE", default_value = "target/bench/results.jsonl")]
    pub out: PathBuf,
}

/// Where and how thoroughly things are measured.
pub struct Place {
    /// The core on which the server runs.
    pub server_core: usize,
    /// The core of clients, publisher and controller.
    pub client_core: usize,
    /// The server, if there is one.
    pub binary: Option<PathBuf>,
    /// Of the floors' sockets, if not the host's.
    pub congestion: Option<String>,
    /// The kernel's threads that do network work on either core.
    pub softirq_threads: [Option<u32>; 2],
    /// How often each case is run.
    pub pairs: usize,
    /// Whether it is only tried.
    pub quick: bool,
    /// Threads of server and floor, if they were named.
    pub shards: Vec<usize>,
    /// Who carries the clients, if that is elsewhere.
    pub agents: Vec<String>,
    /// Kafka, once a run has wanted it.
    brokers: RefCell<Option<Brokers>>,
    /// A server that runs already.
    pub running: Option<target::file::Target>,
}

impl Place {
    /// What `args` say, as far as this host allows it.
    ///
    /// # Errors
    /// Where it doesn't.
    pub fn new(args: &PlaceArgs) -> Result<Self> {
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
        })
    }

    /// Where Kafka's brokers are, which are started if need be.
    pub fn brokers(&self) -> Result<String> {
        let mut brokers = self.brokers.borrow_mut();
        if brokers.is_none() {
            *brokers = Some(Brokers::start()?);
        }
        Ok(brokers.as_ref().map_or_else(String::new, Brokers::addresses))
    }

    /// Nobody wants Kafka any more.
    pub fn end_brokers(&self) {
        self.brokers.take();
    }

    /// Whether there is a Touchline to be measured.
    pub fn has_server(&self) -> bool {
        self.binary.is_some()
    }

    /// So many of the sockets that a row asks for.
    pub fn sockets(&self, count: usize) -> usize {
        if self.quick { count / 20 } else { count }
    }

    /// Threads that hold `sockets`: each has a table of descriptors, and the kernel spreads
    /// connections over them by chance, so the fullest gets more than its share.
    pub fn shards(&self, sockets: usize) -> usize {
        self.shards.first().copied().unwrap_or_else(|| limits::shards_for(sockets))
    }

    /// So much of the time that a row asks for.
    pub fn seconds(&self, seconds: f64) -> f64 {
        if self.quick { seconds / 5.0 } else { seconds }
    }
}
