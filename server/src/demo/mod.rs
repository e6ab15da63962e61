//! A match day, played to the appliance as a partner and its followers would.
pub mod clock;
pub mod day;
pub mod day_file;
pub mod league;
pub mod meter;
mod names;
pub mod openfootball;
pub mod partner;
mod play;
pub mod replay;
pub mod simulator;
mod stop;
#[cfg(test)]
mod checks;

use std::time::{SystemTime, UNIX_EPOCH};
use touchline_core::time::Timestamp;
pub use stop::{Stop, Stopper};

/// The wall clock.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_micros() as i64)
}
