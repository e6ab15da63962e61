//! One request to a source, and what its answer must be like to be looked at.

use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Client, Response, StatusCode};

use touchline_core::time::Timestamp;

use super::{Ask, Trouble};
use crate::clock::Clock;
use crate::outbound::{self, SourceError, answer};

/// What asks one source: one connection, kept open.
pub(crate) struct Fetcher {
    client: Client,
    url: reqwest::Url,
    headers: HeaderMap,
    body_bytes_max: usize,
}

/// Why an answer can't be used, and what came, for whoever wants to see it.
#[derive(Debug)]
pub struct Failure {
    /// What it is counted as.
    pub trouble: Trouble,
    /// For people.
    pub why: Box<str>,
    /// As far as it was read.
    pub raw: Vec<u8>,
    /// How long it asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl Failure {
    pub(crate) fn new(trouble: Trouble, why: impl std::fmt::Display) -> Self {
        Self { trouble, why: why.to_string().into(), raw: Vec::new(), retry_after: None }
    }
}

impl Fetcher {
    pub fn new(source: &Ask) -> Result<Self, SourceError> {
        let unfit = |why: String| SourceError::new(&source.name, why);
        let url = outbound::url(&source.url, &["http", "https"]).map_err(unfit)?;
        let headers = outbound::headers(&source.headers).map_err(unfit)?;
        let client = outbound::client()
            .connect_timeout(source.timeout)
            .timeout(source.timeout)
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(Duration::from_secs(30))
            .gzip(true)
            .build()
            .map_err(|error| unfit(error.to_string()))?;
        Ok(Self { client, url, headers, body_bytes_max: source.body_bytes_max })
    }

    /// Asks once. The whole of it, from connecting to the last byte, has the source's timeout. What
    /// comes back says that it is JSON.
    pub async fn fetch(&self, clock: &Clock) -> Result<Vec<u8>, Failure> {
        let request = self.client.get(self.url.clone()).header(ACCEPT, "application/json");
        let response = request.headers(self.headers.clone()).send().await.map_err(failed)?;
        if let Err(failure) = check(&response, self.body_bytes_max, clock()) {
            // Some of what can't be used is read, for whoever wants to see what it is.
            let reads = matches!(failure.trouble, Trouble::ContentType | Trouble::TooLarge);
            let raw = if reads { self.beginning(response).await } else { Vec::new() };
            return Err(Failure { raw, ..failure });
        }
        self.body(response).await
    }

    /// As much of a body as it may have, and as came within the request's time.
    async fn beginning(&self, response: Response) -> Vec<u8> {
        self.body(response).await.unwrap_or_else(|failure| failure.raw)
    }

    /// Its bytes, unpacked, as many as it may have.
    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > self.body_bytes_max => {
                    body.extend_from_slice(&chunk[..self.body_bytes_max - body.len()]);
                    let why = format!("its answer has more than {} bytes", self.body_bytes_max);
                    return Err(Failure { raw: body, ..Failure::new(Trouble::TooLarge, why) });
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(body),
                Err(error) => return Err(Failure { raw: body, ..failed(error) }),
            }
        }
    }
}

fn check(response: &Response, body_bytes_max: usize, now: Timestamp) -> Result<(), Failure> {
    let status = response.status();
    if status.is_redirection() {
        return Err(Failure::new(Trouble::Redirect, answer::redirected(response)));
    }
    if status != StatusCode::OK {
        let failure = Failure::new(Trouble::Status, answer::other_status(status));
        let is_asking = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        let asked =
            is_asking.contains(&status).then(|| answer::retry_after(response.headers(), now));
        return Err(Failure { retry_after: asked.flatten(), ..failure });
    }
    let kind = answer::content_type(response.headers());
    if kind != "application/json" && !kind.ends_with("+json") {
        return Err(Failure::new(Trouble::ContentType, format!("it answers \"{kind}\", not JSON")));
    }
    if response.content_length().is_some_and(|len| len > body_bytes_max as u64) {
        let why = format!("its answer has more than {body_bytes_max} bytes");
        return Err(Failure::new(Trouble::TooLarge, why));
    }
    Ok(())
}

fn failed(error: reqwest::Error) -> Failure {
    let trouble = match &error {
        it if it.is_timeout() => Trouble::Timeout,
        it if it.is_connect() => Trouble::Connect,
        _ => Trouble::Broken,
    };
    Failure::new(trouble, answer::causes(error))
}
