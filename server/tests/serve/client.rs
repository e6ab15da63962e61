//! Plain clients: one HTTP request, one WebSocket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::support::PATIENCE;

/// What an HTTP server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// One request on a connection of its own, which must be answered.
pub fn http(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    try_http(to, method, path, headers, body).expect("it answers")
}

/// One request on a connection of its own. `Err`: nobody was there, or nobody to the end.
pub fn try_http(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status");
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Ok(Answer { status, head: head.to_ascii_lowercase(), body })
}

fn unchunked(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        out.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    out
}

/// What came over a WebSocket.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A text frame.
    Json(Value),
    /// A close frame's code.
    Close(u16),
    /// The connection is gone.
    End,
}

/// A plain WebSocket client.
pub struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Socket {
    /// Connects with `query` and expects to be let in.
    pub fn open(to: SocketAddr, query: &str) -> Self {
        Self::try_open(to, query).expect("it listens")
    }

    /// Connects with `query`. `Err`: nobody is there, or nobody to the end of the handshake.
    pub fn try_open(to: SocketAddr, query: &str) -> io::Result<Self> {
        let mut socket = Self { stream: TcpStream::connect(to)?, buffer: vec![] };
        socket.stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!(
            "GET /v1/stream?{query} HTTP/1.1\r\nHost: {to}\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        socket.stream.write_all(head.as_bytes())?;
        while !socket.buffer.windows(4).any(|four| four == b"\r\n\r\n") {
            if !socket.fill() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let end = socket.buffer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head: Vec<u8> = socket.buffer.drain(..end).collect();
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Ok(socket)
    }

    /// The status of a handshake with these headers.
    pub fn answer(to: SocketAddr, headers: &[(&str, &str)]) -> u16 {
        let mut stream = TcpStream::connect(to).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut head = format!("GET /v1/stream HTTP/1.1\r\nHost: {to}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("it answers");
        line.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status")
    }

    fn fill(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                true
            }
        }
    }

    /// The next thing heard. Pings are skipped.
    pub fn hear(&mut self) -> Heard {
        loop {
            if let Some((first, payload)) = self.take_frame() {
                match first & 0x0f {
                    1 => return Heard::Json(serde_json::from_slice(&payload).expect("JSON")),
                    8 => {
                        let code =
                            payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                        return Heard::Close(code);
                    }
                    _ => continue,
                }
            }
            if !self.fill() {
                return Heard::End;
            }
        }
    }

    /// Skips until a text frame with this `op`.
    pub fn hear_op(&mut self, op: &str) -> Value {
        loop {
            match self.hear() {
                Heard::Json(json) if json["op"] == op => return json,
                Heard::Json(_) => {}
                other => panic!("{other:?} before {op}"),
            }
        }
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let second = *self.buffer.get(1)?;
        let (head, len) = match second {
            126 => (4, u16::from_be_bytes([*self.buffer.get(2)?, *self.buffer.get(3)?]) as usize),
            127 => (10, u64::from_be_bytes(self.buffer.get(2..10)?.try_into().unwrap()) as usize),
            len => (2, len as usize),
        };
        if self.buffer.len() < head + len {
            return None;
        }
        let frame: Vec<u8> = self.buffer.drain(..head + len).collect();
        Some((frame[0], frame[head..].to_vec()))
    }
}
