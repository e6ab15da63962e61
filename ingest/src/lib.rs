//! Touchline's sources: the adapters that turn what partners send into events.
//!
//! An adapter stands between the world and the log. It decides who is speaking, refuses what is
//! malformed before anything of it is kept, names each piece of work with a correlation id, and
//! hands whole batches to [`EventLog::append`](touchline_core::log::EventLog::append). It answers
//! its source only when the log has answered: a 202 means durable.
//!
//! # What it leaves out
//! Order, duplicates and positions are the log's; who follows what is the hub's. An adapter holds
//! nothing between two requests but counters, a rate and the list of routes a source has used
//! lately.
//!
//! # How it is laid out
//! | module | what it holds |
//! |---|---|
//! | [`broadcast`] | events of partners: signed webhooks, and answers of those that are polled |
//! | [`sensor`] | values polled from devices over HTTP |
//! | [`social`] | posts out of streams: lines, server-sent events, WebSockets |
//! | [`poll`] | asking over HTTP, again and again: sensors and polled partners |
//! | [`outbound`] | what adapters have in common that ask others |
//! | [`mapping`] | from any JSON to the fields of an event |
//! | [`clock`] | the time of day, as it is handed to all of these |
//! | [`breaker`] | whether a dependency that fails is asked again yet |
//! | [`kafka`] | Kafka as the log: what several nodes share |
//! | [`roster`] | which of several nodes asks which source |
//! | [`spool`] | what a node takes while the shared log is away |
//! | [`problem`] | refusals as `application/problem+json`, one table of codes |
//! | [`correlation`] | the id that follows a request through answer, log lines and log |
//! | [`limits`] | every bound of this crate, with its arithmetic |

pub mod breaker;
pub mod broadcast;
pub mod clock;
pub mod correlation;
mod counts;
pub mod kafka;
pub mod limits;
pub mod mapping;
pub mod outbound;
pub mod poll;
pub mod problem;
pub mod roster;
mod routes;
pub mod sensor;
pub mod social;
pub mod spool;
mod tally;
