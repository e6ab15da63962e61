//! Every bound of the bench, in one place, with its arithmetic.

/// Sockets of one receiver or floor thread. A host's hard limit can be 20,000 open files per table
/// (DESIGN section 4); 600 are left for rings, pipes, the epoll set and whatever was inherited.
pub const SOCKETS_PER_TABLE_MAX: usize = 19_400;
/// Sockets that a shard of the server holds where a table has 20,000 files: 0.97 of what is left
/// after 200 (DESIGN section 4).
pub const SOCKETS_PER_SHARD_MAX: usize = (20_000 - 200) * 97 / 100;
/// Handshakes one receiver thread keeps under way: below any listener's backlog (4,096), so that no
/// SYN is dropped and a connect rate never measures the kernel's retransmit timer.
/// (uSockets asks for 512.)
pub const HANDSHAKES_MAX: usize = 500;
/// How often a client tries again whose first connection came to nothing.
pub const CONNECT_RETRIES_MAX: u8 = 3;
/// What one `recv` may take. A socket that is behind gets up to 256 KiB in one send.
pub const READ_BYTES_MAX: usize = 512 << 10;
/// A frame that joins events is taken as it comes if it is larger: all that waits for a client may
/// stand in one.
pub const WAITED_FOR_BYTES_MAX: usize = 64 << 10;
/// Bytes one socket is handed by the floor in one visit: what Touchline's hub allows by default.
pub const VISIT_BYTES_MAX: u64 = 256 << 10;
/// Sends of one volley of the floor, unless the lab asks for another number.
pub const VOLLEY_SENDS_DEFAULT: u32 = 128;
/// The most it may ask for: the completions of a zero-copy volley are eight times as many places,
/// and a ring has 65,536 at most.
pub const VOLLEY_SENDS_MAX: u32 = 4_096;
/// Events of one run: first and last receipt are kept for each, 24 bytes on each receiver thread.
/// What is due after that is not published.
pub const EVENTS_MAX: usize = 1 << 21;
/// Clients of one run: 252 receiver threads of 19,400.
pub const SOCKETS_MAX: usize = 252 * SOCKETS_PER_TABLE_MAX;
/// Teams of one run, followed or not.
pub const TEAMS_MAX: u32 = 1_000_000;
/// Events a second, of a phase or a track.
pub const RATE_MAX: f64 = 1e6;
/// A phase, an act or a drain: a week.
pub const DAYS_S_MAX: f64 = 7.0 * 86_400.0;
/// What a scenario's seconds may be multiplied by.
pub const TIME_FACTOR_MIN: f64 = 1e-4;
/// Likewise.
pub const TIME_FACTOR_MAX: f64 = 1e3;
/// What may be in use of the core of clients and publisher before they may be the limit.
pub const GENERATOR_SHARE_MAX: f64 = 0.9;
/// From this share of its core on it may have been the server that had no time.
pub const FULL_CORE_SHARE: f64 = 0.85;
/// A window is calm again whose p99 is that of the first, times this at most.
pub const CALM_RATIO: f64 = 1.2;
/// Looks at a run that are kept: when there are more, every other one goes, and the rest come half
/// as often.
pub const BEATS_MAX: usize = 1_200;
/// Slices of a run's timeline, of 512 bytes each on each receiver thread.
pub const SLICES_MAX: usize = 600;
/// Padding of an event's `data`: a frame of more than 64 KiB is refused.
pub const PAD_BYTES_MAX: usize = 60 << 10;
/// Things that happen in a run (kills, stops, leavings).
pub const ACTS_MAX: usize = 64;
/// Sensors that Touchline asks in a run: one thread of ours answers 10,000 requests a second.
pub const SENSORS_MAX: u32 = 1_000;
/// Hosts that carry clients.
pub const AGENTS_MAX: usize = 64;
/// Windows of one run, each with its own histogram of about 100 KiB on each receiver thread.
pub const WINDOWS_MAX: usize = 32;
/// Latencies above are recorded as this: 10 minutes, in microseconds.
pub const LATENCY_US_MAX: u64 = 600_000_000;
/// Events of one webhook body, as the server allows.
pub const BODY_EVENTS_MAX: usize = 1_000;
/// A line of the protocol between controller and children: first and last receipt of 2 million
/// events take 3 numbers of up to 20 digits each.
pub const LINE_BYTES_MAX: usize = 160 << 20;
/// How long the controller waits for a child's answer, in seconds.
pub const ANSWER_S_MAX: u64 = 120;

/// Threads of a server that hold `sockets` by tables of 20,000 files. `SO_REUSEPORT` throws a die
/// for each connection, so the fullest of several exceeds its share: by four standard deviations of
/// a binomial, once in 30,000 draws.
pub fn shards_for(sockets: usize) -> usize {
    let fullest = |shards: usize| {
        let share = sockets as f64 / shards as f64;
        if shards == 1 { share } else { share + 4.0 * share.sqrt() }
    };
    let fits = |shards: &usize| fullest(*shards) <= SOCKETS_PER_SHARD_MAX as f64;
    (1..).find(fits).unwrap_or(1)
}

const _: () = assert!(SOCKETS_PER_TABLE_MAX + 600 <= 20_000);
const _: () = assert!(HANDSHAKES_MAX < 4_096);
const _: () = assert!(EVENTS_MAX * 3 * 21 < LINE_BYTES_MAX);
const _: () = assert!(READ_BYTES_MAX as u64 >= VISIT_BYTES_MAX);
const _: () = assert!(VOLLEY_SENDS_MAX * 8 <= 65_536);
const _: () = assert!(VOLLEY_SENDS_DEFAULT <= VOLLEY_SENDS_MAX);
const _: () = assert!(BODY_EVENTS_MAX <= touchline_core::limits::BODY_EVENTS_MAX);

#[cfg(test)]
mod tests {
    #[test]
    fn a_million_sockets_need_more_tables_than_their_number_says() {
        let shards = [0, 10_000, 50_000, 250_000, 1_000_000].map(super::shards_for);
        assert_eq!(shards, [1, 1, 3, 14, 54]);
    }
}
