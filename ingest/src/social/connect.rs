//! How a stream is opened, and what an answer that is none means.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, HeaderMap, HeaderValue,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use sha1::{Digest as _, Sha1};

use super::backoff::Cause;
use super::stats::Trouble;
use super::websocket::{Socket, socket};
use super::{Rewind, SocialKind, SocialSource};
use crate::clock::Clock;
use crate::limits::CONNECT_TIMEOUT;
use crate::outbound::{self, SourceError, answer};

/// Opens the stream of one source.
pub(super) struct Connector {
    client: Client,
    url: Url,
    headers: HeaderMap,
    kind: SocialKind,
    rewind: Rewind,
    parameter: Box<str>,
    stall: Duration,
    clock: Clock,
}

/// Where to go on from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Token {
    /// The last id; empty if there is none.
    pub id: String,
    /// Minutes since anything was heard.
    pub minutes: Option<u64>,
}

/// An open stream.
pub(super) enum Opened {
    /// Lines or server-sent events.
    Body(Response),
    /// A WebSocket.
    Socket(Box<Socket>),
}

/// Why there is no stream, or no more.
#[derive(Debug)]
pub(super) struct Lost {
    pub trouble: Trouble,
    pub why: String,
    pub cause: Cause,
    /// How long the other side wants us to stay away.
    pub asked: Option<Duration>,
}

impl Lost {
    pub fn new(trouble: Trouble, why: impl Into<String>) -> Self {
        let cause = match trouble {
            Trouble::Limited => Cause::Limited,
            Trouble::Barred | Trouble::Redirect | Trouble::ContentType => Cause::Barred,
            _ => Cause::Lost,
        };
        Self { trouble, why: why.into(), cause, asked: None }
    }

    /// What an HTTP client's error means.
    pub fn of(error: reqwest::Error) -> Self {
        let trouble = match &error {
            it if it.is_connect() => Trouble::Connect,
            it if it.is_timeout() => Trouble::Timeout,
            _ => Trouble::Broken,
        };
        Self::new(trouble, answer::causes(error))
    }
}

impl Connector {
    pub fn new(source: &SocialSource, clock: Clock) -> Result<Self, SourceError> {
        let unfit = |why: String| SourceError::new(&source.name, why);
        let url = address(source)?;
        let client = outbound::client()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(0)
            .gzip(false)
            .http1_only()
            .build()
            .map_err(|error| unfit(error.to_string()))?;
        Ok(Self {
            client,
            url,
            headers: outbound::headers(&source.headers).map_err(unfit)?,
            kind: source.kind,
            rewind: source.rewind,
            parameter: source.rewind_parameter.clone(),
            stall: source.stall,
            clock,
        })
    }

    /// Opens it, from where the token says.
    pub async fn open(&self, token: &Token) -> Result<Opened, Lost> {
        let key = STANDARD.encode(rand::random::<[u8; 16]>());
        let asked = self.request(token, &key).send();
        // The head may come with the first post: a quiet stream has as long for it as for a byte.
        let response = match tokio::time::timeout(CONNECT_TIMEOUT + self.stall, asked).await {
            Err(_) => return Err(Lost::new(Trouble::Timeout, "it doesn't answer")),
            Ok(answer) => answer.map_err(Lost::of)?,
        };
        self.judge(&response)?;
        if self.kind != SocialKind::WebSocket {
            return Ok(Opened::Body(response));
        }
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT);
        if accept.is_none_or(|accept| accept != accept_of(&key).as_str()) {
            return Err(Lost::new(Trouble::ContentType, "it is no WebSocket: its key doesn't fit"));
        }
        let upgraded = response.upgrade().await.map_err(Lost::of)?;
        Ok(Opened::Socket(Box::new(socket(upgraded, self.stall))))
    }

    fn request(&self, token: &Token, key: &str) -> RequestBuilder {
        let mut url = self.url.clone();
        match (self.rewind, token.minutes) {
            (Rewind::SinceId, _) if !token.id.is_empty() => {
                set_parameter(&mut url, &self.parameter, &token.id);
            }
            (Rewind::BackfillMinutes, Some(minutes)) => {
                set_parameter(&mut url, &self.parameter, &minutes.to_string());
            }
            _ => {}
        }
        let mut request = self.client.get(url).header(CACHE_CONTROL, "no-store");
        request = match self.kind {
            SocialKind::Lines => request.header(ACCEPT, "application/x-ndjson, application/json"),
            SocialKind::Events => request.header(ACCEPT, "text/event-stream"),
            SocialKind::WebSocket => request
                .header(CONNECTION, "Upgrade")
                .header(UPGRADE, "websocket")
                .header(SEC_WEBSOCKET_VERSION, "13")
                .header(SEC_WEBSOCKET_KEY, key),
        };
        if self.rewind == Rewind::LastEventId
            && !token.id.is_empty()
            && let Ok(id) = HeaderValue::from_bytes(token.id.as_bytes())
        {
            request = request.header("last-event-id", id);
        }
        request.headers(self.headers.clone())
    }

    fn judge(&self, response: &Response) -> Result<(), Lost> {
        let (status, headers) = (response.status(), response.headers());
        let expected = match self.kind {
            SocialKind::WebSocket => StatusCode::SWITCHING_PROTOCOLS,
            SocialKind::Lines | SocialKind::Events => StatusCode::OK,
        };
        if status == expected {
            return self.judge_content(headers);
        }
        let trouble = match status.as_u16() {
            420 | 429 => Trouble::Limited,
            300..=399 => Trouble::Redirect,
            400..=499 => Trouble::Barred,
            _ => Trouble::Status,
        };
        let why = match trouble {
            Trouble::Redirect => answer::redirected(response),
            _ => answer::other_status(status),
        };
        let asked = answer::retry_after(headers, (self.clock)());
        Err(Lost { asked, ..Lost::new(trouble, why) })
    }

    fn judge_content(&self, headers: &HeaderMap) -> Result<(), Lost> {
        let kind = answer::content_type(headers);
        let fits = match self.kind {
            SocialKind::Lines => kind != "text/html",
            SocialKind::Events => kind == "text/event-stream",
            SocialKind::WebSocket => true,
        };
        let plain = headers.get(CONTENT_ENCODING).is_none_or(|coding| coding == "identity");
        match fits && plain {
            true => Ok(()),
            false => Err(Lost::new(
                Trouble::ContentType,
                format!("it answers \"{kind}\", which is no stream of {}", self.kind.as_str()),
            )),
        }
    }
}

/// Where it is asked; a WebSocket begins as HTTP.
pub(super) fn address(source: &SocialSource) -> Result<Url, SourceError> {
    let unfit = |why: String| SourceError::new(&source.name, why);
    let schemes: &[&str] = match source.kind {
        SocialKind::WebSocket => &["ws", "wss"],
        SocialKind::Lines | SocialKind::Events => &["http", "https"],
    };
    let mut url = outbound::url(&source.url, schemes).map_err(unfit)?;
    let scheme = match url.scheme() {
        "ws" | "http" => "http",
        _ => "https",
    };
    url.set_scheme(scheme).map_err(|()| unfit("its url has no scheme".into()))?;
    Ok(url)
}

/// In the place of what the url may say already.
fn set_parameter(url: &mut Url, name: &str, value: &str) {
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(other, _)| other != name)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
}

/// RFC 6455, 4.2.2.
fn accept_of(key: &str) -> String {
    STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standard_gets_the_answer_of_the_standard() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_rewind_takes_the_place_of_what_the_url_says() {
        let mut url = Url::parse("https://a.example/s?since_id=1&lang=en").unwrap();
        set_parameter(&mut url, "since_id", "a&b");
        assert_eq!(url.as_str(), "https://a.example/s?lang=en&since_id=a%26b");
    }
}
