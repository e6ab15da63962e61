//! ethtool's family of generic netlink: its number is asked by its name first.
//!
//! A message of it has a header of its own (4 bytes: command, version) before the attributes, the
//! first of which names the device.

use std::io::{self, ErrorKind};

use rustix::net::netlink::GENERIC;

use crate::netlink::{self, Ask, Attributes, attribute, attributes};

const HEADER: usize = 4;
/// The family that knows the families.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const NESTED: u16 = 0x8000;
const DEVICE_NAME: u16 = 2;
/// The device's name goes into the first attribute of every message of the family.
const DEVICE: u16 = 1;

/// A line to the family.
pub struct Line {
    line: netlink::Line,
    family: u16,
}

impl Line {
    /// Opens one and looks the family up.
    ///
    /// # Errors
    /// `Unsupported` on kernels before 5.6; the system's.
    pub fn open() -> io::Result<Self> {
        let mut line = Self { line: netlink::Line::open(Some(GENERIC))?, family: CONTROL };
        let answer = line.exchange(GET_FAMILY, &attribute(FAMILY_NAME, b"ethtool\0"));
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
        self.exchange(command, &body)
    }

    fn exchange(&mut self, command: u8, body: &[u8]) -> io::Result<Attributes> {
        let body = [&[command, 1, 0, 0], body].concat();
        let answers = self.line.exchange(self.family, Ask::One, &body)?;
        let all =
            answers.iter().flat_map(|body| attributes(body.get(HEADER..).unwrap_or_default()));
        Ok(all.collect())
    }
}
