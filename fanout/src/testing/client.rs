//! A client that blocks, and can do everything wrong.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection to the stream port.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What a client heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A text message.
    Text(String),
    /// A Ping.
    Ping(Vec<u8>),
    /// A Pong.
    Pong(Vec<u8>),
    /// A Close with its code and reason.
    Close(Option<u16>, String),
    /// The connection has ended, by a reset or not.
    End,
    /// Nothing within the time.
    Silence,
}

impl Client {
    /// A TCP connection that has said nothing yet. Reads wait for two seconds.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn dial(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout can be set");
        stream.set_nodelay(true).expect("a socket has options");
        Self { stream, buffer: Vec::new() }
    }

    /// A session of `/v1/stream?query`, up to the end of the 101.
    ///
    /// # Panics
    /// When the answer is no 101.
    pub fn connect(address: SocketAddr, query: &str) -> Self {
        let mut client = Self::dial(address);
        client.send_raw(request(query).as_bytes());
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        client
    }

    /// A request to upgrade whose answer isn't read.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn connect_unanswered(address: SocketAddr, query: &str) -> Self {
        let mut client = Self::dial(address);
        client.send_raw(request(query).as_bytes());
        client
    }

    /// How long reads wait.
    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a timeout can be set");
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are. A peer that is gone is nobody's fault here.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a masked, final frame whose first byte is `first`.
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send_raw(&client_frame(first, payload));
    }

    /// Sends a text message.
    pub fn send_text(&mut self, text: &str) {
        self.send_frame(0x81, text.as_bytes());
    }

    /// Reads a response's head, up to the empty line.
    pub fn head(&mut self) -> String {
        loop {
            let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.buffer.drain(..end + 4).collect::<Vec<_>>();
                return String::from_utf8_lossy(&head).into_owned();
            }
            if !matches!(self.fill(), Ok(1..)) {
                return String::new();
            }
        }
    }

    /// The next frame.
    pub fn hear(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.parse() {
                return heard;
            }
            match self.fill() {
                Ok(0) => return Heard::End,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Silence,
                Err(_) => return Heard::End,
            }
        }
    }

    /// The next text message, as JSON text.
    ///
    /// # Panics
    /// When something else comes, pings excepted.
    pub fn text(&mut self) -> String {
        loop {
            match self.hear() {
                Heard::Text(text) => return text,
                Heard::Ping(_) => {}
                other => panic!("a text was awaited, not {other:?}"),
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut raw = [0; 16 * 1024];
        let count = self.stream.read(&mut raw)?;
        self.buffer.extend_from_slice(&raw[..count]);
        Ok(count)
    }

    fn parse(&mut self) -> Option<Heard> {
        let (first, second) = (*self.buffer.first()?, *self.buffer.get(1)?);
        let (head, len) = match second {
            126 => (4, u16::from_be_bytes(self.buffer.get(2..4)?.try_into().ok()?) as usize),
            127 => (10, u64::from_be_bytes(self.buffer.get(2..10)?.try_into().ok()?) as usize),
            short => (2, usize::from(short)),
        };
        let payload = self.buffer.get(head..head + len)?.to_vec();
        self.buffer.drain(..head + len);
        Some(match first {
            0x89 => Heard::Ping(payload),
            0x8a => Heard::Pong(payload),
            0x88 => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                Heard::Close(code, reason.into_owned())
            }
            _ => Heard::Text(String::from_utf8_lossy(&payload).into_owned()),
        })
    }
}

fn request(query: &str) -> String {
    let mark = if query.is_empty() { "" } else { "?" };
    format!(
        "GET /v1/stream{mark}{query} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1u8, 2, 3, 4];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}
