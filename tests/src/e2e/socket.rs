//! A WebSocket client without a library: it sends any bytes, and tells an error from silence.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket as Raw, Type};

use super::PATIENCE;

/// What came over the line.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A text message.
    Json(Value),
    /// A Close and its code; 1005 where it names none.
    Close(u16),
    /// A Ping, which has been answered.
    Ping,
    /// A Pong.
    Pong,
    /// The line is gone.
    End,
    /// Nothing within the time that was given.
    Silence,
}

/// One connection to the stream port.
pub struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
    read_bytes: usize,
}

impl Socket {
    /// A TCP connection that has said nothing. With `receive_bytes` its kernel buffer is that
    /// small, and it reads so little at a time.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn dial(to: SocketAddr, receive_bytes: Option<usize>) -> io::Result<Self> {
        let raw = Raw::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Some(bytes) = receive_bytes {
            raw.set_recv_buffer_size(bytes)?;
        }
        raw.connect_timeout(&to.into(), PATIENCE)?;
        let stream = TcpStream::from(raw);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: Vec::new(), read_bytes: receive_bytes.unwrap_or(64 * 1024) })
    }

    /// A session of `/v1/stream?query`.
    ///
    /// # Errors
    /// When nobody listens, or the answer is no 101.
    pub fn connect(to: SocketAddr, query: &str, receive_bytes: Option<usize>) -> io::Result<Self> {
        let mut socket = Self::dial(to, receive_bytes)?;
        socket.stream.write_all(upgrade(query, "").as_bytes())?;
        let head = socket.head()?;
        if !head.starts_with("HTTP/1.1 101") {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, head));
        }
        Ok(socket)
    }

    /// The same where somebody listens for sure.
    ///
    /// # Panics
    /// When nobody does.
    pub fn open(to: SocketAddr, query: &str) -> Self {
        Self::connect(to, query, None).expect("the server lets it in")
    }

    /// Where it connects from.
    ///
    /// # Panics
    /// When the socket is gone.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().expect("a socket has an address")
    }

    /// How long reads wait.
    ///
    /// # Panics
    /// When `patience` is zero.
    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a time");
    }

    /// The most that is read at once from now on.
    pub fn read_at_most(&mut self, bytes: usize) {
        self.read_bytes = bytes;
    }

    /// Ends the connection by a reset.
    ///
    /// # Panics
    /// When the socket has no such option.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket has options");
    }

    /// Sends bytes as they are. A peer that is gone is nobody's fault here.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a text message.
    pub fn send_text(&mut self, text: &str) {
        self.send_raw(&client_frame(0x81, text.as_bytes()));
    }

    /// Reads a response's head, up to the empty line.
    ///
    /// # Errors
    /// When the peer ends before.
    pub fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..at + 4).collect();
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next thing.
    ///
    /// # Panics
    /// When a text frame isn't JSON, or a frame isn't one that a server sends.
    pub fn hear(&mut self) -> Heard {
        loop {
            if let Some((first, payload)) = self.take_frame() {
                return self.understand(first, &payload);
            }
            match self.fill() {
                Ok(0) => return Heard::End,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Silence,
                Err(_) => return Heard::End,
            }
        }
    }

    /// The next thing within 50 ms.
    pub fn hear_soon(&mut self) -> Heard {
        self.set_patience(Duration::from_millis(50));
        let heard = self.hear();
        self.set_patience(PATIENCE);
        heard
    }

    /// Skips to the next text message with this `op`.
    ///
    /// # Panics
    /// When the line ends before, or falls silent.
    pub fn hear_op(&mut self, op: &str) -> Value {
        loop {
            match self.hear() {
                Heard::Json(json) if json["op"] == op => return json,
                Heard::Json(_) | Heard::Ping | Heard::Pong => {}
                other => panic!("{other:?} before {op}"),
            }
        }
    }

    /// Skips to the end, and tells the code of the Close if one came.
    pub fn hear_close(&mut self) -> Option<u16> {
        let mut code = None;
        loop {
            match self.hear() {
                Heard::Close(number) => code = code.or(Some(number)),
                Heard::End | Heard::Silence => return code,
                _ => {}
            }
            if code.is_some() {
                return code;
            }
        }
    }

    fn understand(&mut self, first: u8, payload: &[u8]) -> Heard {
        match first {
            0x81 => Heard::Json(serde_json::from_slice(payload).expect("JSON")),
            0x88 => Heard::Close(payload.first_chunk().map_or(1005, |c| u16::from_be_bytes(*c))),
            0x89 => {
                self.send_raw(&client_frame(0x8a, payload));
                Heard::Ping
            }
            0x8a => Heard::Pong,
            other => panic!("a frame that begins with {other:#x}"),
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut bytes = vec![0; self.read_bytes];
        let count = self.stream.read(&mut bytes)?;
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, second) = (*self.buffer.first()?, *self.buffer.get(1)?);
        let (head, len) = match second {
            126 => (4, u16::from_be_bytes(self.buffer.get(2..4)?.try_into().ok()?) as usize),
            127 => (10, u64::from_be_bytes(self.buffer.get(2..10)?.try_into().ok()?) as usize),
            short => (2, usize::from(short)),
        };
        let payload = self.buffer.get(head..head + len)?.to_vec();
        self.buffer.drain(..head + len);
        Some((first, payload))
    }
}

/// A good request for `/v1/stream?query` with `extra` headers, each ended by CRLF.
pub fn upgrade(query: &str, extra: &str) -> String {
    format!(
        "GET /v1/stream?{query} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    )
}

/// The status that [`upgrade`] with `extra` headers is answered with.
///
/// # Panics
/// When nobody answers.
pub fn handshake_status(to: SocketAddr, extra: &str) -> u16 {
    let mut socket = Socket::dial(to, None).expect("it listens");
    socket.send_raw(upgrade("", extra).as_bytes());
    let head = socket.head().expect("it answers");
    head.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status")
}

/// A frame as clients send them, masked.
pub fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7u8, 77, 177, 17];
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
