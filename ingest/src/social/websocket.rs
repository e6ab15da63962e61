//! A WebSocket upstream: messages out of frames, with bounds that the crate below doesn't set.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocket, WebSocketError};
use reqwest::Upgraded;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::as_binary::AsBinary;
use super::connect::Lost;
use super::stats::Trouble;
use crate::limits::SOCKET_FRAME_BYTES_MAX;

/// An open one.
pub(super) type Socket = WebSocket<Watched<Upgraded>>;

/// What came.
pub(super) enum Heard {
    /// A message.
    Message(BytesMut),
    /// One that was longer than it may be.
    TooLong,
    /// A sign of life.
    Nothing,
}

/// Over what an upgrade has left.
pub(super) fn socket(upgraded: Upgraded, stall: Duration) -> Socket {
    let mut socket = WebSocket::after_handshake(Watched::new(upgraded, stall), Role::Client);
    // A ping is a sign of life, so we want to see it.
    socket.set_auto_pong(false);
    socket.set_auto_close(true);
    socket.set_max_message_size(SOCKET_FRAME_BYTES_MAX);
    socket
}

/// Puts messages together.
pub(super) struct Messages {
    bytes_max: usize,
    parts: BytesMut,
    is_too_long: bool,
}

impl Messages {
    /// Of `bytes_max` bytes at most.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, parts: BytesMut::new(), is_too_long: false }
    }

    /// Reads a frame, and tells what it makes whole. To be dropped halfway only with the socket.
    pub async fn read(&mut self, socket: &mut Socket, stall: Duration) -> Result<Heard, Lost> {
        let frame = match socket.read_frame().await {
            Ok(frame) => frame,
            Err(error) => return Err(lost(&error)),
        };
        let (opcode, is_last, payload) = (frame.opcode, frame.fin, owned(frame.payload));
        match opcode {
            OpCode::Ping => {
                let pong = Frame::pong(Payload::Bytes(payload));
                let sent = tokio::time::timeout(stall, socket.write_frame(pong)).await;
                let sent = sent.map_err(|_| Lost::new(Trouble::Stalled, "it takes no pong"))?;
                sent.map_err(|error| lost(&error))?;
                Ok(Heard::Nothing)
            }
            OpCode::Pong => Ok(Heard::Nothing),
            OpCode::Close => {
                let code = payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
                let code = code.map_or_else(|| "no code".into(), |code| format!("code {code}"));
                Err(Lost::new(Trouble::Ended, format!("it has closed with {code}")))
            }
            OpCode::Text | OpCode::Binary => {
                self.parts.clear();
                self.is_too_long = false;
                Ok(self.add(payload, is_last))
            }
            OpCode::Continuation => Ok(self.add(payload, is_last)),
        }
    }

    fn add(&mut self, payload: BytesMut, is_last: bool) -> Heard {
        self.is_too_long |= self.parts.len() + payload.len() > self.bytes_max;
        if self.is_too_long {
            self.parts = BytesMut::new();
        } else if self.parts.is_empty() {
            self.parts = payload;
        } else {
            self.parts.extend_from_slice(&payload);
        }
        match is_last {
            false => Heard::Nothing,
            true if self.is_too_long => Heard::TooLong,
            true => Heard::Message(std::mem::take(&mut self.parts)),
        }
    }
}

fn owned(payload: Payload<'_>) -> BytesMut {
    match payload {
        Payload::Bytes(bytes) => bytes,
        other => BytesMut::from(&other[..]),
    }
}

fn lost(error: &WebSocketError) -> Lost {
    let trouble = match error {
        WebSocketError::IoError(error) if error.kind() == io::ErrorKind::TimedOut => {
            Trouble::Stalled
        }
        WebSocketError::FrameTooLarge => Trouble::TooLarge,
        WebSocketError::UnexpectedEOF | WebSocketError::ConnectionClosed => Trouble::Ended,
        _ => Trouble::Broken,
    };
    Lost::new(trouble, error.to_string())
}

/// A connection whose reads fail once nothing has come for a while, and whose texts come as binary.
pub(super) struct Watched<S> {
    inner: S,
    texts: AsBinary,
    quiet_max: Duration,
    alarm: Pin<Box<Sleep>>,
}

impl<S> Watched<S> {
    fn new(inner: S, quiet_max: Duration) -> Self {
        Self { inner, texts: AsBinary::default(), quiet_max, alarm: Box::pin(sleep(quiet_max)) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if read.is_ready() {
            self.texts.rewrite(&mut buf.filled_mut()[before..]);
            let next = Instant::now() + self.quiet_max;
            self.alarm.as_mut().reset(next);
            return read;
        }
        match self.alarm.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                let why = format!("nothing has come for {:?}", self.quiet_max);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
