//! Bytes of a client to messages: strict, incremental, and without memory of its own while nothing
//! is half done.
//!
//! The caller reads into a scratch buffer and calls [`Parser::next`] until it returns `None`; then
//! all of the buffer has been taken in. Payloads are unmasked in place. A message that lies whole
//! in the buffer is handed out as a borrow of it; only what is cut off by the buffer's end, or
//! comes in fragments, is copied into a [`Pending`], which is dropped as soon as nothing is left
//! open.
//!
//! Text is checked as it arrives (RFC 6455, 8.1): the first byte that can't belong to any UTF-8
//! text ends the connection, although the message may be far from complete. A character that is cut
//! by a fragment's or a read's end is looked at again when the rest of it has come.
//!
//! # Invariants
//! - `Parser` holds a box only while a head, a control frame or a message is incomplete.
//! - `Message::bytes` never has a capacity above the limit, nor above twice what has arrived.
//! - After a violation or a Close nothing more is read.

use std::borrow::Cow;

use super::close::may_be_received;
use super::head::{Fragments, Head, Opcode, Violation, decode};
use crate::limits::{
    CLIENT_HEAD_BYTES_MAX, CONTROL_PAYLOAD_BYTES_MAX, MESSAGE_BYTES_MAX,
    MESSAGE_EMPTY_FRAGMENTS_MAX, MESSAGE_FRAGMENTS_MAX,
};

/// What a message may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Bytes of a message over all its fragments; above it the connection is closed with 1009.
    pub message_bytes_max: usize,
    /// Fragments of a message; above it 1008.
    pub fragments_max: u32,
    /// Fragments of a message that carry nothing; above it 1008. The last one isn't counted.
    pub empty_fragments_max: u32,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            message_bytes_max: MESSAGE_BYTES_MAX,
            fragments_max: MESSAGE_FRAGMENTS_MAX,
            empty_fragments_max: MESSAGE_EMPTY_FRAGMENTS_MAX,
        }
    }
}

/// What a client sent. Borrows from the caller's buffer where it lies whole in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'s> {
    /// A whole text message.
    Text(Cow<'s, str>),
    /// A whole binary message.
    Binary(Cow<'s, [u8]>),
    /// A Ping, at most 125 bytes; answer it with [`pong_frame`](super::pong_frame).
    Ping(Cow<'s, [u8]>),
    /// A Pong, asked for or not, at most 125 bytes.
    Pong(Cow<'s, [u8]>),
    /// The client closes; answer with [`echo_close_frame`](super::echo_close_frame), then end.
    /// Nothing follows.
    Close {
        /// Its code; `None` when it named none. One that a client may send.
        code: Option<u16>,
        /// Its reason, at most 123 bytes.
        reason: Cow<'s, str>,
    },
}

/// Where one client's bytes have got to. 16 bytes, and nothing on the heap while nothing is half
/// done.
#[derive(Debug, Default)]
pub struct Parser(State);

#[derive(Debug, Default)]
enum State {
    /// Between two messages.
    #[default]
    Rest,
    /// Something is incomplete.
    Open(Box<Pending>),
    /// A Close or a violation was seen.
    Closed,
}

const _: () = assert!(size_of::<Parser>() <= 16);

/// What is incomplete.
#[derive(Debug, Default)]
struct Pending {
    /// Bytes of a head, the first `head_len` of them.
    head: [u8; CLIENT_HEAD_BYTES_MAX],
    head_len: usize,
    /// The frame whose payload is awaited.
    frame: Option<Frame>,
    /// The message whose end is awaited. Control frames may come in between.
    message: Option<Message>,
    /// Payload of a control frame.
    control: Vec<u8>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.message.is_none()
    }
}

/// A frame whose head has been read, and part of its payload.
#[derive(Clone, Copy, Debug)]
struct Frame {
    head: Head,
    taken: usize,
}

#[derive(Debug)]
struct Message {
    is_text: bool,
    bytes: Vec<u8>,
    /// `bytes[..checked]` is whole characters of UTF-8.
    checked: usize,
    fragments: Fragments,
}

impl Parser {
    /// Takes from the front of `input` up to the end of the next event, and returns it; `None` once
    /// `input` is used up. Payloads are unmasked in place, so `input` is garbage afterwards.
    ///
    /// # Errors
    /// The first [`Violation`]. The connection is to be closed with its code; what follows is
    /// ignored.
    pub fn next<'s>(
        &mut self,
        input: &mut &'s mut [u8],
        limits: &FrameLimits,
    ) -> Result<Option<Event<'s>>, Violation> {
        let got = match self.0 {
            State::Rest => self.step_at_rest(input, limits),
            State::Open(_) => self.step_open(input, limits),
            State::Closed => Ok(None),
        };
        if matches!(got, Err(_) | Ok(Some(Event::Close { .. }))) {
            self.0 = State::Closed;
        }
        if matches!(self.0, State::Closed) {
            *input = &mut [];
        }
        got
    }

    /// Whether nothing is half done: no message is open and no frame incomplete.
    pub fn is_at_rest(&self) -> bool {
        matches!(self.0, State::Rest)
    }

    /// Bytes on the heap, for accounting.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            State::Open(open) => {
                let message = open.message.as_ref().map_or(0, |message| message.bytes.capacity());
                size_of::<Pending>() + open.control.capacity() + message
            }
            State::Rest | State::Closed => 0,
        }
    }

    /// The way of nearly every message: a whole, unfragmented frame in the buffer, no copy.
    fn step_at_rest<'s>(
        &mut self,
        input: &mut &'s mut [u8],
        limits: &FrameLimits,
    ) -> Result<Option<Event<'s>>, Violation> {
        if let Some((head, head_bytes)) = decode(input, None, limits)?
            && head.is_final
            && input.len() - head_bytes >= head.payload_bytes
        {
            take(input, head_bytes);
            let payload = take(input, head.payload_bytes);
            unmask(payload, head.mask, 0);
            return whole(head.opcode, Cow::Borrowed(payload)).map(Some);
        }
        if input.is_empty() {
            return Ok(None);
        }
        self.0 = State::Open(Box::default());
        self.step_open(input, limits)
    }

    fn step_open<'s>(
        &mut self,
        input: &mut &'s mut [u8],
        limits: &FrameLimits,
    ) -> Result<Option<Event<'s>>, Violation> {
        let State::Open(open) = &mut self.0 else { return Ok(None) };
        let event = open.advance(input, limits);
        if open.is_empty() {
            self.0 = State::Rest;
        }
        event
    }
}

impl Pending {
    fn advance<'s>(
        &mut self,
        input: &mut &'s mut [u8],
        limits: &FrameLimits,
    ) -> Result<Option<Event<'s>>, Violation> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.begin_frame(input, limits)? {
                    Some(head) => Frame { head, taken: 0 },
                    None => return Ok(None),
                },
            };
            let left = frame.head.payload_bytes - frame.taken;
            let chunk = take(input, left.min(input.len()));
            unmask(chunk, frame.head.mask, frame.taken);
            frame.taken += chunk.len();
            let is_whole = frame.taken == frame.head.payload_bytes;
            let event = if frame.head.opcode.is_control() {
                self.control_chunk(frame.head, chunk, is_whole)?
            } else {
                self.data_chunk(frame.head, chunk, is_whole, limits)?
            };
            if !is_whole {
                self.frame = Some(frame);
                return Ok(None);
            }
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// Reads a head, part of which may have come earlier.
    fn begin_frame(
        &mut self,
        input: &mut &mut [u8],
        limits: &FrameLimits,
    ) -> Result<Option<Head>, Violation> {
        let open = self.message.as_ref().map(|message| message.fragments);
        let had = self.head_len;
        let more = input.len().min(CLIENT_HEAD_BYTES_MAX - had);
        self.head[had..had + more].copy_from_slice(&input[..more]);
        let Some((head, head_bytes)) = decode(&self.head[..had + more], open, limits)? else {
            self.head_len += more;
            take(input, more);
            return Ok(None);
        };
        take(input, head_bytes - had);
        self.head_len = 0;
        if !head.opcode.is_control() {
            self.message.get_or_insert_with(|| Message::new(head.opcode)).begin_fragment(head);
        }
        Ok(Some(head))
    }

    fn control_chunk<'s>(
        &mut self,
        head: Head,
        chunk: &'s mut [u8],
        is_whole: bool,
    ) -> Result<Option<Event<'s>>, Violation> {
        if is_whole && self.control.is_empty() {
            return whole(head.opcode, Cow::Borrowed(chunk)).map(Some);
        }
        self.control.extend_from_slice(chunk);
        debug_assert!(self.control.len() <= CONTROL_PAYLOAD_BYTES_MAX);
        if !is_whole {
            return Ok(None);
        }
        whole(head.opcode, Cow::Owned(std::mem::take(&mut self.control))).map(Some)
    }

    fn data_chunk<'s>(
        &mut self,
        head: Head,
        chunk: &[u8],
        is_whole: bool,
        limits: &FrameLimits,
    ) -> Result<Option<Event<'s>>, Violation> {
        // A frame that has begun has a message; there is none only if `begin_frame` forgot it.
        let Some(message) = self.message.as_mut() else { return Ok(None) };
        message.append(chunk, limits.message_bytes_max)?;
        if !(is_whole && head.is_final) {
            return Ok(None);
        }
        self.message.take().map(Message::finish).transpose()
    }
}

impl Message {
    fn new(opcode: Opcode) -> Self {
        let is_text = opcode == Opcode::Text;
        Self { is_text, bytes: Vec::new(), checked: 0, fragments: Fragments::default() }
    }

    fn begin_fragment(&mut self, head: Head) {
        self.fragments.bytes += head.payload_bytes;
        self.fragments.count += 1;
        self.fragments.empty_count += u32::from(head.payload_bytes == 0);
    }

    /// Room doubles with what has arrived, whatever the head declared, and stops at the limit.
    fn append(&mut self, chunk: &[u8], bytes_max: usize) -> Result<(), Violation> {
        let needed = self.bytes.len() + chunk.len();
        if needed > self.bytes.capacity() {
            let room = needed.saturating_mul(2).min(bytes_max.max(needed));
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(chunk);
        if self.is_text {
            self.checked += checked_prefix(&self.bytes[self.checked..])?;
        }
        Ok(())
    }

    fn finish<'s>(self) -> Result<Event<'s>, Violation> {
        let opcode = if self.is_text { Opcode::Text } else { Opcode::Binary };
        whole(opcode, Cow::Owned(self.bytes))
    }
}

/// How much of `bytes` is whole characters. What follows may still become one.
fn checked_prefix(bytes: &[u8]) -> Result<usize, Violation> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(bytes.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(_) => Err(Violation::NotUtf8),
    }
}

/// A whole message or control frame as an event.
fn whole(opcode: Opcode, payload: Cow<'_, [u8]>) -> Result<Event<'_>, Violation> {
    Ok(match opcode {
        Opcode::Text => Event::Text(text(payload)?),
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        Opcode::Close => close(payload)?,
        Opcode::Binary | Opcode::Continuation => Event::Binary(payload),
    })
}

/// RFC 6455, 5.5.1: no body, or a code and a reason in UTF-8.
fn close(payload: Cow<'_, [u8]>) -> Result<Event<'_>, Violation> {
    if payload.is_empty() {
        return Ok(Event::Close { code: None, reason: Cow::Borrowed("") });
    }
    let code = payload.first_chunk().map(|raw| u16::from_be_bytes(*raw));
    let Some(code) = code.filter(|code| may_be_received(*code)) else {
        return Err(Violation::BadCloseCode);
    };
    let reason = match payload {
        Cow::Borrowed(payload) => Cow::Borrowed(&payload[2..]),
        Cow::Owned(payload) => Cow::Owned(payload[2..].to_vec()),
    };
    Ok(Event::Close { code: Some(code), reason: text(reason)? })
}

fn text(payload: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Violation> {
    match payload {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
    }
    .ok_or(Violation::NotUtf8)
}

/// Takes the first `len` bytes off `input`.
fn take<'s>(input: &mut &'s mut [u8], len: usize) -> &'s mut [u8] {
    let (front, rest) = std::mem::take(input).split_at_mut(len);
    *input = rest;
    front
}

/// RFC 6455, 5.3. `taken` bytes of the payload went before. Words first: the compiler makes vectors
/// of them.
fn unmask(payload: &mut [u8], mut mask: [u8; 4], taken: usize) {
    mask.rotate_left(taken % 4);
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for chunk in &mut words {
        if let Ok(raw) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(raw) ^ word).to_ne_bytes());
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
