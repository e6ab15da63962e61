//! What adapters have in common that go out and ask others: what they are given, the address, the
//! client that asks, names that are looked up; what answers say of themselves ([`answer`]); and how
//! a batch is told apart of which the log won't have a part.

pub(crate) mod answer;
mod names;

use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};
use touchline_core::dead::{DeadLetter, DeadLetters};
use touchline_core::event::Event;
use touchline_core::log::EventLog;
use touchline_core::time::Timestamp;

use crate::clock::Clock;
use crate::outbound::names::Names;
use crate::problem::Code;
use crate::roster::{Alone, Roster};

/// How we introduce ourselves.
const USER_AGENT: &str = concat!("touchline/", env!("CARGO_PKG_VERSION"));

/// What all who follow a source share.
#[derive(Clone)]
pub struct Surroundings {
    /// Where events go.
    pub log: Arc<dyn EventLog>,
    /// Where the time comes from.
    pub clock: Clock,
    /// Where what can't be used goes.
    pub dead: Arc<dyn DeadLetters>,
    /// Which sources are this node's.
    pub roster: Arc<dyn Roster>,
    /// A folder in which streams keep where they are; without one a restart begins at their
    /// present.
    pub places: Option<Arc<Path>>,
}

impl Surroundings {
    /// Of a node that is alone.
    pub fn new(log: Arc<dyn EventLog>, clock: Clock, dead: Arc<dyn DeadLetters>) -> Self {
        Self { log, clock, dead, roster: Arc::new(Alone), places: None }
    }
}

/// A text that is shown nowhere: an address that may hold a key, a header's value, a first message.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Box<str>);

impl<T: Into<Box<str>>> From<T> for Hidden {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl Deref for Hidden {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A source that can't be followed as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("source `{name}`: {why}")]
pub struct SourceError {
    /// Which.
    pub name: Box<str>,
    /// Why.
    pub why: Box<str>,
}

impl SourceError {
    pub(crate) fn new(name: &str, why: impl Into<Box<str>>) -> Self {
        Self { name: name.into(), why: why.into() }
    }
}

/// What asks. It goes where the configuration says and nowhere else: by no redirect and no proxy of
/// the environment. Its times are for the caller to set.
pub(crate) fn client() -> ClientBuilder {
    static NAMES: OnceLock<Arc<Names>> = OnceLock::new();
    let names = NAMES.get_or_init(|| Arc::new(Names::new()));
    let builder = Client::builder().redirect(Policy::none()).no_proxy().tcp_nodelay(true);
    builder.user_agent(USER_AGENT).dns_resolver(Arc::clone(names))
}

/// An address of one of these schemes. `Err` completes "source ...:".
pub(crate) fn url(text: &str, schemes: &[&str]) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("its url: {error}"))?;
    if schemes.contains(&url.scheme()) && url.has_host() {
        return Ok(url);
    }
    let begins: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
    Err(format!("its url must begin with {}", begins.join(" or ")))
}

/// An address for people: who may ask, and what the query says, are secrets.
pub fn shown(address: &str) -> String {
    let Ok(url) = Url::parse(address) else { return "***".into() };
    let mut shown = format!("{}://", url.scheme());
    if !url.username().is_empty() || url.password().is_some() {
        shown.push_str("***@");
    }
    shown.push_str(url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        shown.push_str(&format!(":{port}"));
    }
    shown.push_str(url.path());
    for (n, pair) in url.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if n == 0 { '?' } else { '&' });
        // What stands alone may be the key itself.
        if let Some((name, _)) = pair.split_once('=') {
            shown.push_str(name);
            shown.push('=');
        }
        shown.push_str("***");
    }
    if url.fragment().is_some() {
        shown.push_str("#***");
    }
    shown
}

/// What is sent with each request; all of it is treated as secret.
pub(crate) fn headers(given: &[(Box<str>, Hidden)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let key: HeaderName =
            name.parse().map_err(|_| format!("`{name}` is no name of a header"))?;
        let mut value: HeaderValue =
            value.parse().map_err(|_| format!("the value of header `{name}` can't be sent"))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// Those of `events` that `which` name by their index, and the others.
pub(crate) fn split(events: Vec<Event>, which: &[usize]) -> (Vec<Event>, Vec<Event>) {
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for (n, event) in events.into_iter().enumerate() {
        let list = if which.contains(&n) { &mut named } else { &mut others };
        list.push(event);
    }
    (named, others)
}

/// Of an event that brokers refuse for what it is, and that nobody else is told of.
pub(crate) fn unfit_letter(event: &Event, received_at: Timestamp) -> DeadLetter {
    const WHY: &str = "the log's brokers refuse it as it is: it is larger than their topics take; \
                       raise their `max.message.bytes`, then replay it";
    DeadLetter::of_event(event, received_at, Code::LogRefused.as_str(), WHY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_a_key() {
        for (address, want) in [
            ("https://a.example/s", "https://a.example/s"),
            ("http://10.0.0.5:81/v?apikey=K3Y&n=2", "http://10.0.0.5:81/v?apikey=***&n=***"),
            ("wss://jo:K3Y@a.example/s?K3Y", "wss://***@a.example/s?***"),
            ("https://K3Y@a.example/#K3Y", "https://***@a.example/#***"),
            ("https://[::1]:8443/a?b=", "https://[::1]:8443/a?b=***"),
            ("//jo:K3Y@a.example", "***"),
            ("K3Y", "***"),
        ] {
            assert_eq!(shown(address), want);
        }
        assert_eq!(format!("{:?}", Hidden::from("K3Y")), "***");
    }
}
