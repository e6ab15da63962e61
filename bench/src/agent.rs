//! `touchline-bench agent`: clients on a host of their own, for a controller elsewhere.
//!
//! It speaks the language of [`receive`](crate::receive) over a TCP connection, one controller at a
//! time: a second is told so at once, and when the first goes, its clients go with it. It opens
//! connections to whatever address it is told: let it listen only where nobody else can reach it.

use std::io::{self, ErrorKind, Read as _};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use socket2::{SockRef, TcpKeepalive};

use crate::child::answer;
use crate::receive::Answer;
use crate::sys;

/// After so much silence the controller is asked whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Where an agent is, and whence its clients come.
#[derive(Args)]
pub struct AgentArgs {
    /// Where it waits for a controller.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// Addresses of this host from which clients connect, separated by commas: the kernel has
    /// about 28,000 ports for each of them towards one server.
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    source: Vec<Ipv4Addr>,
    /// Serve one controller, then end.
    #[arg(long)]
    once: bool,
    /// The core of the clients. Default: wherever the kernel puts them.
    #[arg(long, value_name = "CORE")]
    core: Option<usize>,
}

/// Waits for controllers and serves them one after the other.
pub fn run(args: &AgentArgs) -> Result<()> {
    sys::raise_file_limit().context("raise the limit of open files")?;
    if let Some(core) = args.core {
        sys::pin(core).with_context(|| format!("pin to core {core}"))?;
    }
    let listener =
        TcpListener::bind(args.listen).with_context(|| format!("listen on {}", args.listen))?;
    eprintln!("touchline-bench agent: waits for a controller on {}", listener.local_addr()?);
    let (busy, served) = (Arc::<Busy>::default(), sync_channel(0));
    let (to_serve, controllers) = served;
    let door = Arc::clone(&busy);
    std::thread::Builder::new().name("door".into()).spawn(move || {
        while let Ok((stream, controller)) = listener.accept() {
            if let Err(error) = door.admit(stream, controller, &to_serve) {
                eprintln!("touchline-bench agent: {controller}: {error:#}");
            }
        }
    })?;
    for (stream, controller) in controllers {
        eprintln!("touchline-bench agent: serves {controller}");
        if let Err(error) = serve(&stream, &args.source) {
            eprintln!("touchline-bench agent: {controller}: {error:#}");
        }
        busy.is_over();
        if args.once {
            return Ok(());
        }
    }
    bail!("can't wait for controllers any more")
}

/// A controller and its line.
type Caller = (TcpStream, SocketAddr);

/// Who is served.
#[derive(Default)]
struct Busy(Mutex<Option<Caller>>);

impl Busy {
    fn with(&self) -> MutexGuard<'_, Option<Caller>> {
        // Nobody panics who holds it.
        self.0.lock().expect("one caller is stored")
    }

    fn is_over(&self) {
        *self.with() = None;
    }

    /// Hands a controller on, or says with whom the agent is busy. One that has hung up is as good
    /// as gone: its clients are being closed, and the next run of the same controller waits for
    /// that.
    fn admit(
        &self,
        stream: TcpStream,
        caller: SocketAddr,
        to_serve: &SyncSender<Caller>,
    ) -> Result<()> {
        let until = Instant::now() + GRACE;
        let with = || self.with().as_ref().filter(|(line, _)| !has_hung_up(line)).map(|it| it.1);
        while with().is_some() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(other) = with() {
            return turn_away(&stream, other);
        }
        let line = stream.try_clone()?;
        // Waits until the clients of the one before are closed.
        to_serve.send((stream, caller)).map_err(|_| anyhow!("nobody serves any more"))?;
        *self.with() = Some((line, caller));
        Ok(())
    }
}

/// How soon after its end a controller's hang-up is seen, though the next one may be quicker.
const GRACE: Duration = Duration::from_millis(500);

/// What is heard of a controller that is turned away.
const HEARD_BYTES_MAX: u64 = 4_096;

/// Whether nothing more will come, now that all has been read.
fn has_hung_up(line: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    match SockRef::from(line).recv_with_flags(&mut byte, flags) {
        Ok(got) => got == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Says why, and waits a moment for the other to hang up: whatever it has sent would otherwise
/// reset the connection before it has read the answer.
fn turn_away(mut stream: &TcpStream, other: SocketAddr) -> Result<()> {
    let why = format!("it is busy with the controller {other}; try again when that is done");
    answer(&mut stream, &Answer::Failed(why))?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(GRACE))?;
    // Whatever it says, it is heard out.
    let _ = io::copy(&mut stream.take(HEARD_BYTES_MAX), &mut io::sink());
    Ok(())
}

/// Hands the connection to a process of its own: descriptor tables and threads of the clients end
/// with it, whatever became of them.
fn serve(stream: &TcpStream, sources: &[Ipv4Addr]) -> Result<()> {
    stream.set_nodelay(true)?;
    // Of a controller that has lost its power nothing else is ever heard.
    let probes = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(stream).set_tcp_keepalive(&probes)?;
    let binary = std::env::current_exe().context("find the bench's own binary")?;
    let mut command = std::process::Command::new(binary);
    command.arg("receive");
    if !sources.is_empty() {
        let list: Vec<String> = sources.iter().map(ToString::to_string).collect();
        command.arg("--source").arg(list.join(","));
    }
    let to: std::os::fd::OwnedFd = stream.try_clone()?.into();
    let from: std::os::fd::OwnedFd = stream.try_clone()?.into();
    let status = command.stdin(Stdio::from(from)).stdout(Stdio::from(to)).status();
    match status.context("start the clients")? {
        status if status.success() => Ok(()),
        status => bail!("the clients ended with {status}"),
    }
}
