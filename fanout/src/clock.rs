//! The clocks. Everything below takes the time as a value; the shard reads it here, a few times
//! each turn.

use rustix::time::{ClockId, clock_gettime};
use touchline_core::time::{Monotonic, Timestamp};

/// Nanoseconds on the host's monotonic clock.
pub fn monotonic() -> Monotonic {
    let now = clock_gettime(ClockId::Monotonic);
    Monotonic(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

/// The wall clock, for the age of events.
pub fn wall() -> Timestamp {
    let now = clock_gettime(ClockId::Realtime);
    Timestamp(now.tv_sec * 1_000_000 + now.tv_nsec / 1_000)
}
