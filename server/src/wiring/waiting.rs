//! What the ports say while a start waits for the log's brokers: 503 with `Retry-After` to whoever
//! sends, why to whoever asks whether it is ready (FAULTS 35).

use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::runtime::Builder;
use tokio::sync::watch;

use super::serving::serve_on;
use super::{Bound, StartError};
use crate::config::Options;
use crate::http::problem;
use crate::limits::{ADMIN_CONNECTIONS_MAX, API_CONNECTIONS_MAX};
use crate::running::Addresses;

/// When a source is asked to come back.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");
const WHY: &str = "The log's brokers are waited for, or what they hold is being read.";

/// Ports that answer for a server that isn't there yet.
pub(super) struct Waiting {
    stop: watch::Sender<Option<Duration>>,
    threads: Vec<JoinHandle<()>>,
}

impl Waiting {
    /// Lets ports answer while `open` runs, if it may wait for others.
    pub fn through<T>(
        options: &Options,
        bound: &Bound,
        open: impl FnOnce() -> Result<T, StartError>,
    ) -> Result<T, StartError> {
        let waiting = options.kafka.as_ref().map(|_| Self::begin(bound)).transpose()?;
        let opened = open();
        waiting.into_iter().for_each(Self::end);
        opened
    }

    /// From now on both ports answer.
    fn begin(bound: &Bound) -> Result<Self, StartError> {
        let (stop, stopped) = watch::channel(None);
        let mut waiting = Self { stop, threads: Vec::new() };
        let ports: [(_, &TcpListener, Router, usize); 2] = [
            ("api", &bound.api, Router::new().fallback(refuse), API_CONNECTIONS_MAX),
            ("admin", &bound.admin, admin(), ADMIN_CONNECTIONS_MAX),
        ];
        for (name, listener, router, connections_max) in ports {
            let listener = listener.try_clone().map_err(StartError::Thread)?;
            let (runtime, stop) = (Builder::new_current_thread(), stopped.clone());
            let thread = serve_on(runtime, name, listener, router, connections_max, stop, |_| {});
            waiting.threads.push(thread?);
        }
        let Addresses { api, admin, .. } = bound.addresses;
        tracing::info!(%api, %admin, "opening the log; until then ports answer 503");
        Ok(waiting)
    }

    /// From now on somebody else answers: who comes meanwhile waits in the kernel.
    fn end(mut self) {
        self.stop.send_replace(Some(Duration::ZERO));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn admin() -> Router {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(not_ready))
        .fallback(refuse)
}

async fn not_ready() -> Response {
    let body = json!({ "ready": false, "reasons": [format!("log: {WHY}")] });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

async fn refuse() -> Response {
    let refusal = problem(StatusCode::SERVICE_UNAVAILABLE, "log_unreachable", WHY);
    ([(header::RETRY_AFTER, RETRY_AFTER)], refusal).into_response()
}
