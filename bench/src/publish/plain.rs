//! Publishing to another product: one request or one message for each event, over one connection,
//! in order, without waiting for answers.
//!
//! Touchline's webhooks carry whatever fell due in one body. A product that takes an event a
//! request must not pay for that with a round trip each, or its way in would be measured instead of
//! its fan-out: so requests are pipelined (RFC 9112, 9.3.2), and answers are read by a thread that
//! only looks for refusals.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{POST_S_MAX, Posted, Stop, histogram};
use crate::schedule::{Plan, team_name};
use crate::stamp::Stamp;
use crate::sys;
use crate::target::file::Publish;

/// How long the publisher's port may take to open after the product says that it is ready.
const CONNECT_S_MAX: u64 = 10;
/// Reads that may bring nothing, of 30 s each: a run and its drain are over by then.
const SILENCES_MAX: u32 = 10;

/// Publishes all of `plan`, each event when it is due or as soon after as the product takes it,
/// unless `stop` is set first.
pub fn play(publish: &Publish, plan: &Plan, stop: &Stop) -> Result<Posted> {
    let mut door = Door::open(publish)?;
    let mut latencies = histogram();
    let mut posted = Posted::default();
    for n in 0..plan.events() {
        sys::sleep_until(plan.due_ns(n));
        if stop.load(Relaxed) {
            break;
        }
        door.send(&Event::of(plan, n))?;
        let waited = sys::now_ns().saturating_sub(plan.due_ns(n));
        latencies.saturating_record((waited / 1_000).max(1));
        posted.posts += 1;
        posted.events += 1;
    }
    door.check()?;
    Ok(posted.finish(plan, &latencies))
}

/// An open way to publish.
struct Door<'p> {
    stream: TcpStream,
    publish: &'p Publish,
    /// Answers that were refusals.
    refused: Arc<AtomicU64>,
}

impl<'p> Door<'p> {
    fn open(publish: &'p Publish) -> Result<Self> {
        let (address, greeting) = match publish {
            Publish::Http { url, .. } => (host_of(url)?, ""),
            Publish::Tcp { address, greeting, .. } => (address.as_str(), greeting.as_str()),
            Publish::Webhook { .. } => bail!("webhooks are posted, not sent"),
        };
        let mut stream = connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(POST_S_MAX)))?;
        stream.write_all(greeting.as_bytes())?;
        let refused = Arc::<AtomicU64>::default();
        let (answers, counter) = (stream.try_clone()?, Arc::clone(&refused));
        let is_http = matches!(publish, Publish::Http { .. });
        std::thread::spawn(move || read(answers, is_http, &counter));
        Ok(Self { stream, publish, refused })
    }

    fn send(&mut self, event: &Event) -> Result<()> {
        let text = match self.publish {
            Publish::Http { url, method, headers, body } => {
                request(&event.fill(url), method, headers, &event.fill(body))?
            }
            Publish::Tcp { message, .. } => event.fill(message),
            Publish::Webhook { .. } => bail!("opened as another kind"),
        };
        self.stream.write_all(text.as_bytes()).context("the product closed its publisher")?;
        self.check()
    }

    fn check(&self) -> Result<()> {
        match self.refused.load(Relaxed) {
            0 => Ok(()),
            count => bail!("the product refused {count} events"),
        }
    }
}

fn connect(address: &str) -> Result<TcpStream> {
    let deadline = Instant::now() + Duration::from_secs(CONNECT_S_MAX);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error).with_context(|| format!("publish to {address}")),
        }
    }
}

/// Reads until the product hangs up, or is silent for long; counts answers that are no success. It
/// holds the connection open beyond the last event: some products drop what they haven't handled
/// yet when a publisher leaves.
fn read(mut answers: TcpStream, is_http: bool, refused: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    let mut kept = 0;
    let _ = answers.set_read_timeout(Some(Duration::from_secs(POST_S_MAX)));
    let mut silent = 0;
    while silent < SILENCES_MAX {
        match answers.read(&mut buffer[kept..]) {
            Ok(0) => return,
            Ok(count) => {
                silent = 0;
                let held = kept + count;
                if is_http {
                    refused.fetch_add(refusals(&buffer[..held]), Relaxed);
                    // A status line may be cut by the end of a read.
                    kept = held.min(STATUS_BYTES - 1);
                    buffer.copy_within(held - kept..held, 0);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => silent += 1,
            Err(_) => return,
        }
    }
}

const STATUS: &[u8] = b"HTTP/1.1 ";
const STATUS_BYTES: usize = STATUS.len() + 1;

/// Status lines of 4xx and 5xx.
fn refusals(bytes: &[u8]) -> u64 {
    let bad = |part: &&[u8]| part.starts_with(STATUS) && matches!(part[STATUS.len()], b'4' | b'5');
    bytes.windows(STATUS_BYTES).filter(bad).count() as u64
}

/// `host:port` of an `http://` URL.
fn host_of(url: &str) -> Result<&str> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url} is no http:// URL"))?;
    Ok(rest.split('/').next().unwrap_or(rest))
}

fn request(
    url: &str,
    method: &str,
    headers: &BTreeMap<String, String>,
    body: &str,
) -> Result<String> {
    let host = host_of(url)?;
    let path = &url["http://".len() + host.len()..];
    let path = if path.is_empty() { "/" } else { path };
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    Ok(format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {length}\r\n\r\n{body}"
    ))
}

/// What an event's words stand for.
struct Event {
    team: String,
    data: String,
    stamp: Stamp,
}

impl Event {
    fn of(plan: &Plan, n: u32) -> Self {
        Self { team: team_name(plan.team(n)), data: plan.data(n), stamp: plan.stamp(n) }
    }

    /// `text` with them in it.
    fn fill(&self, text: &str) -> String {
        text.replace("{team}", &self.team)
            .replace("{sequence}", &self.stamp.seq.to_string())
            .replace("{time}", &self.stamp.t.to_string())
            .replace("{len}", &self.data.len().to_string())
            .replace("{data}", &self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_holds_team_length_and_data() {
        let stamp = Stamp { t: 99, seq: 7, n: 0 };
        let event = Event { team: "t001".into(), data: "{}".into(), stamp };
        assert_eq!(event.fill("PUB {team} {len}\r\n{data}\r\n"), "PUB t001 2\r\n{}\r\n");
        assert_eq!(event.fill(r#"{"id":{sequence},"at":{time}}"#), r#"{"id":7,"at":99}"#);
    }

    #[test]
    fn a_request_is_whole_and_refusals_are_counted() {
        let headers = BTreeMap::from([("content-type".into(), "application/json".into())]);
        let text = request("http://127.0.0.1:9/publish/t1", "POST", &headers, "{}").unwrap();
        let wanted = "POST /publish/t1 HTTP/1.1\r\nhost: 127.0.0.1:9\r\n\
                      content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(text, wanted);
        assert!(host_of("ftp://a").is_err());
        let answers = b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 503 Busy\r\n\r\nHTTP/1.1 404 x\r\n\r\n";
        assert_eq!(refusals(answers), 2);
        assert_eq!(refusals(&answers[..20]), 0);
    }
}
