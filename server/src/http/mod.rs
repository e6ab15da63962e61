//! The API port: webhooks, the live state, and the board.
//!
//! Every answer carries a request id and the headers that keep a browser safe; what isn't known is
//! a problem+json like every other refusal. [`guarded`] is what stands around every handler, also
//! of the admin port: one `Host`, one reading of where the request ends, a deadline, and a panic
//! that costs its own request (500) and nothing else. Heads and bodies have a deadline too,
//! connections a limit ([`serve`]).
//!
//! # What it leaves out
//! What the routes do: webhooks are `touchline_ingest`'s, the live state is
//! [`live`](crate::live)'s.

pub mod board;
pub mod framing;
pub mod proxied;
pub mod serve;

use std::any::Any;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri, Version};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use touchline_core::proxy::ClientAddress;
use touchline_ingest::correlation::Correlation;
use tower_http::limit::RequestBodyLimitLayer;

use crate::limits::{BODY_BYTES_MAX, REQUEST_TIMEOUT};
use framing::Seen;

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
        .method_not_allowed_fallback(wrong_method)
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .fallback(not_found);
    plain.merge(webhooks).layer(middleware::from_fn_with_state(place, dress))
}

/// A refusal of the API itself.
pub fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let head = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, head, problem_text(status, code, detail)).into_response()
}

/// Its body (RFC 9457).
fn problem_text(status: StatusCode, code: &str, detail: &str) -> String {
    let body = json!({
        "type": format!("urn:touchline:problem:{code}"),
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    });
    body.to_string()
}

async fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "not_found", "There is nothing here; docs/ lists the routes.")
}

/// Any method that a known path doesn't have; `Allow` names those it has.
pub async fn wrong_method() -> Response {
    let detail = "This path has no such method; the Allow header names those it has.";
    problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Runs a request's handler for `limit` at most, under one request id: the handler finds it among
/// the extensions, the answer carries it, and so does the log where the handler panics.
pub async fn guarded(mut request: Request, next: Next, limit: Duration) -> Response {
    let correlation = Correlation::of(request.headers());
    let id = correlation.id().to_owned();
    let client = request.extensions().get().map(|ClientAddress(address)| address.to_string());
    // Nobody looks for the end of its chunks (see `framing`).
    let is_last = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = if has_two_readings(&request) {
        let detail = "Where this request ends can be read in two ways; this connection is closed.";
        closing(problem(StatusCode::BAD_REQUEST, "bad_framing", detail))
    } else if names_one_host(&request) {
        request.extensions_mut().insert(correlation.clone());
        let answered = tokio::time::timeout(limit, caught(next.run(request))).await;
        match answered {
            Ok(Ok(response)) => response,
            Ok(Err(panic)) => after_panic(&*panic, &id, client.as_deref()),
            Err(_) => too_late(limit),
        }
    } else {
        let detail = "A request names its host once; this connection is closed.";
        closing(problem(StatusCode::BAD_REQUEST, "bad_host", detail))
    };
    correlation.stamp(response.headers_mut());
    if is_last { closing(response) } else { response }
}

/// Whether this connection's heads could be read in two ways; see [`framing`].
fn has_two_readings(request: &Request) -> bool {
    request.extensions().get::<Arc<Seen>>().is_some_and(|seen| seen.is_ambiguous())
}

/// Exactly one `Host`; HTTP/1.0 may leave it away. Two are how one server is made to believe what
/// another, before it, did not see.
fn names_one_host(request: &Request) -> bool {
    match request.headers().get_all(header::HOST).iter().count() {
        0 => request.version() < Version::HTTP_11,
        count => count == 1,
    }
}

/// `future`'s output, or what it panicked with.
async fn caught<T>(future: impl Future<Output = T>) -> std::thread::Result<T> {
    let mut future = std::pin::pin!(future);
    poll_fn(|context| {
        // After a panic the future is dropped, and nobody looks at what it has left half done.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

/// The request's handler panicked: its own caller is told, the process goes on.
fn after_panic(panic: &(dyn Any + Send), correlation: &str, client: Option<&str>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(
        correlation,
        client,
        panic = text,
        "a request's handler panicked; the request was answered 500"
    );
    let detail = "The request failed on our side; its id stands in our log.";
    problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
}

fn too_late(limit: Duration) -> Response {
    let detail = format!("The request was not done within {} s.", limit.as_secs_f32());
    closing(problem(StatusCode::REQUEST_TIMEOUT, "request_timeout", &detail))
}

/// The connection's last answer.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Request id and safety, on every answer.
async fn dress(State(place): State<Arc<StreamPlace>>, request: Request, next: Next) -> Response {
    let policy = content_policy(&place, request.headers(), request.uri());
    let mut response = guarded(request, next, REQUEST_TIMEOUT).await;
    let headers = response.headers_mut();
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
    use std::sync::Mutex;

    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use touchline_ingest::correlation::REQUEST_ID;
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

    /// What is written to the log meanwhile.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_panic_costs_one_request_and_answer_and_log_name_it_alike() {
        let page = Page::default();
        let writer = page.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(log);
        let response = ask("/panic", "a", None).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let id = response.headers()[REQUEST_ID].to_str().unwrap();
        let log = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("panicked") && log.contains(id), "{id} in {log}");
    }

    #[tokio::test]
    async fn a_handler_finds_the_id_that_its_answer_carries() {
        let tell = |request: Request| async move {
            request.extensions().get::<Correlation>().unwrap().id().to_owned()
        };
        let api = api(Router::new(), Router::new().route("/id", get(tell)), place(None));
        let request = Request::get("/id").header("host", "a").body(Body::empty()).unwrap();
        let response = api.oneshot(request).await.unwrap();
        let id = response.headers()[REQUEST_ID].to_str().unwrap().to_owned();
        let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
        assert_eq!(id.as_bytes(), &body[..]);
    }

    #[tokio::test]
    async fn a_method_that_a_path_does_not_have_is_a_problem_with_those_it_has() {
        let request = Request::delete("/").header("host", "a").body(Body::empty()).unwrap();
        let api = api(Router::new(), Router::new(), place(None));
        let response = api.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
    }

    #[tokio::test]
    async fn an_answer_that_takes_too_long_is_a_problem_that_ends_the_connection() {
        let short = |request, next| guarded(request, next, Duration::from_millis(20));
        let router = Router::new()
            .route("/", get(std::future::pending::<()>))
            .layer(middleware::from_fn(short));
        let request = Request::get("/").header("host", "a").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[header::CONNECTION], "close");
    }

    #[tokio::test]
    async fn a_request_names_one_host_or_is_refused_and_closed() {
        for (version, hosts, status) in [
            (Version::HTTP_11, 0, 400),
            (Version::HTTP_11, 1, 200),
            (Version::HTTP_11, 2, 400),
            (Version::HTTP_10, 0, 200),
            (Version::HTTP_10, 2, 400),
        ] {
            let mut request = Request::get("/").version(version);
            for _ in 0..hosts {
                request = request.header("host", "a");
            }
            let api = api(Router::new(), Router::new(), place(None));
            let response = api.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{version:?} with {hosts}");
            assert_eq!(response.headers().contains_key(header::CONNECTION), status == 400);
        }
    }
}
