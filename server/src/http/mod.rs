//! The API port: webhooks, the live state, and the board.
//!
//! Every answer carries a request id and the headers that keep a browser safe; a handler that
//! panics costs its own request (500) and nothing else; what isn't known is a problem+json like
//! every other refusal. Heads and bodies have a deadline, connections a limit ([`serve`]).
//!
//! # What it leaves out
//! What the routes do: webhooks are `touchline_ingest`'s, the live state is
//! [`live`](crate::live)'s.

pub mod board;
pub mod serve;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use touchline_ingest::correlation::{Correlation, REQUEST_ID};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::limits::{BODY_BYTES_MAX, REQUEST_TIMEOUT};

/// What the headers of an answer depend on.
#[derive(Debug)]
pub struct StreamPlace {
    /// Where the stream port is.
    pub address: SocketAddr,
    /// How browsers reach it, where that isn't the page's own host.
    pub url: Option<String>,
}

/// The API's routes with everything around them. `webhooks` bound their own bodies.
pub fn api(webhooks: Router, live: Router, place: Arc<StreamPlace>) -> Router {
    let plain = live
        .merge(board::router())
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .fallback(not_found);
    plain
        .merge(webhooks)
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::custom(after_panic))
        .layer(middleware::from_fn_with_state(place, dress))
}

/// A refusal of the API itself.
pub fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let body = json!({
        "type": format!("urn:touchline:problem:{code}"),
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    });
    let head = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, head, body.to_string()).into_response()
}

async fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "not_found", "There is nothing here; docs/ lists the routes.")
}

/// The request's handler panicked: its own caller is told, the process goes on.
pub fn after_panic(panic: Box<dyn Any + Send + 'static>) -> Response<Body> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(panic = text, "a request's handler panicked; the request was answered 500");
    problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "The request failed on our side; its id stands in our log.",
    )
}

/// Request id and safety, on every answer.
async fn dress(State(place): State<Arc<StreamPlace>>, request: Request, next: Next) -> Response {
    let correlation = Correlation::of(request.headers());
    let policy = content_policy(&place, request.headers(), request.uri());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if !headers.contains_key(REQUEST_ID) {
        correlation.stamp(headers);
    }
    harden(headers);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// Headers that take from a browser what no page of ours needs.
pub fn harden(headers: &mut HeaderMap) {
    const FIXED: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Own files, and WebSockets to the stream: at the page's own host and the stream's port, or where
/// the owner says.
fn content_policy(place: &StreamPlace, headers: &HeaderMap, uri: &Uri) -> HeaderValue {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = named.or(uri.host()).and_then(bare_host);
    let stream = match (&place.url, host) {
        (Some(url), _) => url.split('/').take(3).collect::<Vec<_>>().join("/"),
        (None, Some(host)) => {
            let port = place.address.port();
            format!("ws://{host}:{port} wss://{host}:{port}")
        }
        (None, None) => String::new(),
    };
    let policy = format!(
        "default-src 'self'; connect-src 'self' {stream}; img-src 'self' data:; \
         object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy)
        .unwrap_or_else(|_| HeaderValue::from_static("default-src 'self'"))
}

/// The host without its port. `None` for anything that isn't one: the header is the client's word.
fn bare_host(host: &str) -> Option<&str> {
    let bare = match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or_default(),
    };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    (!bare.is_empty() && bare.bytes().all(good)).then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tower::ServiceExt as _;

    fn place(url: Option<&str>) -> Arc<StreamPlace> {
        let url = url.map(str::to_owned);
        Arc::new(StreamPlace { address: "127.0.0.1:4000".parse().unwrap(), url })
    }

    async fn ask(path: &str, host: &str, url: Option<&str>) -> Response {
        let fail = Router::new().route("/panic", get(|| async { panic!("on purpose") as () }));
        let request = Request::get(path).header("host", host).body(Body::empty()).unwrap();
        api(Router::new(), fail, place(url)).oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn every_answer_has_a_request_id_and_a_policy() {
        for path in ["/", "/nowhere"] {
            let response = ask(path, "live.example:8081", None).await;
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.contains("ws://live.example:4000 wss://live.example:4000"), "{policy}");
            assert!(response.headers().contains_key(REQUEST_ID));
            assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
        let response = ask("/nowhere", "a", None).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }

    #[tokio::test]
    async fn a_forged_host_cannot_widen_the_policy() {
        for host in ["evil; script-src *", "a b", "x'unsafe-inline'"] {
            let response = ask("/nowhere", host, None).await;
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(!policy.contains("ws:"), "{policy}");
        }
        let response = ask("/nowhere", "a", Some("wss://live.example/v1/stream")).await;
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("connect-src 'self' wss://live.example;"), "{policy}");
        assert_eq!(bare_host("[::1]:80"), Some("[::1]"));
    }

    #[tokio::test]
    async fn a_panic_costs_one_request() {
        let response = ask("/panic", "a", None).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(response.headers().contains_key(REQUEST_ID));
    }
}
