//! What goes wrong with sources, all of it all the time: for the question whether a server that
//! lives among them grows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use tokio::sync::oneshot;

use super::Shared;
use super::crowd::Form;
use crate::publish::sign;
use crate::sys;
use crate::target::SECRET;

/// The partner that sends what nobody can take.
pub const ROGUE: &str = "rogue";
/// Between two of its posts.
const ROGUE_TURN: Duration = Duration::from_millis(50);
/// How long a sensor keeps an ailment.
const AILMENT_NS: u64 = 5_000_000_000;
/// How long a stream lives that is cut off before a client may take it for good, and one that
/// isn't.
const SHORT_LIFE: Duration = Duration::from_secs(4);
const LONG_LIFE: Duration = Duration::from_secs(15);
/// One post in so many is no post.
const JUNK_ONE_IN: u64 = 50;

/// What is wrong with a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ailment {
    /// Nothing.
    None,
    /// It takes so many milliseconds.
    Slow(u64),
    /// It answers 503.
    Failing,
    /// Its answer ends early.
    CutShort,
    /// Its readings don't fit.
    Unfit,
}

impl Ailment {
    /// Of sensor `index` now: one after the other.
    pub fn of(shared: &Shared, index: usize) -> Self {
        if !shared.sources.trouble {
            return Self::None;
        }
        match (index as u64 + sys::now_ns() / AILMENT_NS) % 5 {
            1 => Self::Slow(300),
            2 => Self::Failing,
            3 => Self::CutShort,
            4 => Self::Unfit,
            _ => Self::None,
        }
    }
}

/// Streams of each form that were opened so far.
#[derive(Default)]
pub struct Count([AtomicU64; 3]);

/// A stream that somebody listens to, and how it ends.
pub struct Listening {
    /// Its number; `None` where all is well.
    number: Option<u64>,
    since: Instant,
}

impl Listening {
    /// Of a new listener.
    pub fn new(shared: &Arc<Shared>, form: Form) -> Self {
        let number = shared.trouble.0[form as usize].fetch_add(1, Relaxed);
        Self { number: shared.sources.trouble.then_some(number), since: Instant::now() }
    }

    /// Whether it is told to come later.
    pub fn is_refused(&self) -> bool {
        self.number.is_some_and(|number| number % 4 == 3)
    }

    /// Whether it has ended. Those that stall are left to the server.
    pub fn is_over(&self) -> bool {
        match self.number.map(|number| number % 4) {
            Some(0) => self.since.elapsed() > SHORT_LIFE,
            Some(1) => self.since.elapsed() > LONG_LIFE,
            _ => false,
        }
    }

    /// Whether it says nothing any more.
    pub fn is_stalled(&self) -> bool {
        self.number.is_some_and(|number| number % 4 == 2) && self.since.elapsed() > SHORT_LIFE
    }

    /// Whether post `number` is none.
    pub fn is_junk(&self, number: u64) -> bool {
        self.number.is_some() && number.is_multiple_of(JUNK_ONE_IN)
    }
}

/// A partner that posts what can't be taken. Dropping it ends it.
pub struct Rogue {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Rogue {
    /// Posts to the API at `api`.
    pub fn start(api: SocketAddr) -> Result<Self> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = misbehave(&client, api) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("rogue".into()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a rogue doesn't panic");
        }
    }
}

async fn misbehave(client: &reqwest::Client, api: SocketAddr) {
    let url = format!("http://{api}/v1/ingest/broadcast/{ROGUE}");
    for n in 0_u64.. {
        tokio::time::sleep(ROGUE_TURN).await;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
        let id = format!("rogue-{n}");
        let body = match n % 4 {
            0 => format!(r#"[{{"id":"r{n}","type":"goal"}}]"#),
            1 => format!(r#"{{"half of it {n}"#),
            2 => format!(r#"[{{"id":"r{n}","teams":["T 1"],"type":"goal","data":{{}}}}]"#),
            _ => "[]".to_owned(),
        };
        let key: &[u8] = if n % 4 == 3 { b"a key that nobody knows" } else { SECRET };
        let request = client
            .post(&url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", sign(key, &id, seconds, body.as_bytes()))
            .body(body);
        // Whatever it is answered, it goes on.
        if let Ok(answer) = request.send().await {
            drop(answer.bytes().await);
        }
    }
}
