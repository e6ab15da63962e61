//! What becomes of appends, and of records read back.

use super::*;
use bytes::Bytes;
use std::sync::mpsc;
use touchline_core::event::Route;

const NOW: Timestamp = Timestamp(3_600_000_000_000);

struct Fixture {
    door: Door,
    lanes: Lanes,
    told: mpsc::Sender<Result<Vec<Outcome>, AppendError>>,
    answers: mpsc::Receiver<Result<Vec<Outcome>, AppendError>>,
}

fn fixture() -> Fixture {
    let lanes = Lanes::new("", 4);
    let windows = [3_600, 3_600, 600, 60].map(Duration::from_secs);
    let rules = Rules { windows, entries_max: 5, pending_bytes_max: 1_000 };
    let (told, answers) = mpsc::channel();
    Fixture { door: Door::new(&lanes, rules), lanes, told, answers }
}

fn event(id: &str, data: &'static str) -> Event {
    Event { occurred_at: NOW, data: data.into(), ..Event::sample(id, "ars") }
}

impl Fixture {
    fn admit(&mut self, events: &[Event]) -> Result<Admitted, AppendError> {
        let told = self.told.clone();
        let reply = Box::new(move |answer| told.send(answer).unwrap());
        self.door.admit(events, NOW, &self.lanes, reply).map_err(|(error, _)| error)
    }

    fn flying(&mut self, events: &[Event]) -> (Arc<Flight>, Vec<New>) {
        match self.admit(events) {
            Ok(Admitted::Flying(flight, new)) => (flight, new),
            Ok(Admitted::Settled(_, outcomes)) => panic!("settled: {outcomes:?}"),
            Err(error) => panic!("{error}"),
        }
    }

    fn settled(&mut self, events: &[Event]) -> Vec<Outcome> {
        match self.admit(events) {
            Ok(Admitted::Settled(_, outcomes)) => outcomes,
            Ok(Admitted::Flying(..)) => panic!("something is under way"),
            Err(error) => panic!("{error}"),
        }
    }

    fn land(&mut self, flight: &Flight, new: New, seq: Option<u64>) {
        let at = seq.map(|seq| Position { lane: new.lane, seq });
        let result = |at: Option<Position>, twin: bool| match at {
            Some(_) if twin => Ok(Outcome::Duplicate),
            Some(at) => Ok(Outcome::Accepted(at)),
            None => Err(AppendError::Unknown("lost".into())),
        };
        for (flight, index) in self.door.landed(new.identity, at) {
            flight.settle(index, result(at, true));
        }
        flight.settle(new.index, result(at, false));
    }

    fn read(&mut self, new: New, seq: u64, event: &Event) -> bool {
        self.verdict(new, seq, event).0 == Verdict::First
    }

    fn verdict(&mut self, new: New, seq: u64, event: &Event) -> (Verdict, bool) {
        self.door.judge(Position { lane: new.lane, seq }, NOW.0 / 1_000, event)
    }
}

#[test]
fn a_duplicate_waits_for_its_twin_and_shares_its_fate() {
    for seq in [Some(7), None] {
        let mut it = fixture();
        let (first, new) = it.flying(&[event("e1", "{}")]);
        let (second, nothing) = it.flying(&[event("e1", "{}")]);
        assert!(nothing.is_empty(), "it isn't sent again");
        assert!(it.answers.try_recv().is_err());
        it.land(&first, new[0], seq);
        drop(second);
        let answers = [it.answers.recv().unwrap(), it.answers.recv().unwrap()];
        assert_eq!(
            answers.iter().filter(|answer| answer.is_ok()).count() * 2,
            seq.map_or(0, |_| 4)
        );
        match seq {
            Some(_) => assert_eq!(it.settled(&[event("e1", "{}")]), [Outcome::Duplicate]),
            None => drop(it.flying(&[event("e1", "{}")])),
        }
    }
}

#[test]
fn what_is_durable_stays_known_until_and_after_it_is_read() {
    let mut it = fixture();
    let e1 = event("e1", "{}");
    let (flight, new) = it.flying(std::slice::from_ref(&e1));
    it.land(&flight, new[0], Some(3));
    assert_eq!((it.door.pending.len(), it.door.entries()), (1, 1));
    assert!(it.read(new[0], 3, &e1), "the first copy");
    assert_eq!((it.door.pending.len(), it.door.pending_bytes(), it.door.entries()), (0, 0, 1));
    assert_eq!(it.settled(std::slice::from_ref(&e1)), [Outcome::Duplicate]);
    assert!(!it.read(new[0], 4, &e1), "a copy that another node has sent");
}

#[test]
fn what_is_read_before_its_acknowledgement_leaves_nothing_pending() {
    let mut it = fixture();
    let e1 = event("e1", "{}");
    let (flight, new) = it.flying(std::slice::from_ref(&e1));
    assert!(it.read(new[0], 3, &e1));
    it.land(&flight, new[0], Some(3));
    assert_eq!((it.door.pending.len(), it.door.pending_bytes()), (0, 0));
}

#[test]
fn the_same_id_with_other_content_refuses_the_batch() {
    let mut it = fixture();
    let error = it.admit(&[event("e1", "{}"), event("e2", "{}"), event("e1", "[]")]).err();
    assert_eq!(error, Some(AppendError::IdReused(vec![2])), "within one body");
    assert_eq!(it.door.entries(), 0, "nothing of it is pending");
    let (flight, new) = it.flying(&[event("e1", "{}")]);
    let pending = it.admit(&[event("e1", "[]")]).err();
    assert_eq!(pending, Some(AppendError::IdReused(vec![0])));
    it.land(&flight, new[0], Some(0));
    it.read(new[0], 0, &event("e1", "{}"));
    let durable = it.admit(&[event("e1", "[]")]).err();
    assert_eq!(durable, Some(AppendError::IdReused(vec![0])));
    let mut elsewhere = event("e1", "{}");
    elsewhere.route = Route::parse("che+liv").unwrap();
    assert_eq!(
        it.admit(&[elsewhere]).err(),
        Some(AppendError::IdReused(vec![0])),
        "another route is other content, whatever its partition"
    );
}

#[test]
fn other_content_that_another_node_took_first_is_found_by_the_node_that_sent_the_second() {
    let (ours, theirs) = (event("e1", "[]"), event("e1", "{}"));
    // Whether the acknowledgement comes before any of it is read, or after.
    for is_early in [true, false] {
        let mut it = fixture();
        let (flight, new) = it.flying(std::slice::from_ref(&ours));
        if is_early {
            it.land(&flight, new[0], Some(4));
        }
        assert_eq!(it.verdict(new[0], 3, &theirs), (Verdict::First, false));
        assert_eq!(it.verdict(new[0], 4, &ours), (Verdict::Reused, true), "{is_early}");
        if !is_early {
            it.land(&flight, new[0], Some(4));
        }
        assert_eq!((it.door.pending.len(), it.door.pending_bytes()), (0, 0));
        assert_eq!(
            it.settled_or_error(std::slice::from_ref(&ours)),
            AppendError::IdReused(vec![0])
        );
        assert_eq!(it.settled(std::slice::from_ref(&theirs)), [Outcome::Duplicate]);
        assert_eq!(it.verdict(new[0], 5, &ours), (Verdict::Reused, false), "a third node's");
        let mut elsewhere = fixture();
        assert_eq!(elsewhere.verdict(new[0], 3, &theirs), (Verdict::First, false));
        assert_eq!(
            elsewhere.verdict(new[0], 4, &ours),
            (Verdict::Reused, false),
            "it sent neither"
        );
    }
}

#[test]
fn twins_within_a_body_are_sent_once() {
    let mut it = fixture();
    let (flight, new) = it.flying(&[event("e1", "{}"), event("e1", "{}")]);
    assert_eq!(new.len(), 1);
    it.land(&flight, new[0], Some(0));
    let accepted = Outcome::Accepted(Position { lane: new[0].lane, seq: 0 });
    assert_eq!(it.answers.recv().unwrap(), Ok(vec![accepted, Outcome::Duplicate]));
}

#[test]
fn old_events_are_acknowledged_and_not_sent() {
    let mut it = fixture();
    let mut old = event("e1", "{}");
    old.occurred_at = NOW.minus(Duration::from_secs(55 * 60 + 1));
    assert_eq!(it.settled(&[old]), [Outcome::TooOld]);
}

#[test]
fn a_full_window_and_full_pockets_refuse_what_is_new() {
    let mut it = fixture();
    let many: Vec<_> = (0..6).map(|n| event(&format!("e{n}"), "{}")).collect();
    assert_eq!(it.admit(&many).err(), Some(AppendError::DedupeFull));
    let (flight, new) = it.flying(&many[..5]);
    assert_eq!(it.settled_or_error(&many[5..]), AppendError::DedupeFull);
    it.land(&flight, new[0], None);
    let big = {
        let mut big = event("big", "{}");
        big.data = Bytes::from(vec![b' '; 900]);
        big
    };
    assert_eq!(it.settled_or_error(&[big]), AppendError::Busy, "bytes of what is pending");
}

impl Fixture {
    fn settled_or_error(&mut self, events: &[Event]) -> AppendError {
        self.admit(events).err().expect("refused")
    }
}

#[test]
fn a_full_window_opens_again_when_it_has_aged_though_nothing_is_read() {
    let mut it = fixture();
    for n in 0..5 {
        let event = event(&format!("e{n}"), "{}");
        let (flight, new) = it.flying(std::slice::from_ref(&event));
        it.land(&flight, new[0], Some(n));
        it.read(new[0], n, &event);
    }
    assert_eq!(it.settled_or_error(&[event("new", "{}")]), AppendError::DedupeFull);
    let later = NOW.plus(Duration::from_secs(71 * 60));
    it.door.set_now(later.0 / 1_000);
    assert_eq!(it.settled_or_error(&[event("new", "{}")]), AppendError::DedupeFull);
    let lane = it.lanes.of(Stream::Broadcast, &event("e0", "{}").route);
    it.door.ends(lane, 5, later.0 / 1_000);
    assert_eq!(it.door.entries(), 0, "all that brokers have was read");
    let mut new = event("new", "{}");
    new.occurred_at = later;
    let told = it.told.clone();
    let reply = Box::new(move |answer| told.send(answer).unwrap());
    assert!(it.door.admit(&[new], later, &it.lanes, reply).is_ok());
}

#[test]
fn a_node_that_was_cut_off_for_longer_than_a_window_judges_as_all_others_have() {
    const MIN: i64 = 60_000;
    let e1 = event("e1", "{}");
    let (lane, begin) = (fixture().lanes.of(e1.stream, &e1.route), NOW.0 / 1_000);
    // Whether the end was asked for before the outage, after it, or not at all.
    for asked_min in [None, Some(0), Some(75)] {
        let mut it = fixture();
        let read = |it: &mut Fixture, seq, min| {
            let at = Position { lane, seq };
            it.door.judge(at, begin + min * MIN, &e1).0 == Verdict::First
        };
        assert!(read(&mut it, 0, 0));
        it.door.set_now(begin + 75 * MIN);
        if let Some(min) = asked_min {
            it.door.ends(lane, 3, begin + min * MIN);
        }
        assert!(!read(&mut it, 1, 1), "another node took a repeat meanwhile ({asked_min:?})");
        assert!(!read(&mut it, 2, 60), "and one that reaches the end");
        assert_ne!(it.door.entries(), 0);
        it.door.ends(lane, 3, begin + 131 * MIN);
        assert_eq!(it.door.entries(), 0, "it forgets once it has caught up");
    }
}

#[test]
fn what_was_acknowledged_and_jumped_over_holds_no_room() {
    let mut it = fixture();
    let (flight, new) = it.flying(&[event("e1", "{}")]);
    it.land(&flight, new[0], Some(3));
    it.door.jump(new[0].lane, 3);
    assert_eq!(it.door.pending.len(), 1, "it is still to be read");
    it.door.jump(new[0].lane, 4);
    assert_eq!((it.door.pending.len(), it.door.pending_bytes()), (0, 0));
}

#[test]
fn fault_40_a_host_clock_that_jumps_by_an_hour_changes_nothing_of_what_is_a_duplicate() {
    let mut it = fixture();
    let e1 = event("e1", "{}");
    let (flight, new) = it.flying(std::slice::from_ref(&e1));
    it.land(&flight, new[0], Some(0));
    assert!(it.read(new[0], 0, &e1));
    for jump in [-3_660, 3_660] {
        let by = Duration::from_secs(3_660);
        let now = if jump < 0 { NOW.minus(by) } else { NOW.plus(by) };
        let told = it.told.clone();
        let reply = Box::new(move |answer| told.send(answer).unwrap());
        match it.door.admit(std::slice::from_ref(&e1), now, &it.lanes, reply) {
            Ok(Admitted::Settled(_, outcomes)) => assert_eq!(outcomes, [Outcome::Duplicate]),
            _ => panic!("it is known, whatever this host's clock says ({jump} s)"),
        }
    }
    assert!(!it.read(new[0], 1, &e1), "and a copy that another node has sent is no event");
}
