//! What is read from a connection, looked at before hyper has it: where one request ends and the
//! next begins must be beyond doubt.
//!
//! Where a head has both `Content-Length` and `Transfer-Encoding`, hyper drops the length without
//! a word (RFC 9112, 6.1 lets it). A proxy that believed the length sees other requests than we
//! do, which is how requests are smuggled. So [`Watched`] follows the heads that pass through it
//! and tells in [`Seen`] when one could be read in two ways: whatever the connection asks from
//! then on is answered 400, and that is its end (FAULTS 5). What hyper refuses by itself it is
//! left to refuse.
//!
//! It also knows whether a head has begun. That tells one that drips, which is answered 408
//! (FAULTS 6), from a connection that was kept open and says nothing.
//!
//! # What it leaves out
//! Chunks. A chunked request is the last of its connection ([`guarded`](super::guarded) sees to
//! it), so nobody has to find its end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::http::header;
use httparse::{EMPTY_HEADER, Request, Status};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use touchline_core::limits::REQUEST_HEADERS_MAX;

/// What is known of a connection's heads. Written by its reader, read by its requests, all of them
/// on one task.
#[derive(Debug, Default)]
pub struct Seen {
    is_ambiguous: AtomicBool,
    is_in_head: AtomicBool,
}

impl Seen {
    /// A head could be read in two ways. It stays so.
    pub fn is_ambiguous(&self) -> bool {
        self.is_ambiguous.load(Ordering::Relaxed)
    }

    /// A head has begun, and isn't whole.
    pub fn is_in_head(&self) -> bool {
        self.is_in_head.load(Ordering::Relaxed)
    }
}

/// A stream whose reads are followed.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    heads: Heads,
    seen: Arc<Seen>,
}

impl<S> Watched<S> {
    /// `stream` from its first byte on.
    pub fn new(stream: S, seen: Arc<Seen>) -> Self {
        Self { stream, heads: Heads::default(), seen }
    }

    /// The stream, unwatched.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.heads.take(&buffer.filled()[before..]);
        let Self { heads, seen, .. } = &*self;
        if heads.state == State::Ambiguous {
            seen.is_ambiguous.store(true, Ordering::Relaxed);
        }
        seen.is_in_head.store(!heads.head.is_empty(), Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Finds heads among what is read. Keeps one head that isn't whole: hyper's own buffer, which is
/// filled with the same bytes, bounds it (`REQUEST_BUFFER_BYTES`).
#[derive(Debug, Default)]
struct Heads {
    state: State,
    head: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// So many bytes of a body are still to come.
    Body(u64),
    /// Nothing of interest comes any more: chunks, or what hyper refuses.
    Rest,
    /// Two readers could differ from here on.
    Ambiguous,
}

impl Heads {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.state {
                State::Head => bytes = self.take_head(bytes),
                State::Body(left) => {
                    let taken = left.min(bytes.len() as u64);
                    bytes = &bytes[taken as usize..];
                    self.state =
                        if taken == left { State::Head } else { State::Body(left - taken) };
                }
                State::Rest | State::Ambiguous => return,
            }
        }
    }

    /// Takes what belongs to the head; returns the rest.
    fn take_head<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let had = self.head.len();
        self.head.extend_from_slice(bytes);
        // Only a line's end can end a head, and no head has many lines: drips cost no more.
        if !bytes.contains(&b'\n') {
            return &[];
        }
        let Some((state, len)) = judge(&self.head) else { return &[] };
        self.state = state;
        // Gives the memory back as well: most connections have no second head for long.
        self.head = Vec::new();
        &bytes[len.saturating_sub(had).min(bytes.len())..]
    }
}

/// What follows the head in `bytes`, and how long the head is; `None` while it isn't whole.
fn judge(bytes: &[u8]) -> Option<(State, usize)> {
    // An empty line in front is skipped by some readers, and ends a message for others.
    if bytes[0] == b'\r' || has_bare_line_feed(bytes) {
        return Some((State::Ambiguous, bytes.len()));
    }
    let mut headers = [EMPTY_HEADER; REQUEST_HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(Status::Complete(len)) => Some((after(request.headers), len)),
        Ok(Status::Partial) => None,
        Err(_) => Some((State::Rest, bytes.len())),
    }
}

/// Whether a line of the head ends in a LF alone.
fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
    let head = &bytes[..end];
    head.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || head[at - 1] != b'\r'))
}

fn after(headers: &[httparse::Header<'_>]) -> State {
    let named = |name: header::HeaderName| {
        headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name.as_str()))
    };
    let mut lengths = named(header::CONTENT_LENGTH).map(|header| header.value);
    let length = lengths.next();
    match (length, named(header::TRANSFER_ENCODING).next()) {
        (Some(_), Some(_)) => State::Ambiguous,
        (None, Some(_)) => State::Rest,
        (None, None) => State::Head,
        (Some(length), None) if lengths.all(|other| other == length) => {
            let length = std::str::from_utf8(length).ok().and_then(|text| text.trim().parse().ok());
            length.map_or(
                State::Rest,
                |bytes| if bytes == 0 { State::Head } else { State::Body(bytes) },
            )
        }
        (Some(_), None) => State::Ambiguous,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole, byte by byte and in pieces of 7: the same state at the end.
    fn check(text: &str, want: State) {
        for size in [text.len(), 1, 7] {
            let mut heads = Heads::default();
            text.as_bytes().chunks(size).for_each(|chunk| heads.take(chunk));
            assert_eq!(heads.state, want, "in pieces of {size}: {text:?}");
            let whole = want != State::Head || text.ends_with("\r\n\r\n") || text.ends_with('}');
            assert_eq!(heads.head.is_empty(), whole, "in pieces of {size}: {text:?}");
        }
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn heads_are_found_one_behind_the_other() {
        check(GET, State::Head);
        check(&GET.repeat(3), State::Head);
        check("GET / HTTP/1.1\r\nHo", State::Head);
        check("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", State::Head);
        check("POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n{}", State::Body(3));
        check("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", State::Head);
        check("POST / HTTP/1.1\r\nContent-Length: 9x\r\n\r\n", State::Rest);
        check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", State::Rest);
        // A body is no head, whatever it says.
        let body = "\nGET\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let post = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        check(&(post + GET), State::Head);
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_told() {
        for framing in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            "Transfer-Encoding: identity\r\nContent-Length: 0\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "X: a\nContent-Length: 5\r\n",
        ] {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n");
            check(&head, State::Ambiguous);
            check(&(GET.to_owned() + &head + GET), State::Ambiguous);
        }
        check(&format!("\r\n{GET}"), State::Ambiguous);
        check(&GET.replace("\r\n", "\n"), State::Ambiguous);
    }

    #[test]
    fn garbage_is_left_for_hyper_to_refuse() {
        check("\u{16}\u{3}\u{1}\r\n", State::Rest);
        check("GET / HTTP/1.1\r\nX : a\r\n\r\n", State::Rest);
    }
}
