//! From the log to the shards: each durable event is encoded once, whatever the number of sockets.
//!
//! A [`Feed`] hangs at the log as its [`TailSink`]. It turns records into frames, gathers them into
//! batches, and puts each batch, shared, into every shard's mailbox. It runs on the log's own
//! thread and so never blocks: a mailbox that is full refuses the batch, and its shard reads what
//! it misses back from the log (R26). [`encode_chunk`] makes the same kind of batch out of such a
//! read.
//!
//! # Invariants
//! - A batch has at most [`BATCH_EVENTS_MAX`] events.
//! - The spans of successive batches join up in each lane: a batch that a shard doesn't get shows
//!   as a hole between two others, so shards need no count of their own. So does what the log has
//!   lost, if only by an empty span behind it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::frame::{Batch, Published};
use crate::limits::BATCH_EVENTS_MAX;
use crate::log::{Epoch, Lane, ReadChunk, Record, Span, TailSink};
use crate::mailbox::Sender;
use crate::time::{Monotonic, Timestamp};

/// Where a shard's batches go.
pub type BatchSender = Sender<Arc<Batch>>;

/// Encodes what becomes durable and hands it to every shard.
pub struct Feed {
    epoch: Epoch,
    shards: Vec<BatchSender>,
    clock: fn() -> Monotonic,
}

impl Feed {
    /// A feed of the log's life `epoch` into `shards`. `clock` tells when a batch became known to
    /// be durable: it is the moment from which delivery latency counts.
    pub fn new(epoch: Epoch, shards: Vec<BatchSender>, clock: fn() -> Monotonic) -> Self {
        Self { epoch, shards, clock }
    }
}

impl TailSink for Feed {
    fn durable(&mut self, records: Vec<Record>, spans: &[Span]) {
        let now = (self.clock)();
        for batch in batches(&records, spans, self.epoch, now) {
            let bytes = batch.held_bytes();
            let batch = Arc::new(batch);
            for shard in &mut self.shards {
                // A refusal is noted in the mailbox itself, where the shard sees it.
                let _ = shard.try_send_sized(Arc::clone(&batch), bytes);
            }
        }
    }
}

/// Cuts `records` into batches, each of which covers its lanes up to its last event; the last one
/// covers all the rest.
fn batches<'a>(
    records: &'a [Record],
    spans: &'a [Span],
    epoch: Epoch,
    now: Monotonic,
) -> impl Iterator<Item = Batch> + 'a {
    let mut covered: BTreeMap<Lane, (u64, u64)> =
        spans.iter().map(|span| (span.lane, (span.from, span.next))).collect();
    // No records, but lanes that went on: one batch without events moves the marks (R26).
    let count = records.len().div_ceil(BATCH_EVENTS_MAX).max(usize::from(!spans.is_empty()));
    (0..count).map(move |n| {
        let chunk = &records[n * BATCH_EVENTS_MAX..records.len().min((n + 1) * BATCH_EVENTS_MAX)];
        let mut reached = BTreeMap::new();
        for record in chunk {
            reached.insert(record.position.lane, record.position.seq + 1);
        }
        let last = n + 1 == count;
        let spans = covered.iter_mut().filter_map(|(lane, (from, end))| {
            let next = if last { Some(*end) } else { reached.get(lane).copied() }?;
            Some(Span { lane: *lane, from: std::mem::replace(from, next), next })
        });
        Batch {
            spans: spans.collect(),
            events: chunk.iter().map(|record| Published::encode(record, epoch, now)).collect(),
            holes: Vec::new(),
        }
    })
}

/// A batch of what was read back at `now`, which is `wall` on the wall clock. Its size is that of
/// the read, which the reader bounds in bytes. Events are as old in it as they are in the log
/// (R20).
pub fn encode_chunk(chunk: &ReadChunk, epoch: Epoch, now: Monotonic, wall: Timestamp) -> Batch {
    let read_back = |record: &Record| {
        let age_us = wall.0.saturating_sub(record.received_at.0);
        // A wall clock that was set back makes nothing younger than now.
        let age = Duration::from_micros(u64::try_from(age_us).unwrap_or(0));
        Published { is_read_back: true, ..Published::encode(record, epoch, now - age) }
    };
    Batch {
        spans: vec![Span { lane: chunk.lane, from: chunk.from, next: chunk.next }],
        events: chunk.records.iter().map(read_back).collect(),
        holes: chunk.holes.iter().map(|hole| (chunk.lane, *hole)).collect(),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::log::Position;
    use crate::mailbox::{Doorbell, EventBell, channel};
    use proptest::prelude::*;

    fn record(lane: u16, seq: u64) -> Record {
        let event = Event::sample(&format!("{lane}-{seq}"), "ars+che");
        Record { position: Position { lane: Lane(lane), seq }, received_at: Timestamp(0), event }
    }

    fn span(lane: u16, from: u64, next: u64) -> Span {
        Span { lane: Lane(lane), from, next }
    }

    #[test]
    fn a_batch_without_events_still_moves_the_lanes() {
        let got: Vec<_> = batches(&[], &[span(0, 3, 9)], Epoch(1), Monotonic(0)).collect();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].spans, [span(0, 3, 9)]);
        assert_eq!(batches(&[], &[], Epoch(1), Monotonic(0)).count(), 0);
    }

    #[test]
    fn an_empty_span_beyond_the_last_one_tells_shards_of_a_hole() {
        let got: Vec<_> = batches(&[], &[span(1, 9, 9)], Epoch(1), Monotonic(0)).collect();
        assert_eq!((got.len(), &got[0].spans[..]), (1, &[span(1, 9, 9)][..]));
    }

    #[test]
    fn a_shard_that_is_full_misses_a_batch_and_the_others_do_not() {
        let bell = || Arc::new(Doorbell::new(EventBell::new().unwrap()));
        let (small, mut small_out) = channel(1, bell());
        let (large, mut large_out) = channel(4, bell());
        let mut feed = Feed::new(Epoch(1), vec![small, large], || Monotonic(7));
        for seq in 0..2 {
            feed.durable(vec![record(0, seq)], &[span(0, seq, seq + 1)]);
        }
        assert!(small_out.take_overflowed() && !large_out.take_overflowed());
        let first = small_out.try_recv().unwrap();
        assert!(small_out.try_recv().is_none());
        let other = large_out.try_recv().unwrap();
        assert!(Arc::ptr_eq(&first, &other), "encoded once, shared by all shards");
        assert_eq!(first.events[0].durable_at, Monotonic(7));
        assert_eq!(large_out.try_recv().unwrap().spans, [span(0, 1, 2)]);
        assert!(!first.events[0].is_read_back);
    }

    #[test]
    fn batches_that_wait_are_bounded_in_bytes() {
        let bell = Arc::new(Doorbell::new(EventBell::new().unwrap()));
        let (sender, mut out) = channel(8, bell);
        let one = batches(&[record(0, 0)], &[span(0, 0, 1)], Epoch(1), Monotonic(0)).next();
        let sender = sender.bounded(2 * one.unwrap().held_bytes());
        let mut feed = Feed::new(Epoch(1), vec![sender], || Monotonic(7));
        let mut publish = |seq| feed.durable(vec![record(0, seq)], &[span(0, seq, seq + 1)]);
        (0..3).for_each(&mut publish);
        assert!(out.take_overflowed(), "two fit");
        assert_eq!(out.try_recv().unwrap().spans, [span(0, 0, 1)]);
        publish(3);
        assert!(!out.take_overflowed(), "there is room again");
        let rest: Vec<_> = std::iter::from_fn(|| out.try_recv()).collect();
        assert_eq!(rest.iter().map(|batch| batch.spans[0].from).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn what_is_read_back_is_as_old_as_it_was() {
        let at = |received_at| Record { received_at: Timestamp(received_at), ..record(0, 5) };
        let records = vec![at(7_000_000), at(99_000_000)];
        let chunk = ReadChunk { lane: Lane(0), from: 5, next: 7, records, holes: vec![] };
        let now = Monotonic(60_000_000_000);
        let batch = encode_chunk(&chunk, Epoch(1), now, Timestamp(10_000_000));
        assert!(batch.events.iter().all(|event| event.is_read_back));
        assert_eq!(now.since(batch.events[0].durable_at), Duration::from_secs(3));
        assert_eq!(batch.events[1].durable_at, now, "its clock ran ahead");
    }

    proptest! {
        #[test]
        fn spans_join_up_and_hold_their_events(
            lanes in prop::collection::vec(0..3u16, 0..3_000),
            tail in 0..3u64,
        ) {
            let mut next = [10, 20, 30u64];
            let records: Vec<_> = lanes.iter().map(|lane| {
                next[usize::from(*lane)] += 1;
                record(*lane, next[usize::from(*lane)] - 1)
            }).collect();
            let ends = next.map(|n| n + tail);
            let spans = [span(0, 10, ends[0]), span(1, 20, ends[1]), span(2, 30, ends[2])];
            let mut reached = [10, 20, 30u64];
            let mut events = 0;
            for batch in batches(&records, &spans, Epoch(1), Monotonic(0)) {
                prop_assert!(batch.events.len() <= BATCH_EVENTS_MAX);
                for span in &batch.spans {
                    let at = &mut reached[usize::from(span.lane.0)];
                    prop_assert_eq!(*at, span.from);
                    *at = span.next;
                }
                for event in &batch.events {
                    let at = event.position;
                    let covers = |s: &Span| s.lane == at.lane && (s.from..s.next).contains(&at.seq);
                    prop_assert!(batch.spans.iter().any(covers));
                }
                events += batch.events.len();
            }
            prop_assert_eq!(reached, ends);
            prop_assert_eq!(events, records.len());
        }
    }
}
