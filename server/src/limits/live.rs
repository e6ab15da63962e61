//! Bounds of `/v1/live`.

use std::time::Duration;

use touchline_core::limits::EVENT_FRAME_BYTES_MAX;

/// Matches kept. A round of the largest leagues has 12; 64 leave room for several sources.
pub const MATCHES_MAX: usize = 64;
/// Teams kept: two for each match.
pub const TEAMS_MAX: usize = 2 * MATCHES_MAX;
/// Goals, and cards, kept for one match. The record of a professional league match is 36 goals.
pub const MATCH_ITEMS_MAX: usize = 64;
/// Sources told of, the worst first: as many as a page shows without becoming a list.
pub const SOURCES_MAX: usize = 32;
/// Events a page that opens is given at once.
pub const EVENTS_MAX: usize = 50;
/// A name, a ground, a note: characters, 4 bytes each at most.
pub const TEXT_CHARS_MAX: usize = 128;
/// A match nobody speaks of for this long is forgotten.
pub const MATCH_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Batches that wait between the log's thread and ours. Past it they are dropped and reread from
/// the log.
pub const TAP_BATCHES_MAX: usize = 256;
/// Bytes of them; a batch that finds nobody waiting may be larger. 256 batches of 5 MiB each would
/// be more than a small host has.
pub const TAP_BYTES_MAX: usize = 16 << 20;
/// What a record takes beside its `data`: names, id, route.
pub const RECORD_BYTES: usize = 512;
/// Records reread from each lane at a start: about 15 MB at 300 bytes, a fifth of a second.
pub const TAIL_RECORDS_MAX: u64 = 50_000;
/// One read of the log.
pub const READ_BYTES_MAX: usize = 1 << 20;
/// How long one read of the log may take.
pub const READ_WAIT_MAX: Duration = Duration::from_secs(10);
/// Whoever waits for a read looks so often whether it should stop.
pub const STOP_LOOK: Duration = Duration::from_millis(50);
/// The JSON is built no more often than this, and this often at least.
pub const BUILD_INTERVAL: Duration = Duration::from_millis(250);

/// Texts of one match: 12 of its own and 5 of each goal and card.
const MATCH_BYTES_MAX: usize = 4 * TEXT_CHARS_MAX * (12 + 5 * 2 * MATCH_ITEMS_MAX);
const _: () = assert!(MATCHES_MAX * MATCH_BYTES_MAX < 32 << 20, "the state stays below 32 MiB");
const _: () = assert!(EVENTS_MAX * EVENT_FRAME_BYTES_MAX < 8 << 20);
