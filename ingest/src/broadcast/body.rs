//! A body's bytes, read under three bounds: its size, the time it may take, and what all bodies may
//! hold at once.
//!
//! The declared length is judged before a byte is read, and then never trusted again: what counts
//! is what arrives. A body takes from the shared [`Budget`] in small steps as it grows: declaring a
//! megabyte reserves nothing, and thousands of strangers with a byte each lock nobody out.
//!
//! Whose body it is nobody knows before all of it is there: the signature covers every byte. So
//! where the budget is spent, the body that has been on its way for longest gives way, if that is
//! longer than [`ARRIVAL_MIN`] already. A partner's megabyte takes a tenth of that on a good line.
//! To keep partners out strangers must send the whole budget anew within that time, again and
//! again; holding it costs nothing and gets them nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::limits::{ARRIVAL_MIN, IN_FLIGHT_STEP_BYTES};
use crate::problem::{Code, Problem};

/// Bytes that all bodies may hold together, arriving or waiting for the log.
#[derive(Clone, Debug)]
pub struct Budget {
    free: Arc<Semaphore>,
    bytes_max: usize,
    arriving: Arc<Mutex<Arriving>>,
}

/// Bodies on their way, oldest first. There are no more than the port takes connections.
#[derive(Debug, Default)]
struct Arriving {
    next: u64,
    bodies: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
}

/// A body's place among those that arrive; it goes with it.
struct Guest<'b> {
    budget: &'b Budget,
    number: u64,
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.budget.arriving().bodies.remove(&self.number);
    }
}

impl Budget {
    /// A budget of `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        let free = Arc::new(Semaphore::new(bytes_max));
        Self { free, bytes_max, arriving: Arc::default() }
    }

    /// Bytes taken at the moment.
    pub fn taken_bytes(&self) -> usize {
        self.bytes_max.saturating_sub(self.free.available_permits())
    }

    fn arriving(&self) -> MutexGuard<'_, Arriving> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a body, and how it hears that it has to give way.
    fn receive(&self) -> (Guest<'_>, oneshot::Receiver<()>) {
        let (give_way, heard) = oneshot::channel();
        let mut arriving = self.arriving();
        let number = arriving.next;
        arriving.next += 1;
        arriving.bodies.insert(number, (Instant::now(), give_way));
        (Guest { budget: self, number }, heard)
    }

    /// Tells the oldest body to give way, if it has had its time.
    fn evict_oldest(&self) -> bool {
        let mut arriving = self.arriving();
        let Some(oldest) = arriving.bodies.first_entry() else { return false };
        if oldest.get().0.elapsed() < ARRIVAL_MIN {
            return false;
        }
        // It may have become whole just now: then it is on its way out by itself.
        let _ = oldest.remove().1.send(());
        true
    }

    async fn take_step(&self, held: &mut Option<OwnedSemaphorePermit>) -> Result<(), Problem> {
        let step = u32::try_from(IN_FLIGHT_STEP_BYTES).unwrap_or(u32::MAX);
        let free = || Arc::clone(&self.free);
        let taken = match free().try_acquire_many_owned(step) {
            Err(_) if self.evict_oldest() => free().acquire_many_owned(step).await.ok(),
            taken => taken.ok(),
        };
        let Some(more) = taken else {
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
    let (_guest, give_way) = budget.receive();
    let arrive = async {
        tokio::select! {
            biased;
            read = collect(body, budget, bytes_max) => read,
            Ok(()) = give_way => {
                let detail = "webhooks in flight hold all there is, and this one came slowly";
                Err(Problem::new(Code::Overloaded, detail).retry_after(1))
            }
        }
    };
    match tokio::time::timeout(timeout, arrive).await {
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
            budget.take_step(&mut share).await?;
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
