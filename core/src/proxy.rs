//! The PROXY protocol, version 2: how a load balancer says whose connection it passes on.
//!
//! A balancer that carries TCP connects from its own address, and all its clients would be one to
//! us. So it says first, before anything of the client's, where the client comes from: twelve fixed
//! bytes, four of kind and length, addresses, and then values that we have no use for (TLVs). The
//! specification is HAProxy's `proxy-protocol.txt`; sections are cited from there.
//!
//! Whoever may say so is [`TrustedProxies`]' to tell: from anybody else these bytes are a request
//! that is no HTTP. From a proxy they are asked for: without them its clients' addresses would be
//! the proxy's, which no limit by address survives.
//!
//! # Strict on purpose
//! Version 1 is a line of text that a client could write as well, and has no length; it is refused.
//! Of version 2, what the specification calls unspecified is refused, and so is a header in which
//! the parts don't add up to its length, or whose checksum, where it has one, is another (2.2.4).
//!
//! # What it leaves out
//! Version 1, sending headers, and what TLVs mean.

mod trust;

pub use trust::{BadNetwork, Network, TrustedProxies};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::PROXY_HEADER_BYTES_MAX;

/// What every header begins with (2.2). No HTTP request can: its first line isn't empty.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The fixed part: signature, version and command, family, length.
const HEAD_BYTES: usize = SIGNATURE.len() + 4;

/// The TLV that holds a CRC32C of the header (2.2.4).
const TLV_CRC32C: u8 = 0x03;

/// Where a request's client is, goes with each request: its own connection's other end, or what a
/// trusted proxy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub SocketAddr);

/// A header that isn't complete yet. Owns memory only from the first incomplete read on, and never
/// more than [`PROXY_HEADER_BYTES_MAX`].
#[derive(Debug, Default)]
pub struct ProxyHeader {
    kept: Vec<u8>,
}

/// How far a header has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProgress {
    /// Nothing is wrong so far; all fed bytes were taken.
    NeedMore,
    /// It is whole.
    Complete {
        /// Where the client comes from. `None`: the connection is the proxy's own (a health check),
        /// or it doesn't know; then the address that it connects from counts (2.2).
        client: Option<SocketAddr>,
        /// Bytes of this feed that belong to the header; the rest is the client's.
        taken: usize,
    },
    /// It is none; close.
    Refuse(BadProxyHeader),
}

/// Why what a proxy sent first isn't a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProxyHeader {
    /// It doesn't begin like one: the proxy sends none, or version 1.
    #[error("no PROXY header of version 2: let the proxy send one (HAProxy: `send-proxy-v2`)")]
    Missing,
    /// Another version, command, family or transport than the specification has.
    #[error("a PROXY header of a kind that the specification doesn't have")]
    Unknown,
    /// Longer than [`PROXY_HEADER_BYTES_MAX`].
    #[error("a PROXY header of more than {PROXY_HEADER_BYTES_MAX} bytes")]
    Long,
    /// Its parts don't add up to its length.
    #[error("a PROXY header whose parts don't fit its length")]
    Misfit,
    /// Its checksum is another.
    #[error("a PROXY header whose checksum is wrong")]
    Checksum,
    /// It isn't whole in time, or nothing has come at all. Whoever reads it says so: here is no
    /// clock.
    #[error("no whole PROXY header in the time that a request's head has")]
    Late,
}

impl ProxyHeader {
    /// Takes what has arrived. Call it until it returns something else than
    /// [`ProxyProgress::NeedMore`], then drop it.
    pub fn feed(&mut self, bytes: &[u8]) -> ProxyProgress {
        let had = self.kept.len();
        if had == 0 {
            return match judge(bytes) {
                Ok(Verdict::More) => {
                    self.kept.extend_from_slice(bytes);
                    ProxyProgress::NeedMore
                }
                verdict => finish(verdict, 0),
            };
        }
        // More than a header may have is never kept; the rest is the caller's anyway.
        let bytes = &bytes[..bytes.len().min(PROXY_HEADER_BYTES_MAX - had)];
        self.kept.extend_from_slice(bytes);
        finish(judge(&self.kept), had)
    }

    /// Bytes that can be read without reading past the header, at least one; for those who can't
    /// give back what belongs to the client.
    pub fn wanted(&self) -> usize {
        let length = match self.kept.first_chunk::<HEAD_BYTES>() {
            None => HEAD_BYTES,
            Some(head) => HEAD_BYTES + usize::from(u16::from_be_bytes([head[14], head[15]])),
        };
        length.saturating_sub(self.kept.len()).max(1)
    }

    /// Bytes on the heap, for accounting.
    pub fn heap_bytes(&self) -> usize {
        self.kept.capacity()
    }
}

fn finish(verdict: Result<Verdict, BadProxyHeader>, had: usize) -> ProxyProgress {
    match verdict {
        Ok(Verdict::More) => ProxyProgress::NeedMore,
        Ok(Verdict::Whole { client, length }) => {
            ProxyProgress::Complete { client, taken: length - had }
        }
        Err(error) => ProxyProgress::Refuse(error),
    }
}

/// What the bytes so far are.
enum Verdict {
    More,
    Whole { client: Option<SocketAddr>, length: usize },
}

/// Judges each byte as soon as it is there: what can't become a header isn't waited for.
fn judge(bytes: &[u8]) -> Result<Verdict, BadProxyHeader> {
    let begun = bytes.len().min(SIGNATURE.len());
    if bytes[..begun] != SIGNATURE[..begun] {
        return Err(BadProxyHeader::Missing);
    }
    if let Some(kind) = bytes.get(12) {
        // The version in the upper half, 2; the command in the lower: LOCAL or PROXY.
        if !matches!(kind, 0x20 | 0x21) {
            return Err(BadProxyHeader::Unknown);
        }
    }
    if let Some(family) = bytes.get(13)
        && (family >> 4 > 3 || family & 0xf > 2)
    {
        return Err(BadProxyHeader::Unknown);
    }
    let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else { return Ok(Verdict::More) };
    let length = HEAD_BYTES + usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > PROXY_HEADER_BYTES_MAX {
        return Err(BadProxyHeader::Long);
    }
    let Some(header) = bytes.get(..length) else { return Ok(Verdict::More) };
    let client = match head[12] {
        // The receiver takes the connection's own address, and skips whatever follows (2.2).
        0x20 => None,
        _ => client(head[13], header)?,
    };
    Ok(Verdict::Whole { client, length })
}

/// Whose connection a PROXY command is about. Datagrams and UNIX sockets can't have come to a
/// port of ours by a proxy that we know how to name: they count as unspecified, as 2.2 says.
fn client(family: u8, header: &[u8]) -> Result<Option<SocketAddr>, BadProxyHeader> {
    let body = &header[HEAD_BYTES..];
    let block_bytes = match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        // What follows can't be told apart: it is skipped.
        _ => return Ok(None),
    };
    if body.len() < block_bytes {
        return Err(BadProxyHeader::Misfit);
    }
    check_values(header, HEAD_BYTES + block_bytes)?;
    let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    Ok(match (family, body.first_chunk::<4>(), body.first_chunk::<16>()) {
        (0x11, Some(v4), _) => Some((IpAddr::V4(Ipv4Addr::from(*v4)), port(8)).into()),
        (0x21, _, Some(v6)) => Some((IpAddr::V6(Ipv6Addr::from(*v6)), port(32)).into()),
        _ => None,
    })
}

/// Walks over the values from `at` on: each fits, and the checksum, where there is one, is right.
fn check_values(header: &[u8], mut at: usize) -> Result<(), BadProxyHeader> {
    while at < header.len() {
        let head = header.get(at..at + 3).ok_or(BadProxyHeader::Misfit)?;
        let begin = at + 3;
        let end = begin + usize::from(u16::from_be_bytes([head[1], head[2]]));
        let value = header.get(begin..end).ok_or(BadProxyHeader::Misfit)?;
        if head[0] == TLV_CRC32C {
            let want: [u8; 4] = value.try_into().map_err(|_| BadProxyHeader::Misfit)?;
            // It was computed over the header with zeros in its own place.
            let sum = crc32c::crc32c(&header[..begin]);
            let sum = crc32c::crc32c_append(sum, &[0; 4]);
            if crc32c::crc32c_append(sum, &header[end..]) != u32::from_be_bytes(want) {
                return Err(BadProxyHeader::Checksum);
            }
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
