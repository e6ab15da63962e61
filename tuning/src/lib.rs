//! What Touchline needs of its host.
//!
//! Today it asks the host what it gives ([`host::facts`]) and keeps the shards' cores free of
//! whatever else the process does ([`host::confine_to_spare_core`]). Knobs as data, with check,
//! apply, explain and revert, will stand beside these facts and be judged by them.
//!
//! # What it leaves out
//! Decisions. How many shards there are, and on which cores, is `touchline_fanout::plan`.

pub mod host;
