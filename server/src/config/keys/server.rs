//! Keys of the node itself: ports, log, sources, how it ends.

use super::{DAY_S, GIB, Key, Kind, MIB, key};
use crate::limits::LETTER_BYTES_MIN;

/// In the order of the reference.
pub(super) const KEYS: &[Key] = &[
    key(
        "node.name",
        Kind::Text,
        "",
        "names this node to clients and in logs; empty: the host's \
     name",
        "none",
    ),
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
        "0.36 KB of memory and 4.2 KB of the kernel's each; descriptors",
    ),
    key(
        "node.shards",
        Kind::AutoCount(1, 256),
        "auto",
        "threads that carry sockets; auto: one for each core but the last, or as many as the \
         limit of open files asks",
        "a core's time and one copy of every window each",
    ),
    key(
        "node.io",
        Kind::Choice(&["auto", "io_uring", "epoll"]),
        "auto",
        "how shards talk to the kernel; auto: io_uring where it is allowed, else epoll",
        "epoll: 6 to 25 % more CPU for each delivery, by host and day",
    ),
    key(
        "node.spare_core",
        Kind::Toggle,
        "true",
        "whether the last core is left to journal, API and everything else",
        "a shard's throughput, on hosts with more than one core",
    ),
    key(
        "node.memory_used_max_percent",
        Kind::Count(50, 100),
        "90",
        "how much of the memory that this host, or the process's control group, has may be in \
         use; beyond it newcomers are answered 503 with Retry-After, and who is inside stays; \
         100: nobody is refused",
        "room that isn't used; without it the kernel ends the process",
    )
    .reloads(),
    key(
        "node.warm_events",
        Kind::Count(0, 10_000_000),
        "10000",
        "events a shard reads from the log before it is ready, so that reconnects are answered \
         from memory",
        "time of a start; their frames in every shard",
    ),
    key("listen.stream", Kind::Address, "0.0.0.0:8080", "the WebSocket port", "none"),
    key("listen.api", Kind::Address, "0.0.0.0:8081", "webhooks, REST and the board", "none"),
    key(
        "listen.admin",
        Kind::Address,
        "127.0.0.1:8082",
        "metrics and health; keep it private",
        "none",
    ),
    key(
        "listen.stream_url",
        Kind::Text,
        "",
        "how browsers reach the stream port (`wss://...`); empty: the page's host and the \
         stream's port",
        "none",
    ),
    key(
        "listen.trusted_proxies",
        Kind::List,
        "[]",
        "load balancers, as addresses and ranges (`10.0.0.0/8`), whose connections to the stream \
         port and the API port must begin with a PROXY header of version 2: the address in it is \
         the client's, for limits and logs; what has none is closed",
        "20 bytes a socket; whoever connects from there can name any address",
    ),
    key(
        "log.kind",
        Kind::Choice(&["journal", "kafka"]),
        "journal",
        "what keeps the events: an embedded journal, or a Kafka cluster that several nodes share",
        "none",
    ),
    key(
        "log.disk",
        Kind::Choice(&["auto", "glommio", "plain"]),
        "auto",
        "how the journal writes; auto and glommio: past the page cache (direct I/O, files opened by \
         glommio); auto falls back to plain files where that is forbidden",
        "plain: the page cache holds what was written",
    ),
    key(
        "log.segment_bytes",
        Kind::Size(64 << 10, 64 * MIB),
        "64MiB",
        "size of one file of the journal; retention removes whole files, and a start rereads one \
         at most",
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
        "memory: 42 bytes each at most",
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
        "dead_letters.bytes_max",
        Kind::Size(16 * MIB, 1 << 40),
        "256MiB",
        "what could not be accepted is kept up to here; what was replayed goes first, then the \
         oldest",
        "disk",
    ),
    key(
        "dead_letters.age_max_s",
        Kind::Seconds(60.0, 3_650.0 * DAY_S),
        "1209600",
        "and for so long since it came last",
        "disk",
    ),
    key(
        "dead_letters.letter_bytes_max",
        Kind::Size(LETTER_BYTES_MIN, 8 * MIB),
        "1MiB",
        "of one letter; what is longer is kept cut, and can't be replayed",
        "disk",
    ),
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
