//! What the program obeys: the configuration with everything resolved, read and joined.
//!
//! Built once from [`Raw`] by [`build`], in the types of those who obey it. Whoever holds
//! [`Options`] needs no further check: secrets are there, names keep their grammar, bounds fit each
//! other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use touchline_core::config::{HubConfig, StreamLimits};
use touchline_core::proxy::TrustedProxies;
use touchline_core::ws::{FrameLimits, OriginPolicy};
use touchline_fanout::options::{AddressRules, Backend, Rules, SessionRules, SocketOptions};
use touchline_fanout::plan::Shards;
use touchline_ingest::broadcast::{BroadcastOptions, Sources};
use touchline_ingest::kafka::KafkaOptions;
use touchline_ingest::poll::Ask;
use touchline_ingest::sensor::SensorSource;
use touchline_ingest::social::SocialSource;
use touchline_store::dead::DeadOptions;
use touchline_store::journal::{self, JournalOptions};

use super::raw::{AutoCount, Raw, Size};
use super::units::seconds;
use super::{ConfigError, Origin, Problem, joins, kafka, partners, sensors, social};
use crate::spool::SpoolSettings;

/// The journal's folder, below the data folder.
pub const JOURNAL_FOLDER: &str = "journal";
/// Where streams of posts keep how far they are, below the data folder.
pub const PLACES_FOLDER: &str = "places";
/// The file of dead letters, in the data folder.
pub const DEAD_LETTERS_FILE: &str = "dead-letters.db";

/// The whole of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names this node.
    pub node: String,
    /// Where the journal's folder stands.
    pub data_dir: PathBuf,
    /// Sockets this node takes.
    pub connections_max: usize,
    /// Threads that carry sockets.
    pub shards: Shards,
    /// Whether the last core is left to everything else.
    pub spare_core: bool,
    /// How shards talk to the kernel.
    pub io: Backend,
    /// Newcomers are refused while more of the memory is used.
    pub memory_used_max_percent: u64,
    /// Events a shard reads before it is ready.
    pub warm_events: u64,
    /// Ports.
    pub listen: Listen,
    /// The journal: the log, unless there is Kafka.
    pub journal: JournalOptions,
    /// Kafka, where that is the log.
    pub kafka: Option<KafkaOptions>,
    /// What takes events while it is away, if anything.
    pub spool: Option<SpoolSettings>,
    /// Who may send webhooks, with their limits.
    pub sources: Sources,
    /// Which of them are asked rather than listened to.
    pub polled: Vec<Ask>,
    /// Which devices are polled.
    pub sensors: Vec<SensorSource>,
    /// Which streams of posts are followed.
    pub social: Vec<SocialSource>,
    /// What the webhook source allows.
    pub ingest: BroadcastOptions,
    /// What sessions may do. The board's port is not in it: it is known once it is bound.
    pub rules: Rules,
    /// What the kernel does with our sockets.
    pub sockets: SocketOptions,
    /// How a stop goes.
    pub drain: DrainSettings,
    /// Where dead letters are kept, and how many.
    pub dead: DeadOptions,
    /// What is written to the log.
    pub logging: LoggingSettings,
}

/// Addresses to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// WebSockets.
    pub stream: SocketAddr,
    /// Webhooks, REST, the board.
    pub api: SocketAddr,
    /// Metrics and health.
    pub admin: SocketAddr,
    /// How browsers reach the stream port, where that isn't this host.
    pub stream_url: Option<String>,
    /// Whose connections begin with a PROXY header.
    pub trusted_proxies: TrustedProxies,
}

/// See `[drain]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DrainSettings {
    /// Not ready, still serving.
    pub grace: Duration,
    /// Told to reconnect.
    pub sessions_per_s: u32,
}

/// See `[logging]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingSettings {
    /// `error` to `trace`.
    pub level: String,
    /// `Some(true)`: JSON; `None`: by where it goes.
    pub json: Option<bool>,
}

/// Resolves, reads and joins. `origin_of` tells where a key's value came from.
pub fn build(raw: &Raw, origin_of: &dyn Fn(&str) -> Origin) -> Result<Options, ConfigError> {
    let mut problems = Vec::new();
    let folder_of_key = |path: &str| folder_of(&origin_of(path)).to_owned();
    let (sources, polled) = partners::build(raw, &folder_of_key, &mut problems);
    let sensors = sensors::build(raw, &folder_of_key, &mut problems);
    let social = social::build(raw, &folder_of_key, &mut problems);
    joins::check(raw, &mut problems);
    let listen = listen(raw, &mut problems);
    let journal = journal(raw);
    if let Err(error) = journal.check() {
        problems.push(Problem::Unfit(format!("[log]: {error}")));
    }
    let node = if raw.node.name.is_empty() { host_name() } else { raw.node.name.clone() };
    let kafka_file = origin_of("log.kafka.sasl_password_file");
    let token_file = origin_of("log.kafka.sasl_token_file");
    let folders = (folder_of(&kafka_file), folder_of(&token_file));
    let kafka = kafka::build(raw, &node, folders);
    let kafka = kafka.map_err(|problem| problems.push(problem)).ok();
    let kafka = kafka.filter(|_| raw.log.kind == "kafka");
    if !problems.is_empty() {
        return Err(ConfigError(problems));
    }
    Ok(Options {
        node,
        data_dir: raw.node.data_dir.clone(),
        connections_max: raw.node.connections_max,
        shards: match raw.node.shards {
            AutoCount::Auto => Shards::Auto,
            AutoCount::Count(count) => Shards::Count(count),
        },
        spare_core: raw.node.spare_core,
        io: match raw.node.io.as_str() {
            "io_uring" => Backend::IoUring,
            "epoll" => Backend::Epoll,
            _ => Backend::Auto,
        },
        memory_used_max_percent: raw.node.memory_used_max_percent,
        warm_events: raw.node.warm_events,
        listen,
        spool: kafka.as_ref().and_then(|kafka| kafka::spool(raw, &journal, kafka)),
        kafka,
        journal,
        sources,
        polled,
        sensors,
        social,
        ingest: BroadcastOptions {
            body_timeout: seconds(raw.ingest.body_timeout_s),
            append_timeout: seconds(raw.ingest.append_timeout_s),
            in_flight_bytes_max: raw.ingest.in_flight_bytes_max.as_usize(),
            ..BroadcastOptions::default()
        },
        rules: rules(raw),
        sockets: sockets(raw),
        drain: DrainSettings {
            grace: seconds(raw.drain.grace_s),
            sessions_per_s: raw.drain.sessions_per_s,
        },
        dead: dead(raw),
        logging: logging(raw),
    })
}

/// What the file that a key names is relative to, by the key's path.
pub(super) type FolderOf<'a> = &'a dyn Fn(&str) -> PathBuf;

/// What a relative file is relative to: the configuration file's folder, else where the process
/// stands.
pub(super) fn folder_of(origin: &Origin) -> &Path {
    match origin {
        Origin::File(file, _) => file.parent().unwrap_or(Path::new("")),
        _ => Path::new(""),
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "touchline".into() } else { name.to_owned() }
}

fn listen(raw: &Raw, problems: &mut Vec<Problem>) -> Listen {
    let proxies = TrustedProxies::parse(&raw.listen.trusted_proxies);
    Listen {
        stream: raw.listen.stream,
        api: raw.listen.api,
        admin: raw.listen.admin,
        stream_url: Some(raw.listen.stream_url.clone()).filter(|url| !url.is_empty()),
        trusted_proxies: proxies.unwrap_or_else(|(entry, error)| {
            let shown = entry.escape_debug();
            let text = format!("`listen.trusted_proxies`: \"{shown}\" {error}");
            problems.push(Problem::Unfit(text));
            TrustedProxies::default()
        }),
    }
}

fn journal(raw: &Raw) -> JournalOptions {
    JournalOptions {
        dir: raw.node.data_dir.join(JOURNAL_FOLDER),
        backend: match raw.log.disk.as_str() {
            "glommio" => journal::Backend::Glommio,
            "plain" => journal::Backend::Plain,
            _ => journal::Backend::Auto,
        },
        segment_bytes: raw.log.segment_bytes.0,
        retention_bytes: raw.log.retention_bytes.0,
        retention_age: seconds(raw.log.retention_age_s),
        dedupe_entries_max: raw.log.dedupe_entries_max,
        pending_bytes_max: raw.log.pending_bytes_max.as_usize(),
        pending_age_max: seconds(raw.log.pending_age_max_s),
        ..JournalOptions::default()
    }
}

fn rules(raw: &Raw) -> Rules {
    let sessions = &raw.sessions;
    Rules {
        hub: hub(raw),
        sessions: SessionRules {
            origins: OriginPolicy { board_port: None, exact: sessions.origins.clone() },
            frames: FrameLimits {
                message_bytes_max: sessions.message_bytes_max.as_usize(),
                ..FrameLimits::default()
            },
            messages_per_s: sessions.messages_per_s,
            messages_burst: sessions.messages_burst,
            handshake_max: seconds(sessions.handshake_s),
            message_max: seconds(sessions.message_s),
            heartbeat: seconds(sessions.heartbeat_s),
            pong_max: seconds(sessions.pong_s),
            close_max: seconds(sessions.close_s),
            retry_after_s: sessions.retry_after_s,
        },
        addresses: AddressRules {
            connections_max: sessions.per_ip_max,
            connects_per_s: sessions.per_ip_connects_per_s,
            connects_burst: sessions.per_ip_connects_burst,
            loopback_is_exempt: sessions.loopback_exempt,
        },
    }
}

fn sockets(raw: &Raw) -> SocketOptions {
    let raw = &raw.sockets;
    SocketOptions {
        notsent_lowat_bytes: u32::try_from(raw.notsent_lowat_bytes.0).unwrap_or(u32::MAX),
        user_timeout: seconds(raw.user_timeout_s),
        keepalive: seconds(raw.keepalive_s),
        send_buffer_bytes: Some(raw.send_buffer_bytes.as_usize()).filter(|bytes| *bytes > 0),
        backlog: raw.backlog,
    }
}

fn hub(raw: &Raw) -> HubConfig {
    let streams = &raw.streams;
    let age_max = seconds(streams.sensor.age_max_s);
    let limits = |window: Size, queue: Size| StreamLimits {
        window_bytes: window.as_usize(),
        queue_bytes_max: queue.as_usize(),
        age_max,
    };
    HubConfig {
        // In the order of `Stream`.
        streams: [
            limits(streams.broadcast.window_bytes, streams.broadcast.queue_bytes_max),
            limits(streams.update.window_bytes, streams.update.queue_bytes_max),
            limits(streams.social.window_bytes, streams.social.queue_bytes_max),
            limits(streams.sensor.window_bytes, streams.sensor.queue_bytes_max),
        ],
        windows_bytes_max: raw.windows.bytes_max.as_usize(),
        teams_max: raw.sessions.teams_max,
        visit_bytes_max: raw.sessions.visit_bytes_max.as_usize(),
        stall_max: seconds(raw.sessions.stall_s),
        control_bytes_max: raw.sessions.control_bytes_max.as_usize(),
        ..HubConfig::default()
    }
}

fn dead(raw: &Raw) -> DeadOptions {
    DeadOptions {
        file: raw.node.data_dir.join(DEAD_LETTERS_FILE),
        bytes_max: raw.dead_letters.bytes_max.0,
        age_max: seconds(raw.dead_letters.age_max_s),
        letter_bytes_max: raw.dead_letters.letter_bytes_max.as_usize(),
    }
}

fn logging(raw: &Raw) -> LoggingSettings {
    LoggingSettings {
        level: raw.logging.level.clone(),
        json: match raw.logging.format.as_str() {
            "json" => Some(true),
            "text" => Some(false),
            _ => None,
        },
    }
}
