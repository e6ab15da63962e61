//! This host's clock, as all who need the time of day are given it: tests bring one of their own.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use touchline_core::time::Timestamp;

/// Tells the time of day.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the system says it is.
pub fn system_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
