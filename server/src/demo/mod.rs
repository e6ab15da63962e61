//! A match day, played to the appliance as a partner and its followers would.
pub mod day;
pub mod league;
mod names;
pub mod openfootball;
mod play;
pub mod replay;
#[cfg(test)]
mod checks;
