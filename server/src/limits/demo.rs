//! Bounds of `touchline demo`.

use std::time::Duration;

use touchline_core::limits::{AFTER_TOPICS_MAX, EVENT_FRAME_BYTES_MAX};

/// Followers: beyond it one loopback address runs out of ports.
pub const FOLLOWERS_MAX: usize = 20_000;
/// Open files that followers leave to the rest of the process: ports, journal, webhooks, the
/// board's connections.
pub const FILES_RESERVED: u64 = 500;
/// Brokers of `--kafka`: as many as keep an event safe by default.
pub const BROKERS: u16 = 3;
/// Three of them take about ten seconds on two cores; a busy host several times that.
pub const BROKERS_START_MAX: Duration = Duration::from_secs(120);
/// From the start of the second node to its first word: topics are there already.
pub const NODE_START_MAX: Duration = Duration::from_secs(60);
/// An interrupt ends a node within two seconds.
pub const NODE_STOP_MAX: Duration = Duration::from_secs(5);
/// Nodes of `--kafka`.
pub const NODES_MAX: usize = 2;
/// One follower in so many follows all streams, the others what a client gets unasked.
pub const FOLLOWS_ALL_ONE_IN: usize = 4;
/// Teams a follower follows at most.
pub const FOLLOWED_TEAMS_MAX: usize = 3;
/// Followers that connect at the same time.
pub const CONNECTS_MAX: usize = 64;
/// How long a connection and its handshake may take.
pub const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// A line that says nothing for so many heartbeats is dead.
pub const SILENT_HEARTBEATS_MAX: u64 = 2;
/// A heartbeat the server may name; what it names beyond it is taken as this.
pub const HEARTBEAT_S_MAX: u64 = 300;
/// A handshake's answer.
pub const HEAD_BYTES_MAX: usize = 4 << 10;
/// The largest frame a follower takes: an event's, with room for answers.
pub const FRAME_BYTES_MAX: usize = 256 << 10;
/// Topics a follower keeps a position of: the matches of its teams, several days of them.
pub const TOPICS_MAX: usize = 64;
/// Matches of a topic of which a follower knows what has come: the one that is told, and the one
/// before, of which something may come late.
pub const ROWS_MAX: usize = 2;
/// Holes of a match that may still be filled: a match has fewer events.
pub const HOLES_MAX: usize = 64;
/// Matches of which is known what was acknowledged: those of two days.
pub const LEDGER_GAMES_MAX: usize = 2 * DAY_MATCHES_MAX;
/// What was acknowledged so long ago should have come, while brokers are there.
pub const DELIVERY_WAIT: Duration = Duration::from_secs(2);
/// Followers wait up to so long before they first come back; it doubles,
pub const RECONNECT_WAIT_MIN: Duration = Duration::from_secs(1);
/// and stays below this.
pub const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(30);
/// One webhook, from connecting to its answer.
pub const POST_WAIT_MAX: Duration = Duration::from_secs(10);
/// An answer to a webhook.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;
/// First wait after a webhook that failed; it doubles,
pub const RETRY_WAIT_MIN: Duration = Duration::from_millis(100);
/// and stays below this.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(30);
/// What a server may ask for by `Retry-After`; what it asks beyond is taken as this. Our own asks
/// for 60 s at most but where a partner has too many routes.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);
/// An event older than this isn't shown any more (R16: 1 h less 5 minutes), so the partner gives it
/// up.
pub const EVENT_AGE_MAX: Duration = Duration::from_secs(55 * 60);
/// The day's file promises that nothing later than this was sent; it is rewritten twice in it.
pub const HORIZON: Duration = Duration::from_secs(2);
/// A day left alone for longer isn't gone on with.
pub const DAY_PAUSE_MAX: Duration = Duration::from_secs(12 * 3_600);
/// Between the last whistle of a day and the first fixtures of the next.
pub const DAY_BREAK: Duration = Duration::from_secs(15);
/// Times a day may have been interrupted; older legs concern events long delivered.
pub const LEGS_MAX: usize = 64;
/// The slowest and the fastest a day may run, in thousandths: a tenth, and a match in half a
/// second.
pub const SPEED_MILLI_MIN: u64 = 100;
/// See [`SPEED_MILLI_MIN`].
pub const SPEED_MILLI_MAX: u64 = 10_000_000;
/// Lines for a person that wait to be shown: one is every few seconds.
pub const NOTES_MAX: usize = 16;
/// Brokers that were started again listen within ten seconds; a busy host takes several times that.
pub const BROKERS_BACK_MAX: Duration = Duration::from_secs(90);
/// Events whose way to the followers is measured at a time.
pub const FLIGHTS_MAX: usize = 4_096;
/// An event's way is measured for so long; what comes later was a resume.
pub const FLIGHT_WAIT_MAX: Duration = Duration::from_secs(2);
/// A matches file, a team file, the day's file.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// Matches of one day: as many as the live state keeps.
pub const DAY_MATCHES_MAX: usize = super::live::MATCHES_MAX;
/// Goals of one match in a file.
pub const MATCH_GOALS_MAX: usize = super::live::MATCH_ITEMS_MAX;
/// Grounds with sensors: as many as a league day has matches. More matches share them.
pub const VENUES_MAX: usize = 10;
/// A sensor says something new this often, and is asked so often.
pub const SENSOR_STEP: Duration = Duration::from_millis(500);
/// Fans look up from the match so often,
pub const FANS_TURN: Duration = Duration::from_millis(250);
/// and write no more than this many posts at a time.
pub const POSTS_PER_TURN_MAX: usize = 8;
/// What is configured as the most that is taken of the plaza: above what fans write.
pub const POSTS_PER_S: usize = 40;
/// Posts that the plaza remembers for whoever comes back: two minutes of the busiest.
pub const POSTS_KEPT_MAX: usize = 4_096;
/// Posts on their way to one client.
pub const STREAM_CHUNKS_MAX: usize = 64;
/// A stream on which nothing is written says that it lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);

const _: () = assert!(POSTS_PER_TURN_MAX * 1_000 / FANS_TURN.as_millis() as usize <= POSTS_PER_S);
const _: () = assert!(TOPICS_MAX <= AFTER_TOPICS_MAX);
const _: () = assert!(FRAME_BYTES_MAX > EVENT_FRAME_BYTES_MAX);
const _: () = assert!(RECONNECT_WAIT_MIN.as_millis() < RECONNECT_WAIT_MAX.as_millis());
const _: () = assert!(RETRY_WAIT_MIN.as_millis() < RETRY_WAIT_MAX.as_millis());
const _: () = assert!(RETRY_WAIT_MAX.as_secs() < RETRY_AFTER_MAX.as_secs());
const _: () = assert!(EVENT_AGE_MAX.as_secs() > 2 * RETRY_AFTER_MAX.as_secs());
const _: () = assert!(EVENT_AGE_MAX.as_secs() > POST_WAIT_MAX.as_secs());
