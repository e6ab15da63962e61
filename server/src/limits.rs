//! Every bound of this crate, in one place, with its arithmetic.

pub mod demo;
pub mod live;

use std::time::Duration;

use touchline_ingest::limits::{
    IN_FLIGHT_BYTES_MAX, IN_FLIGHT_STEP_BYTES, SECRET_KEY_BYTES_MAX, SECRETS_MAX,
};

/// A secrets file: eight lines of at most 178 characters, with as much again for comments, many
/// times over.
pub const SECRETS_FILE_BYTES_MAX: u64 = 64 * 1024;

/// What is kept whole of a dead letter, at least: a record of the largest event fits. Of what the
/// spool has acknowledged and Kafka refuses there is no other copy.
pub const LETTER_BYTES_MIN: u64 = 128 * 1024;

/// Sensor sources of one node: each is a value of the metric label `source`.
pub const SENSOR_SOURCES_MAX: usize = 1_000;
/// Social sources of one node: each may hold 36 MiB while the log is behind.
pub const SOCIAL_SOURCES_MAX: usize = 32;

/// A request's head must have arrived within it (FAULTS 6). It also ends connections that are kept
/// open without a request; partners open a new one.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// A request to API or admin port must be answered within it.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// What a connection reads ahead; a head must fit it.
pub const REQUEST_BUFFER_BYTES: usize = 64 * 1024;
/// A client that was answered for the last time is given so long to close its own side.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// What such a client may still send: the rest of a body that was refused, twice over.
pub const LINGER_BYTES_MAX: usize = 2 * touchline_core::limits::BODY_BYTES_MAX;
/// Threads of the API's runtime: signatures and JSON. They share the spare core with the log, and
/// two of them hand each request to and fro: six switches of threads an event instead of three.
pub const API_THREADS: usize = 1;
/// Connections to the API port at once.
pub const API_CONNECTIONS_MAX: usize = 8_192;
/// Connections to the admin port at once: a few scrapers and people.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// A request's body where it isn't a webhook: nothing there takes one.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// All sessions are told to leave within it, whatever the pace (DESIGN section 10).
pub const DRAIN_S_MAX: u64 = 110;
/// After that, receivers that accept less are given so much longer.
pub const DRAIN_OVERTIME: Duration = Duration::from_secs(20);
/// SIGINT: for all sessions to be told and closed.
pub const INTERRUPT_SESSIONS: Duration = Duration::from_millis(700);
/// For requests under way at a stop.
pub const STOP_REQUESTS: Duration = Duration::from_secs(5);
/// For shards, live state and journal after that; the journal takes 5 s of it at most.
pub const STOP_PARTS: Duration = Duration::from_secs(10);
/// The same as [`STOP_REQUESTS`] at SIGINT.
pub const INTERRUPT_REQUESTS: Duration = Duration::from_millis(300);

/// Shards, log and memory are looked at so often. Memory sets it: sockets that come at 25,000 a
/// second and take 4.5 KB each are 28 MB further at the next look.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// So much of the memory must be free again before newcomers are let in.
pub const MEMORY_HYSTERESIS_PERCENT: u64 = 3;
/// A shard whose heartbeat is older is not ready.
pub const SHARD_SILENCE_MAX: Duration = Duration::from_secs(5);
/// Sessions that `/sessions/slow` lists.
pub const SLOW_SESSIONS_MAX: usize = 100;
/// For a shard to answer who is slow.
pub const SLOW_SESSIONS_TIMEOUT: Duration = Duration::from_secs(1);

/// A segment of the spool: what was handed on goes in steps of it.
pub const SPOOL_SEGMENT_BYTES: u64 = 16 << 20;
/// Letters that one request may replay. An id takes 39 bytes of JSON.
pub const REPLAY_LETTERS_MAX: usize = 400;
/// For one request's replays; it is answered with what came of them by then.
pub const REPLAY_RUN_MAX: Duration = Duration::from_secs(30);
/// For the log to answer about one letter.
pub const REPLAY_APPEND_MAX: Duration = Duration::from_secs(10);

/// Lines of one kind that may be written at once before they are counted instead (FAULTS 45).
pub const LOG_LINES_BURST: u32 = 200;
/// Lines of one kind a second after that.
pub const LOG_LINES_PER_S: u32 = 20;
/// A field of a log line; what is longer is cut.
pub const LOG_FIELD_BYTES_MAX: usize = 4 * 1024;

/// A node whose log's life is over ends after so long: `/readyz` has told why by then, and who
/// balances load has noticed.
pub const LIFE_OVER_MAX: Duration = Duration::from_secs(5);
/// Lines that `log verify` says of one lane; the rest is counted.
pub const POISON_LINES_MAX: usize = 20;
/// Records of a journal that are sent to Kafka before brokers are waited for.
pub const MIGRATE_BATCH_MAX: usize = touchline_ingest::limits::IMPORT_BATCH_MAX;
/// Bytes of a journal that are read at once for that.
pub const MIGRATE_READ_BYTES: usize = 1 << 20;

const _: () = assert!(SECRETS_FILE_BYTES_MAX as usize > SECRETS_MAX * SECRET_KEY_BYTES_MAX * 2);
const _: () = assert!(REQUEST_BUFFER_BYTES >= touchline_core::limits::REQUEST_HEAD_BYTES_MAX);
const _: () = assert!(
    API_CONNECTIONS_MAX * IN_FLIGHT_STEP_BYTES <= IN_FLIGHT_BYTES_MAX / 2,
    "strangers on all connections with a byte each leave partners half of the budget"
);
const _: () = assert!(REPLAY_LETTERS_MAX * 39 + 400 <= BODY_BYTES_MAX);
const _: () =
    assert!(REPLAY_RUN_MAX.as_secs() + REPLAY_APPEND_MAX.as_secs() < REQUEST_TIMEOUT.as_secs());
const _: () = assert!(DRAIN_S_MAX + DRAIN_OVERTIME.as_secs() >= 120, "the promise of DESIGN 10");
const _: () = assert!(
    INTERRUPT_SESSIONS.as_millis() + INTERRUPT_REQUESTS.as_millis() <= 1_000,
    "SIGINT ends within 2 s, of which half is the journal's"
);
