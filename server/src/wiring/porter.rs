//! Who answers at the ports while the log is being opened.
//!
//! Reading a journal back takes seconds, and brokers that are away take as long as they like.
//! Sources that come meanwhile are told to come again (503, `Retry-After`), and whoever watches
//! over the process sees that it lives and isn't ready, and why.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;
use tokio::sync::watch;

use super::Bound;
use crate::http::problem;
use crate::http::proxied::Gate;
use crate::http::serve::serve;

/// Connections of each port that are answered at once.
const CONNECTIONS_MAX: usize = 256;
/// For answers that are under way when the real thing begins.
const LEAVE_MAX: Duration = Duration::from_millis(200);

/// What a start waits for, as whoever asks is told; it may become clearer meanwhile.
#[derive(Clone)]
pub(super) struct Awaited {
    what: Arc<str>,
    told: Arc<ArcSwap<String>>,
}

impl Awaited {
    /// `what`, and nothing is known of why that takes long.
    pub fn new(what: &str) -> Self {
        Self { what: what.into(), told: Arc::new(ArcSwap::from_pointee(what.to_owned())) }
    }

    /// It takes long because of this.
    pub fn because(&self, why: &str) {
        self.told.store(Arc::new(format!("{}: {why}", self.what)));
    }

    /// What there is to tell.
    pub fn told(&self) -> Arc<String> {
        self.told.load_full()
    }
}

/// The porter of one start. Leaves when it is dropped, at the latest.
pub(super) struct Porter {
    stop: watch::Sender<Option<Duration>>,
    thread: Option<JoinHandle<()>>,
}

impl Porter {
    /// Answers at the API port and the admin port: not ready, because of what is awaited. Without a
    /// thread for it whoever comes waits for the start.
    pub fn begin(bound: &Bound, gate: &Arc<Gate>, awaited: &Awaited) -> Option<Self> {
        let clones = (bound.api.try_clone().ok()?, bound.admin.try_clone().ok()?);
        let (stop, stopping) = watch::channel(None);
        let (awaited, gate) = (awaited.clone(), Arc::clone(gate));
        let thread = Builder::new().name("porter".into()).spawn(move || {
            run(clones, gate, &awaited, &stopping);
        });
        Some(Self { stop, thread: Some(thread.ok()?) })
    }
}

impl Drop for Porter {
    fn drop(&mut self) {
        self.stop.send_replace(Some(LEAVE_MAX));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    (api, admin): (TcpListener, TcpListener),
    gate: Arc<Gate>,
    awaited: &Awaited,
    stopping: &watch::Receiver<Option<Duration>>,
) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    let (for_api, for_admin) = (api_router(awaited.clone()), admin_router(awaited.clone()));
    runtime.block_on(async {
        let both = (
            serve(api, for_api, CONNECTIONS_MAX, gate, stopping.clone()),
            serve(admin, for_admin, CONNECTIONS_MAX, Arc::default(), stopping.clone()),
        );
        let _ = tokio::join!(both.0, both.1);
    });
}

/// Sources are told what is awaited, not why it takes long: that is this node's own.
fn api_router(awaited: Awaited) -> Router {
    let detail = format!("this node is starting ({}): come again in a moment", awaited.what);
    let answer = move || async move { not_yet(&detail) };
    Router::new().fallback(answer)
}

fn admin_router(awaited: Awaited) -> Router {
    let detail = format!("this node is starting ({})", awaited.what);
    let ready = move || async move {
        let reasons = [format!("starting: {}", awaited.told())];
        let page = json!({ "ready": false, "reasons": reasons });
        (StatusCode::SERVICE_UNAVAILABLE, Json(page))
    };
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .fallback(move || async move { not_yet(&detail) })
}

fn not_yet(detail: &str) -> Response {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "starting", detail);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    // The next request on this connection is for the real thing.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response.into_response()
}
