//! One partition without a leader says nothing of the others (FAULTS 35).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use touchline_core::event::{Event, Stream};
use touchline_core::log::{EventLog as _, Lane, Outcome, Record, Span, TailSink};

use crate::{TOPICS, event, fixture};

/// Takes nothing while somebody else holds its door: so the tail stands still.
struct Stuck(Arc<Mutex<()>>);

impl TailSink for Stuck {
    fn durable(&mut self, _records: Vec<Record>, _spans: &[Span]) {
        drop(self.0.lock());
    }
}

#[test]
fn fault_35_a_partition_without_a_leader_hides_no_others_end() {
    let it = fixture();
    it.unlead(&[(TOPICS[1], 0)]);
    let door = Arc::new(Mutex::new(()));
    it.log.attach(Box::new(Stuck(Arc::clone(&door))));
    let closed = door.lock();
    it.insist("before");
    it.shows(&["before"]);
    let post = Event { stream: Stream::Social, ..event("post", "{}") };
    let answer = it.append_all(vec![post]).expect("its partition has a leader");
    let Outcome::Accepted(place) = answer[0] else { panic!("{answer:?}") };
    // A client that has seen it at another node comes here: what it has is waited for 5 s.
    let lanes = it.log.lags();
    let silent = lanes.iter().position(|it| (it.0.as_str(), it.1) == (TOPICS[1], 0));
    let silent = Lane(silent.expect("a lane") as u16);
    let answered = it.log.looks(silent).answered;
    let begun = it.log.looks(place.lane).begun;
    it.log.look_ahead();
    let (begin, lane) = (Instant::now(), usize::from(place.lane.0));
    it.waits_for("its end is known", |log| log.bounds().lanes[lane].end > place.seq);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    // What is handed on from a spool waits for an answer to a question of its own.
    it.waits_for("it is asked anew", |log| {
        log.look_ahead();
        log.looks(place.lane).answered > begun
    });
    assert_eq!(it.log.looks(silent).answered, answered, "nobody knows where that one ends");
    let lags: Vec<_> = it.log.lags().into_iter().filter(|(.., lag)| *lag > 0).collect();
    let [(topic, _, 1)] = &lags[..] else { panic!("{lags:?}") };
    assert_eq!(topic, TOPICS[2], "and so is that this node is behind");
    drop(closed);
}
