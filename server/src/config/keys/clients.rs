//! Keys of what clients cost: windows, queues, sessions, sockets.

use super::{DAY_S, GIB, Key, Kind, MIB, key};

const WINDOW: Kind = Kind::Size(64 << 10, 64 * GIB);

const WINDOW_PURPOSE: &str = "a topic's window in memory: what a reconnect is answered from";
const WINDOW_COST: &str = "memory, once for each topic and shard, within `windows.bytes_max`";
const QUEUE_PURPOSE: &str =
    "what one socket may have unsent in this stream before the stream's policy acts";
const QUEUE_COST: &str = "none by itself: sockets share the window's bytes";

/// In the order of the reference.
pub(super) const KEYS: &[Key] = &[
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
        "messages, pings and pongs a session may send, over a while; beyond it an error, then \
         close 1008",
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
        "web pages that may connect, exactly as browsers name them (`https://example.com`); the \
         board's own and loopback always may",
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
        "sessions.message_s",
        Kind::Seconds(0.1, 600.0),
        "10",
        "a message must be complete so soon after its first byte, else close 1008",
        "memory: up to `sessions.message_bytes_max` each",
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
];
