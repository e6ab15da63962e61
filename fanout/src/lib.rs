//! Touchline's hot path: from a durable batch to every socket that follows it.
//!
//! A [`Fanout`] is a set of shards. A shard (`shard`) is one thread, pinned to a core, with a
//! listener, connections and rings of its own; shards share nothing that they write but counters.
//! Within a shard, the [`hub`] decides who is sent what, and the [`volley`] hands hundreds of sends
//! to the kernel at once. Batches come from the log through the
//! [`Feed`](touchline_core::feed::Feed), which encodes each event once for all shards.
//!
//! ```text
//! log's thread --Feed--> mailbox --> shard: hub.handle_batch
//!                                    shard: hub.poll_volley -> launcher.fire -> hub.settle
//! sockets <--epoll set, awaited in monoio--> shard: handshake, frames, hub.handle_message
//! ```
//!
//! # How it is laid out
//! | module | what it holds |
//! |---|---|
//! | [`hub`] | topics, sessions, cursors, policies; pure |
//! | `shard` | the thread, its loop, connections, timers, commands |
//! | [`volley`] | many sends at once, by io_uring or by `send` |
//! | [`wheel`] | one timer wheel |
//! | [`plan`] | how many shards, on which cores, with whose descriptors |
//! | [`options`] | what it is told; [`stats`]: what it counts |
//! | `listener`, `admission`, `pace` | who may connect, and how fast |
//! | `sys` | private tables of descriptors |
//! | [`limits`] | every bound of this crate, with its arithmetic |
//!
//! # What it leaves out
//! Where events come from and where they are kept (the
//! [`EventLog`](touchline_core::log::EventLog)), configuration files, HTTP beyond the handshake,
//! and TLS.

mod admission;
pub mod clock;
mod fanout;
pub mod hub;
pub mod limits;
mod listener;
pub mod options;
mod pace;
pub mod plan;
mod shard;
pub mod stats;
mod sys;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod volley;
pub mod wheel;

pub use fanout::{CommandError, Fanout, StartError};
pub use options::{
    AddressRules, Backend, FanoutOptions, Rules, SessionRules, ShardCommand, SocketOptions,
};
pub use plan::{Plan, PlanError, PlanInput, Shards};
pub use shard::{ShardError, SlowSession};
pub use stats::{Life, ShardStats};
