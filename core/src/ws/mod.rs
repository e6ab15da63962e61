//! WebSocket from a server's side, as pure functions: handshake, frame parser, close codes.
//!
//! Nothing here owns a socket. A shard reads what a socket has into a scratch buffer that all its
//! sockets share, and hands the bytes over: first to a [`Handshake`], which ends in a [`Request`]
//! to accept or a [`Refusal`] to send, and from then on to a [`Parser`], which turns them into
//! [`Event`]s. Events borrow from the scratch buffer wherever a whole message lies in it, which is
//! nearly always.
//!
//! # Inbound is hostile
//! - A frame is judged from its head, byte by byte as it comes in, before anything is kept for it.
//! - What is kept never grows past what has arrived (twice that, while a buffer doubles) and never
//!   past the limits.
//! - A parser at rest is [16 bytes](Parser) and owns no memory; what is needed mid-message is boxed
//!   while it is needed.
//! - A violation ends the connection; it names its [`CloseCode`], and nothing after it is looked
//!   at.
//!
//! # What it leaves out
//! Deadlines, rates, per-address limits: the shard has the clock and the sockets. Extensions: none
//! is negotiated, so every reserved bit is a violation. What the messages mean: see
//! [`protocol`](crate::protocol).
//!
//! | module | what it holds |
//! |---|---|
//! | [`handshake`] | a request's head, from its first byte to the 101 |
//! | [`refusal`] | every answer that isn't a 101, as one table |
//! | [`origin`] | which web pages may connect |
//! | [`head`] | a frame's head and what is wrong with it |
//! | [`parser`] | bytes to messages |
//! | [`close`] | the one table of close codes, and control frames to send |

pub mod close;
pub mod handshake;
pub mod head;
pub mod origin;
pub mod parser;
pub mod refusal;

pub use close::{CloseCode, ComeBack, close_frame, echo_close_frame, ping_frame, pong_frame};
pub use handshake::{Handshake, Progress, Request};
pub use head::Violation;
pub use origin::OriginPolicy;
pub use parser::{Event, FrameLimits, Parser};
pub use refusal::Refusal;
