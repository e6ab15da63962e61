//! The cold side of Touchline: what is durable, and everything that may be slow.
//!
//! [`journal`] is the embedded log: it makes events durable before their source is told so, gives
//! them their order, and reads them back for sessions that were away. It implements `core`'s
//! `EventLog`, so the rest of the house does not know whether it talks to it or to Kafka.
//!
//! [`dead`] keeps what could not be accepted, in a file beside it.
//!
//! # What it leaves out
//! Sockets and HTTP; the journal knows no async runtime, the database is asked through one. Nothing
//! here may make the hot path wait: callers hand work over a bounded queue and are called back.

pub mod dead;
pub mod journal;
pub mod limits;
