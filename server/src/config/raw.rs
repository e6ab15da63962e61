//! The configuration as it is written: sections and keys, typed, not yet joined to anything.
//!
//! It mirrors the table of [`keys`](super::keys), which holds the defaults; a test keeps the two
//! the same. What the program reads is [`Options`](super::Options), built from this.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};

use super::units::parse_size;

mod partner;

pub use partner::Partner;

/// All sections.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    pub node: Node,
    pub listen: Listen,
    pub log: Log,
    #[serde(default)]
    pub sources: Sources,
    pub ingest: Ingest,
    pub streams: Streams,
    pub windows: Windows,
    pub sessions: Sessions,
    pub sockets: Sockets,
    pub drain: Drain,
    pub dead_letters: DeadLetters,
    pub logging: Logging,
}

/// `[node]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub name: String,
    pub data_dir: PathBuf,
    pub connections_max: usize,
    pub shards: AutoCount,
    pub io: String,
    pub spare_core: bool,
    pub memory_used_max_percent: u64,
    pub warm_events: u64,
}

/// `[listen]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    pub stream: SocketAddr,
    pub api: SocketAddr,
    pub admin: SocketAddr,
    pub stream_url: String,
    pub trusted_proxies: Vec<String>,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub kind: String,
    pub disk: String,
    pub segment_bytes: Size,
    pub retention_bytes: Size,
    pub retention_age_s: f64,
    pub dedupe_entries_max: usize,
    pub pending_bytes_max: Size,
    pub pending_age_max_s: f64,
    pub kafka: Kafka,
}

/// `[log.kafka]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    pub brokers: String,
    pub topic_prefix: String,
    pub partitions: u16,
    pub replication: u16,
    pub in_sync_min: u16,
    pub retention_s: f64,
    pub dead_letter_topics: bool,
    pub creates_topics: bool,
    pub deliver_s_max: f64,
    pub lag_records_max: u64,
    pub spool: bool,
    pub spool_bytes_max: Size,
    pub spool_age_max_s: f64,
    pub tls: bool,
    pub ca_file: PathBuf,
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub sasl_mechanism: String,
    pub sasl_user: String,
    pub sasl_password_file: PathBuf,
    pub sasl_token_file: PathBuf,
}

/// `[sources]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    #[serde(default)]
    pub broadcast: BTreeMap<String, Partner>,
    #[serde(default)]
    pub sensor: BTreeMap<String, Sensor>,
    #[serde(default)]
    pub social: BTreeMap<String, Social>,
}

/// `[sources.social.NAME]`
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Social {
    pub url: Option<String>,
    pub kind: Option<String>,
    #[serde(default)]
    pub headers: Vec<String>,
    pub secret_header: Option<String>,
    pub secret_file: Option<PathBuf>,
    pub event: Option<String>,
    pub subscribe: Option<String>,
    pub subscribe_file: Option<PathBuf>,
    pub id: Option<String>,
    pub text: Option<String>,
    pub time: Option<String>,
    pub r#type: Option<String>,
    pub author: Option<String>,
    pub value: Option<String>,
    #[serde(default)]
    pub terms: Vec<String>,
    pub posts_per_s_max: Option<u32>,
    pub routes_max: Option<usize>,
    pub post_bytes_max: Option<Size>,
    pub stall_s: Option<f64>,
    pub rewind: Option<String>,
    pub rewind_parameter: Option<String>,
}

impl fmt::Debug for Social {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Social").finish_non_exhaustive()
    }
}

/// `[sources.sensor.NAME]`
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensor {
    pub url: Option<String>,
    pub interval_s: Option<f64>,
    pub timeout_s: Option<f64>,
    pub age_max_s: Option<f64>,
    pub heartbeat_s: Option<f64>,
    pub routes_max: Option<usize>,
    pub body_bytes_max: Option<Size>,
    #[serde(default)]
    pub headers: Vec<String>,
    pub secret_header: Option<String>,
    pub secret_file: Option<PathBuf>,
    pub items: Option<String>,
    pub team: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub key: Option<String>,
    pub sequence: Option<String>,
    pub time: Option<String>,
    pub value: Option<String>,
}

impl fmt::Debug for Sensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sensor").finish_non_exhaustive()
    }
}

/// `[ingest]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    pub body_timeout_s: f64,
    pub append_timeout_s: f64,
    pub in_flight_bytes_max: Size,
    pub events_per_s_max: u32,
    pub events_burst_max: u32,
    pub routes_max: usize,
}

/// `[streams]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Streams {
    pub broadcast: StreamSection,
    pub update: StreamSection,
    pub social: StreamSection,
    pub sensor: SensorSection,
}

/// `[streams.NAME]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamSection {
    pub window_bytes: Size,
    pub queue_bytes_max: Size,
}

/// `[streams.sensor]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorSection {
    pub window_bytes: Size,
    pub queue_bytes_max: Size,
    pub age_max_s: f64,
}

/// `[windows]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    pub bytes_max: Size,
}

/// `[sessions]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    pub teams_max: usize,
    pub messages_per_s: u32,
    pub messages_burst: u32,
    pub message_bytes_max: Size,
    pub control_bytes_max: Size,
    pub visit_bytes_max: Size,
    pub origins: Vec<String>,
    pub per_ip_max: u32,
    pub per_ip_connects_per_s: u32,
    pub per_ip_connects_burst: u32,
    pub loopback_exempt: bool,
    pub handshake_s: f64,
    pub message_s: f64,
    pub heartbeat_s: f64,
    pub pong_s: f64,
    pub stall_s: f64,
    pub close_s: f64,
    pub retry_after_s: u32,
}

/// `[sockets]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sockets {
    pub notsent_lowat_bytes: Size,
    pub user_timeout_s: f64,
    pub keepalive_s: f64,
    pub send_buffer_bytes: Size,
    pub backlog: i32,
}

/// `[drain]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    pub grace_s: f64,
    pub sessions_per_s: u32,
}

/// `[dead_letters]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetters {
    pub bytes_max: Size,
    pub age_max_s: f64,
    pub letter_bytes_max: Size,
}

/// `[logging]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logging {
    pub level: String,
    pub format: String,
}

/// Bytes: a number, or a text with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    /// As the length of something in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"16MiB\"")
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::custom("a size is not negative"))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                parse_size(text).map(Size).ok_or_else(|| E::custom("not a size"))
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// `"auto"` or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCount {
    /// Touchline chooses.
    Auto,
    /// The owner has chosen.
    Count(usize),
}

impl<'de> Deserialize<'de> for AutoCount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Count(usize),
            Text(String),
        }
        match Either::deserialize(from)? {
            Either::Count(count) => Ok(Self::Count(count)),
            Either::Text(text) if text == "auto" => Ok(Self::Auto),
            Either::Text(_) => Err(de::Error::custom("\"auto\" or a number")),
        }
    }
}
