//! What comes off a stream and goes onto it, below lines, events and messages.

use std::time::Duration;

use bytes::Bytes;
use fastwebsockets::{Frame, Payload};
use reqwest::Response;
use tokio::time::timeout;

use super::connect::Lost;
use super::stats::Trouble;

/// The next bytes, keep-alives included.
pub(super) async fn chunk(body: &mut Response, stall: Duration) -> Result<Bytes, Lost> {
    match timeout(stall, body.chunk()).await {
        Err(_) => Err(Lost::new(Trouble::Stalled, format!("nothing has come for {stall:?}"))),
        Ok(Ok(Some(chunk))) => Ok(chunk),
        Ok(Ok(None)) => Err(Lost::new(Trouble::Ended, "it has ended the stream")),
        Ok(Err(error)) => Err(Lost::of(error)),
    }
}

/// What a WebSocket is told first.
pub(super) fn first_message(text: &str) -> Frame<'static> {
    Frame::text(Payload::Owned(text.as_bytes().to_vec()))
}

/// Whether a line that wasn't ended is a post.
pub(super) fn is_whole(line: &[u8]) -> bool {
    line.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}
