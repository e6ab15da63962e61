//! Signed webhooks of broadcast partners: `POST /v1/ingest/broadcast/{partner}`.
//!
//! A partner POSTs one event or an array of them, signed as Standard Webhooks say or as its
//! [`Scheme`] describes, in our shape or as its [`ItemMapping`] describes. It is told 202
//! with `{"accepted","duplicates","too_old"}` once every one of them is durable, or gets a
//! [`Problem`](crate::problem::Problem) and can be sure that nothing of the body was taken, with
//! one exception: after a `log_unknown` the events may be there, and sending them again is safe
//! (R14).
//!
//! # The way of a body
//! 1. [`receive`] finds the partner, judges type and declared length;
//! 2. [`body`] reads it under bounds of size, time and shared memory;
//! 3. [`signature`] says whether the partner has sent exactly these bytes, now;
//! 4. [`intake`] turns them into events, or names every bad item: [`json`] and [`item`] where they
//!    have our shape, [`mapped`] where they have another, [`schema`] where one is agreed; what is
//!    refused here is kept as a dead letter ([`letters`]);
//! 5. rate and `routes` are charged; both are the partner's own, so that it can only get in its
//!    own way;
//! 6. the log makes them durable, and tells new ones from repeats.
//!
//! A partner that sends nothing is asked instead ([`follow`]): by [`poll`](crate::poll), and what
//! it answers is read by what is agreed with it as a webhook's body is (`polled`).
//!
//! # What it leaves out
//! TLS and the listener (the server's), duplicates and order (the log's), the meaning of `data`
//! (the readers').

mod body;
mod encoding;
mod intake;
mod item;
mod json;
mod letters;
mod mapped;
mod polled;
mod quiet;
mod receive;
mod refusal;
mod schema;
mod scheme;
mod secret;
mod signature;
mod sources;
mod state;
mod stats;

pub use encoding::Encoding;
pub use intake::Item;
pub use item::{Context, parse_body};
pub use mapped::ItemMapping;
pub use polled::{follow, try_partner};
pub use schema::Schema;
pub use scheme::{Algorithm, Part, Scheme, SchemeText, Template, TimeSource};
pub use secret::{SECRET_PREFIX, Secret, SecretEncoding, SecretError};
pub use signature::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, sign};
pub use sources::{Partner, Sources, SourcesError};
pub use state::{BroadcastOptions, BroadcastState};
pub use stats::SourceStats;

use axum::Router;
use axum::routing::post;

/// The webhook's path, to be merged into the API.
pub const PATH: &str = "/v1/ingest/broadcast/{partner}";

/// The route of [`PATH`].
pub fn router(state: BroadcastState) -> Router {
    Router::new()
        .route(PATH, post(receive::receive).fallback(receive::refuse_method))
        .with_state(state)
}
