//! Every bound of this crate, in one place, with its arithmetic.

use touchline_core::limits::{MAILBOX_BATCHES_MAX, MAILBOX_BYTES_MAX, REQUEST_HEAD_BYTES_MAX};

/// Sends of one volley, and entries of its ring: past 256 a bigger volley saves nothing that can be
/// measured, and delays whatever else a turn has to do by 1.5 ms for each 256.
pub const VOLLEY_SENDS_MAX: usize = 256;
/// How often a volley's ring may refuse to be entered before `send` takes its place.
pub const RING_RETRIES_MAX: u32 = 8;
/// Slots of the timer wheel: 512 of 50 ms reach 25.6 s ahead, past the default heartbeat; longer
/// waits go round again.
pub const WHEEL_SLOTS: usize = 512;

/// Sockets whose readiness is fetched at once.
pub const READY_MAX: usize = 512;
/// Connections accepted in one turn, so that a storm of them leaves the others their turn: at 10 us
/// each, 1.3 ms.
pub const ACCEPTS_MAX: usize = 128;
/// The read buffer that all sockets of a shard share.
pub const SCRATCH_BYTES: usize = 64 * 1024;
/// Bytes taken from one socket in one turn; what is left waits for the next.
pub const INBOUND_BYTES_MAX: usize = 128 * 1024;
/// Volleys of one turn. Mailboxes, sockets and timers are looked at between turns.
pub const VOLLEYS_MAX: usize = 4;
/// Batches taken from the mailbox in one turn.
pub const BATCHES_MAX: usize = 64;

/// Commands that wait for a shard. The server sends them one at a time and waits.
pub const COMMANDS_MAX: usize = 16;
/// Answers of the log that wait for a shard: one read is outstanding at a time, and one may be
/// late.
pub const READS_MAX: usize = 2;
/// Refused connections that are held open so that their 503 arrives before the reset
/// (`shard::lobby`).
pub const LOBBY_MAX: usize = 64;
/// Addresses whose connections are counted, for the limits by address. At 40 bytes each 2.6 MB;
/// when it is full, addresses without an open connection give way, and if there are none a new
/// address is let in uncounted.
pub const ADDRESSES_MAX: usize = 65_536;
/// Faulty messages of one session before it is closed (FAULTS 25).
pub const SOFT_ERRORS_MAX: u8 = 5;
/// Sessions that `slow_sessions` names, of each shard.
pub const SLOW_SESSIONS_MAX: usize = 100;
/// Sessions a drain may have told to go that haven't taken their close yet. Past it the drain waits
/// for them: the pace is what receivers accept.
pub const DRAIN_PENDING_MAX: usize = 1_024;
/// Events whose spread over the sockets is followed at once.
pub const SPREADS_MAX: usize = 8;

/// Descriptors of a table that aren't sockets of sessions: standard streams, eventfd, epoll, two
/// rings, listener, reserve and lobby; and in a table that is shared, the journal's files, the
/// API's sockets and what they open.
pub const DESCRIPTORS_RESERVED: u64 = 200;
/// Share of the rest that sessions may have, in percent: hashing over shards is never even.
pub const DESCRIPTORS_PERCENT: u64 = 97;
/// More shards than this are a mistake in the configuration.
pub const SHARDS_MAX: usize = 256;

/// Messages of one client that wait while the log is asked how far it reaches; a client that says
/// more than that without an answer doesn't resume, it floods.
pub const AHEAD_MESSAGES_MAX: usize = 4;

const _: () = assert!(WHEEL_SLOTS.is_multiple_of(64));
const _: () = assert!(SCRATCH_BYTES >= REQUEST_HEAD_BYTES_MAX);
const _: () = assert!(INBOUND_BYTES_MAX >= SCRATCH_BYTES);
const _: () = assert!(BATCHES_MAX < MAILBOX_BATCHES_MAX);
const _: () = assert!(HELD_BYTES_MAX < MAILBOX_BYTES_MAX);
const _: () = assert!((LOBBY_MAX as u64) + 16 < DESCRIPTORS_RESERVED);
/// Topics in a shard's memory. One with an empty window takes about 400 bytes: 26 MB at most, and
/// the longest idle give way before that (R6).
pub const TOPICS_MAX: usize = 65_536;
/// Languages in which the updates of one team are followed at one time, on one shard. ISO 639-1
/// names 184, and some have regions. Languages are the clients' to invent; a list takes 40 bytes
/// and at least 16 of followers, so a team's lists take 14 KB at most besides who stands in them.
/// Beyond it a subscribe gets `too_many_langs`.
pub const LANGS_MAX: usize = 256;
/// Bytes of batches that are kept past a gap, until what lies before them has been read (R26). At
/// 20,000 events/s of 500 bytes they last 0.8 s: many times what a read and the turn around it
/// take.
pub const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The same in batches: as many as a mailbox holds.
pub const HELD_BATCHES_MAX: usize = MAILBOX_BATCHES_MAX;
/// Bytes of `snapshot` in one `subscribed`: what an answer may take of a session's control queue.
/// Values that don't fit come with their next republish (R20).
pub const SNAPSHOT_BYTES_MAX: usize = 64 * 1024;
/// Bytes copied for single sessions in one volley. A visit may take `visit_bytes_max`, 256 sends of
/// which would be 64 MiB; with this bound the round ends early and the rest is next.
pub const SCRATCH_VOLLEY_BYTES_MAX: usize = 4 * 1024 * 1024;
