//! What Touchline asks and listens to in a run: sensors, and streams of posts, over real HTTP on a
//! port of their own.
//!
//! | address | what it is | module |
//! |---|---|---|
//! | `GET /sensors/{n}` | the latest values of the nth sensor's teams | [`sensors`] |
//! | `GET /posts` | the posts of the schedule, each when it is due | [`posts`] |
//! | `GET /crowd`, `/crowd-events`, `/crowd-messages` | posts of a crowd, which nobody times | [`crowd`] |
//! | `GET /results` | what a partner tells that is asked | [`results`] |
//!
//! [`trouble`] is what goes wrong where a run wants that; [`sections`] connects the server with all
//! of it. They are served by one thread on the clients' core, whose CPU counts as the generator's.

mod crowd;
mod posts;
mod results;
pub mod sections;
mod sensors;
mod trouble;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use tokio::sync::oneshot;

use crate::schedule::{Plan, Stream};
use crate::setup::{Setup, Sources};
use crate::sys;
use sensors::Sensors;
use trouble::Rogue;

/// What is served.
struct Shared {
    sources: Sources,
    teams: u32,
    sensors: Sensors,
    /// Once the run begins.
    plan: OnceLock<Plan>,
    /// Events of the plan that are posts, in order.
    posts: OnceLock<Vec<u32>>,
    trouble: trouble::Count,
}

/// Sources that are served. Dropping them ends them.
pub struct Upstream {
    shared: Arc<Shared>,
    /// Where.
    pub address: SocketAddr,
    rogue: Option<Rogue>,
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Serves what `setup` wants, on `core`; `None` where it wants nothing.
    ///
    /// # Errors
    /// When the system gives no port or thread.
    pub fn start(setup: &Setup, core: usize) -> Result<Option<Self>> {
        let streams = setup.streams();
        if !setup.sources.is_any() && !streams.contains(&Stream::Social) {
            return Ok(None);
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            sources: setup.sources.clone(),
            teams: setup.crowd.teams,
            sensors: Sensors::new(setup.sources.sensors, setup.crowd.teams),
            plan: OnceLock::new(),
            posts: OnceLock::new(),
            trouble: trouble::Count::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let of_thread = Arc::clone(&shared);
        let run = move || {
            let served = sys::pin(core).map_err(Into::into);
            if let Err(error) = served.and_then(|()| serve(listener, of_thread, stopped)) {
                eprintln!("the sources can't be served: {error:#}");
            }
        };
        let thread = std::thread::Builder::new().name("upstream".into()).spawn(run)?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(Some(Self { shared, address, rogue: None, stop, thread }))
    }

    /// From now on events of `plan` come when they are due; partners at `api` turn rogue where that
    /// is wanted.
    pub fn play(&mut self, plan: &Plan, api: Option<SocketAddr>) -> Result<()> {
        let of = |stream| (0..plan.events()).filter(move |n| plan.stream(*n) == stream);
        self.shared.sensors.play(plan, of(Stream::Sensor));
        // A stage plays once.
        let _ = self.shared.posts.set(of(Stream::Social).collect());
        let _ = self.shared.plan.set(plan.clone());
        if let Some(api) = api.filter(|_| self.shared.sources.trouble) {
            self.rogue = Some(Rogue::start(api)?);
        }
        Ok(())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.rogue.take();
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the sources don't panic");
        }
    }
}

fn serve(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let router = Router::new()
        .route("/sensors/{n}", get(sensors::answer))
        .route("/posts", get(posts::scheduled))
        .route("/crowd", get(crowd::lines))
        .route("/crowd-events", get(crowd::events))
        .route("/crowd-messages", get(crowd::messages))
        .route("/results", get(results::answer))
        .with_state(shared)
        .into_make_service_with_connect_info::<SocketAddr>();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::select! {
            served = axum::serve(listener, router) => served.context("serve"),
            // It is never sent to: it ends when we are dropped.
            _ = stopped => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Phase, Track};

    /// What `GET path` says until it holds `wanted`.
    async fn hear(address: SocketAddr, path: &str, wanted: &str) -> String {
        let asked = reqwest::get(format!("http://{address}{path}")).await;
        let (mut answer, mut said) = (asked.unwrap(), String::new());
        while !said.contains(wanted) {
            let chunk = answer.chunk().await.unwrap();
            said +=
                std::str::from_utf8(&chunk.unwrap_or_else(|| panic!("{path}: {said}"))).unwrap();
        }
        said
    }

    #[tokio::test]
    async fn a_crowd_is_heard_in_every_form_and_a_partner_answers() {
        let track = Track::even(10.0, 0, 3);
        let phases = vec![Phase { name: "x".into(), seconds: 20.0, tracks: vec![track] }];
        let mut setup = Setup::even(1, 3, phases);
        setup.sources = Sources { crowd_posts_per_s: 200.0, ..Sources::default() };
        let mut upstream = Upstream::start(&setup, 0).unwrap().expect("a crowd");
        upstream.play(&setup.schedule(sys::now_ns()).plan(), None).unwrap();
        let address = upstream.address;
        hear(address, "/crowd", "\n{\"id\":\"c").await;
        hear(address, "/crowd-events", "\n\ndata: {\"id\":\"c").await;
        let results = hear(address, "/results", "]").await;
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&results).unwrap().len(), 10);
        let mut request = reqwest::Request::new(
            reqwest::Method::GET,
            format!("http://{address}/crowd-messages").parse().unwrap(),
        );
        for (name, value) in [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = reqwest::Client::new().execute(request).await.unwrap();
        let mut socket = answer.upgrade().await.unwrap();
        let mut frame = [0; 16];
        tokio::io::AsyncReadExt::read_exact(&mut socket, &mut frame).await.unwrap();
        // A text frame of 126 bytes and more (RFC 6455, section 5.2).
        assert_eq!((frame[0], frame[1]), (0x81, 126));
        assert!(frame[4..].starts_with(b"{\"id\":\"c"), "{frame:?}");
    }
}
