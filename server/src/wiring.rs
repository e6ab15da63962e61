//! Who is started with what, in which order.
//!
//! 1. The plan of shards and cores; then all ports, so that the likeliest mistakes end a start
//!    before it touches data.
//! 2. The keeper of dead letters; then the log. The journal: opened, repaired, its dedupe window
//!    rebuilt. Kafka: topics checked, the epoch found, the dedupe window read; that may wait for
//!    brokers. Meanwhile a porter answers at the ports.
//! 3. The shards, which read the newest of the log; the feed from the log into their mailboxes.
//! 4. The live state, which reads the day back; its tap on the log.
//! 5. The API port, last of all: from its first request on everything behind it is there. The admin
//!    port.
//!
//! Everything here runs on a thread that is confined to the spare core, and so do the threads it
//! starts; shards pin themselves.

mod log;
mod porter;
mod serving;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use arc_swap::ArcSwap;
use touchline_core::dead::DeadLetters;
use touchline_core::log::EventLog;
use touchline_fanout::options::FanoutOptions;
use touchline_fanout::plan::{Plan, PlanError, PlanInput};
use touchline_fanout::{Fanout, ShardCommand, StartError as FanoutError};
use touchline_ingest::broadcast::BroadcastState;
use touchline_ingest::clock::system_clock;
use touchline_ingest::outbound::Surroundings;
use touchline_store::dead::DeadKeeper;
use touchline_tuning::host;
use touchline_tuning::memory::Meter;

use crate::config::options::PLACES_FOLDER;
use crate::config::{Loaded, Options};
use crate::dead::courier::Courier;
use crate::dead::{self, Readers, Replayer};
use crate::figures::figures;
use crate::health::Place;
use crate::http::StreamPlace;
use crate::http::proxied::Gate;
use crate::http::serve::bind;
use crate::keeper::{Keeper, Ports, Seen, look_interval};
use crate::live::{Live, LiveTap, StreamAddress};
use crate::node_log::NodeLog;
use crate::ports::holder;
use crate::reload::{Reloads, rules_with_board};
use crate::running::{Addresses, Appliance, Order, Running};
use crate::sources::FollowedSources;

pub use crate::start_error::StartError;
use log::open_log;
use porter::{Awaited, Porter};
use serving::open_ports;

/// Starts everything. Returns once it serves; whether it is ready yet, `/readyz` tells.
///
/// # Errors
/// See [`StartError`]; nothing is left running then.
pub fn start(loaded: Loaded) -> Result<Running, StartError> {
    start_unless(loaded, Arc::default())
}

/// The same, given up once `is_stopped` is set while brokers are waited for.
///
/// # Errors
/// As [`start`].
pub fn start_unless(loaded: Loaded, is_stopped: Arc<AtomicBool>) -> Result<Running, StartError> {
    let work = move || start_here(loaded, &is_stopped);
    let starter = Builder::new().name("start".into()).spawn(work);
    let started = starter.map_err(StartError::Thread)?.join();
    started.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The plan of shards for this host, or why there is none.
///
/// # Errors
/// [`StartError::Plan`] where the configuration is at fault, [`StartError::Host`] where the host
/// is.
pub fn plan(options: &Options) -> Result<Plan, StartError> {
    let facts = host::facts();
    let input = PlanInput {
        connections_max: options.connections_max,
        shards: options.shards,
        cores: facts.cores,
        last_core_is_left: options.spare_core,
        nofile_hard: facts.nofile_hard,
    };
    Plan::make(&input).map_err(|error| match error {
        PlanError::NoDescriptors(_) => StartError::Host(error),
        error => StartError::Plan(error),
    })
}

/// Everything but the shards runs on the core that the plan has left.
fn confine() {
    if let Err(error) = host::confine_to_spare_core() {
        tracing::warn!(%error, "a thread could not be confined to the spare core");
    }
}

/// Ports that are bound and not served yet.
struct Bound {
    api: TcpListener,
    admin: TcpListener,
    addresses: Addresses,
}

fn start_here(loaded: Loaded, is_stopped: &AtomicBool) -> Result<Running, StartError> {
    let started = Instant::now();
    let options = loaded.options.clone();
    let plan = plan(&options)?;
    if options.spare_core {
        confine();
    }
    let mut bound = bind_ports(&options)?;
    let dead = dead::open(&options)?;
    let gate = Arc::new(Gate::new(options.listen.trusted_proxies.clone()));
    let awaited = awaited(&options);
    let porter = call_porter(&bound, &gate, &awaited);
    let (node_log, kept) = open_log(&options, &dead, is_stopped, &awaited)?;
    let log = node_log.events();
    let fanout = start_fanout(&options, plan, &bound, &node_log);
    let fanout = fanout.inspect_err(|_| node_log.close())?;
    bound.addresses.stream = fanout.local_addr();
    let place = Place::default();
    let (live, tap) = match start_live(&options, &log, (&fanout, place.clone()), bound.addresses) {
        Ok(live) => live,
        Err(error) => {
            abandon(fanout, &node_log);
            return Err(error);
        }
    };
    node_log.attach(Box::new(tap));
    let Asked { webhooks, followed, replays, courier } =
        match start_sources(&options, &node_log, &dead) {
            Ok(started) => started,
            Err(error) => {
                live.stop();
                abandon(fanout, &node_log);
                return Err(error);
            }
        };
    let (orders, inbox) = channel();
    let appliance = Arc::new(Appliance {
        loaded: ArcSwap::from_pointee(loaded),
        addresses: bound.addresses,
        log: node_log,
        disk: kept,
        shards: fanout.stats().to_vec(),
        fanout: RwLock::new(Some(fanout)),
        webhooks,
        followed,
        dead,
        courier,
        replays,
        live,
        place: Arc::new(StreamPlace {
            address: bound.addresses.stream,
            url: options.listen.stream_url.clone(),
        }),
        gate,
        memory: Meter::find(),
        reloads: Reloads::default(),
        started,
        stage: Default::default(),
        orders: Mutex::new(orders),
        api_open: AtomicBool::new(false),
        gave_up: AtomicBool::new(false),
    });
    drop(porter);
    let _ = place.set(Arc::downgrade(&appliance));
    let kept =
        open_ports(&appliance, bound).and_then(|ports| start_keeper(&appliance, ports, inbox));
    let keeper = kept.inspect_err(|_| appliance.end_parts())?;
    announce(&appliance);
    Ok(Running { appliance, keeper: Some(keeper) })
}

/// What a start waits for.
fn awaited(options: &Options) -> Awaited {
    match &options.kafka {
        Some(kafka) => {
            Awaited::new(&format!("it waits for its brokers, Kafka at {}", kafka.brokers))
        }
        None => Awaited::new("it reads its journal"),
    }
}

/// Who answers at the ports meanwhile.
fn call_porter(bound: &Bound, gate: &Arc<Gate>, awaited: &Awaited) -> Option<Porter> {
    let porter = Porter::begin(bound, gate, awaited);
    let Addresses { api, admin, .. } = bound.addresses;
    let waits_for = awaited.told().as_str().to_owned();
    tracing::info!(%api, %admin, waits_for, "starting: the ports answer that it isn't ready yet");
    porter
}

/// What takes events in.
struct Asked {
    webhooks: BroadcastState,
    followed: FollowedSources,
    replays: Replayer,
    courier: Option<Courier>,
}

/// Who sends, what is asked rather than listened to, and what comes again.
fn start_sources(
    options: &Options,
    node_log: &NodeLog,
    keeper: &Arc<DeadKeeper>,
) -> Result<Asked, StartError> {
    let courier = start_courier(options, node_log).map_err(StartError::Thread)?;
    let (log, dead): (_, Arc<dyn DeadLetters>) = (node_log.events(), keeper.clone());
    let (sources, ingest) = (options.sources.clone(), options.ingest.clone());
    let webhooks = BroadcastState::new(Arc::clone(&log), sources, ingest, Arc::clone(&dead));
    let mut around = Surroundings::new(Arc::clone(&log), Arc::new(system_clock), dead);
    around.places = Some(options.data_dir.join(PLACES_FOLDER).into());
    if let Some(kafka) = node_log.kafka() {
        around.roster = kafka.roster();
    }
    let followed = FollowedSources::start(options, &webhooks, &around)?;
    let readers = Readers {
        webhooks: webhooks.clone(),
        sensors: options.sensors.clone(),
        social: options.social.clone(),
    };
    let replays = Replayer::start(options, log, readers);
    let replays = replays.inspect_err(|_| followed.stop())?;
    Ok(Asked { webhooks, followed, replays, courier })
}

/// Who shows this node's dead letters to the others, where that is wanted.
fn start_courier(options: &Options, node_log: &NodeLog) -> std::io::Result<Option<Courier>> {
    let (Some(kafka), Some(log)) = (&options.kafka, node_log.kafka()) else { return Ok(None) };
    let start = || Courier::start(options.dead.clone(), kafka.clone(), Arc::clone(log));
    kafka.letters.then(start).transpose()
}

/// Ends what has begun of a start that can't go on. What shards say in leaving is of less use than
/// why we don't start.
fn abandon(fanout: Fanout, node_log: &NodeLog) {
    let _ = fanout.command(ShardCommand::Stop);
    let _ = fanout.join();
    node_log.close();
}

/// Without a keeper the ports end by themselves: whoever could tell them to stop is gone.
fn start_keeper(
    appliance: &Arc<Appliance>,
    ports: Ports,
    orders: Receiver<Order>,
) -> Result<JoinHandle<()>, StartError> {
    let keeper = Keeper {
        appliance: Arc::clone(appliance),
        orders,
        ports,
        seen: Seen::default(),
        next_look: Instant::now() + look_interval(),
    };
    Builder::new().name("keeper".into()).spawn(move || keeper.run()).map_err(StartError::Thread)
}

fn bind_ports(options: &Options) -> Result<Bound, StartError> {
    let listen = &options.listen;
    let api = open("api", listen.api)?;
    let admin = open("admin", listen.admin)?;
    if listen.stream.port() != 0 {
        // The shards bind it later; that it is free is better known before the journal is opened.
        drop(open("stream", listen.stream)?);
    }
    let address = |port, listener: &TcpListener, wanted| {
        listener.local_addr().map_err(|error| StartError::Port { port, address: wanted, error })
    };
    let addresses = Addresses {
        stream: listen.stream,
        api: address("api", &api, listen.api)?,
        admin: address("admin", &admin, listen.admin)?,
    };
    Ok(Bound { api, admin, addresses })
}

fn open(port: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    bind(address).map_err(|error| refused(port, address, error))
}

fn refused(port: &'static str, address: SocketAddr, error: std::io::Error) -> StartError {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            StartError::PortTaken { port, address, holder: holder(address) }
        }
        _ => StartError::Port { port, address, error },
    }
}

fn start_fanout(
    options: &Options,
    plan: Plan,
    bound: &Bound,
    log: &NodeLog,
) -> Result<Fanout, StartError> {
    let mut wanted = FanoutOptions::new(options.listen.stream, plan);
    wanted.rules = rules_with_board(&options.rules, bound.addresses.api.port());
    wanted.sockets = options.sockets.clone();
    wanted.proxies = options.listen.trusted_proxies.clone();
    wanted.node = options.node.clone();
    wanted.backend = options.io;
    wanted.warm_events = options.warm_events;
    let (fanout, feed) = Fanout::start(wanted, log.events()).map_err(|error| match error {
        FanoutError::Listen { address, source } => refused("stream", address, source),
        error => StartError::Fanout(error),
    })?;
    log.attach(Box::new(feed));
    Ok(fanout)
}

fn start_live(
    options: &Options,
    log: &Arc<dyn EventLog>,
    (fanout, sources): (&Fanout, Place),
    addresses: Addresses,
) -> Result<(Arc<Live>, LiveTap), StartError> {
    let place = match &options.listen.stream_url {
        Some(url) => StreamAddress::Url(url.clone()),
        None => StreamAddress::Port(addresses.stream.port()),
    };
    Live::start(Arc::clone(log), place, figures(fanout, sources)).map_err(StartError::Thread)
}

fn announce(appliance: &Appliance) {
    let Addresses { stream, api, admin } = appliance.addresses;
    let shards = &appliance.shards;
    let io = shards.first().map_or("none", |shard| shard.backend());
    let loaded = appliance.loaded.load();
    if io == "epoll" && loaded.options.io == touchline_fanout::Backend::Auto {
        tracing::warn!(
            "this host forbids io_uring: running on epoll, send and plain files; a delivery costs \
             6 to 25 % more"
        );
    }
    tracing::info!(
        node = loaded.options.node,
        stream = %stream,
        api = %api,
        admin = %admin,
        shards = shards.len(),
        io,
        disk = %appliance.disk,
        version = crate::VERSION,
        "serving"
    );
}
