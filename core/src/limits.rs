//! Every bound of this crate, in one place, with its arithmetic.

/// Teams of one route (DESIGN section 2).
pub const ROUTE_TEAMS_MAX: usize = 8;
/// A team's id or a source's name.
pub const NAME_BYTES_MAX: usize = 32;
/// An event's `type`.
pub const KIND_BYTES_MAX: usize = 64;
/// An event's id, and a correlation id.
pub const ID_BYTES_MAX: usize = 128;
/// An event's `data`.
pub const DATA_BYTES_MAX: usize = 64 * 1024;
/// Events in one webhook body.
pub const BODY_EVENTS_MAX: usize = 1_000;
/// A webhook's body.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Lanes of one log (R1).
pub const LANES_MAX: usize = 256;
/// Highest sequence in a lane: 42 bits, four trillion events. A mark of 256 such lanes then takes 6
/// bytes a lane.
pub const SEQ_MAX: u64 = (1 << 42) - 1;
/// A mark's text. 11 bytes of head and 6 of each of 256 lanes are 1,547 bytes, in base64 2,063
/// characters: just above R2's 2 KiB, which holds as long as the average lane stays below 2^35
/// events (5 bytes: 1,722 characters).
pub const MARK_TEXT_BYTES_MAX: usize = (11 + 6 * LANES_MAX).div_ceil(3) * 4;
/// A position's text: epoch 8, lane 2, seq 6 bytes at most.
pub const POSITION_TEXT_BYTES_MAX: usize = 16usize.div_ceil(3) * 4;

/// A frame's head: 2 bytes and up to 8 of extended length; servers don't mask (RFC 6455, 5.2).
pub const FRAME_HEAD_BYTES_MAX: usize = 10;
/// JSON around an event's `data`: names, topic, teams, two ids that may double when escaped, and
/// punctuation.
pub const ENVELOPE_BYTES_MAX: usize =
    512 + 4 * ROUTE_TEAMS_MAX * (NAME_BYTES_MAX + 3) + 6 * ID_BYTES_MAX + KIND_BYTES_MAX;
/// The largest frame an event can become.
pub const EVENT_FRAME_BYTES_MAX: usize = FRAME_HEAD_BYTES_MAX + ENVELOPE_BYTES_MAX + DATA_BYTES_MAX;

/// A message from a client, over all its fragments (FAULTS 19).
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Fragments of one message (FAULTS 19).
pub const MESSAGE_FRAGMENTS_MAX: u32 = 1_024;
/// Fragments of one message that carry nothing (FAULTS 19): no client has a reason to send one; a
/// proxy may send a few.
pub const MESSAGE_EMPTY_FRAGMENTS_MAX: u32 = 16;
/// A client frame's head: ours and the mask's key (RFC 6455, 5.2).
pub const CLIENT_HEAD_BYTES_MAX: usize = FRAME_HEAD_BYTES_MAX + 4;
/// Payload of a control frame (RFC 6455, 5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;
/// A request's line and headers (FAULTS 4).
pub const REQUEST_HEAD_BYTES_MAX: usize = 8 * 1024;
/// Headers of a request (FAULTS 4).
pub const REQUEST_HEADERS_MAX: usize = 64;
/// A request's URI (DESIGN section 5).
pub const URI_BYTES_MAX: usize = 4 * 1024;
/// A header of the PROXY protocol: 16 bytes, 36 of two IPv6 addresses, and values of which the
/// longest that balancers send, the names out of a client's certificate, take a few hundred.
pub const PROXY_HEADER_BYTES_MAX: usize = 2 * 1024;
/// Ranges of addresses whose PROXY header is believed; looked through for each connection.
pub const TRUSTED_PROXIES_MAX: usize = 256;
/// Teams named in one subscribe or unsubscribe. What a session may follow is less, and the hub's to
/// say.
pub const SUBSCRIBE_TEAMS_MAX: usize = 1_024;
/// Topics named by `after` in one subscribe.
pub const AFTER_TOPICS_MAX: usize = 1_024;

/// Events that go to a shard in one batch, at most.
pub const BATCH_EVENTS_MAX: usize = 1_024;
/// Batches that wait in a shard's mailbox. Past it the shard rereads from the log (R26).
pub const MAILBOX_BATCHES_MAX: usize = 1_024;
/// Bytes of batches that wait in a shard's mailbox. The count alone would allow 1,024 batches of
/// 1,024 events of 70 KB each: 73 GB. 64 MiB are 64 of the largest webhook bodies, or 130,000 goals
/// of 500 bytes, which is seconds of the highest load; shards share the batches, so all their
/// mailboxes together hold little more. Past it, too, the shard rereads (R26).
pub const MAILBOX_BYTES_MAX: usize = 64 * 1024 * 1024;

const _: () = assert!(SEQ_MAX < 1 << 42);
const _: () = assert!(MARK_TEXT_BYTES_MAX < URI_BYTES_MAX, "a mark fits a URL");
const _: () = assert!(EVENT_FRAME_BYTES_MAX < 128 * 1024);
const _: () = assert!(BODY_EVENTS_MAX <= BATCH_EVENTS_MAX);
const _: () = assert!(MAILBOX_BYTES_MAX >= 64 * BODY_BYTES_MAX);
const _: () = assert!(PROXY_HEADER_BYTES_MAX >= 16 + 216 + 3);
const _: () = assert!(URI_BYTES_MAX < REQUEST_HEAD_BYTES_MAX);
