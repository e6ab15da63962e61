//! The partner: posts signed webhooks at the schedule's pace.
//!
//! One connection keeps the order within each team. What falls due while a post is under way goes
//! with the next one, as a partner's outbox does; each event keeps the time it was due, so a server
//! that answers late is seen to be late. The signature is written out here rather than borrowed
//! from the server's code: a harness that shared it could not notice that both are wrong.

pub mod plain;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hmac::{Hmac, Mac};
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use touchline_core::time::Timestamp;

use crate::limits::{BODY_EVENTS_MAX, LATENCY_US_MAX};
use crate::receive::harvest::Latency;
use crate::schedule::{Plan, Stream, team_name};
use crate::setup::Flood;
use crate::sys;

/// The partner's name: last part of its webhook path, and its events' `source`.
pub const SOURCE: &str = "bench";
/// The `type` of all events.
pub const KIND: &str = "goal";
/// How often one body is sent again before the run is given up.
const ATTEMPTS_MAX: u32 = 50;
/// The longest `Retry-After` that is obeyed, in seconds.
const RETRY_S_MAX: u64 = 2;
/// How long after a connection was lost.
const RESEND_AFTER: Duration = Duration::from_millis(300);
/// How long a post may take.
const POST_S_MAX: u64 = 30;

/// The id of event `n` of run `run`: 14 letters.
pub fn event_id(run: u32, n: u32) -> String {
    format!("{:06x}{n:08}", run & 0xff_ffff)
}

/// Set once nobody waits for events any more: whoever publishes stops then.
pub type Stop = Arc<AtomicBool>;

/// Where to post, and with which secret.
#[derive(Clone, Debug)]
pub struct Publisher {
    stop: Stop,
    /// A server that runs already remembers the ids of the run before.
    run: u32,
    url: String,
    secret: Vec<u8>,
    client: Client,
}

/// What became of a run's posts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Posted {
    /// Posts that were answered 202.
    pub posts: u64,
    /// Events in them.
    pub events: u64,
    /// Answers 429 and 503 and lost connections, each followed by another attempt.
    pub retries: u64,
    /// From the time the first event of a body was due to its 202, microseconds.
    pub latency: Latency,
    /// From the first due time to the last 202, seconds.
    pub seconds: f64,
    /// When it was told so, by event; 0 where it wasn't, and nothing of a flood.
    #[serde(skip)]
    pub told_ns: Vec<u64>,
}

impl Publisher {
    /// Posts to the API at `api` (`127.0.0.1:8081`), signing with `secret`.
    pub fn new(api: &str, secret: &[u8]) -> Result<Self> {
        let timeout = Duration::from_secs(POST_S_MAX);
        let client = Client::builder().timeout(timeout).tcp_nodelay(true).build()?;
        let url = format!("http://{api}/v1/ingest/broadcast/{SOURCE}");
        let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as u32;
        Ok(Self { stop: Stop::default(), run, url, secret: secret.to_vec(), client })
    }

    /// With the first secret of a file of `whsec_<base64>`, one a line.
    pub fn with_secrets_of(api: &str, secrets_file: &Path) -> Result<Self> {
        let text = fs::read_to_string(secrets_file)
            .with_context(|| format!("read the secrets {}", secrets_file.display()))?;
        let secret = text.lines().find_map(|line| line.trim().strip_prefix("whsec_"));
        let secret = secret.with_context(|| {
            format!("{} holds no line `whsec_<base64>`", secrets_file.display())
        })?;
        Self::new(api, &STANDARD.decode(secret).context("a secret that is no base64")?)
    }

    /// The same, until `stop` is set.
    pub fn until(self, stop: &Stop) -> Self {
        Self { stop: Arc::clone(stop), ..self }
    }

    /// Posts all of `plan`, at its pace.
    pub fn run(&self, plan: &Plan, flood: Option<Flood>) -> Result<Posted> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match flood {
            None => runtime.block_on(self.play(plan)),
            Some(flood) => runtime.block_on(self.flood(&Arc::new(plan.clone()), flood)),
        }
    }

    /// Posts all of `plan` in order over one connection, everything that is due in one body.
    async fn play(&self, plan: &Plan) -> Result<Posted> {
        let mut latencies = histogram();
        let told_ns = vec![0; plan.events() as usize];
        let mut posted = Posted { told_ns, ..Posted::default() };
        // What comes by other ways is brought by others.
        let is_ours = |n: &u32| plan.stream(*n) == Stream::Broadcast;
        let events: Vec<u32> = (0..plan.events()).filter(is_ours).collect();
        let mut rest = &events[..];
        while let Some(first) = rest.first().filter(|_| !self.stop.load(Relaxed)) {
            // Nothing else runs on this runtime, and its own timer counts in milliseconds.
            sys::sleep_until(plan.due_ns(*first));
            let now = sys::now_ns();
            let some = &rest[..rest.len().min(BODY_EVENTS_MAX)];
            let due = some.partition_point(|n| plan.due_ns(*n) <= now).max(1);
            let (due, later) = rest.split_at(due);
            posted.retries += self.post(&body(self.run, plan, due.iter().copied()), *first).await?;
            let now = sys::now_ns();
            let waited = now.saturating_sub(plan.due_ns(*first));
            latencies.saturating_record((waited / 1_000).max(1));
            due.iter().for_each(|n| posted.told_ns[*n as usize] = now);
            posted.posts += 1;
            posted.events += due.len() as u64;
            rest = later;
        }
        Ok(posted.finish(plan, &latencies))
    }

    /// Posts `plan` in bodies of `batch` events, each when its first event is due, whatever
    /// became of the others: up to `flights_max` at once. Those of a warm-up aren't counted.
    async fn flood(&self, plan: &Arc<Plan>, Flood { batch, flights_max }: Flood) -> Result<Posted> {
        let mut latencies = histogram();
        let mut posted = Posted::default();
        let mut flights = tokio::task::JoinSet::new();
        let warm_ns = plan.schedule.warm_ns();
        let mut next = 0;
        while !self.stop.load(Relaxed) && (next < plan.events() || !flights.is_empty()) {
            let wait = plan.due_ns(next).saturating_sub(sys::now_ns());
            let is_full = flights.len() >= flights_max || next >= plan.events();
            tokio::select! {
                biased;
                () = tokio::time::sleep(Duration::from_nanos(wait)), if !is_full => {
                    let end = plan.events().min(next + batch);
                    let (publisher, plan) = (self.clone(), plan.clone());
                    flights.spawn(async move {
                        let body = body(publisher.run, &plan, next..end);
                        let retries = publisher.post(&body, next).await?;
                        let due_ns = plan.due_ns(next);
                        let waited = sys::now_ns().saturating_sub(due_ns);
                        anyhow::Ok((due_ns, u64::from(end - next), retries, waited))
                    });
                    next = end;
                }
                Some(done) = flights.join_next() => {
                    let (due_ns, events, retries, waited) = done.context("a post panicked")??;
                    if due_ns < warm_ns {
                        continue;
                    }
                    posted.posts += 1;
                    posted.events += events;
                    posted.retries += retries;
                    latencies.saturating_record((waited / 1_000).max(1));
                }
            }
        }
        posted = posted.finish(plan, &latencies);
        posted.seconds = sys::now_ns().saturating_sub(warm_ns) as f64 / 1e9;
        Ok(posted)
    }

    /// Posts one body until it is answered 202; says how many attempts were put off.
    async fn post(&self, body: &str, number: u32) -> Result<u64> {
        let id = format!("msg-{:06x}-{number:08}", self.run & 0xff_ffff);
        for attempt in 0..ATTEMPTS_MAX {
            if self.stop.load(Relaxed) {
                break;
            }
            let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let signature = sign(&self.secret, &id, seconds, body.as_bytes());
            let request = self
                .client
                .post(&self.url)
                .header("content-type", "application/json")
                .header("webhook-id", &id)
                .header("webhook-timestamp", seconds.to_string())
                .header("webhook-signature", signature)
                .body(body.to_owned());
            let answer = match request.send().await {
                Ok(answer) => answer,
                // It was killed, or hung up: a partner sends the same again, and the ids in it keep
                // it from being shown twice.
                Err(error) if attempt + 1 < ATTEMPTS_MAX && !error.is_builder() => {
                    tokio::time::sleep(RESEND_AFTER).await;
                    continue;
                }
                Err(error) => return Err(error).with_context(|| format!("post to {}", self.url)),
            };
            match answer.status() {
                StatusCode::ACCEPTED => {
                    answer.bytes().await?;
                    return Ok(attempt.into());
                }
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    let after = answer.headers().get("retry-after");
                    let seconds = after.and_then(|value| value.to_str().ok()?.parse().ok());
                    let wait = Duration::from_secs(seconds.unwrap_or(1).min(RETRY_S_MAX));
                    tokio::time::sleep(wait).await;
                }
                status => bail!("{} answered {status}: {:.300}", self.url, answer.text().await?),
            }
        }
        bail!("{} put off one webhook {ATTEMPTS_MAX} times, or to the end of the run", self.url)
    }
}

impl Posted {
    fn finish(mut self, plan: &Plan, latencies: &Histogram<u64>) -> Self {
        self.latency = Latency::of(latencies);
        self.seconds = sys::now_ns().saturating_sub(plan.schedule.start_ns) as f64 / 1e9;
        self
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
        .expect("the bounds are constants that hdrhistogram takes")
}

/// A webhook's body: an array of events of run `run`.
pub fn body(run: u32, plan: &Plan, events: impl Iterator<Item = u32>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let occurred_at = Timestamp(now.as_micros() as i64).to_rfc3339();
    let items: Vec<String> = events
        .map(|n| {
            let (id, team) = (event_id(run, n), team_name(plan.team(n)));
            let data = plan.data(n);
            format!(
                r#"{{"id":"{id}","teams":["{team}"],"type":"{KIND}","occurred_at":"{occurred_at}","data":{data}}}"#
            )
        })
        .collect();
    format!("[{}]", items.join(","))
}

/// A Standard Webhooks signature, `v1,<base64>`.
pub fn sign(secret: &[u8], id: &str, seconds: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Phase, Schedule};

    #[test]
    fn a_signature_is_the_one_of_the_standards_example() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = sign(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_body_is_an_array_of_events_with_their_stamps() {
        let phases = vec![Phase::even("x", 10.0, 0.3, 2)];
        let plan = Schedule { start_ns: 5, teams: 2, pad: 0, phases }.plan();
        let text = body(7, &plan, 1..3);
        let items: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(items.as_array().unwrap().len(), 2);
        assert_eq!(items[0]["teams"][0], team_name(plan.team(1)));
        assert_eq!(items[1]["id"], "00000700000002");
        assert_eq!(items[1]["data"]["seq"], "00000001");
    }
}
