//! The API port behind a load balancer: whose connection it is, before the first request.
//!
//! A connection from a trusted proxy begins with a PROXY header ([`touchline_core::proxy`]), whole
//! within the time that a head has; its client's address goes with each request, as
//! [`ClientAddress`], into what is logged of it. From anybody else no header is looked for: hyper
//! answers 400 to what is no request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use touchline_core::proxy::{
    BadProxyHeader, ClientAddress, ProxyHeader, ProxyProgress, TrustedProxies,
};

use crate::limits::HEAD_TIMEOUT;

/// Read at once: no header's next part is longer than what is read in a few turns of this.
const STEP_BYTES: usize = 256;

/// Who must say whose connections it passes on, and how often one did not.
#[derive(Debug, Default)]
pub struct Gate {
    proxies: TrustedProxies,
    refused: AtomicU64,
}

impl Gate {
    /// Asks `proxies`, and nobody else.
    pub fn new(proxies: TrustedProxies) -> Self {
        Self { proxies, refused: AtomicU64::new(0) }
    }

    /// Connections of proxies that did not say whose they are.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Whose connection `stream` from `peer` is. `None`: that was to be said and was not; close it.
    pub async fn pass(&self, stream: &mut TcpStream, peer: SocketAddr) -> Option<ClientAddress> {
        if !self.proxies.contains(peer.ip()) {
            return Some(ClientAddress(peer));
        }
        let wrong = match tokio::time::timeout(HEAD_TIMEOUT, read(stream)).await {
            Ok(Ok(client)) => return Some(ClientAddress(client.unwrap_or(peer))),
            // A balancer that only looks whether somebody listens.
            Ok(Err(Wrong::Gone)) => return None,
            Ok(Err(Wrong::Header(error))) => error,
            Err(_) => BadProxyHeader::Late,
        };
        self.refused.fetch_add(1, Relaxed);
        tell("api", peer, wrong);
        None
    }
}

/// Tells of a connection that was closed, whoever has closed it.
pub fn tell(port: &str, proxy: SocketAddr, wrong: BadProxyHeader) {
    tracing::warn!(
        port,
        %proxy,
        %wrong,
        "a trusted proxy's connection was closed: let it send a PROXY header of version 2, or take \
         its address out of `listen.trusted_proxies` if it is no proxy"
    );
}

/// Why a connection has no header.
enum Wrong {
    /// It has ended before.
    Gone,
    /// It is none.
    Header(BadProxyHeader),
}

/// The client that the header names, if it names one. Never reads what follows it.
async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, Wrong> {
    let mut header = ProxyHeader::default();
    let mut step = [0; STEP_BYTES];
    loop {
        let wanted = header.wanted().min(STEP_BYTES);
        let count = stream.read(&mut step[..wanted]).await.unwrap_or(0);
        if count == 0 {
            return Err(Wrong::Gone);
        }
        match header.feed(&step[..count]) {
            ProxyProgress::NeedMore => {}
            ProxyProgress::Complete { client, .. } => return Ok(client),
            ProxyProgress::Refuse(error) => return Err(Wrong::Header(error)),
        }
    }
}
