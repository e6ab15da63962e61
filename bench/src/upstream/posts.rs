//! The posts of the schedule, a JSON object a line, for as long as somebody listens.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_lite::stream;
use serde::Deserialize;

use super::Shared;
use crate::schedule::team_name;
use crate::sys;

/// Between two looks at what is due.
pub const TURN: Duration = Duration::from_millis(5);
/// A stream that says nothing sends an empty line so often.
pub const KEEP_ALIVE_NS: u64 = 1_000_000_000;

/// Where a stream goes on.
#[derive(Deserialize)]
pub struct Since {
    /// The last post that came.
    since_id: Option<String>,
}

/// `GET /posts`: what the schedule says, each post when it is due.
pub async fn scheduled(State(shared): State<Arc<Shared>>, Query(since): Query<Since>) -> Response {
    let last = since.since_id.and_then(|id| id.strip_prefix('p')?.parse::<u32>().ok());
    let state = (shared, last, sys::now_ns());
    let body =
        Body::from_stream(stream::unfold(state, move |(shared, last, mut said_ns)| async move {
            loop {
                let (text, until) = due_posts(&shared, last);
                if !text.is_empty() || sys::now_ns() > said_ns + KEEP_ALIVE_NS {
                    said_ns = sys::now_ns();
                    let text = if text.is_empty() { "\n".into() } else { text };
                    return Some((
                        Ok::<_, Infallible>(Bytes::from(text)),
                        (shared, until, said_ns),
                    ));
                }
                tokio::time::sleep(TURN).await;
            }
        }));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// The posts after event `last` that are due, and the last of them.
fn due_posts(shared: &Shared, last: Option<u32>) -> (String, Option<u32>) {
    let (mut text, mut until) = (String::new(), last);
    let (Some(plan), Some(posts)) = (shared.plan.get(), shared.posts.get()) else {
        return (text, until);
    };
    let now_ns = sys::now_ns();
    let from = posts.partition_point(|n| Some(*n) <= last);
    for n in posts[from..].iter().take_while(|n| plan.due_ns(**n) <= now_ns) {
        let (team, data) = (team_name(plan.team(*n)), plan.data(*n));
        // Writing to a string can't fail.
        let _ = writeln!(text, r#"{{"id":"p{n}","text":"{team}!","d":{data}}}"#);
        until = Some(*n);
    }
    (text, until)
}
