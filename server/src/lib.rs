//! The appliance: one process that takes events from partners and carries them to everyone who
//! follows a team.
//!
//! This crate joins the others: it reads the configuration, opens the journal, starts the shards,
//! and hangs the feed and the live state between them. [`start`] does all of that and gives a
//! [`Running`](running::Running), in this process: the binary, the demo and the tests use the same
//! door.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | keys, layers, and the [`Options`](config::Options) that everything else obeys |
//! | [`wiring`], `start_error` | who is started with what, in which order; why a start can't be |
//! | [`running`], `keeper` | the started server: its state; how it drains, how it stops |
//! | [`reload`] | what SIGHUP may change, whole or not at all |
//! | [`http`], [`admin`] | the API port, the admin port |
//! | [`dead`] | dead letters: kept, and replayed |
//! | [`metrics`] | the table of metrics and the page they make |
//! | [`live`] | the day's matches, from memory |
//! | [`demo`] | a match day that plays itself |
//! | [`cli`] | commands, flags and exit codes |
//! | [`signals`], [`notify`], [`logging`], [`ports`] | what the system tells us, and we it |
//! | [`limits`] | every bound of this crate |
//!
//! # Invariants
//! - The admin port has a thread and a runtime of its own: it answers while everything else is busy
//!   or stuck.
//! - Nothing on the way from the journal to a socket waits for anything in this crate.

pub mod admin;
pub mod cli;
pub mod config;
pub mod dead;
pub mod demo;
mod figures;
mod health;
pub mod http;
mod keeper;
pub mod limits;
pub mod live;
pub mod logging;
pub mod metrics;
pub mod node_log;
pub mod notify;
pub mod ports;
pub mod reload;
pub mod running;
pub mod signals;
pub mod sources;
pub mod spool;
mod start_error;
pub mod wiring;

pub use wiring::{StartError, start};

/// This build's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
