//! PROXY headers of version 2, as a load balancer sends them.

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};

use super::http::{Answer, answer};
use super::socket::Socket;

/// What every header begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header with this command, family and body.
pub fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

/// The header of a connection that is passed on for `client`.
pub fn header_of(client: SocketAddr) -> Vec<u8> {
    let port = client.port().to_be_bytes();
    match client.ip() {
        IpAddr::V4(ip) => {
            header(0x21, 0x11, &[&ip.octets()[..], &[10, 0, 0, 1], &port, &[1, 187]].concat())
        }
        IpAddr::V6(ip) => {
            header(0x21, 0x21, &[&ip.octets()[..], &[0; 16], &port, &[1, 187]].concat())
        }
    }
}

/// The header of a proxy's own connection: a health check.
pub fn header_of_check() -> Vec<u8> {
    header(0x20, 0x00, b"")
}

/// A request to upgrade, passed on with `header`; the status, 0 for none, and the connection.
///
/// # Panics
/// When nobody listens.
pub fn knock(to: SocketAddr, header: &[u8], query: &str) -> (u16, Socket) {
    let mut socket = Socket::dial(to, None).expect("it listens");
    socket.send_raw(&[header, super::socket::upgrade(query, "").as_bytes()].concat());
    let head = socket.head().unwrap_or_default();
    (head.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0), socket)
}

/// A GET, passed on with `header`.
///
/// # Errors
/// As of [`answer`]; [`io::ErrorKind::InvalidData`] when the connection is closed without one.
pub fn get(to: SocketAddr, header: &[u8], path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(to)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n");
    stream.write_all(&[header, request.as_bytes()].concat())?;
    answer(stream)
}
