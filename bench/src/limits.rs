//! Every bound of the bench, in one place, with its arithmetic.

/// Sockets of one receiver or floor thread. A host's hard limit can be 20,000 open files per table
/// (DESIGN section 4); 600 are left for rings, pipes, the epoll set and whatever was inherited.
pub const SOCKETS_PER_TABLE_MAX: usize = 19_400;
/// Handshakes one receiver thread keeps under way: below any listener's backlog (4,096), so that no
/// SYN is dropped and a connect rate never measures the kernel's retransmit timer.
pub const HANDSHAKES_MAX: usize = 512;
/// What one `recv` may take. A socket that is behind gets up to 256 KiB in one send.
pub const READ_BYTES_MAX: usize = 512 << 10;
/// Bytes one socket is handed by the floor in one visit: what Touchline's hub allows by default.
pub const VISIT_BYTES_MAX: u64 = 256 << 10;
/// Sends of one volley of the floor.
pub const VOLLEY_SENDS_MAX: usize = 128;
/// Events of one run: first and last receipt are kept for each, 24 bytes on each receiver thread.
pub const EVENTS_MAX: usize = 1 << 20;
/// Windows of one run, each with its own histogram of about 100 KiB on each receiver thread.
pub const WINDOWS_MAX: usize = 32;
/// Latencies above are recorded as this: 10 minutes, in microseconds.
pub const LATENCY_US_MAX: u64 = 600_000_000;
/// Events of one webhook body, as the server allows.
pub const BODY_EVENTS_MAX: usize = 1_000;
/// A line of the protocol between controller and children: a histogram of three digits has 25,000
/// buckets at most.
pub const LINE_BYTES_MAX: usize = 16 << 20;
/// How long the controller waits for a child's answer, in seconds.
pub const ANSWER_S_MAX: u64 = 120;

const _: () = assert!(SOCKETS_PER_TABLE_MAX + 600 <= 20_000);
const _: () = assert!(HANDSHAKES_MAX < 4_096);
const _: () = assert!(READ_BYTES_MAX as u64 >= VISIT_BYTES_MAX);
const _: () = assert!(BODY_EVENTS_MAX <= touchline_core::limits::BODY_EVENTS_MAX);
