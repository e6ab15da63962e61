//! Serving the API port and the admin port, each on a runtime of its own.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use axum::Router;
use touchline_ingest::broadcast;

use super::{Bound, StartError};
use crate::http::proxied::Gate;
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
    let door = Door { connections_max: API_CONNECTIONS_MAX, gate: Arc::clone(&appliance.gate) };
    let api = serve_on(runtime, "api", bound.api, router, door, stop, move |open| {
        for_api.api_open.store(open, std::sync::atomic::Ordering::Relaxed);
    })?;
    let (admin_stop, stop) = tokio::sync::watch::channel(None);
    let router = admin::router(Arc::clone(appliance));
    let runtime = tokio::runtime::Builder::new_current_thread();
    // Nobody stands before it.
    let door = Door { connections_max: ADMIN_CONNECTIONS_MAX, gate: Arc::default() };
    let admin = serve_on(runtime, "admin", bound.admin, router, door, stop, |_| {})?;
    Ok(Ports { api_stop, api, admin_stop, admin })
}

/// Who may come in, and how many at once.
struct Door {
    connections_max: usize,
    gate: Arc<Gate>,
}

/// A runtime of its own for one port, on a thread of its own; `open` is told when it begins and
/// when it has ended.
fn serve_on(
    mut runtime: tokio::runtime::Builder,
    name: &str,
    listener: TcpListener,
    router: Router,
    door: Door,
    stop: StopSignal,
    open: impl Fn(bool) + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let runtime = runtime.enable_all().build().map_err(StartError::Thread)?;
    // Before the thread begins: whoever is told that we serve may connect at once.
    open(true);
    let port = name.to_owned();
    let run = move || {
        let serving = serve(listener, router, door.connections_max, door.gate, stop);
        if let Err(error) = runtime.block_on(serving) {
            tracing::error!(port, %error, "a port could not be served");
        }
        open(false);
        runtime.shutdown_timeout(Duration::from_millis(100));
    };
    Builder::new().name(name.into()).spawn(run).map_err(StartError::Thread)
}
