//! HTTP with nothing between a test and the wire: one request on a connection of its own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

use touchline_ingest::broadcast::{Secret, sign};

use super::PATIENCE;

/// The secret of every partner of a test's configuration.
pub const SECRET: &str = "whsec_ZW5kIHRvIGVuZCwgc2lnbmVkIGFuZCBzZWFsZWQ=";

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    /// The body as it came.
    pub body: String,
}

impl Answer {
    /// A header's value, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }
}

/// Sends `bytes` as they are and reads all that comes until the peer ends.
///
/// # Errors
/// Those of the socket, and [`io::ErrorKind::InvalidData`] when what came is no HTTP.
pub fn exchange(to: SocketAddr, bytes: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.write_all(bytes)?;
    answer(stream)
}

/// Reads all that comes until the peer ends.
///
/// # Errors
/// As [`exchange`].
pub fn answer(mut stream: TcpStream) -> io::Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw)?;
    read(&raw).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn read(raw: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(raw);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// One request.
///
/// # Errors
/// As [`exchange`].
pub fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    exchange(to, text.as_bytes())
}

/// POSTs `body` to `partner`'s webhook, signed.
///
/// # Errors
/// As [`exchange`]: then nobody knows whether the events were taken.
pub fn post_signed(to: SocketAddr, partner: &str, body: &str) -> io::Result<Answer> {
    static DELIVERIES: AtomicU64 = AtomicU64::new(0);
    let id = format!("delivery-{}", DELIVERIES.fetch_add(1, Ordering::Relaxed));
    post_as(to, partner, &id, SECRET, body)
}

/// The same under `id`, with any `secret`.
///
/// # Errors
/// As [`post_signed`].
pub fn post_as(
    to: SocketAddr,
    partner: &str,
    id: &str,
    secret: &str,
    body: &str,
) -> io::Result<Answer> {
    let headers = delivery_headers(id, secret, body);
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    request(to, "POST", &format!("/v1/ingest/broadcast/{partner}"), &headers, body)
}

/// The headers of a delivery that is made now, under an `id` that names the request as well.
///
/// # Panics
/// When `secret` is none.
pub fn delivery_headers(id: &str, secret: &str, body: &str) -> [(&'static str, String); 5] {
    let now = jiff::Timestamp::now().as_second();
    let secret = Secret::parse(secret).expect("a good secret");
    [
        ("content-type", "application/json".into()),
        ("x-request-id", id.into()),
        ("webhook-id", id.into()),
        ("webhook-timestamp", now.to_string()),
        ("webhook-signature", sign(&secret, id, now, body.as_bytes())),
    ]
}

/// An event that happens now, as JSON.
pub fn event(id: &str, teams: &[&str]) -> String {
    event_with(id, teams, r#"{"minute":7}"#)
}

/// The same with `data`, a JSON object.
pub fn event_with(id: &str, teams: &[&str], data: &str) -> String {
    let id = serde_json::to_string(id).expect("an id is text");
    let teams = serde_json::to_string(teams).expect("names are text");
    let now = jiff::Timestamp::now();
    format!(r#"{{"id":{id},"teams":{teams},"type":"goal","occurred_at":"{now}","data":{data}}}"#)
}
