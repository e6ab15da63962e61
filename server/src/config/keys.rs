//! Every key of the configuration, once: its type, bounds, default, what it is for and what it costs.
//!
//! From this one table come the defaults, the reading of environment variables and flags, the check for unknown keys
//! with the nearest known one, the bounds, and `docs/reference/config.md`. A star stands for one name that the owner
//! chooses (a partner); everything else is fixed.

/// What a key's value looks like, and between which bounds it may lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A file or folder.
    Path,
    /// `address:port`; port 0 lets the kernel choose.
    Address,
    /// Bytes: a number, or `"16MiB"`.
    Size(u64, u64),
    /// Seconds, fractions allowed.
    Seconds(f64, f64),
    /// A whole number.
    Count(u64, u64),
    /// `"auto"` or a whole number.
    AutoCount(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Toggle,
    /// A list of texts.
    List,
    /// A list of secrets; never printed.
    Secrets,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands, e.g. `node.name`.
    pub path: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// Its default as a flag would give it; `None` where there is none.
    pub default: Option<&'static str>,
    /// Whether SIGHUP takes a new value; else a restart does.
    pub reloads: bool,
    /// What it is for.
    pub purpose: &'static str,
    /// What more of it costs.
    pub cost: &'static str,
}

const fn key(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    purpose: &'static str,
    cost: &'static str,
) -> Key {
    Key { path, kind, default: Some(default), reloads: false, purpose, cost }
}

impl Key {
    const fn reloads(self) -> Self {
        Self { reloads: true, ..self }
    }

    const fn absent(self) -> Self {
        Self { default: None, ..self }
    }

    /// Whether `path` is this key; a star stands for one name.
    pub fn is(&self, path: &str) -> bool {
        let mut names = path.split('.');
        let same = self.path.split('.').all(|own| names.next().is_some_and(|name| fits(own, name)));
        same && names.next().is_none()
    }

    /// Whether `path` is a section that this key stands in.
    pub fn is_below(&self, path: &str) -> bool {
        let mut own = self.path.split('.');
        path.split('.').all(|name| own.next().is_some_and(|own| fits(own, name)))
            && own.next().is_some()
    }

    /// Whether its value may be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secrets
    }
}

fn fits(own: &str, name: &str) -> bool {
    own == name || (own == "*" && !name.is_empty())
}

/// The key at `path`.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.is(path))
}

/// The known key whose spelling is nearest to `path`, if any is near. Stars take `path`'s own name.
pub fn nearest(path: &str) -> Option<String> {
    let candidates = KEYS.iter().map(|key| with_names(key.path, path));
    candidates
        .map(|known| (strsim::jaro_winkler(&known, path), known))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

fn with_names(pattern: &str, path: &str) -> String {
    let mut names = path.split('.');
    let own = pattern.split('.').map(|own| {
        let name = names.next().unwrap_or("NAME");
        if own == "*" { name } else { own }
    });
    own.collect::<Vec<_>>().join(".")
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const DAY_S: f64 = 86_400.0;
const WINDOW: Kind = Kind::Size(64 << 10, 64 * GIB);

const WINDOW_PURPOSE: &str = "a topic's window in memory: what a reconnect is answered from";
const WINDOW_COST: &str = "memory, once for each topic and shard, within `windows.bytes_max`";
const QUEUE_PURPOSE: &str =
    "what one socket may have unsent in this stream before the stream's policy acts";
const QUEUE_COST: &str = "none by itself: sockets share the window's bytes";

/// The table, in the order of the reference.
pub const KEYS: &[Key] = &[
    key("node.name", Kind::Text, "", "names this node to clients and in logs; empty: the host's name", "none"),
    key(
        "node.data_dir",
        Kind::Path,
        "/var/lib/touchline",
        "where the journal lives",
        "disk: `log.retention_bytes` and a segment",
    ),
    key(
        "node.connections_max",
        Kind::Count(1, 4_000_000),
        "50000",
        "sockets this node takes; beyond it a client is answered 503 with Retry-After",
        "600 bytes of memory and 3.9 KB of the kernel's each; descriptors",
    ),
    key(
        "node.shards",
        Kind::AutoCount(1, 256),
        "auto",
        "threads that carry sockets; auto: one for each core but the last, or as many as the limit of open files asks",
        "a core's time and one copy of every window each",
    ),
    key(
        "node.io",
        Kind::Choice(&["auto", "io_uring", "epoll"]),
        "auto",
        "how shards talk to the kernel; auto: io_uring where it is allowed, else epoll",
        "epoll: about a fifth more CPU for each delivery",
    ),
    key(
        "node.spare_core",
        Kind::Toggle,
        "true",
        "whether the last core is left to journal, API and everything else",
        "a shard's throughput, on hosts with more than one core",
    ),
    key(
        "node.warm_events",
        Kind::Count(0, 10_000_000),
        "10000",
        "events a shard reads from the log before it is ready, so that reconnects are answered from memory",
        "time of a start; their frames in every shard",
    ),
    key("listen.stream", Kind::Address, "0.0.0.0:8080", "the WebSocket port", "none"),
    key("listen.api", Kind::Address, "0.0.0.0:8081", "webhooks, REST and the board", "none"),
    key("listen.admin", Kind::Address, "127.0.0.1:8082", "metrics and health; keep it private", "none"),
    key(
        "listen.stream_url",
        Kind::Text,
        "",
        "how browsers reach the stream port (`wss://...`); empty: the page's host and the stream's port",
        "none",
    ),
    key("log.kind", Kind::Choice(&["journal"]), "journal", "what keeps the events", "none"),
    key(
        "log.disk",
        Kind::Choice(&["auto", "glommio", "plain"]),
        "auto",
        "how the journal writes; auto: direct I/O through io_uring where it is allowed, else plain files",
        "plain: the page cache holds what was written",
    ),
    key(
        "log.segment_bytes",
        Kind::Size(64 << 10, 64 * MIB),
        "64MiB",
        "size of one file of the journal; retention removes whole files, and a start rereads one at most",
        "time of a start",
    ),
    key(
        "log.retention_bytes",
        Kind::Size(128 << 10, 1 << 50),
        "16GiB",
        "the journal's size on disk; never cuts into the dedupe window",
        "disk",
    ),
    key(
        "log.retention_age_s",
        Kind::Seconds(3_600.0, 3_650.0 * DAY_S),
        "604800",
        "how long events are kept; never less than the dedupe window",
        "disk",
    ),
    key(
        "log.dedupe_entries_max",
        Kind::Count(1, 128 << 20),
        "8000000",
        "events whose ids are remembered; beyond it sources are answered 429",
        "memory: about 36 bytes each",
    ),
    key(
        "log.pending_bytes_max",
        Kind::Size(2 * MIB, 4 * GIB),
        "16MiB",
        "what may wait for the disk; beyond it sources are answered 503",
        "memory",
    ),
    key(
        "log.pending_age_max_s",
        Kind::Seconds(0.1, 600.0),
        "2",
        "how long the oldest append may wait for the disk before new ones are answered 503",
        "latency of a webhook on a slow disk",
    ),
    key(
        "sources.broadcast.*.secrets_file",
        Kind::Path,
        "",
        "a partner's secrets: one `whsec_<base64>` a line, any of them verifies; relative to the configuration's folder",
        "none",
    )
    .absent()
    .reloads(),
    key(
        "sources.broadcast.*.secrets",
        Kind::Secrets,
        "",
        "the same, where a file is too much",
        "whoever reads the configuration can sign",
    )
    .absent()
    .reloads(),
    key(
        "ingest.body_timeout_s",
        Kind::Seconds(0.1, 60.0),
        "10",
        "a webhook's body must have arrived within it, else 408",
        "a connection each",
    ),
    key(
        "ingest.append_timeout_s",
        Kind::Seconds(0.1, 60.0),
        "5",
        "an event must be durable within it, else 503",
        "a connection each",
    ),
    key(
        "ingest.in_flight_bytes_max",
        Kind::Size(2 * MIB, 4 * GIB),
        "64MiB",
        "bodies that may be read or wait at once; beyond it 503",
        "memory: about three times as much at worst",
    ),
    key(
        "ingest.events_per_s_max",
        Kind::Count(1, 10_000_000),
        "40000",
        "events of one partner, over a while; beyond it 429 with Retry-After",
        "none",
    )
    .reloads(),
    key(
        "ingest.events_burst_max",
        Kind::Count(1_000, 100_000_000),
        "80000",
        "events one partner may send at once after silence",
        "none",
    )
    .reloads(),
    key(
        "ingest.routes_max",
        Kind::Count(16, 1_000_000),
        "4096",
        "different sets of teams that one partner may name within an hour; beyond it 429",
        "memory: a topic each",
    )
    .reloads(),
    key("streams.broadcast.window_bytes", WINDOW, "16MiB", WINDOW_PURPOSE, WINDOW_COST).reloads(),
    key("streams.broadcast.queue_bytes_max", WINDOW, "8MiB", QUEUE_PURPOSE, QUEUE_COST).reloads(),
    key("streams.update.window_bytes", WINDOW, "16MiB", WINDOW_PURPOSE, WINDOW_COST).reloads(),
    key("streams.update.queue_bytes_max", WINDOW, "8MiB", QUEUE_PURPOSE, QUEUE_COST).reloads(),
    key("streams.social.window_bytes", WINDOW, "16MiB", WINDOW_PURPOSE, WINDOW_COST).reloads(),
    key("streams.social.queue_bytes_max", WINDOW, "8MiB", QUEUE_PURPOSE, QUEUE_COST).reloads(),
    key("streams.sensor.window_bytes", WINDOW, "16MiB", WINDOW_PURPOSE, WINDOW_COST).reloads(),
    key("streams.sensor.queue_bytes_max", WINDOW, "8MiB", QUEUE_PURPOSE, QUEUE_COST).reloads(),
    key(
        "streams.sensor.age_max_s",
        Kind::Seconds(0.5, DAY_S),
        "30",
        "a sensor's value older than this is stale and dropped",
        "none",
    )
    .reloads(),
    key(
        "windows.bytes_max",
        Kind::Size(MIB, 1 << 40),
        "512MiB",
        "all windows of a shard; the longest idle give way first",
        "memory, once for each shard",
    )
    .reloads(),
    key(
        "sessions.teams_max",
        Kind::Count(1, 1_000),
        "20",
        "teams one session may follow",
        "8 bytes for each follower and team",
    )
    .reloads(),
    key(
        "sessions.messages_per_s",
        Kind::Count(1, 10_000),
        "20",
        "messages, pings and pongs a session may send, over a while; beyond it an error, then close 1008",
        "CPU of a shard",
    )
    .reloads(),
    key(
        "sessions.messages_burst",
        Kind::Count(1, 100_000),
        "60",
        "how many of them at once after silence",
        "CPU of a shard",
    )
    .reloads(),
    key(
        "sessions.message_bytes_max",
        Kind::Size(1_024, 64 << 10),
        "64KiB",
        "a client's message, all fragments; beyond it close 1009",
        "memory while it is incomplete",
    )
    .reloads(),
    key(
        "sessions.control_bytes_max",
        Kind::Size(4 << 10, 16 * MIB),
        "64KiB",
        "answers that may wait for one session; beyond it close 1008",
        "memory, for sessions that ask and don't read",
    )
    .reloads(),
    key(
        "sessions.visit_bytes_max",
        Kind::Size(16 << 10, 64 * MIB),
        "256KiB",
        "bytes a session is handed in one visit, so that none holds up the others",
        "latency of the others",
    )
    .reloads(),
    key(
        "sessions.origins",
        Kind::List,
        "[]",
        "web pages that may connect, exactly as browsers name them (`https://example.com`); the board's own and loopback always may",
        "none",
    )
    .reloads(),
    key(
        "sessions.per_ip_max",
        Kind::Count(1, 4_000_000),
        "1000",
        "sockets of one address; beyond it 429",
        "the sockets",
    )
    .reloads(),
    key(
        "sessions.per_ip_connects_per_s",
        Kind::Count(1, 1_000_000),
        "100",
        "new sockets of one address, over a while; beyond it 429",
        "CPU of a shard",
    )
    .reloads(),
    key(
        "sessions.per_ip_connects_burst",
        Kind::Count(1, 4_000_000),
        "1000",
        "how many of them at once after silence",
        "CPU of a shard",
    )
    .reloads(),
    key(
        "sessions.loopback_exempt",
        Kind::Toggle,
        "true",
        "whether the bounds of one address spare this host's own",
        "none",
    )
    .reloads(),
    key(
        "sessions.handshake_s",
        Kind::Seconds(0.1, 60.0),
        "5",
        "a request's head must have arrived within it, else 408",
        "a socket each",
    )
    .reloads(),
    key(
        "sessions.heartbeat_s",
        Kind::Seconds(1.0, 3_600.0),
        "25",
        "between pings, and between marks",
        "one small send for each socket",
    )
    .reloads(),
    key(
        "sessions.pong_s",
        Kind::Seconds(0.1, 600.0),
        "8",
        "a client that shows no life so long after a ping is closed 4012",
        "how long the dead are kept",
    )
    .reloads(),
    key(
        "sessions.stall_s",
        Kind::Seconds(0.5, 3_600.0),
        "30",
        "a socket that takes nothing so long while something waits for it is closed 4008",
        "how long the dead are kept",
    )
    .reloads(),
    key(
        "sessions.close_s",
        Kind::Seconds(0.1, 60.0),
        "5",
        "after a close frame the client's is awaited so long, then the connection is dropped",
        "a socket each",
    )
    .reloads(),
    key(
        "sessions.retry_after_s",
        Kind::Count(1, 3_600),
        "5",
        "what `Retry-After` tells whoever is refused",
        "none",
    )
    .reloads(),
    key(
        "sockets.notsent_lowat_bytes",
        Kind::Size(1 << 10, 16 * MIB),
        "16KiB",
        "what the kernel takes of a socket beyond what is on its way (TCP_NOTSENT_LOWAT)",
        "more: the kernel's memory for slow clients; less: more sends",
    ),
    key(
        "sockets.user_timeout_s",
        Kind::Seconds(1.0, 3_600.0),
        "60",
        "how long sent bytes may go unacknowledged (TCP_USER_TIMEOUT)",
        "how long the dead are kept",
    ),
    key(
        "sockets.keepalive_s",
        Kind::Seconds(1.0, 7_200.0),
        "60",
        "silence after which the kernel asks whether the peer lives",
        "a packet each",
    ),
    key(
        "sockets.send_buffer_bytes",
        Kind::Size(0, 16 * MIB),
        "0",
        "SO_SNDBUF; 0: the kernel sizes it",
        "the kernel's memory for slow clients",
    ),
    key(
        "sockets.backlog",
        Kind::Count(16, 65_535),
        "4096",
        "connections that may wait to be accepted; `net.core.somaxconn` caps it",
        "none",
    ),
    key(
        "drain.grace_s",
        Kind::Seconds(0.0, 600.0),
        "10",
        "after SIGTERM: not ready, still serving, until load balancers have noticed",
        "the time a stop takes",
    )
    .reloads(),
    key(
        "drain.sessions_per_s",
        Kind::Count(1, 1_000_000),
        "1000",
        "sessions told to reconnect each second; faster where all would take longer than 110 s",
        "what the other nodes must accept",
    )
    .reloads(),
    key(
        "logging.level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "the least serious lines that are written",
        "debug and trace: CPU and disk",
    )
    .reloads(),
    key(
        "logging.format",
        Kind::Choice(&["auto", "json", "text"]),
        "auto",
        "auto: readable on a terminal, else one JSON object a line",
        "none",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_name() {
        let key = find("sources.broadcast.skyline.secrets_file").unwrap();
        assert_eq!(key.path, "sources.broadcast.*.secrets_file");
        assert!(find("sources.broadcast.a.b.secrets_file").is_none());
        assert!(find("sources.broadcast.secrets_file").is_none());
        assert!(KEYS.iter().any(|key| key.is_below("sources.broadcast.skyline")));
        assert!(!KEYS.iter().any(|key| key.is_below("node.name")));
    }

    #[test]
    fn a_misspelt_key_finds_the_one_that_was_meant() {
        let check = |path: &str, want: &str| assert_eq!(nearest(path).as_deref(), Some(want));
        check("node.nmae", "node.name");
        check("node.conections_max", "node.connections_max");
        check("drain.grace", "drain.grace_s");
        check("sources.broadcast.skyline.secret_file", "sources.broadcast.skyline.secrets_file");
        assert_eq!(nearest("zzz"), None);
    }

    #[test]
    fn every_key_stands_once() {
        for (n, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..n].iter().all(|earlier| earlier.path != key.path), "{}", key.path);
        }
    }
}
