//! Touchline's vocabulary, and everything that needs no I/O.
//!
//! An [`Event`](event::Event) is what happened. It concerns a [`Route`](event::Route), the set of
//! teams; with its stream (and language) that names a [`Topic`](event::Topic), the unit of order,
//! of history and of resume. The log gives it a [`Position`](log::Position); [`frame`] writes the
//! bytes that every socket gets, once. Shards and the log's threads meet through [`mailbox`].
//! [`ws`] and [`protocol`] are what a client says and hears, as pure functions.
//!
//! # What it leaves out
//! Sockets, files, clocks, threads and async runtimes. Whoever needs the time passes it in, as
//! [`time::Monotonic`] for deadlines and [`time::Timestamp`] for what is written down.
//!
//! # How it is laid out
//! | module | what it holds |
//! |---|---|
//! | [`dead`] | what could not be accepted, and who keeps it |
//! | [`event`] | teams, routes, topics, events, and what makes one valid |
//! | [`log`] | lanes, positions, marks, epochs, the [`EventLog`](log::EventLog) trait, the record codec |
//! | [`frame`] | a durable event encoded once, ready for every socket |
//! | [`feed`] | from the log to the shards: encodes a batch and hands it to each mailbox |
//! | [`mailbox`] | bounded queue between two threads, woken by an eventfd |
//! | [`ws`] | handshake, strict frame parser, close codes; sans-IO |
//! | [`protocol`] | the client's messages and our answers |
//! | [`proxy`] | the PROXY protocol, and whose word counts in it; sans-IO |
//! | [`retry`] | how often and how soon something is tried again |
//! | [`metrics`] | counters and histograms with a single writer |
//! | [`config`] | what shards read |
//! | [`limits`] | every bound of this crate, with its arithmetic |

pub mod config;
pub mod dead;
pub mod event;
pub mod feed;
pub mod frame;
pub mod limits;
pub mod log;
pub mod mailbox;
pub mod metrics;
pub mod protocol;
pub mod proxy;
pub mod retry;
pub mod time;
pub mod ws;
