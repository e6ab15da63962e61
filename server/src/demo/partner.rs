//! The partner's side of a webhook: signs, posts, and doesn't let go until it knows.
//!
//! Where there are several nodes it posts to any of them, and after an attempt that failed to the
//! next.
//!
//! [`Partner::deliver`] is what a careful partner does. It takes 202 for an answer; waits as long
//! as `Retry-After` asks after 429 and 503, and with a doubling, jittered pause after anything else
//! that may pass (a refused connection, a timeout, a 5xx, an answer cut short); and gives up,
//! telling why, on what will never pass: a refusal of the event itself, or an event that has become
//! too old to be shown (R16). A delivery keeps its `webhook-id` over all attempts.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng as _;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use touchline_core::time::Timestamp;
use touchline_ingest::broadcast::{Secret, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, sign};

use super::meter::Meter;
use super::now;
use crate::limits::demo::{
    ANSWER_BYTES_MAX, EVENT_AGE_MAX, POST_WAIT_MAX, RETRY_AFTER_MAX, RETRY_WAIT_MAX, RETRY_WAIT_MIN,
};

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server has it: for the first time, or it had it already, or it is too old to be shown.
    Accepted(Tally),
    /// The server will never take it.
    Refused {
        /// HTTP status, or zero when the partner gave up by itself.
        status: u16,
        /// What the server said.
        reason: String,
    },
}

/// The server's 202.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Tally {
    /// New events.
    pub accepted: u64,
    /// Events it had already.
    pub duplicates: u64,
    /// Events it acknowledged but doesn't show.
    pub too_old: u64,
}

/// One attempt's outcome.
enum Attempt {
    Done(Verdict),
    /// Try again, after at least so long if the server named a time.
    Again {
        after: Option<Duration>,
        reason: String,
    },
}

/// Posts to one partner's door, or to its doors on several nodes.
pub struct Partner {
    client: Client,
    urls: Vec<String>,
    secret: Secret,
    meter: Meter,
}

impl Partner {
    /// A partner that posts to any of `urls`.
    ///
    /// # Errors
    /// When the HTTP client can't be made.
    pub fn new(urls: Vec<String>, secret: Secret, meter: Meter) -> reqwest::Result<Self> {
        let client = Client::builder()
            .connect_timeout(POST_WAIT_MAX / 4)
            .timeout(POST_WAIT_MAX)
            .no_proxy()
            .user_agent(concat!("touchline-demo/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, urls, secret, meter })
    }

    /// Delivers `body`, which happened at `occurred_at`, however long it takes.
    pub async fn deliver(&self, webhook_id: &str, body: &Bytes, occurred_at: Timestamp) -> Verdict {
        let mut pause = RETRY_WAIT_MIN;
        let first = rand::rng().random_range(0..self.urls.len().max(1));
        for url in self.urls.iter().cycle().skip(first) {
            let (after, reason) = match self.attempt(url, webhook_id, body).await {
                Attempt::Done(verdict) => return verdict,
                Attempt::Again { after, reason } => (after, reason),
            };
            let age_us = now().0.saturating_sub(occurred_at.0);
            if age_us > EVENT_AGE_MAX.as_micros() as i64 {
                let reason = format!("given up after {} minutes: {reason}", age_us / 60_000_000);
                return Verdict::Refused { status: 0, reason };
            }
            let wait = wait(after, pause);
            self.meter.retried(&reason, wait);
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(RETRY_WAIT_MAX);
        }
        Verdict::Refused { status: 0, reason: "there is no node to post to".into() }
    }

    async fn attempt(&self, url: &str, webhook_id: &str, body: &Bytes) -> Attempt {
        let timestamp_s = now().0 / 1_000_000;
        let signature = sign(&self.secret, webhook_id, timestamp_s, body);
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(WEBHOOK_ID, webhook_id)
            .header(WEBHOOK_TIMESTAMP, timestamp_s)
            .header(WEBHOOK_SIGNATURE, signature)
            .body(body.clone());
        match request.send().await {
            Ok(response) => judge(response).await,
            Err(error) => Attempt::Again { after: None, reason: plain(&error) },
        }
    }
}

async fn judge(response: Response) -> Attempt {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let body = match read(response).await {
        Ok(body) => body,
        Err(error) => return Attempt::Again { after: None, reason: plain(&error) },
    };
    let passing = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    match (status, serde_json::from_slice(&body)) {
        (StatusCode::ACCEPTED, Ok(tally)) => Attempt::Done(Verdict::Accepted(tally)),
        (StatusCode::ACCEPTED, Err(_)) => {
            Attempt::Again { after: None, reason: "a 202 without a tally".into() }
        }
        _ if passing => Attempt::Again { after, reason: format!("the API answers {status}") },
        _ => {
            let reason = String::from_utf8_lossy(&body).into_owned();
            Attempt::Done(Verdict::Refused { status: status.as_u16(), reason })
        }
    }
}

/// The answer's body, cut where no answer of ours is that long.
async fn read(mut response: Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = ANSWER_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok(body)
}

/// What the server asked for and up to a fifth more; else anything up to the doubling pause.
fn wait(after: Option<Duration>, pause: Duration) -> Duration {
    let mut rng = rand::rng();
    match after {
        Some(after) => {
            after.clamp(RETRY_WAIT_MIN, RETRY_AFTER_MAX).mul_f64(1.0 + 0.2 * rng.random::<f64>())
        }
        None => pause.mul_f64(rng.random::<f64>()).max(RETRY_WAIT_MIN / 10),
    }
}

fn plain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "the API doesn't answer".into()
    } else if error.is_connect() {
        "the API can't be reached".into()
    } else {
        "the API's answer was cut short".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_given_the_time_it_asks_for() {
        let seconds = Duration::from_secs;
        for (asked, least) in [(60, 60), (300, 300), (900, 900), (86_400, 900)] {
            for _ in 0..50 {
                let wait = wait(Some(seconds(asked)), RETRY_WAIT_MIN);
                let most = seconds(least).mul_f64(1.2);
                assert!((seconds(least)..=most).contains(&wait), "{asked} s became {wait:?}");
            }
        }
        assert!(wait(Some(Duration::ZERO), RETRY_WAIT_MAX) >= RETRY_WAIT_MIN);
    }
}
