//! The floor: what the kernel charges for the same deliveries when nobody adds anything.
//!
//! A server in a process of its own with the same sockets, options, bytes, pace and receivers as
//! the real one, and no protocol beyond a fixed handshake: no parser, no heartbeat, no log, no
//! limits. It answers every upgrade with the same constant and then sends events it has made
//! itself, by a bare loop of `send(2)` or by a bare io_uring volley ([`Kind`]). A server's cost is
//! given as a multiple of the cheaper of the two, measured in the same run.
//!
//! Like Touchline it keeps a cursor for each socket over shared bytes, so a socket that is behind
//! gets all it has missed in one send. Without that the floor would be no floor under overload.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ledger`] | what each round has cost |
//! | [`options`] | what can be varied, for the [`lab`](crate::lab) |
//! | [`pump`] | one thread: accept, play |
//! | [`team`] | followers, and the hand that sends to them |
//! | [`ring`] | sends by io_uring |
//! | [`records`] | a weight for each socket, if one is wanted |

mod ledger;
mod options;
mod pump;
mod records;
mod ring;
mod team;

use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockRef, Socket, Type};

use crate::child::{answer, commands};
use crate::schedule::{Plan, Schedule};
use crate::sys;
use ledger::Ledger;
pub use options::{FloorArgs, Kind, Options, Variant};
use pump::Pump;

/// What the controller wants of a floor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Send these events when they are due.
    Play(Schedule),
}

/// What it says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It listens.
    Listening(SocketAddrV4),
    /// It knows the schedule.
    Playing,
}

/// Milliseconds until the kernel gives up on data that nobody acknowledges.
const USER_TIMEOUT_MS: i32 = 30_000;

/// Runs the process until standard input ends: some threads, each with its own table of
/// descriptors.
pub fn run(args: &FloorArgs) -> Result<()> {
    let options = args.all_options()?;
    let files_max = sys::raise_file_limit().context("raise the limit of open files")?;
    let files_max = u32::try_from(files_max).unwrap_or(u32::MAX);
    let mut address: SocketAddrV4 = "127.0.0.1:0".parse()?;
    let mut pumps: Vec<Sender<Arc<Plan>>> = Vec::new();
    for shard in 0..args.shards {
        let (send, plans) = channel();
        let (bound, port) = channel();
        let options = options.clone();
        let ledger = args.ledger.as_deref().map(Ledger::new).transpose()?;
        let run = move || {
            let served = listen(address, &options[0]).and_then(|listener| {
                let pump = |listener| Pump::new(options, files_max, ledger, listener);
                serve(listener, pump, &bound, &plans)
            });
            if let Err(error) = served {
                eprintln!("floor {shard}: {error:#}");
            }
        };
        std::thread::Builder::new().name(format!("floor-{shard}")).spawn(run)?;
        address = port.recv().context("a thread of the floor could not listen")?;
        pumps.push(send);
    }
    let (from, mut to) = (std::io::stdin().lock(), std::io::stdout().lock());
    answer(&mut to, &Answer::Listening(address))?;
    for command in commands(from) {
        let Command::Play(schedule) = command?;
        let plan = Arc::new(schedule.plan());
        for pump in &pumps {
            pump.send(plan.clone()).map_err(|_| anyhow!("a thread of the floor has ended"))?;
        }
        answer(&mut to, &Answer::Playing)?;
    }
    Ok(())
}

fn serve(
    listener: TcpListener,
    pump: impl FnOnce(TcpListener) -> io::Result<Pump>,
    bound: &Sender<SocketAddrV4>,
    plans: &Receiver<Arc<Plan>>,
) -> Result<()> {
    let SocketAddr::V4(local) = listener.local_addr()? else {
        bail!("listens on something else than IPv4");
    };
    let mut pump = pump(listener)?;
    bound.send(local)?;
    pump.run(plans)
}

/// A listener whose options its sockets inherit, in a table of descriptors that is this thread's
/// own.
fn listen(address: SocketAddrV4, options: &Options) -> Result<TcpListener> {
    sys::unshare_files().context("take a private table of descriptors")?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    socket.set_keepalive(true)?;
    let fd = socket.as_raw_fd();
    sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, USER_TIMEOUT_MS)?;
    tune(&socket, options).context("set the options of sockets")?;
    socket.bind(&SocketAddr::V4(address).into()).with_context(|| format!("bind {address}"))?;
    socket.listen(4_096)?;
    Ok(socket.into())
}

/// The socket options that can be varied.
fn tune(socket: &(impl AsFd + AsRawFd), options: &Options) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, options.lowat)?;
    if let Some(bytes) = options.sndbuf {
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes)?;
    }
    match &options.congestion {
        Some(name) => SockRef::from(socket).set_tcp_congestion(name.as_bytes()),
        None => Ok(()),
    }
}
