//! Just enough generic netlink to ask ethtool's family one question at a time.
//!
//! A message is a header (16 bytes), generic netlink's header (4), and attributes: length, kind,
//! bytes, padded to four. The family's number is asked by its name first. Every question asks for
//! an acknowledgement, so that one which has no answer ends as well.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::{GENERIC, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
const ERROR: u16 = 2;
const REQUEST_ACK: u16 = 0x01 | 0x04;
/// The family that knows the families.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const NESTED: u16 = 0x8000;
const KIND: u16 = 0x3fff;
const DEVICE_NAME: u16 = 2;
/// The device's name goes into the first attribute of every message of the family.
const DEVICE: u16 = 1;
/// The kernel answers at once; a second is a kernel in trouble.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest answer is the family's own description, under 2 KB.
const ANSWER_BYTES: usize = 16 * 1024;

/// Attributes by kind, flat.
pub type Attributes = Vec<(u16, Vec<u8>)>;

/// A socket to the kernel.
pub struct Line {
    socket: OwnedFd,
    family: u16,
    sequence: u32,
}

impl Line {
    /// Opens one and looks the family up.
    ///
    /// # Errors
    /// `Unsupported` on kernels before 5.6; the system's.
    pub fn open() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(GENERIC),
        )?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        let mut line = Self { socket, family: CONTROL, sequence: 0 };
        let answer = line.exchange(GET_FAMILY, 1, &attribute(FAMILY_NAME, b"ethtool\0"));
        let answer = answer.map_err(|error| match error.kind() {
            ErrorKind::NotFound => ErrorKind::Unsupported.into(),
            _ => error,
        })?;
        let id = answer.iter().find(|(kind, _)| *kind == FAMILY_ID).map(|(_, bytes)| &bytes[..]);
        line.family = match id {
            Some(&[a, b, ..]) => u16::from_ne_bytes([a, b]),
            _ => return Err(ErrorKind::InvalidData.into()),
        };
        Ok(line)
    }

    /// Sends `command` about a device, with further attributes; the answer's attributes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ask(
        &mut self,
        command: u8,
        nic: &str,
        more: &[(u16, Vec<u8>)],
    ) -> io::Result<Attributes> {
        let name = attribute(DEVICE_NAME, &[nic.as_bytes(), b"\0"].concat());
        let mut body = attribute(DEVICE | NESTED, &name);
        for (kind, bytes) in more {
            body.extend(attribute(*kind, bytes));
        }
        self.exchange(command, 1, &body)
    }

    fn exchange(&mut self, command: u8, version: u8, body: &[u8]) -> io::Result<Attributes> {
        self.sequence += 1;
        let length = HEADER + GENERIC_HEADER + body.len();
        let mut message = Vec::with_capacity(length);
        message.extend(u32::try_from(length).map_err(|_| ErrorKind::InvalidInput)?.to_ne_bytes());
        message.extend(self.family.to_ne_bytes());
        message.extend(REQUEST_ACK.to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend([command, version, 0, 0]);
        message.extend(body);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &message, SendFlags::empty(), &kernel)?;
        self.hear()
    }

    /// Until the acknowledgement, which ends every exchange.
    fn hear(&self) -> io::Result<Attributes> {
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
                    _ => found.extend(attributes(body.get(GENERIC_HEADER..).unwrap_or_default())),
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

fn attribute(kind: u16, bytes: &[u8]) -> Vec<u8> {
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

fn attributes(mut rest: &[u8]) -> Attributes {
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
        bytes.extend(attribute(11 | NESTED, &[1]));
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
