//! The admin port: metrics, health, the configuration in force, and the order to drain.
//!
//! It has a thread and a runtime of its own, and asks nobody on the data path for more than loaded
//! numbers; what has to ask a shard (`/sessions/slow`) waits on a thread of its own, for a second
//! at most. Keep the port private: whoever reaches it can drain the node.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::json;
use tower_http::limit::RequestBodyLimitLayer;

use crate::config::print;
use crate::dead;
use crate::http::{guarded, harden, problem, wrong_method};
use crate::limits::{BODY_BYTES_MAX, REQUEST_TIMEOUT, SLOW_SESSIONS_MAX, SLOW_SESSIONS_TIMEOUT};
use crate::metrics;
use crate::running::{Appliance, Order};

type Shared = State<Arc<Appliance>>;

/// The port's routes.
pub fn router(appliance: Arc<Appliance>) -> Router {
    Router::new()
        .route("/metrics", get(get_metrics))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(get_ready))
        .route("/config", get(get_config))
        .route("/drain", post(post_drain))
        .route("/sessions/slow", get(get_slow))
        .route("/dlq/replay", post(dead::http::replay))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(appliance)
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .layer(middleware::from_fn(dress))
}

async fn dress(request: Request, next: Next) -> Response {
    let mut response = guarded(request, next, REQUEST_TIMEOUT).await;
    harden(response.headers_mut());
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

async fn not_found() -> Response {
    let paths = "Here are /metrics, /healthz, /readyz, /config, /sessions/slow, /drain (POST) and \
                 /dlq/replay (POST).";
    problem(StatusCode::NOT_FOUND, "not_found", paths)
}

async fn get_metrics(State(appliance): Shared) -> Response {
    let page = metrics::gather::gather(&appliance);
    ([(header::CONTENT_TYPE, metrics::page::CONTENT_TYPE)], page).into_response()
}

async fn get_ready(State(appliance): Shared) -> Response {
    let reasons = appliance.reasons_not_ready();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": reasons.is_empty(), "reasons": reasons });
    (status, Json(body)).into_response()
}

async fn get_config(State(appliance): Shared) -> Response {
    let loaded = appliance.loaded.load();
    let addresses = appliance.addresses;
    Json(json!({
        "file": loaded.file,
        "addresses": {
            "stream": addresses.stream,
            "api": addresses.api,
            "admin": addresses.admin,
        },
        "last_reload_successful": appliance.reloads.last_taken.load(Relaxed),
        "values": print::to_json(&loaded),
    }))
    .into_response()
}

/// As SIGTERM. A browser names the page that asks: no page may.
async fn post_drain(State(appliance): Shared, headers: HeaderMap) -> Response {
    if headers.contains_key(header::ORIGIN) {
        let detail = "A web page may not drain this node; use curl -X POST.";
        return problem(StatusCode::FORBIDDEN, "forbidden", detail);
    }
    tracing::info!("asked to drain by the admin port");
    appliance.order(Order::Drain);
    let body = json!({ "draining": true, "sessions": appliance.connections() });
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

async fn get_slow(State(appliance): Shared) -> Response {
    let ask = move || appliance.slow_sessions(SLOW_SESSIONS_TIMEOUT);
    let Ok(sessions) = tokio::task::spawn_blocking(ask).await else {
        let detail = "The shards could not be asked; see the log.";
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
    };
    let rows = sessions.iter().take(SLOW_SESSIONS_MAX).map(|session| {
        json!({
            "session": session.session,
            "shard": session.shard,
            "peer": session.peer,
            "unsent_bytes": session.unsent_bytes,
            "blocked": session.is_blocked,
        })
    });
    Json(json!({ "sessions": rows.collect::<Vec<_>>() })).into_response()
}
