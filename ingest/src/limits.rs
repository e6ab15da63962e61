//! Every bound of this crate, in one place, with its arithmetic.

use std::time::Duration;

use touchline_core::event::Stream;
use touchline_core::limits::{
    BODY_BYTES_MAX, BODY_EVENTS_MAX, DATA_BYTES_MAX, ID_BYTES_MAX, LANES_MAX,
};

/// Partners one node takes webhooks of. Each is a value of the metric label `source`.
pub const PARTNERS_MAX: usize = 64;
/// Secrets of one partner: one in use and one that comes while the other goes, with room for a
/// rotation gone wrong.
pub const SECRETS_MAX: usize = 8;
/// A secret's key, at least: 128 bits.
pub const SECRET_KEY_BYTES_MIN: usize = 16;
/// A secret's key, at most.
pub const SECRET_KEY_BYTES_MAX: usize = 128;
/// Signatures of one request that are looked at; each secret of the sender's side makes one.
pub const SIGNATURES_MAX: usize = 16;
/// How far `webhook-timestamp` may lie from our clock, either way.
pub const SIGNATURE_TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// A signature's time as text: RFC 3339 in the longest form has 35 bytes.
pub const TIME_TEXT_BYTES_MAX: usize = 40;
/// Parts of what a partner signs, as configured: four placeholders with something between them, and
/// as many again.
pub const TEMPLATE_PARTS_MAX: usize = 16;
/// How far ahead of our clock `occurred_at` may lie (R16).
pub const OCCURRED_AHEAD_MAX: Duration = Duration::from_secs(5 * 60);

/// Brackets that may be open at once in an event's `data`. Many clients' parsers stop at 128, and a
/// frame wraps `data` in one object of its own.
pub const DATA_DEPTH_MAX: usize = 100;
/// Text of `occurred_at`: `2026-06-24T18:03:11.123456789+02:00` has 35 bytes.
pub const OCCURRED_AT_BYTES_MAX: usize = 40;
/// Errors named for one bad item. All bad items are named: 1,000 items of 4 errors of about 200
/// bytes are 800 KB.
pub const ITEM_ERRORS_MAX: usize = 4;
/// Bytes of an unknown field's name that an error repeats.
pub const FIELD_ECHO_BYTES_MAX: usize = 64;

/// A partner's schema, as a file. It is compiled once; its patterns are bounded by the next.
pub const SCHEMA_BYTES_MAX: u64 = 256 * 1024;
/// What one pattern of a schema may take compiled.
pub const SCHEMA_PATTERN_BYTES_MAX: usize = 1 << 20;
/// Bytes of a schema's sentence that an error repeats, and of the place it points to.
pub const SCHEMA_ECHO_BYTES_MAX: usize = 160;
/// Bodies of one partner that are kept as dead letters within a minute: a partner's loop must not
/// flush out everybody else's. Whole ones are 20 MiB.
pub const LETTERS_PER_MINUTE_MAX: u32 = 20;
/// Errors that a dead letter's detail names.
pub const LETTER_ERRORS_MAX: usize = 4;
/// Signed requests of one partner that may be under way at once: at 50 ms each they are 5,000 a
/// second.
pub const PARTNER_REQUESTS_MAX: usize = 256;

/// How long a body may take to arrive, from the request's head on. At this pace 1 MiB needs 105
/// KB/s.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the log may take to answer before the partner is told to come back (R14: unknown counts
/// as failed).
pub const APPEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of bodies that may be held at once, arriving or waiting for the log: 64 whole ones.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 * BODY_BYTES_MAX;
/// Bytes of the budget that an arriving body takes at a time, so that a declared length reserves
/// nothing. It is taken before the signature is known, from anybody: so it is small enough that a
/// server's every connection (8,192) with a byte of a body each leaves half of the budget free.
pub const IN_FLIGHT_STEP_BYTES: usize = 4 * 1024;

/// A body may take so long to arrive before it gives way to others where the budget is spent. A
/// whole one needs 34 Mbit/s for it; to spend the budget again and again, strangers need 2 Gbit/s.
pub const ARRIVAL_MIN: Duration = Duration::from_millis(250);

/// Events a second one partner may send, over a while. Twice what the design promises for a whole
/// node.
pub const EVENTS_PER_S: u32 = 40_000;
/// Events one partner may send at once when it has been silent: two seconds' worth.
pub const EVENTS_BURST: u32 = 2 * EVENTS_PER_S;
/// Different routes one partner may use within [`ROUTES_PERIOD`] to twice that (R23). A weekend of
/// 2,000 matches has as many; at 8 bytes each and two generations they take about 128 KiB.
pub const ROUTES_MAX: usize = 4_096;
/// A route that was not used for one whole period is forgotten.
pub const ROUTES_PERIOD: Duration = Duration::from_secs(30 * 60);
/// Different sets of several teams that one social source may use within as long, where its section
/// names no other number: who writes posts chooses them. 20 teams have 190 pairs; of 32 sources all
/// sets are 16,384 topics, a quarter of what a shard keeps.
pub const SOCIAL_ROUTES_MAX: usize = 512;
/// Lines about refused requests that may be logged in one second; the rest is counted.
pub const REFUSAL_LINES_PER_S: u32 = 20;

/// How much sooner than its window an event is too old: clocks of sources may be off by as much
/// (R16).
pub const TOO_OLD_MARGIN: Duration = Duration::from_secs(5 * 60);
/// Partitions of each stream's topic: four topics of them fill a mark.
pub const PARTITIONS_MAX: u16 = (LANES_MAX / Stream::ALL.len()) as u16;
/// How far the clocks of brokers may differ (R17).
pub const BROKER_SKEW_MAX: Duration = Duration::from_secs(5 * 60);
/// Appends of one source that is polled which may be under way: a log that takes half a second is
/// followed at ten ticks a second.
pub const POLL_APPENDS_MAX: usize = 8;
/// Readings in one answer of a sensor source.
pub const READINGS_MAX: usize = 1_000;
/// Keys of one sensor source whose last value is remembered, about 400 bytes each: 1.6 MB.
pub const KEYS_MAX: usize = 4_096;
/// Different sets of teams that one sensor source may name within half an hour to an hour, where
/// its section names no other number: a device that says itself whom it concerns costs every shard
/// a window for each. Of the 1,000 sources of a node they are 64,000 topics, which a shard keeps.
pub const SENSOR_ROUTES_MAX: usize = 64;
/// A key that wasn't in an answer for so long gives its place to others.
pub const KEY_IDLE_MAX: Duration = Duration::from_secs(10 * 60);
/// Terms of one social source: 1,000 teams of 20. The automata take about 100 bytes a term.
pub const TERMS_MAX: usize = 20_000;
/// Teams that one social source has terms for.
pub const TERM_TEAMS_MAX: usize = 4_096;
/// A term's bytes.
pub const TERM_BYTES_MAX: usize = 100;
/// Posts of one social source whose ids are remembered, about 24 bytes each: 1.5 MB. At 10 a second
/// for each of 20 teams it holds five minutes, which is as far back as posts count (R16).
pub const RECENT_POSTS_MAX: usize = 64 * 1_024;
/// Appends of one social source that may be under way; meanwhile posts gather for the next.
pub const SOCIAL_APPENDS_MAX: usize = 8;
/// How long posts gather after an append, for the next one. The first after a silence goes at once.
/// Each append is a write and a flush of the disk that a goal may have to wait for: as many as
/// chunks come (200 a second of a flood) moved the p99 of broadcast from 1.7 to 6.3 ms.
pub const SOCIAL_GATHER: Duration = Duration::from_millis(100);
/// Posts that gather for one append; beyond them posts are dropped.
pub const SOCIAL_BATCH_EVENTS_MAX: usize = BODY_EVENTS_MAX;
/// Their bytes: nine batches, under way or gathering, are 36 MiB of one source at worst.
pub const SOCIAL_BATCH_BYTES_MAX: usize = 4 << 20;
/// Posts without any term that are read all the same, a second: at 20 us each a thousandth of a
/// core, to learn at once that a mapping fits nothing.
pub const PROBED_POSTS_PER_S: u32 = 50;
/// Posts that can't be read, or that brokers will never take, which are kept, a second; the rest
/// is counted. At 256 KiB each they are 2.5 MiB.
pub const PARKED_POSTS_PER_S: u32 = 10;
/// For a social source to take a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What another side may ask us to wait, whatever its `Retry-After` says.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);
/// Minutes that are asked for again: older posts are too old for their stream (R16), and the stream
/// that made this rewind known allows as many.
pub const BACKFILL_MINUTES_MAX: u64 = 5;
/// A server-sent event's id.
pub const EVENT_ID_BYTES_MAX: usize = 1_024;
/// How often the place of one stream is written down at most: 32 streams are 16 syncs a second.
pub const PLACE_EVERY: Duration = Duration::from_secs(2);
/// The file that it stands in: an id of which every byte is written as `\u0001`, and 64 more.
pub const PLACE_BYTES_MAX: u64 = 6 * EVENT_ID_BYTES_MAX as u64 + 64;
/// A frame of a social WebSocket: larger messages than a post may be are read and dropped up to
/// here, and end the connection beyond.
pub const SOCKET_FRAME_BYTES_MAX: usize = 4 << 20;
/// Events of one append to Kafka.
pub const APPEND_EVENTS_MAX: usize = 4_096;
/// Duplicates of one lane whose places are remembered: 1 MiB. Who reads further back judges anew.
pub const SUPPRESSED_MAX: usize = 128 * 1024;
/// Records that are taken from the tail at once: what a batch of the feed holds.
pub const TAIL_BATCH_EVENTS_MAX: usize = touchline_core::limits::BATCH_EVENTS_MAX;
/// Bytes that are taken from the tail at once.
pub const TAIL_BATCH_BYTES_MAX: usize = 4 << 20;
/// Reads of ranges that may wait.
pub const READS_WAITING_MAX: usize = 256;
/// Records that one step of an import holds: at 128 KiB each, the largest there are, 512 MiB; at
/// the kilobyte that events have, 4 MiB.
pub const IMPORT_BATCH_MAX: usize = 4_096;
/// Bytes of a file that holds a token for brokers; the longest tokens of issuers have 16 KiB.
pub const TOKEN_BYTES_MAX: u64 = 64 << 10;
/// Dead letters that are read from topics at once, without their bytes: a kilobyte each.
pub const LETTERS_READ_MAX: usize = 200_000;
/// Of a dead letter that brokers refuse for its size, so much of its bytes is published; and room
/// for what stands around them.
pub const LETTER_CUT_BYTES: usize = 32 << 10;
/// Bytes of letters that wait to be kept for good, of events that were acknowledged and that nobody
/// is shown: 8,000 of a kilobyte, or 250 of the largest, which are 64 KiB.
pub const OWED_BYTES_MAX: usize = 16 << 20;
/// What such a letter takes besides its bytes.
pub const OWED_LETTER_BYTES: usize = 1 << 10;
/// Bytes of one read.
pub const READ_BYTES_MAX: usize = 8 << 20;
/// Lanes whose duplicates are kept for reads far back, each with the entries of one window.
pub const SCOUTS_MAX: usize = 16;
/// How long they are kept after the last read that went on with them: a client that resumes asks
/// for the next range within seconds.
pub const SCOUT_IDLE_MAX: Duration = Duration::from_secs(60);

/// Bytes of the spool that are read at once: a few thousand events.
pub const SPOOL_READ_BYTES_MAX: usize = 1 << 20;
/// Events of an old spool that the log is asked about at a time: 33 bytes a place of their tables,
/// of which 7/16 are in use at least: 38 to 76 bytes each, 150 MB at worst, and half as much again
/// while a table grows. A full spool of 1 GiB holds a million of a kilobyte.
pub const SPOOL_TWINS_MAX: usize = 2_000_000;

const _: () =
    assert!(EVENTS_BURST as usize >= BODY_EVENTS_MAX, "a full body fits an idle partner's burst");
const _: () = assert!(ROUTES_MAX >= BODY_EVENTS_MAX, "a body of all new routes fits");
const _: () =
    assert!(IN_FLIGHT_BYTES_MAX <= u32::MAX as usize, "a semaphore hands out u32 permits");
const _: () = assert!(BODY_BYTES_MAX.is_multiple_of(IN_FLIGHT_STEP_BYTES));
const _: () = assert!(DATA_BYTES_MAX < BODY_BYTES_MAX);
const _: () = assert!(FIELD_ECHO_BYTES_MAX <= ID_BYTES_MAX);
const _: () = assert!(APPEND_EVENTS_MAX >= BODY_EVENTS_MAX, "a full body is one append");
const _: () = assert!(SOCIAL_BATCH_EVENTS_MAX <= APPEND_EVENTS_MAX);
const _: () = assert!(PARTITIONS_MAX as usize * Stream::ALL.len() <= LANES_MAX);
