//! A WebSocket line as a follower needs it: cheap to hold by the thousand, on one thread.
//!
//! A line that waits holds a socket and nothing else: bytes are read into a buffer that all lines
//! of the thread share, and only what is left of a frame that hasn't come whole is kept. It
//! understands what this server sends (whole, unmasked text and control frames) and calls anything
//! else an error, as a test client should.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::limits::demo::{FRAME_BYTES_MAX, HEAD_BYTES_MAX};

/// Why a line ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// The system or the other side.
    #[error("the line broke: {0}")]
    Io(#[from] io::Error),
    /// The server's answer to the handshake wasn't 101.
    #[error("the stream port answers {0}")]
    Refused(String),
    /// Something this server never sends.
    #[error("the server broke RFC 6455: {0}")]
    Protocol(&'static str),
    /// It said goodbye.
    #[error("closed with {0}")]
    Closed(u16),
}

/// What came over the line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// A message.
    Text(&'a [u8]),
    /// To be answered by a pong.
    Ping(&'a [u8]),
    /// The end: its code, 1005 where it names none.
    Close(u16),
}

/// One connection.
pub(crate) struct Line {
    stream: TcpStream,
    rest: Vec<u8>,
}

thread_local! {
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

impl Line {
    /// Connects to `address` and upgrades `target` (path and query).
    pub(crate) async fn open(address: SocketAddr, target: &str) -> Result<Self, LineError> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let key = STANDARD.encode(rand::rng().random::<[u8; 16]>());
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\
             Sec-WebSocket-Protocol: touchline.v1\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut line = Self { stream, rest: Vec::new() };
        line.read_head().await?;
        Ok(line)
    }

    async fn read_head(&mut self) -> Result<(), LineError> {
        loop {
            if let Some(end) = self.rest.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.rest[..end]).into_owned();
                self.rest.drain(..end + 4);
                let status = head.lines().next().unwrap_or_default();
                let status = status.strip_prefix("HTTP/1.1 ").unwrap_or(status);
                return match status.starts_with("101") {
                    true => Ok(()),
                    false => Err(LineError::Refused(status.to_owned())),
                };
            }
            if self.rest.len() > HEAD_BYTES_MAX {
                return Err(LineError::Protocol("an endless handshake"));
            }
            self.read().await?;
        }
    }

    /// Waits until something has come, and gives each whole frame to `take`. Can be cancelled while
    /// it waits.
    pub(crate) async fn receive(
        &mut self,
        mut take: impl FnMut(Incoming<'_>) -> Result<(), LineError>,
    ) -> Result<(), LineError> {
        // The handshake's last read may have brought frames with it.
        if self.take_frames(&mut take)? {
            return Ok(());
        }
        self.read().await?;
        self.take_frames(&mut take).map(drop)
    }

    /// Reads once and keeps what came.
    async fn read(&mut self) -> Result<(), LineError> {
        loop {
            self.stream.readable().await?;
            let read = SHARED.with_borrow_mut(|shared| {
                let read = self.stream.try_read(shared)?;
                self.rest.extend_from_slice(&shared[..read]);
                Ok::<_, io::Error>(read)
            });
            match read {
                Ok(0) => return Err(LineError::Closed(1006)),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether there was one.
    fn take_frames(
        &mut self,
        take: &mut impl FnMut(Incoming<'_>) -> Result<(), LineError>,
    ) -> Result<bool, LineError> {
        let mut at = 0;
        while let Some((opcode, from, to)) = next_frame(&self.rest[at..])? {
            let payload = &self.rest[at + from..at + to];
            match opcode {
                0x1 => take(Incoming::Text(payload))?,
                0x8 => take(Incoming::Close(close_code(payload)))?,
                0x9 => take(Incoming::Ping(payload))?,
                0xa => {}
                _ => return Err(LineError::Protocol("an opcode it doesn't send")),
            }
            at += to;
        }
        if at == self.rest.len() {
            self.rest = Vec::new();
        } else {
            self.rest.drain(..at);
        }
        Ok(at > 0)
    }

    /// Answers a ping.
    pub(crate) async fn pong(&mut self, payload: &[u8]) -> Result<(), LineError> {
        self.send(0x8a, payload).await
    }

    /// Says goodbye, as far as the socket takes it at once.
    pub(crate) fn close(&mut self, code: u16) {
        // Best effort: the connection is dropped right after.
        let _ = self.stream.try_write(&masked(0x88, &code.to_be_bytes()));
    }

    async fn send(&mut self, first: u8, payload: &[u8]) -> Result<(), LineError> {
        Ok(self.stream.write_all(&masked(first, payload)).await?)
    }
}

fn close_code(payload: &[u8]) -> u16 {
    payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))
}

/// A client's control frame (RFC 6455, 5.3): masked, 125 bytes at most.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(125)];
    let mask: [u8; 4] = rand::rng().random();
    let mut frame = vec![first, 0x80 | payload.len() as u8];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Opcode, and where the payload of the first whole frame in `bytes` lies.
fn next_frame(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, LineError> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if first & 0xf0 != 0x80 {
        return Err(LineError::Protocol("a fragment, or a reserved bit"));
    }
    let (head, len) = match (second, bytes) {
        (0..=125, _) => (2, usize::from(second)),
        (126, [_, _, a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [_, _, rest @ ..]) => match rest.first_chunk() {
            Some(len) => (10, usize::try_from(u64::from_be_bytes(*len)).unwrap_or(usize::MAX)),
            None => return Ok(None),
        },
        (126, _) => return Ok(None),
        _ => return Err(LineError::Protocol("a masked frame")),
    };
    if len > FRAME_BYTES_MAX {
        return Err(LineError::Protocol("a frame larger than any event"));
    }
    let whole = bytes.len() >= head + len;
    Ok(whole.then_some((first & 0x0f, head, head + len)))
}
