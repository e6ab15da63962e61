//! What `GET /v1/live` answers, built once and shared by everybody who asks.
//!
//! A [`Snapshot`] is the bytes of the answer and their tag. The worker builds one a few times a
//! second at most; requests only clone it, so a thousand boards that poll cost a thousand small
//! writes and no work of ours.

use std::collections::BTreeMap;
use std::hash::Hasher;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use touchline_core::frame::Published;
use touchline_core::log::{Mark, token};
use touchline_core::time::Monotonic;

use super::state::{Match, MatchDay};
use super::{Around, StreamAddress};

/// An answer, ready to be sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// JSON of `GET /v1/live`. Empty until the log's tail has been read.
    pub(super) live: Bytes,
    /// JSON of `GET /v1/teams`.
    pub(super) teams: Bytes,
    /// Entity tag of `live`.
    pub(super) live_tag: String,
    /// Entity tag of `teams`.
    pub(super) teams_tag: String,
}

#[derive(Serialize)]
struct Team<'a> {
    id: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct Teams<'a> {
    teams: Vec<Team<'a>>,
}

#[derive(Serialize)]
struct Body<'a> {
    mark: String,
    stream: &'a StreamAddress,
    teams: Vec<Team<'a>>,
    matches: &'a [Match],
    events: Vec<Box<RawValue>>,
    #[serde(flatten)]
    around: &'a Around,
}

impl Snapshot {
    /// The answer for `day`, which contains exactly what lies below `mark`.
    pub(super) fn build(
        day: &MatchDay,
        mark: &Mark,
        stream: &StreamAddress,
        around: &Around,
    ) -> serde_json::Result<Self> {
        let body = Body {
            mark: token::encode_mark(mark),
            stream,
            teams: teams(&day.teams),
            matches: &day.matches,
            events: events(day, mark),
            around,
        };
        let live = Bytes::from(serde_json::to_vec(&body)?);
        let teams = Bytes::from(serde_json::to_vec(&Teams { teams: teams(&day.teams) })?);
        Ok(Self { live_tag: tag(&live), teams_tag: tag(&teams), live, teams })
    }
}

fn teams(names: &BTreeMap<String, String>) -> Vec<Team<'_>> {
    names.iter().map(|(id, name)| Team { id, name }).collect()
}

/// The last events, as a socket would have got them.
fn events(day: &MatchDay, mark: &Mark) -> Vec<Box<RawValue>> {
    let json = |published: Published| serde_json::from_slice(published.json()).ok();
    let encode = |record| Published::encode(record, mark.epoch, Monotonic(0));
    day.events.iter().map(encode).filter_map(json).collect()
}

fn tag(body: &[u8]) -> String {
    // Not kept between releases or hosts, so the hash of the standard library will do.
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    hasher.write(body);
    format!("\"{:016x}\"", hasher.finish())
}
