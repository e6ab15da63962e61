//! The real binary, started as an owner would: what it answers, how it ends, what it says when it
//! can't start.
//!
//! | module | its claim |
//! |---|---|
//! | `surface` | ports, webhooks, sockets, metrics and readiness are there, by both ways |
//! | `lifecycle` | signals, drains, reloads and the service manager get what they are promised |
//! | `refusals` | a start that can't be ends with one sentence that says what to do |
//! | `crash` | kill -9 at any moment loses nothing that was acknowledged, and repeats nothing |
//! | `commands` | every other command does its work and ends with the right code |

mod client;
mod support;

mod commands;
mod crash;
mod lifecycle;
mod refusals;
mod surface;
