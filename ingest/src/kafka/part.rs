//! Records that were read at once: judged, shown, and what can't be shown put aside.
//!
//! # What is put aside
//! A record that nobody can read becomes a dead letter on every node. One whose id another node has
//! used for something else in the same moment (R15) was acknowledged by the node that sent it, and
//! becomes a letter there alone: every node counts it, and one has it.

use bytes::Bytes;
use touchline_core::dead::{DeadLetter, Desk};
use touchline_core::event::{Event, Stream};
use touchline_core::log::{Lane, Position, Record, Span, record};
use touchline_core::time::Timestamp;

use super::judge::Verdict;
use super::state::{Shared, lock};
use super::wire::{Poison, Taken};
use crate::clock::system_clock;

/// Records that join up in each of their lanes.
#[derive(Default)]
pub(super) struct Part {
    taken: Vec<Taken>,
    spans: Vec<Span>,
}

impl Part {
    /// The next record of a lane, joining the one before.
    pub fn add(&mut self, taken: Taken) {
        let Position { lane, seq } = taken.position;
        match self.spans.iter_mut().find(|span| span.lane == lane) {
            Some(span) => span.next = seq + 1,
            None => self.spans.push(Span { lane, from: seq, next: seq + 1 }),
        }
        self.taken.push(taken);
    }

    /// Whether it holds records of `lane`.
    pub fn holds(&self, lane: Lane) -> bool {
        self.spans.iter().any(|span| span.lane == lane)
    }

    /// Judges all of them, shows what is to be shown, and moves the bounds.
    pub fn show(self, shared: &Shared) {
        if self.taken.is_empty() {
            return;
        }
        let (mut records, mut duplicates) = (Vec::new(), Vec::new());
        let (mut poison, mut reused, mut own) = (Vec::new(), 0, Vec::new());
        let newest_ms = self.taken.iter().map(|taken| taken.at_ms).max();
        newest_ms.into_iter().for_each(|at_ms| shared.saw_stamp(at_ms));
        let read = self.taken.len() as u64;
        let mut door = lock(&shared.door);
        for Taken { position, at_ms, event, raw, .. } in self.taken {
            let (event, received_at) = match event {
                Ok(taken) => taken,
                Err(why) => {
                    door.pass(position);
                    poison.push((position, why, raw));
                    continue;
                }
            };
            let (verdict, is_own) = door.judge(position, at_ms, &event);
            if verdict == Verdict::First {
                records.push(Record { position, received_at, event });
                continue;
            }
            duplicates.push((position.lane, position.seq));
            if verdict == Verdict::Reused {
                reused += 1;
                own.extend(is_own.then_some((position, event, received_at)));
            }
        }
        drop(door);
        shared.stats.add_read(read, duplicates.len() as u64, poison.len() as u64);
        shared.stats.add_reused(reused);
        for (position, event, received_at) in own {
            park_reused(shared, position, &event, received_at);
        }
        poison.into_iter().for_each(|(position, why, raw)| park(shared, position, why, raw));
        // Before bounds move: who reads what they allow must know of its duplicates.
        shared.suppress(&duplicates);
        shared.publish(records, &self.spans);
    }
}

/// Keeps a record that can't be shown for somebody to look at; its partition goes on.
fn park(shared: &Shared, position: Position, why: Poison, raw: Bytes) {
    let Some((at, detail)) = place(shared, position, &why.to_string()) else { return };
    tracing::warn!(detail, "a record of the log can't be shown");
    // What lies in another's lane can be read, and so says itself whose it is.
    let known = record::decode(raw.clone()).ok();
    let of =
        |text: fn(&Event) -> &str| known.as_ref().map_or("log", |(event, _)| text(event)).into();
    shared.dead.park(DeadLetter {
        desk: Desk::Log,
        stream: at,
        source: of(|event| &event.source),
        reason: why.reason(),
        detail,
        attempts: 1,
        correlation: of(|event| &event.correlation),
        received_at: known.as_ref().map_or_else(system_clock, |(_, received_at)| *received_at),
        raw,
    });
}

/// Keeps what this node has acknowledged and nobody will be shown: for good, and without waiting.
fn park_reused(shared: &Shared, position: Position, event: &Event, received_at: Timestamp) {
    const WHY: &str = "another node took its id for other content in the same moment, and that one \
                       is shown";
    let Some((_, detail)) = place(shared, position, WHY) else { return };
    tracing::warn!(source = &*event.source, id = &*event.id, detail, "an id was used twice");
    if !shared.owed.push(DeadLetter::of_event(event, received_at, "id_reused", detail)) {
        shared.stats.add_owed_lost();
    }
}

/// The stream of a record, and where it stands with what is wrong with it.
fn place(shared: &Shared, position: Position, why: &str) -> Option<(Stream, Box<str>)> {
    let (lane, seq) = (position.lane.0, position.seq);
    let (stream, partition) = shared.lanes.place(position.lane)?;
    let topic = shared.lanes.topic(stream);
    let detail = format!("lane {lane} ({topic}, partition {partition}), offset {seq}: {why}");
    Some((stream, detail.into()))
}

#[cfg(test)]
mod tests {
    use super::super::door::{Door, Rules};
    use super::super::lanes::Lanes;
    use super::super::owed;
    use super::super::wire::encode;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use touchline_core::dead::DeadLetters;
    use touchline_core::log::{Epoch, TailSink};

    /// Letters, and how many of them were to be kept for good.
    #[derive(Default)]
    struct Shelf(Mutex<Vec<DeadLetter>>, AtomicUsize);

    impl DeadLetters for Shelf {
        fn park(&self, letter: DeadLetter) {
            self.0.lock().unwrap().push(letter);
        }

        fn park_durably(&self, letter: DeadLetter, _: &dyn Fn() -> bool) -> bool {
            self.park(letter);
            self.1.fetch_add(1, Ordering::Relaxed);
            true
        }
    }

    struct Shown(Arc<Mutex<Vec<(u64, u64)>>>);

    impl TailSink for Shown {
        fn durable(&mut self, records: Vec<Record>, spans: &[Span]) {
            let shown = records.iter().map(|record| (record.position.seq, spans[0].next));
            self.0.lock().unwrap().extend(shown);
        }
    }

    fn event(id: &str) -> Event {
        Event::sample(id, "ars")
    }

    fn rules() -> Rules {
        let windows = [Duration::from_secs(60); 4];
        Rules { windows, entries_max: 100, pending_bytes_max: 1_000 }
    }

    #[test]
    fn fault_36_a_poison_record_is_parked_with_its_bytes_and_its_lane_goes_on() {
        let lanes = Lanes::new("", 4);
        let lane = lanes.of(Stream::Broadcast, &event("a").route);
        let shelf = Arc::new(Shelf::default());
        let door = Door::new(&lanes, rules());
        let shared = Shared::new(lanes, Epoch(1), door, shelf.clone());
        let shown = Arc::new(Mutex::new(Vec::new()));
        shared.attach(Box::new(Shown(Arc::clone(&shown))));
        let misplaced = encode(&event("b"), Timestamp(7));
        let mut part = Part::default();
        for (seq, event, raw) in [
            (0, Ok((event("a"), Timestamp(5))), Bytes::new()),
            (1, Err(Poison::Empty), Bytes::new()),
            (2, Err(Poison::Record(record::RecordError::Version(9))), Bytes::from_static(b"\x09?")),
            (3, Err(Poison::Misplaced(200)), Bytes::from(misplaced.clone())),
            (4, Ok((event("c"), Timestamp(6))), Bytes::new()),
        ] {
            part.add(Taken { position: Position { lane, seq }, at_ms: 1, bytes: 2, event, raw });
        }
        part.show(&shared);
        assert_eq!(*shown.lock().unwrap(), [(0, 5), (4, 5)], "its neighbours are shown");
        let letters = shelf.0.lock().unwrap();
        let reasons: Vec<_> = letters.iter().map(|it| (it.reason, &*it.source)).collect();
        let want =
            [("record_empty", "log"), ("record_malformed", "log"), ("record_misplaced", "skyline")];
        assert_eq!(reasons, want);
        assert_eq!((&letters[1].raw[..], letters[2].received_at), (&b"\x09?"[..], Timestamp(7)));
        let place = "(broadcast-events, partition ";
        assert!(letters[1].detail.contains(place) && letters[1].detail.contains("offset 2: "));
        assert!(letters.iter().all(|it| it.desk == Desk::Log && it.stream == Stream::Broadcast));
    }

    #[test]
    fn an_id_that_two_nodes_took_at_once_is_counted_by_all_and_parked_by_the_one_that_sent_it() {
        for is_ours in [true, false] {
            let lanes = Lanes::new("", 4);
            let lane = lanes.of(Stream::Broadcast, &event("a").route);
            let shelf = Arc::new(Shelf::default());
            let door = Door::new(&lanes, rules());
            let shared = Shared::new(lanes, Epoch(1), door, shelf.clone());
            let ours = Event { data: "[]".into(), ..event("a") };
            let now = ours.occurred_at;
            if is_ours {
                let admitted = lock(&shared.door).admit(
                    std::slice::from_ref(&ours),
                    now,
                    &shared.lanes,
                    Box::new(|_| {}),
                );
                assert!(admitted.is_ok());
            }
            let mut part = Part::default();
            for (seq, event) in [(0, event("a")), (1, ours.clone()), (2, event("a"))] {
                let (event, raw) = (Ok((event, Timestamp(seq as i64))), Bytes::new());
                part.add(Taken {
                    position: Position { lane, seq },
                    at_ms: 1,
                    bytes: 2,
                    event,
                    raw,
                });
            }
            part.show(&shared);
            shared.is_closing.store(true, Ordering::Relaxed);
            owed::keep(&shared);
            let stats = shared.stats.snapshot();
            assert_eq!((stats.suppressed, stats.reused), (2, 1), "{is_ours}");
            let letters = shelf.0.lock().unwrap();
            assert_eq!(letters.len(), usize::from(is_ours));
            assert_eq!(shelf.1.load(Ordering::Relaxed), letters.len(), "kept for good");
            for letter in &*letters {
                assert_eq!((letter.reason, letter.desk), ("id_reused", Desk::Log));
                assert!(letter.detail.contains("offset 1: another node took its id"));
                let parked = record::decode(letter.raw.clone()).unwrap();
                assert_eq!(parked, (ours.clone(), Timestamp(1)), "as it was acknowledged");
            }
        }
    }
}
