//! A product to be measured, as a file describes it: how it is started, how clients become
//! followers, how an event is published.
//!
//! Another product needs such a file and no code: see `bench/targets` and `bench/peers/README.md`.
//! In texts `{team}` is the team's name, `{data}` the event's JSON and `{len}` its bytes,
//! `{sequence}` and `{time}` are its number and the time at which it is due, `{port}` and `{port2}`
//! free ports of this host, `{peers}` is where peers are installed, `{tree}` the folder
//! `bench/peers`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::dialogue::Dialogue;
use crate::schedule::Stream;
use crate::shipped::TARGETS;

/// Touchline's API, unless another is named.
const API_PORT: u16 = 8_081;

/// A file of `bench/targets`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// What it is called in results.
    pub name: String,
    /// Product and version, in a line.
    pub what: String,
    /// How it is started; without it, it runs already.
    pub start: Option<Start>,
    /// Where it is, if it runs already: `host:port` of its WebSockets.
    pub address: Option<String>,
    /// How clients become followers.
    pub connect: Dialogue,
    /// How an event is published.
    pub publish: Publish,
}

/// How a product is started.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// A script below `{tree}` that puts it in place, quick where all is there.
    pub install: Option<String>,
    /// What runs it, in the foreground.
    pub command: Vec<String>,
    /// Variables of its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `tcp`: once its port is open; else a URL that answers 200.
    pub ready: String,
}

/// How an event is published.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Publish {
    /// A request for each event, one after the other over one connection.
    Http {
        /// Where.
        url: String,
        /// `POST` or another.
        method: String,
        /// Names and values.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// What is sent.
        body: String,
    },
    /// Bytes for each event over one connection.
    Tcp {
        /// Where.
        address: String,
        /// Sent once, first.
        #[serde(default)]
        greeting: String,
        /// Sent for each event.
        message: String,
    },
    /// Touchline's signed webhooks: what falls due together goes in one body.
    Webhook {
        /// `host:port` of its API.
        api: String,
        /// A file of `whsec_<base64>`, one a line; the first signs. The server knows the partner
        /// as `bench`.
        secrets_file: PathBuf,
    },
}

/// What the placeholders of a started product stand for.
#[derive(Clone, Debug)]
pub struct Places {
    /// Free ports of this host.
    pub ports: [u16; 2],
    /// Where peers are installed.
    pub peers: PathBuf,
    /// The folder `bench/peers`.
    pub tree: PathBuf,
}

impl Places {
    /// `text` with ports and folders in it.
    pub fn fill(&self, text: &str) -> String {
        text.replace("{port}", &self.ports[0].to_string())
            .replace("{port2}", &self.ports[1].to_string())
            .replace("{peers}", &self.peers.to_string_lossy())
            .replace("{tree}", &self.tree.to_string_lossy())
    }
}

impl Target {
    /// By the name of a file of `bench/targets`, or by a path.
    ///
    /// # Errors
    /// When there is none, or it says what nobody understands.
    pub fn load(name: &str) -> Result<Self> {
        let target: Self = TARGETS.read(name)?;
        if target.start.is_none() && target.address.is_none() {
            bail!("target {name} says neither how it is started nor its address");
        }
        let message = target.connect.message.check(target.connect.joins);
        message.with_context(|| format!("target {name}, [connect.message]"))?;
        Ok(target)
    }

    /// A Touchline that runs already at `url` (`ws://host:port`), as its clients and its partner
    /// `bench` see it.
    ///
    /// # Errors
    /// When `url` is something else.
    pub fn running(url: &str, api: Option<&str>, secrets_file: PathBuf) -> Result<Self> {
        if url.starts_with("wss://") {
            bail!(
                "{url}: the bench speaks no TLS; measure the plain port behind what ends TLS, by \
                 ws:// (docs/benchmarking.md, \"A server that runs already\")"
            );
        }
        let rest = url.strip_prefix("ws://");
        let rest = rest.with_context(|| format!("{url} doesn't begin with ws://"))?;
        let (address, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = address.rsplit_once(':').map(|(host, _)| host);
        let host = host.with_context(|| format!("{url} names no port: ws://host:port"))?;
        if host.starts_with('[') {
            bail!("{url}: clients connect by IPv4; name an IPv4 address of that host");
        }
        let api = api.map_or_else(|| format!("{host}:{API_PORT}"), str::to_owned);
        let mut connect = Dialogue::touchline(&[Stream::Broadcast]);
        connect.path = path_of(url, path, &connect.path)?;
        Ok(Self {
            name: url.into(),
            what: "a Touchline that was running already".into(),
            start: None,
            address: Some(address.into()),
            connect,
            publish: Publish::Webhook { api, secrets_file },
        })
    }
}

/// The path that `url` means, which names `path`: a query that names no team is ours.
fn path_of(url: &str, path: &str, ours: &str) -> Result<String> {
    let (_, query) = ours.split_once('?').unwrap_or((ours, ""));
    match path.split_once('?') {
        None if path.is_empty() || path == "/" => Ok(ours.into()),
        None => Ok(format!("{path}?{query}")),
        Some(_) if !path.contains("{team}") => {
            bail!("{url} doesn't say where a client's team stands: write {{team}}, or no query")
        }
        Some(("", named)) => Ok(format!("/?{named}")),
        Some(_) => Ok(path.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_of_the_tree_can_be_used() {
        for name in TARGETS.names() {
            let target = Target::load(name).unwrap();
            assert_eq!(target.name, name);
            assert!(target.connect.path.starts_with('/'), "{name}");
        }
        assert!(TARGETS.names().count() >= 7);
    }

    #[test]
    fn an_address_keeps_the_team_and_says_what_it_can_not_mean() {
        let running = |url: &str| Target::running(url, None, PathBuf::new());
        for (url, path) in [
            ("ws://h:1", "/v1/stream?teams={team}&streams=broadcast"),
            ("ws://h:1/", "/v1/stream?teams={team}&streams=broadcast"),
            ("ws://h:1/v1/stream", "/v1/stream?teams={team}&streams=broadcast"),
            ("ws://h:1/a/b", "/a/b?teams={team}&streams=broadcast"),
            ("ws://h:1/a?teams={team}&x=1", "/a?teams={team}&x=1"),
        ] {
            let target = running(url).unwrap();
            assert_eq!(target.connect.path, path, "{url}");
            assert_eq!(target.address.as_deref(), Some("h:1"));
        }
        for (url, why) in [
            ("ws://h:1/a?x=1", "{team}"),
            ("ws://h/a", "no port"),
            ("wss://h:1", "no TLS"),
            ("ws://[::1]:8080", "IPv4"),
            ("http://h:1", "ws://"),
        ] {
            let error = running(url).unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
    }
}
