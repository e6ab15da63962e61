//! Serving the API port and the admin port, each on a runtime of its own.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use axum::Router;
use touchline_ingest::broadcast;

use super::{Bound, StartError};
use crate::http::serve::{StopSignal, serve};
use crate::keeper::Ports;
use crate::limits::{ADMIN_CONNECTIONS_MAX, API_CONNECTIONS_MAX, API_THREADS};
use crate::running::Appliance;
use crate::{admin, http, live};

pub(super) fn open_ports(appliance: &Arc<Appliance>, bound: Bound) -> Result<Ports, StartError> {
    let webhooks = broadcast::router(appliance.webhooks.clone());
    let live = live::router(Arc::clone(&appliance.live));
    let router = http::api(webhooks, live, Arc::clone(&appliance.place));
    let (api_stop, stop) = tokio::sync::watch::channel(None);
    let for_api = Arc::clone(appliance);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(API_THREADS).thread_name("api");
    let api =
        serve_on(runtime, "api", bound.api, router, API_CONNECTIONS_MAX, stop, move |open| {
            for_api.api_open.store(open, std::sync::atomic::Ordering::Relaxed);
        })?;
    let (admin_stop, stop) = tokio::sync::watch::channel(None);
    let router = admin::router(Arc::clone(appliance));
    let runtime = tokio::runtime::Builder::new_current_thread();
    let admin =
        serve_on(runtime, "admin", bound.admin, router, ADMIN_CONNECTIONS_MAX, stop, |_| {})?;
    Ok(Ports { api_stop, api, admin_stop, admin })
}

/// A runtime of its own for one port, on a thread of its own; `open` is told when it begins and
/// when it has ended.
pub(super) fn serve_on(
    mut runtime: tokio::runtime::Builder,
    name: &str,
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    stop: StopSignal,
    open: impl Fn(bool) + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let runtime = runtime.enable_all().build().map_err(StartError::Thread)?;
    // Before the thread begins: whoever is told that we serve may connect at once.
    open(true);
    let port = name.to_owned();
    let run = move || {
        if let Err(error) = runtime.block_on(serve(listener, router, connections_max, stop)) {
            tracing::error!(port, %error, "a port could not be served");
        }
        open(false);
        runtime.shutdown_timeout(Duration::from_millis(100));
    };
    Builder::new().name(name.into()).spawn(run).map_err(StartError::Thread)
}
