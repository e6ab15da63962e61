//! A request's head, from its first byte to the 101 (RFC 6455, 4.2).
//!
//! [`Handshake::feed`] takes bytes as they come. It looks at each once, refuses at the first that
//! has no place in a head, and, once the empty line is there, judges the whole. The one success is
//! a [`Request`], from which [`Request::response`] writes the 101; what was left of the fed bytes
//! are frames already.
//!
//! # Strict on purpose
//! A proxy and a server that read one head in two ways are how requests get smuggled. So a head has
//! one reading here: lines end in CRLF, no line is folded, names have no space before the colon,
//! there is exactly one `Host`, a request has no body, and whatever isn't accepted closes the
//! connection. `httparse` splits a head into its parts; what it tolerates beyond that ([`scan`])
//! has been refused before it looks.
//!
//! # What it leaves out
//! - Compression and other extensions: whatever is offered is declined by silence, well formed or
//!   not.
//! - The query's meaning: [`parse_query`](crate::protocol::request::parse_query).
//! - The deadline: a head that isn't complete in time is the shard's to refuse ([`Refusal::Late`]).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use super::origin::OriginPolicy;
use super::refusal::Refusal;
use crate::limits::{REQUEST_HEAD_BYTES_MAX, REQUEST_HEADERS_MAX, URI_BYTES_MAX};
use crate::protocol::SUBPROTOCOL;

/// Where the stream is.
pub const STREAM_PATH: &str = "/v1/stream";
/// Where load balancers look.
pub const HEALTH_PATH: &str = "/healthz";

/// A head that isn't complete yet. Owns memory only from the first incomplete read on, and never
/// more than [`REQUEST_HEAD_BYTES_MAX`].
#[derive(Debug, Default)]
pub struct Handshake {
    head: Vec<u8>,
    scanned: usize,
}

/// How far a head has got.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is wrong so far; all fed bytes were taken.
    NeedMore,
    /// A client that may connect. `taken` of the fed bytes belong to the head, the rest are frames.
    Upgrade {
        /// What it asks for.
        request: Request,
        /// Bytes of this feed that belong to the head.
        taken: usize,
    },
    /// `GET /healthz`: answer [`healthz_response`](super::refusal::healthz_response) and close.
    Healthz,
    /// Answer [`Refusal::response`] and close.
    Refuse(Refusal),
}

/// A request to upgrade that has been judged and found good.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// What follows the `?`, as it came; empty when there is none. May hold a token: keep it out of
    /// logs.
    pub query: String,
    /// The page's origin, if a browser sent one. Allowed.
    pub origin: Option<String>,
    /// Whether the client offered our subprotocol.
    pub has_subprotocol: bool,
    accept: String,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("query_bytes", &self.query.len())
            .field("origin", &self.origin)
            .field("has_subprotocol", &self.has_subprotocol)
            .finish()
    }
}

impl Request {
    /// The 101. Selects our subprotocol if it was offered, and no extension.
    pub fn response(&self) -> Vec<u8> {
        let subprotocol = match self.has_subprotocol {
            true => format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"),
            false => String::new(),
        };
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{subprotocol}\r\n",
            self.accept
        )
        .into_bytes()
    }
}

impl Handshake {
    /// Takes what has arrived. Call it until it returns something else than [`Progress::NeedMore`],
    /// then drop it.
    pub fn feed(&mut self, bytes: &[u8], origins: &OriginPolicy) -> Progress {
        let had = self.head.len();
        // One byte more than a head may have, to tell that it has too many.
        let bytes = &bytes[..bytes.len().min(REQUEST_HEAD_BYTES_MAX + 1 - had)];
        let end = if had == 0 {
            scan(bytes, 0)
        } else {
            self.head.extend_from_slice(bytes);
            scan(&self.head, self.scanned)
        };
        match end {
            Err(refusal) => Progress::Refuse(refusal),
            Ok(Scan::Complete(end)) => {
                let head = if had == 0 { &bytes[..end] } else { &self.head[..end] };
                judge(head, end - had, origins)
            }
            Ok(Scan::Incomplete(scanned)) => self.keep(bytes, scanned),
        }
    }

    /// Keeps an incomplete head, all of it if `bytes` are its first.
    fn keep(&mut self, bytes: &[u8], scanned: usize) -> Progress {
        let is_first = self.head.is_empty();
        let head_bytes = if is_first { bytes.len() } else { self.head.len() };
        if head_bytes > REQUEST_HEAD_BYTES_MAX {
            return Progress::Refuse(oversize(if is_first { bytes } else { &self.head }));
        }
        if is_first {
            self.head.extend_from_slice(bytes);
        }
        self.scanned = scanned;
        Progress::NeedMore
    }

    /// Bytes on the heap, for accounting.
    pub fn heap_bytes(&self) -> usize {
        self.head.capacity()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Scan {
    /// The head ends before this byte.
    Complete(usize),
    /// Everything before this byte is fine; go on here.
    Incomplete(usize),
}

/// Looks for the end of the head, and for bytes that have no place in one: controls, a CR or LF
/// alone, a folded line, an empty line in front. Sizes are judged as well, so that nothing is kept
/// that would be refused anyway.
fn scan(head: &[u8], from: usize) -> Result<Scan, Refusal> {
    let mut at = from;
    while let Some(byte) = head.get(at) {
        at = match byte {
            b'\r' => match line_end(head, at)? {
                LineEnd::Head(end) if end > REQUEST_HEAD_BYTES_MAX => return Err(oversize(head)),
                LineEnd::Head(end) => return Ok(Scan::Complete(end)),
                LineEnd::Line(next) => next,
                LineEnd::Unknown => return Ok(Scan::Incomplete(at)),
            },
            b'\t' | 0x20..=0x7e | 0x80.. => at + 1,
            _ => return Err(Refusal::Malformed),
        };
    }
    Ok(Scan::Incomplete(at))
}

enum LineEnd {
    /// The empty line: the head ends before this byte.
    Head(usize),
    /// The next line begins with this byte.
    Line(usize),
    /// Too little has come to tell.
    Unknown,
}

/// What the CR at `at` ends.
fn line_end(head: &[u8], at: usize) -> Result<LineEnd, Refusal> {
    match head.get(at + 1) {
        None => return Ok(LineEnd::Unknown),
        Some(b'\n') => {}
        Some(_) => return Err(Refusal::Malformed),
    }
    if at == 0 {
        return Err(Refusal::Malformed);
    }
    if head[..at].ends_with(b"\r\n") {
        return Ok(LineEnd::Head(at + 2));
    }
    match head.get(at + 2) {
        Some(b' ' | b'\t') => Err(Refusal::Malformed),
        Some(_) => Ok(LineEnd::Line(at + 2)),
        None => Ok(LineEnd::Unknown),
    }
}

/// A head that is too large: by its URI, or by the rest.
fn oversize(head: &[u8]) -> Refusal {
    let line = head.iter().position(|byte| *byte == b'\r').unwrap_or(head.len());
    let uri = head[..line].split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    if uri.len() > URI_BYTES_MAX { Refusal::LongUri } else { Refusal::LargeHead }
}

fn judge(head: &[u8], taken: usize, origins: &OriginPolicy) -> Progress {
    let mut headers = [httparse::EMPTY_HEADER; REQUEST_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = match request.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(Refusal::LargeHead),
        Ok(_) | Err(_) => Err(Refusal::Malformed),
    };
    let verdict = parsed.and_then(|()| {
        let parts = Parts {
            method: request.method.unwrap_or_default(),
            target: request.path.unwrap_or_default(),
            is_http_11: request.version == Some(1),
            headers: Headers(request.headers),
        };
        parts.route(origins)
    });
    match verdict {
        Ok(Some(request)) => Progress::Upgrade { request, taken },
        Ok(None) => Progress::Healthz,
        Err(refusal) => Progress::Refuse(refusal),
    }
}

/// A head in its parts.
struct Parts<'h> {
    method: &'h str,
    target: &'h str,
    is_http_11: bool,
    headers: Headers<'h>,
}

impl Parts<'_> {
    /// What is asked for: an upgrade, or (`None`) the shard's health.
    fn route(&self, origins: &OriginPolicy) -> Result<Option<Request>, Refusal> {
        if self.target.len() > URI_BYTES_MAX {
            return Err(Refusal::LongUri);
        }
        if !self.target.starts_with('/') || self.target.contains('#') || !self.target.is_ascii() {
            return Err(Refusal::Malformed);
        }
        self.check_framing()?;
        let host = self.host()?;
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        match (path, self.method) {
            // Some load balancers ask for a host's health by HTTP/1.0 still.
            (HEALTH_PATH, "GET") => Ok(None),
            _ if !self.is_http_11 => Err(Refusal::BadVersion),
            (STREAM_PATH, "GET") => self.upgrade(query, host, origins).map(Some),
            (STREAM_PATH | HEALTH_PATH, _) => Err(Refusal::BadMethod),
            _ => Err(Refusal::NotFound),
        }
    }

    /// RFC 9112, 6: how long a body would be must be beyond doubt, and a GET has none here.
    fn check_framing(&self) -> Result<(), Refusal> {
        let lengths = self.headers.all("content-length").count();
        let length = self.headers.single("content-length");
        let is_number =
            |value: &str| value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty();
        let is_sound = match (self.method, length) {
            _ if self.headers.all("transfer-encoding").next().is_some() => false,
            (_, None) => lengths == 0,
            ("GET", Some(length)) => length == "0",
            (_, Some(length)) => is_number(length),
        };
        is_sound.then_some(()).ok_or(Refusal::BadFraming)
    }

    /// RFC 9112, 3.2: exactly one, and required by HTTP/1.1.
    fn host(&self) -> Result<&str, Refusal> {
        let hosts = self.headers.all("host").count();
        match self.headers.single("host") {
            Some(host) if is_authority(host) => Ok(host),
            None if hosts == 0 && !self.is_http_11 => Ok(""),
            _ => Err(Refusal::BadHost),
        }
    }

    fn upgrade(&self, query: &str, host: &str, origins: &OriginPolicy) -> Result<Request, Refusal> {
        if !self.headers.has_token("upgrade", "websocket") {
            return Err(Refusal::NoUpgrade);
        }
        if !self.headers.has_token("connection", "upgrade") {
            return Err(Refusal::NoConnectionUpgrade);
        }
        if self.headers.single("sec-websocket-version") != Some("13") {
            return Err(Refusal::BadWebSocketVersion);
        }
        let key = self.headers.single("sec-websocket-key").filter(|key| is_key(key));
        let accept = accept(key.ok_or(Refusal::BadKey)?);
        let origin = self.origin()?;
        if !origins.allows(origin, host) {
            return Err(Refusal::BadOrigin);
        }
        Ok(Request {
            query: query.to_owned(),
            origin: origin.map(str::to_owned),
            has_subprotocol: self.headers.offers_subprotocol(),
            accept,
        })
    }

    /// At most one, and text.
    fn origin(&self) -> Result<Option<&str>, Refusal> {
        let origins = self.headers.all("origin").count();
        match self.headers.single("origin") {
            None if origins > 0 => Err(Refusal::BadOrigin),
            origin => Ok(origin),
        }
    }
}

/// A head's headers. Names are compared without regard to case, values without the space around
/// them.
struct Headers<'h>(&'h [httparse::Header<'h>]);

impl<'h> Headers<'h> {
    /// Values of `name`; one that isn't ASCII counts, as an empty text.
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'h str> {
        let named = self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| {
            let text = std::str::from_utf8(header.value).ok().filter(|text| text.is_ascii());
            text.unwrap_or_default().trim_matches([' ', '\t'])
        })
    }

    /// The value of `name` if it stands there once.
    fn single(&self, name: &'static str) -> Option<&'h str> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }

    /// Whether the lists of all headers called `name` have `token` in them.
    fn has_token(&self, name: &'static str, token: &str) -> bool {
        let mut tokens = self.all(name).flat_map(|value| value.split(','));
        tokens.any(|item| item.trim_matches([' ', '\t']).eq_ignore_ascii_case(token))
    }

    /// Subprotocols are compared with regard to case (RFC 6455, 11.5).
    fn offers_subprotocol(&self) -> bool {
        let mut offers = self.all("sec-websocket-protocol").flat_map(|value| value.split(','));
        offers.any(|offer| offer.trim_matches([' ', '\t']) == SUBPROTOCOL)
    }
}

/// Whether it can be a host with a port: nothing that would end it and begin something else.
fn is_authority(host: &str) -> bool {
    let is_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(is_byte)
}

/// RFC 6455, 4.2.1: base64 of 16 bytes.
fn is_key(key: &str) -> bool {
    STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

/// RFC 6455, 4.2.2.
fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

#[cfg(test)]
mod tests;
