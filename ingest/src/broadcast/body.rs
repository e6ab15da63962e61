//! A body's bytes, read under three bounds: its size, the time it may take, and what all bodies may
//! hold at once.
//!
//! The declared length is judged before a byte is read, and then never trusted again: what counts
//! is what arrives. A body takes from the shared [`Budget`] in small steps as it grows: declaring a
//! megabyte reserves nothing, and thousands of strangers with a byte each lock nobody out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::IN_FLIGHT_STEP_BYTES;
use crate::problem::{Code, Problem};

/// Bytes that all bodies may hold together, arriving or waiting for the log.
#[derive(Clone, Debug)]
pub struct Budget {
    free: Arc<Semaphore>,
    bytes_max: usize,
}

impl Budget {
    /// A budget of `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(bytes_max)), bytes_max }
    }

    /// Bytes taken at the moment.
    pub fn taken_bytes(&self) -> usize {
        self.bytes_max.saturating_sub(self.free.available_permits())
    }

    fn take_step(&self, held: &mut Option<OwnedSemaphorePermit>) -> Result<(), Problem> {
        let step = u32::try_from(IN_FLIGHT_STEP_BYTES).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.free).try_acquire_many_owned(step) else {
            let detail = format!("webhooks in flight hold all of {} bytes", self.bytes_max);
            return Err(Problem::new(Code::Overloaded, detail).retry_after(1));
        };
        match held {
            Some(permit) => permit.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }
}

/// A whole body. Its share of the budget goes back when the last holder drops it.
#[derive(Debug)]
pub struct Held {
    /// The bytes as they came.
    pub bytes: Bytes,
    /// Its share of the budget; to be kept as long as the bytes or what was made of them.
    pub share: Option<OwnedSemaphorePermit>,
}

/// Reads `body`: at most `bytes_max` within `timeout`.
pub async fn read(
    body: Body,
    budget: &Budget,
    bytes_max: usize,
    timeout: Duration,
) -> Result<Held, Problem> {
    let declared = body.size_hint().lower();
    if declared > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    match tokio::time::timeout(timeout, collect(body, budget, bytes_max)).await {
        Ok(read) => read,
        Err(_) => {
            let detail = format!("the body must arrive within {} s", timeout.as_secs_f32());
            Err(Problem::new(Code::BodyTimeout, detail))
        }
    }
}

async fn collect(mut body: Body, budget: &Budget, bytes_max: usize) -> Result<Held, Problem> {
    let mut bytes = BytesMut::new();
    let mut share = None;
    let mut paid = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            let detail = "the connection ended or broke framing before the body was whole";
            return Err(Problem::new(Code::BodyIncomplete, detail));
        };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.remaining() > bytes_max {
            return Err(too_large(bytes_max));
        }
        while paid < bytes.len() + data.remaining() {
            budget.take_step(&mut share)?;
            paid += IN_FLIGHT_STEP_BYTES;
        }
        bytes.put(data);
    }
    Ok(Held { bytes: bytes.freeze(), share })
}

/// The refusal of a body past `bytes_max`.
pub fn too_large(bytes_max: usize) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("a body may have {bytes_max} bytes; send fewer events"),
    )
}
