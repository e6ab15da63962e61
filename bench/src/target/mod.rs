//! What is measured: a floor, the Touchline binary, or another product, each in processes of its
//! own pinned to the server's core.
//!
//! | module | what it is |
//! |---|---|
//! | [`appliance`] | Touchline, started here |
//! | [`counters`] | what it counts of its sources |
//! | [`file`] | another product as a file describes it |
//! | [`peer`] | that product, running |

pub mod appliance;
pub mod counters;
pub mod file;
pub mod peer;

use std::fmt;
use std::fs;
use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::child::Servant;
use crate::dialogue::Dialogue;
use crate::floor::{self, Kind, Variant};
use crate::place::Place;
use crate::schedule::{Schedule, Stream};
use crate::setup::Setup;
use crate::upstream::Upstream;
use appliance::Appliance;
use counters::Counters;
use file::Target;
use peer::Peer;

/// Whose numbers these are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// What the kernel charges.
    Floor(Kind),
    /// The same with options of its own.
    Variant(Variant),
    /// The appliance.
    Touchline,
    /// Another product, by its target's name.
    Peer(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Floor(kind) => write!(f, "floor ({})", kind.as_str()),
            Self::Variant(variant) => variant.fmt(f),
            Self::Touchline => f.write_str("touchline"),
            Self::Peer(name) => f.write_str(name),
        }
    }
}

impl Subject {
    /// Product and version, in a line; floors have none of their own.
    pub fn version(&self, place: &Place) -> Option<String> {
        match self {
            Self::Floor(_) | Self::Variant(_) => None,
            Self::Touchline => {
                let binary = place.binary.as_ref()?;
                let said = Command::new(binary).arg("version").output().ok()?;
                let version = String::from_utf8_lossy(&said.stdout).trim().to_owned();
                let digest = Sha256::digest(std::fs::read(binary).ok()?);
                let digest = digest.iter().take(6).map(|byte| format!("{byte:02x}"));
                Some(format!("{version}, sha256 {}", digest.collect::<String>()))
            }
            Self::Peer(name) => {
                let target = Target::load(name).ok().or(place.running.clone())?;
                // What was installed says itself what it is; of others the file's word is taken.
                let found = std::fs::read_to_string(peer::installed().join(name).join("version"));
                let found = found.map(|text| text.trim().to_owned()).unwrap_or(target.what);
                Some(format!("{name}: {found}"))
            }
        }
    }
}

/// The secret with which the bench signs. It protects a server that lives for seconds on loopback.
pub const SECRET: &[u8] = b"touchline-bench-signing-key-0001";
/// How long a server may take until it is ready.
const READY_S_MAX: u64 = 60;

/// A server that is up. Killed when dropped.
pub enum Server {
    /// A floor.
    Floor {
        /// The process.
        servant: Servant,
        /// Where it listens.
        stream: SocketAddrV4,
    },
    /// The appliance.
    Touchline(Appliance),
    /// Another product.
    Peer(Box<Peer>),
}

impl Server {
    /// Starts `subject` for the clients of `setup`, pinned to the server's core.
    pub fn start(
        place: &Place,
        subject: &Subject,
        setup: &Setup,
        upstream: Option<&Upstream>,
    ) -> Result<Self> {
        let sockets = setup.crowd.sockets;
        let shards = setup.shards.unwrap_or_else(|| place.shards(sockets));
        let core = place.server_core;
        match subject {
            Subject::Peer(name) => {
                let target = match &place.running {
                    Some(running) if running.name == *name => running.clone(),
                    _ => Target::load(name)?,
                };
                Ok(Self::Peer(Box::new(Peer::start(&target, core)?)))
            }
            Subject::Floor(kind) => {
                let congestion = place.congestion.as_deref().map(|name| ["--congestion", name]);
                let mut flags = vec!["--kind", kind.as_str()];
                flags.extend(congestion.into_iter().flatten());
                start_floor(&flags, shards, core)
            }
            Subject::Variant(variant) => {
                let flags: Vec<&str> = variant.flags.split_whitespace().collect();
                start_floor(&flags, shards, core)
            }
            Subject::Touchline => {
                let mut appliance = Appliance::new(place, setup, shards, upstream)?;
                appliance.start()?;
                Ok(Self::Touchline(appliance))
            }
        }
    }

    /// Its process id; `None` for one that was not started here.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Floor { servant, .. } => servant.pid(),
            Self::Touchline(appliance) => appliance.pid(),
            Self::Peer(peer) => peer.pid(),
        }
    }

    /// Kills it as a power cut would and starts it again; says how long it took until it was ready.
    ///
    /// # Errors
    /// When it can't be started again, or keeps nothing that would survive.
    pub fn restart(&mut self) -> Result<Duration> {
        let Self::Touchline(appliance) = self else {
            bail!("only Touchline is killed and started again here: others keep nothing");
        };
        appliance.kill()?;
        appliance.start()
    }

    /// The end of what it said.
    pub fn last_words(&self) -> String {
        match self {
            Self::Floor { .. } => "see above".into(),
            Self::Touchline(appliance) => appliance.last_words(),
            Self::Peer(peer) => peer.last_words(),
        }
    }

    /// What it counts of its sources.
    pub fn counters(&self) -> Counters {
        match self {
            Self::Touchline(appliance) => appliance.counters(),
            Self::Floor { .. } | Self::Peer(_) => Counters::new(),
        }
    }

    /// Connections by shard, of a Touchline that was started here.
    pub fn by_shard(&self) -> Vec<u64> {
        match self {
            Self::Touchline(appliance) => appliance.by_shard(),
            Self::Floor { .. } | Self::Peer(_) => Vec::new(),
        }
    }

    /// How its clients become followers of `streams`.
    pub fn dialogue(&self, streams: &[Stream]) -> Dialogue {
        match self {
            Self::Peer(peer) => peer.dialogue.clone(),
            Self::Floor { .. } | Self::Touchline(_) => Dialogue::touchline(streams),
        }
    }

    /// Where clients connect.
    pub fn stream(&self) -> SocketAddrV4 {
        match self {
            Self::Floor { stream, .. } => *stream,
            Self::Touchline(appliance) => appliance.ports[0],
            Self::Peer(peer) => peer.stream,
        }
    }

    /// Tells a floor what to play. The appliance is fed by webhooks instead.
    pub fn play(&mut self, schedule: &Schedule) -> Result<()> {
        if let Self::Floor { servant, .. } = self {
            let _: floor::Answer = servant.ask(&floor::Command::Play(schedule.clone()))?;
        }
        Ok(())
    }
}

/// Starts a floor with these options.
fn start_floor(flags: &[&str], shards: usize, core: usize) -> Result<Server> {
    let shards = shards.to_string();
    let mut args = vec!["floor", "--shards", &shards];
    args.extend(flags);
    let mut servant = Servant::start(&args, core)?;
    match servant.hear()? {
        floor::Answer::Listening(stream) => Ok(Server::Floor { servant, stream }),
        other => bail!("the floor began with {other:?}"),
    }
}

/// Whether a GET of `url` is answered 200.
fn answers_ok(url: &str) -> bool {
    get(url).is_some()
}

/// What a GET of `url` is answered with 200.
fn get(url: &str) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build().ok()?;
    runtime.block_on(async {
        let answer = client.get(url).send().await.ok()?.error_for_status().ok()?;
        answer.text().await.ok()
    })
}

/// The end of a log.
fn last_lines(path: &Path) -> String {
    let log = fs::read(path).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

/// Three ports that were free a moment ago.
fn free_ports() -> Result<[SocketAddrV4; 3]> {
    let held: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let port = |listener: &TcpListener| match listener.local_addr()? {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => bail!("an IPv4 listener has an IPv6 address"),
    };
    Ok([port(&held[0])?, port(&held[1])?, port(&held[2])?])
}
