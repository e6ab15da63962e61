//! How much of each lane is handed to the producer, and what waits for its turn.
//!
//! librdkafka's idempotent producer sends nothing more of a partition while five of its *messages*
//! (not batches) are under way (`RD_KAFKA_IDEMP_MAX_INFLIGHT`). What it is handed all the same
//! waits inside it, where its linger is over and its broker threads turn without a pause until the
//! acknowledgement comes (docs/decisions/kafka.md has the figures). So it is handed only what it
//! can send: one batch, of all that has gathered here while the last one was under way. The slower
//! brokers are, the more gathers: load makes batches.
//!
//! # Invariant
//! Where something waits, [`UNDER_WAY_MAX`] or more are under way: their outcome lets it go on.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Instant;

use touchline_core::log::Lane;

use super::state::lock;

/// Messages of a lane under way with which librdkafka still sends.
const UNDER_WAY_MAX: usize = 5;
/// Bytes of a batch of several: what topics must take at least is 128 KiB (`max.message.bytes`
/// bounds batches), so none is refused for what stands beside it.
pub(super) const BATCH_BYTES: usize = 100_000;
/// What an event takes in a batch beside its own bytes, at most.
pub(super) const EVENT_HEAD_BYTES: usize = 512;

/// Something that waits for its turn in a lane.
pub(super) struct Waiting<T> {
    /// What it is.
    pub it: T,
    /// What it takes in a batch.
    pub bytes: usize,
    /// It isn't sent after that.
    pub until: Instant,
}

/// One row of what waits for each lane. The door bounds the bytes of all of them.
pub(super) struct Gate<T> {
    rows: Vec<Mutex<Row<T>>>,
}

struct Row<T> {
    under_way: usize,
    waiting: VecDeque<Waiting<T>>,
}

impl<T> Gate<T> {
    /// For so many lanes.
    pub fn new(lanes: usize) -> Self {
        let row = || Mutex::new(Row { under_way: 0, waiting: VecDeque::new() });
        Self { rows: (0..lanes).map(|_| row()).collect() }
    }

    /// Puts `more` behind what waits in `lane`, and lets `send` have what may go, in order: it says
    /// what has failed. Returns that.
    ///
    /// The lane is locked meanwhile, so that nobody overtakes: `send` must not wait, and must not
    /// call what may come back here.
    pub fn enter<F>(
        &self,
        lane: Lane,
        more: impl IntoIterator<Item = Waiting<T>>,
        send: impl FnMut(T) -> Result<(), F>,
    ) -> Vec<F> {
        let mut row = self.row(lane);
        row.waiting.extend(more);
        row.release(send)
    }

    /// The outcome of one of `lane` that was under way is known: as [`Gate::enter`].
    pub fn leave<F>(&self, lane: Lane, send: impl FnMut(T) -> Result<(), F>) -> Vec<F> {
        let mut row = self.row(lane);
        row.under_way = row.under_way.saturating_sub(1);
        row.release(send)
    }

    /// Takes out what waits for too long at `now`.
    pub fn expire(&self, now: Instant) -> Vec<T> {
        let mut late = Vec::new();
        for row in &self.rows {
            let mut row = lock(row);
            while row.waiting.front().is_some_and(|it| it.until <= now) {
                late.extend(row.waiting.pop_front().map(|it| it.it));
            }
        }
        late
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.rows.iter().all(|row| lock(row).under_way == 0)
    }

    fn row(&self, lane: Lane) -> std::sync::MutexGuard<'_, Row<T>> {
        lock(&self.rows[usize::from(lane.0)])
    }
}

impl<T> Row<T> {
    fn release<F>(&mut self, mut send: impl FnMut(T) -> Result<(), F>) -> Vec<F> {
        let mut failed = Vec::new();
        // A second time only where all of a batch, or nearly all, has failed or is large.
        while self.under_way < UNDER_WAY_MAX && !self.waiting.is_empty() {
            let mut bytes = 0;
            while let Some(next) = self.waiting.pop_front_if(|it| fits(bytes, it.bytes)) {
                bytes += next.bytes;
                match send(next.it) {
                    Ok(()) => self.under_way += 1,
                    Err(failure) => failed.push(failure),
                }
            }
        }
        failed
    }
}

/// Whether something fits into a batch that holds `bytes`.
pub(super) const fn fits(bytes: usize, more: usize) -> bool {
    bytes == 0 || bytes + more <= BATCH_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LANE: Lane = Lane(1);

    fn of(bytes: usize, numbers: std::ops::Range<u32>) -> Vec<Waiting<u32>> {
        let until = Instant::now() + Duration::from_secs(60);
        numbers.map(|it| Waiting { it, bytes, until }).collect()
    }

    /// Lets everything through and keeps it.
    fn into(sent: &mut Vec<u32>) -> impl FnMut(u32) -> Result<(), u32> + '_ {
        |it| {
            sent.push(it);
            Ok(())
        }
    }

    #[test]
    fn what_comes_while_a_batch_is_under_way_gathers_and_is_the_next() {
        let (gate, mut sent) = (Gate::new(2), Vec::new());
        gate.enter(LANE, of(600, 0..20), into(&mut sent));
        assert_eq!(sent.len(), 20, "a lane that rests takes a whole batch");
        gate.enter(LANE, of(600, 20..30), into(&mut sent));
        gate.enter(LANE, of(600, 30..40), into(&mut sent));
        assert_eq!(sent.len(), 20);
        (0..15).for_each(|_| drop(gate.leave(LANE, into(&mut sent))));
        assert_eq!(sent.len(), 20, "librdkafka would send nothing while five are under way");
        gate.leave(LANE, into(&mut sent));
        assert_eq!(sent, (0..40).collect::<Vec<_>>());
        (0..24).for_each(|_| drop(gate.leave(LANE, into(&mut sent))));
        assert!(gate.is_idle());
    }

    #[test]
    fn a_few_at_a_time_wait_for_nobody_and_lanes_not_for_each_other() {
        let (gate, mut sent) = (Gate::new(2), Vec::new());
        for n in 0..7 {
            gate.enter(LANE, of(600, n..n + 1), into(&mut sent));
        }
        assert_eq!(sent, [0, 1, 2, 3, 4]);
        gate.enter(Lane(0), of(600, 9..10), into(&mut sent));
        assert_eq!(sent.last(), Some(&9));
    }

    #[test]
    fn a_batch_is_bounded_in_bytes_and_one_that_is_larger_goes_alone() {
        let (gate, mut sent) = (Gate::new(2), Vec::new());
        gate.enter(LANE, of(1_000, 0..250), into(&mut sent));
        assert_eq!(sent.len(), 100);
        (0..100).for_each(|_| drop(gate.leave(LANE, into(&mut sent))));
        assert_eq!(sent.len(), 200);
        let (gate, mut sent) = (Gate::new(2), Vec::new());
        gate.enter(LANE, of(BATCH_BYTES * 2, 0..9), into(&mut sent));
        assert_eq!(sent.len(), UNDER_WAY_MAX);
    }

    #[test]
    fn what_fails_makes_room_and_all_behind_it_is_told_of() {
        let gate = Gate::new(2);
        let failed = gate.enter(LANE, of(1_000, 0..250), Err::<(), u32>);
        assert_eq!(failed, (0..250).collect::<Vec<_>>());
        assert!(gate.is_idle());
    }

    #[test]
    fn what_waits_for_too_long_is_taken_out() {
        let (gate, mut sent) = (Gate::new(2), Vec::new());
        gate.enter(LANE, of(600, 0..5), into(&mut sent));
        gate.enter(LANE, of(600, 5..8), into(&mut sent));
        assert!(gate.expire(Instant::now()).is_empty());
        assert_eq!(gate.expire(Instant::now() + Duration::from_secs(61)), [5, 6, 7]);
        (0..5).for_each(|_| drop(gate.leave(LANE, into(&mut sent))));
        assert!(gate.is_idle() && sent.len() == 5);
    }
}
