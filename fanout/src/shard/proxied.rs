//! Connections that a proxy passes on: whose they are.
//!
//! A trusted proxy's connection is let in by the process's bound alone, and judged as its client's
//! once its header has said who that is ([`touchline_core::proxy`]). The header must be whole
//! within the time that a request's head has, and counts against it.
//!
//! The addresses are kept beside the connections, not in them: who has no proxies pays nothing, who
//! has some 20 bytes a session.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use rustix::net::getpeername;
use touchline_core::proxy::{BadProxyHeader, ProxyHeader, ProxyProgress};
use touchline_core::ws::Refusal;

use super::Shard;
use super::conn::Input;
use crate::hub::SessionId;
use crate::stats::BadProxy;

/// Where clients behind proxies come from, by the hub's index.
#[derive(Default)]
pub(super) struct Clients(Vec<Option<Client>>);

#[derive(Clone, Copy)]
struct Client {
    ip: [u8; 16],
    port: u16,
}

const _: () = assert!(size_of::<Option<Client>>() <= 20);

impl Clients {
    fn set(&mut self, id: SessionId, address: SocketAddr) {
        let ip = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let index = id.index as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        self.0[index] = Some(Client { ip: ip.octets(), port: address.port() });
    }

    fn get(&self, id: SessionId) -> Option<SocketAddr> {
        let client = (*self.0.get(id.index as usize)?)?;
        Some((Ipv6Addr::from(client.ip).to_canonical(), client.port).into())
    }

    /// The session is gone.
    pub(super) fn forget(&mut self, id: SessionId) {
        if let Some(client) = self.0.get_mut(id.index as usize) {
            *client = None;
        }
    }
}

impl Shard {
    /// Where the client of `id` comes from, as its proxy says or its socket knows.
    pub(super) fn client_of(&self, id: SessionId) -> Option<SocketAddr> {
        self.clients.get(id).or_else(|| self.peer_of(id))
    }

    fn peer_of(&self, id: SessionId) -> Option<SocketAddr> {
        let peer = getpeername(self.conns.get(id)?.socket.as_fd()).ok()??;
        SocketAddr::try_from(peer).ok()
    }

    /// Takes what a trusted proxy's connection begins with. What follows is its client's.
    pub(super) fn take_proxy_header(
        &mut self,
        id: SessionId,
        mut header: Box<ProxyHeader>,
        bytes: &mut [u8],
    ) {
        match header.feed(bytes) {
            ProxyProgress::NeedMore => {
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.input = Input::Proxy(header);
                }
            }
            ProxyProgress::Refuse(wrong) => self.drop_proxy(id, wrong),
            ProxyProgress::Complete { client, taken } => match self.admit_client(id, client) {
                Err(refusal) => self.refuse(id, refusal),
                Ok(()) if taken < bytes.len() => self.take_input(id, &mut bytes[taken..]),
                Ok(()) => {}
            },
        }
    }

    /// The limits by address, for whoever it is really.
    fn admit_client(&mut self, id: SessionId, named: Option<SocketAddr>) -> Result<(), Refusal> {
        let address = named.or_else(|| self.peer_of(id)).map(|address| address.ip());
        let Some(conn) = self.conns.get_mut(id) else { return Ok(()) };
        if let Some(address) = address {
            let rules = &self.rules.addresses;
            self.admission.attribute(&mut conn.ticket, address, rules, self.now)?;
        }
        conn.input = Input::Handshake(Box::default());
        if let Some(client) = named {
            self.clients.set(id, client);
        }
        Ok(())
    }

    /// Closes a proxy's connection that doesn't say whose it is.
    pub(super) fn drop_proxy(&mut self, id: SessionId, wrong: BadProxyHeader) {
        self.stats.refused[Refusal::BadProxyHeader.index()].increment();
        let bad = || self.peer_of(id).map(|proxy| BadProxy { proxy, wrong });
        self.stats.bad_proxies.note(bad);
        self.forget(id, false);
    }
}
