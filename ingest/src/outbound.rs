//! What adapters have in common that go out and ask others: address, headers, words for what went
//! wrong.

use std::error::Error;
use std::sync::Arc;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use touchline_core::dead::DeadLetters;
use touchline_core::log::EventLog;

use crate::broadcast::Clock;
use crate::roster::{Alone, Roster};

/// How we introduce ourselves.
pub(crate) const USER_AGENT: &str = concat!("touchline/", env!("CARGO_PKG_VERSION"));

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
}

impl Surroundings {
    /// Of a node that is alone.
    pub fn new(log: Arc<dyn EventLog>, clock: Clock, dead: Arc<dyn DeadLetters>) -> Self {
        Self { log, clock, dead, roster: Arc::new(Alone) }
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

/// An address of one of these schemes. `Err` completes "source ...:".
pub(crate) fn url(text: &str, schemes: &[&str]) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("its url: {error}"))?;
    if schemes.contains(&url.scheme()) && url.has_host() {
        return Ok(url);
    }
    let begins: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
    Err(format!("its url must begin with {}", begins.join(" or ")))
}

/// What is sent with each request; all of it is treated as secret.
pub(crate) fn headers(given: &[(Box<str>, Box<str>)]) -> Result<HeaderMap, String> {
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

/// Where a redirect leads, for people: what follows the path may hold a key.
pub(crate) fn place(location: &str) -> String {
    match Url::parse(location) {
        Ok(url) => format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or(""), url.path()),
        Err(_) => location.split(['?', '#']).next().unwrap_or_default().to_owned(),
    }
}

/// An error with all that caused it. The address is left out: its query may hold a key.
pub(crate) fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut why = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        why = format!("{why}: {deeper}");
        cause = deeper.source();
    }
    why
}
