//! A shard's thread, from its first instruction to its last.
//!
//! The order matters. The table of descriptors parts before anything is opened; the core is chosen
//! before memory is touched; rings are made by the thread that will use them. What the thread was
//! given by others (log, mailboxes) goes back with [`ShardExit`], because a descriptor inside must
//! not be closed in this thread's table.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use monoio::time::TimeDriver;
use monoio::{Buildable, Driver, IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};
use rustix::thread::{CpuSet, sched_setaffinity};
use touchline_core::log::{EventLog, LogBounds, Mark};
use touchline_core::metrics::Padded;
use touchline_core::ws::ping_frame;

use super::accept::Door;
use super::ahead::Ahead;
use super::conn::Conns;
use super::lobby::Lobby;
use super::poller::Poller;
use super::proxied::Clients;
use super::put_off::PutOff;
use super::spread::Spreads;
use super::{Mail, Shard, scratch};
use crate::admission::Admission;
use crate::hub::{Hub, Volley};
use crate::limits::READY_MAX;
use crate::options::{Backend, FanoutOptions};
use crate::stats::{Life, ShardStats};
use crate::volley::Launcher;
use crate::wheel::Wheel;
use crate::{clock, listener, sys};

/// What a shard's thread is given.
pub(crate) struct Boot {
    pub(crate) number: usize,
    pub(crate) core: Option<usize>,
    /// Port 0 in the first shard only.
    pub(crate) listen: SocketAddr,
    pub(crate) options: Arc<FanoutOptions>,
    pub(crate) mail: Mail,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) stats: Arc<Padded<ShardStats>>,
}

/// Why a shard did not start.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// io_uring was asked for by name.
    #[error("this host gives us no io_uring ({0}): allow it, or set the backend to auto or epoll")]
    IoUring(io::Error),
    /// Threads, tables, epoll: something every host gives.
    #[error("can't {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// What goes back to the thread that joins this one, to be dropped there.
pub(crate) struct ShardExit {
    _log: Option<Arc<dyn EventLog>>,
    _mail: Option<Mail>,
    pub(crate) life: Life,
}

/// The shard's thread. `report` is called once, with where it listens.
pub(crate) fn run(boot: Boot, report: impl FnOnce(Result<SocketAddr, ShardError>)) -> ShardExit {
    let stats = Arc::clone(&boot.stats);
    let backend = boot.options.backend;
    let (mut shard, address) = match prepare(boot) {
        Ok(prepared) => prepared,
        Err((error, boot)) => {
            let Boot { log, mail, .. } = *boot;
            report(Err(error));
            return exit(Some(log), Some(mail), Life::Dead, &stats);
        }
    };
    let uring = match backend {
        Backend::Epoll => None,
        Backend::Auto | Backend::IoUring => uring_runtime().ok(),
    };
    let is_ring = uring.is_some() && shard.launcher.is_ring();
    stats.set_backend(is_ring);
    stats.set_beat(clock::monotonic());
    if !is_ring {
        shard.launcher = Launcher::Plain;
    }
    report(Ok(address));
    let served = catch_unwind(AssertUnwindSafe(|| match uring.filter(|_| is_ring) {
        Some(runtime) => serve(&mut shard, runtime),
        None => serve(&mut shard, epoll_runtime()?),
    }));
    let life = if matches!(served, Ok(Ok(()))) { Life::Stopped } else { Life::Dead };
    shard.publish_stats();
    let Shard { log, mail, .. } = shard;
    exit(Some(log), Some(mail), life, &stats)
}

fn exit(
    log: Option<Arc<dyn EventLog>>,
    mail: Option<Mail>,
    life: Life,
    stats: &ShardStats,
) -> ShardExit {
    stats.set_life(life);
    ShardExit { _log: log, _mail: mail, life }
}

fn serve<D: Driver>(shard: &mut Shard, mut runtime: Runtime<D>) -> io::Result<()> {
    runtime.block_on(async {
        let napper = shard.poller.napper()?;
        shard.serve(napper).await
    })
}

fn uring_runtime() -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    let build = |ring: monoio_uring::Builder| {
        let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(256);
        Buildable::build(builder.uring_builder(ring).enable_timer())
    };
    let mut ring = monoio_uring::IoUring::builder();
    ring.setup_coop_taskrun().setup_single_issuer().setup_taskrun_flag();
    match build(ring) {
        // A kernel before 6.0 doesn't know these flags; they only save time.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            build(monoio_uring::IoUring::builder())
        }
        other => other,
    }
}

fn epoll_runtime() -> io::Result<Runtime<TimeDriver<LegacyDriver>>> {
    Buildable::build(RuntimeBuilder::<LegacyDriver>::new().enable_timer())
}

type Unprepared = (ShardError, Box<Boot>);

fn prepare(boot: Boot) -> Result<(Shard, SocketAddr), Unprepared> {
    match open(&boot) {
        Ok((listener, address, poller, launcher)) => {
            Ok((assemble(boot, listener, poller, launcher), address))
        }
        Err(error) => Err((error, Box::new(boot))),
    }
}

fn open(boot: &Boot) -> Result<(TcpListener, SocketAddr, Poller, Launcher), ShardError> {
    let system = |what| move |source| ShardError::System { what, source };
    if boot.options.plan.private_tables {
        sys::part_tables(&[boot.mail.bell.as_fd()]).map_err(system("take a private table"))?;
    }
    if let Some(core) = boot.core {
        let mut cores = CpuSet::new();
        cores.set(core);
        // A core that was taken away since the plan was made: the shard runs where it may, and
        // its counter says so.
        if sched_setaffinity(None, &cores).is_err() {
            boot.stats.pin_failures.increment();
        }
    }
    let launcher = launcher(boot.options.backend)?;
    let refused = |source| ShardError::Listen { address: boot.listen, source };
    let listener = listener::listen(boot.listen, &boot.options.sockets).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let poller = Poller::new().map_err(system("make an epoll set"))?;
    poller.add_listener(&listener).map_err(system("watch the listener"))?;
    poller.add_bell(boot.mail.bell.as_fd()).map_err(system("watch the doorbell"))?;
    Ok((listener, address, poller, launcher))
}

fn launcher(backend: Backend) -> Result<Launcher, ShardError> {
    match (backend, Launcher::ring()) {
        (Backend::Epoll, _) => Ok(Launcher::Plain),
        (_, Ok(ring)) => Ok(ring),
        (Backend::Auto, Err(_)) => Ok(Launcher::Plain),
        (Backend::IoUring, Err(crate::volley::RingError(error))) => Err(ShardError::IoUring(error)),
    }
}

fn assemble(boot: Boot, listener: TcpListener, poller: Poller, launcher: Launcher) -> Shard {
    let Boot { number, options, mail, log, admission, stats, .. } = boot;
    let now = clock::monotonic();
    let bounds = log.bounds();
    let rules = Arc::new(options.rules.clone());
    let sessions_max = options.plan.sessions_max;
    let mut hub = Hub::new(rules.hub.clone(), &bounds, &warm_mark(&bounds, options.warm_events));
    hub.reserve_sessions(sessions_max);
    Shard {
        number,
        hub,
        conns: Conns::new(sessions_max),
        clients: Clients::default(),
        wheel: Wheel::new(now, sessions_max),
        poller,
        listener: Some(listener),
        door: Door::new(rules.sessions.retry_after_s),
        lobby: Lobby::new(),
        drain: None,
        launcher,
        volley: Volley::default(),
        misses: Vec::new(),
        spreads: Spreads::default(),
        put_off: PutOff::default(),
        ahead: Ahead::default(),
        unread: Vec::new(),
        ready: Vec::with_capacity(READY_MAX),
        fired: Vec::new(),
        scratch: scratch(),
        ping: ping_frame(b""),
        now,
        lapse: Duration::ZERO,
        turned_at: now,
        planned: Duration::ZERO,
        housekept_at: now,
        slept: Duration::ZERO,
        closes_unsent: 0,
        is_stopped: false,
        is_retired: false,
        status: None,
        options,
        rules,
        mail,
        log,
        admission,
        stats,
    }
}

/// Where to begin reading, so that so many events of each lane are in memory when the shard is
/// ready.
fn warm_mark(bounds: &LogBounds, warm_events: u64) -> Mark {
    let begin = |lane: &touchline_core::log::LaneBounds| {
        lane.next.saturating_sub(warm_events).max(lane.first)
    };
    Mark { epoch: bounds.epoch, next: bounds.lanes.iter().map(begin).collect() }
}
