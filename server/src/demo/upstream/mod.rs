//! The sources that the demo's appliance asks and listens to: sensors of each ground and a stream
//! of posts, over real HTTP on a port of their own.
//!
//! | address | what it is |
//! |---|---|
//! | `GET /sensors/{n}` | what the instruments of the nth venue say |
//! | `GET /social/lines` | posts as they are written, one JSON a line, for ever |
//! | `GET /social/events` | the same as server-sent events |
//!
//! `since_id` (or the header `Last-Event-ID`) asks a stream for what came after that post, as far
//! as it is remembered. With `--trouble` they misbehave as sources do (see [`trouble`]).
//!
//! # What it leaves out
//! Webhooks: a partner is no server (see [`partner`](super::partner)).

pub mod fans;
pub mod sensors;
mod streams;
pub mod trouble;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use streams::Plaza;

use super::world::World;
use super::{Stop, Stopper, now};
use trouble::Ailment;

/// The started sources. Dropping them ends them.
pub struct Upstream {
    address: SocketAddr,
    stopper: Option<Stopper>,
    thread: Option<JoinHandle<()>>,
}

/// What the handlers share.
struct Shared {
    world: World,
    venues: usize,
    trouble: bool,
    plaza: Plaza,
}

impl Upstream {
    /// Serves `venues` grounds and the plaza on a port of 127.0.0.1 that the system chooses.
    ///
    /// # Errors
    /// When the system gives no port, thread or event loop.
    pub fn start(world: World, venues: usize, trouble: bool) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared { world, venues, trouble, plaza: Plaza::new(trouble) });
        let (stopper, stop) = Stopper::new();
        let run = move || {
            if let Err(error) = runtime.block_on(serve(listener, shared, stop)) {
                tracing::error!(%error, "the demo's sources can't be served");
            }
        };
        let thread = std::thread::Builder::new().name("upstream".into()).spawn(run)?;
        Ok(Self { address, stopper: Some(stopper), thread: Some(thread) })
    }

    /// Where they are.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stopper.take();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread of the demo's sources has panicked");
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stop: Stop) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = Router::new()
        .route("/sensors/{venue}", get(sensor))
        .route("/social/lines", get(streams::lines))
        .route("/social/events", get(streams::events))
        .with_state(Arc::clone(&shared));
    tokio::select! {
        served = axum::serve(listener, router) => served,
        () = streams::write(&shared) => Ok(()),
        () = stop.stopped() => Ok(()),
    }
}

async fn sensor(State(shared): State<Arc<Shared>>, Path(venue): Path<usize>) -> Response {
    let Some(venue) = venue.checked_sub(1).filter(|venue| *venue < shared.venues) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let ailment = match shared.trouble {
        true => trouble::of_venue(venue, shared.venues, now()),
        false => Ailment::None,
    };
    match ailment {
        Ailment::Slow => tokio::time::sleep(trouble::SLOW).await,
        Ailment::Failing => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Ailment::None | Ailment::Frozen => {}
    }
    let Some(scene) = shared.world.scene() else {
        return Json(sensors::Answer::default()).into_response();
    };
    let frozen = ailment == Ailment::Frozen;
    Json(sensors::answer(&scene, venue, shared.venues, now(), frozen)).into_response()
}
