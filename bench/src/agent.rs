//! `touchline-bench agent`: clients on a host of their own, for a controller elsewhere.
//!
//! It speaks the language of [`receive`](crate::receive) over a TCP connection, one controller at a
//! time; when that goes, its clients go with it. It opens connections to whatever address it is
//! told: let it listen only where nobody else can reach it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use socket2::{SockRef, TcpKeepalive};

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
    loop {
        let (stream, controller) = listener.accept().context("wait for a controller")?;
        eprintln!("touchline-bench agent: serves {controller}");
        if let Err(error) = serve(&stream, &args.source) {
            eprintln!("touchline-bench agent: {controller}: {error:#}");
        }
        if args.once {
            return Ok(());
        }
    }
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
