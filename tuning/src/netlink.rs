//! Just enough netlink to ask the kernel one question at a time.
//!
//! A message is a header (16 bytes), what its family puts first, and attributes: length, kind,
//! bytes, padded to four. Every question ends: by an acknowledgement, or, where it asks for all
//! there is of something, by a message that says so.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto,
    socket_with,
};

const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 0x01;
const ACK: u16 = 0x04;
const DUMP: u16 = 0x300;
const KIND: u16 = 0x3fff;
/// The kernel answers at once; a second is a kernel in trouble.
const PATIENCE: Duration = Duration::from_secs(1);
/// The kernel fills 32 KiB at most with one answer.
const ANSWER_BYTES: usize = 32 * 1024;

/// Attributes by kind, flat.
pub type Attributes = Vec<(u16, Vec<u8>)>;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// One thing.
    One,
    /// All there is.
    All,
}

/// A socket to the kernel.
pub struct Line {
    socket: OwnedFd,
    sequence: u32,
}

impl Line {
    /// Opens one. `None` is NETLINK_ROUTE, whose number is 0.
    ///
    /// # Errors
    /// The system's.
    pub fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends a message of `kind`; the bodies of what is answered.
    ///
    /// # Errors
    /// The kernel's.
    pub fn exchange(&mut self, kind: u16, ask: Ask, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.sequence += 1;
        let length = HEADER + body.len();
        let flags = REQUEST | if ask == Ask::All { DUMP } else { ACK };
        let mut message = Vec::with_capacity(length);
        message.extend(u32::try_from(length).map_err(|_| ErrorKind::InvalidInput)?.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend(body);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &message, SendFlags::empty(), &kernel)?;
        self.hear()
    }

    /// Until the message that ends the exchange.
    fn hear(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        let mut buffer = vec![0; ANSWER_BYTES];
        loop {
            let (got, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = &buffer[..got];
            while let Some((kind, sequence, body)) = split_message(&mut rest) {
                match kind {
                    // What was asked before and answered late is not for us.
                    _ if sequence != self.sequence => {}
                    ERROR => return judge(body).map(|()| found),
                    DONE => return Ok(found),
                    _ => found.push(body.to_vec()),
                }
            }
        }
    }
}

/// The number in an attribute: four bytes, or one.
pub fn number(attributes: &Attributes, kind: u16) -> Option<u64> {
    match attributes.iter().find(|(other, _)| *other == kind)?.1[..] {
        [one] => Some(one.into()),
        [a, b, c, d] => Some(u32::from_ne_bytes([a, b, c, d]).into()),
        _ => None,
    }
}

fn judge(body: &[u8]) -> io::Result<()> {
    match body {
        &[a, b, c, d, ..] => match i32::from_ne_bytes([a, b, c, d]) {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(-code)),
        },
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

/// An attribute, padded.
pub fn attribute(kind: u16, bytes: &[u8]) -> Vec<u8> {
    // Ours are names and numbers: far below 64 KiB.
    let length = u16::try_from(4 + bytes.len()).unwrap_or(u16::MAX);
    let mut out = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// Takes a message off the front: its kind, its sequence, its body.
fn split_message<'a>(rest: &mut &'a [u8]) -> Option<(u16, u32, &'a [u8])> {
    let word = |at: usize| Some(u32::from_ne_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    let (length, sequence) = (word(0)? as usize, word(8)?);
    let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
    let body = rest.get(HEADER..length)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, sequence, body))
}

/// Those of a body, behind what the family puts first.
pub fn attributes(mut rest: &[u8]) -> Attributes {
    let mut found = Vec::new();
    while let Some(&[a, b, c, d]) = rest.get(..4) {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let Some(bytes) = rest.get(4..length) else { break };
        found.push((u16::from_ne_bytes([c, d]) & KIND, bytes.to_vec()));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_survive_their_padding_and_a_torn_end() {
        let mut bytes = attribute(9, &7u32.to_ne_bytes());
        bytes.extend(attribute(11 | 0x8000, &[1]));
        let found = attributes(&bytes);
        assert_eq!((number(&found, 9), number(&found, 11)), (Some(7), Some(1)));
        assert_eq!(attributes(&bytes[..10]).len(), 1);
        assert_eq!(number(&found, 5), None);
        assert!(attributes(&[0, 0, 0, 0]).is_empty(), "a length of nothing ends it");
    }

    #[test]
    fn an_error_is_the_systems_and_nothing_short_is_read() {
        assert!(judge(&0i32.to_ne_bytes()).is_ok());
        let refused = judge(&(-1i32).to_ne_bytes()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        let mut short: &[u8] = &[40, 0, 0, 0, 2, 0];
        assert!(split_message(&mut short).is_none());
    }
}
