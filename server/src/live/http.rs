//! `GET /v1/live` and `GET /v1/teams`.
//!
//! Both answer from the shared [`Snapshot`](super::snapshot::Snapshot) and understand
//! `If-None-Match`. Until the log's tail has been read there is nothing true to say, so they answer
//! 503 with `Retry-After`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

use super::Live;

/// The routes of the live state, to be merged into the API's router.
pub fn router(live: Arc<Live>) -> Router {
    Router::new()
        .route("/v1/live", get(get_live))
        .route("/v1/teams", get(get_teams))
        .with_state(live)
}

async fn get_live(State(live): State<Arc<Live>>, headers: HeaderMap) -> Response {
    let snapshot = live.snapshot();
    answer(&headers, snapshot.live.clone(), &snapshot.live_tag)
}

async fn get_teams(State(live): State<Arc<Live>>, headers: HeaderMap) -> Response {
    let snapshot = live.snapshot();
    answer(&headers, snapshot.teams.clone(), &snapshot.teams_tag)
}

fn answer(headers: &HeaderMap, body: Bytes, tag: &str) -> Response {
    if body.is_empty() {
        return not_yet();
    }
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let same = known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
    let head = [(header::ETAG, tag), (header::CACHE_CONTROL, "no-cache")];
    if same {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, [(header::CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}

fn not_yet() -> Response {
    let head = [(header::CONTENT_TYPE, "application/problem+json"), (header::RETRY_AFTER, "1")];
    let detail = "The log is still being read; try again in a second.";
    let body = serde_json::json!({
        "type": "about:blank", "title": "Service Unavailable", "status": 503,
        "code": "starting", "detail": detail,
    });
    (StatusCode::SERVICE_UNAVAILABLE, head, body.to_string()).into_response()
}
