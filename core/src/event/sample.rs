//! An event for tests and benches, which all crates have; no server makes one.
//!
//! It is no hook behind a feature: with another set of features each crate would be built twice.

use bytes::Bytes;

use super::{Event, Route, Stream};
use crate::time::Timestamp;

impl Event {
    /// A goal of the source `skyline` for `teams`, as [`Route::parse`] reads them, that says `{}`.
    ///
    /// What a test cares about it sets itself: `Event { data, ..Event::sample("e1", "ars+che") }`.
    ///
    /// # Panics
    /// When `teams` is no route.
    pub fn sample(id: &str, teams: &str) -> Self {
        Self {
            stream: Stream::Broadcast,
            source: "skyline".into(),
            id: id.into(),
            route: Route::parse(teams).expect("teams of a test"),
            kind: "goal".into(),
            occurred_at: Timestamp(0),
            data: Bytes::from_static(b"{}"),
            lang: None,
            supersedes: None,
            sensor: None,
            trace: None,
            correlation: "c".into(),
        }
    }
}
