//! What every journal promises, whatever it writes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use touchline_core::event::Stream;
use touchline_core::log::{AppendError, EventLog, HoleReason, LogHealthError, Outcome};
use touchline_core::log::{Record, Span, TailSink};
use touchline_store::journal::{Backend, Journal, JournalOptions, OpenError, OpenReport, offline};

use crate::support::sim_disk::SimDisk;
use crate::support::{
    Heard, append, append_again, append_at, at, clock_off_by, event, ids, let_pass, options, read,
    read_all, rewind, seq_of,
};

/// Where a journal is kept, so that it can be opened again.
struct Place {
    options: JournalOptions,
    simulated: Option<SimDisk>,
}

impl Place {
    fn open(&self) -> (Arc<Journal>, OpenReport) {
        self.open_with(|_| {})
    }

    fn open_with(&self, change: impl Fn(&mut JournalOptions)) -> (Arc<Journal>, OpenReport) {
        let mut options = self.options.clone();
        change(&mut options);
        match self.simulated.clone() {
            None => Journal::open(options).unwrap(),
            Some(disk) => {
                let writes = disk.clone();
                Journal::open_on(options, move || writes, disk).unwrap()
            }
        }
    }
}

/// Runs `check` on a ring (where this host allows one), on plain files, and on the simulated disk.
fn on_each_disk(check: impl Fn(&Place)) {
    for backend in [Backend::Plain, Backend::Auto] {
        let dir = tempfile::tempdir().unwrap();
        rewind();
        check(&Place { options: options(dir.path(), backend), simulated: None });
    }
    rewind();
    let options = options("simulated".as_ref(), Backend::Auto);
    check(&Place { options, simulated: Some(SimDisk::new(1)) });
}

fn batch(from: usize, count: usize) -> Vec<touchline_core::event::Event> {
    (from..from + count).map(|n| event(&format!("e{n}"), "goal", at(0))).collect()
}

#[test]
fn what_is_appended_can_be_read_and_is_fed_before_it_is_answered() {
    on_each_disk(|place| {
        let (log, report) = place.open();
        assert_eq!((report.first, report.next), (0, 0));
        let heard = Heard::default();
        log.attach(Box::new(heard.clone()));
        for n in 0..50 {
            let outcomes = append(&log, batch(n * 10, 10), at(1)).unwrap();
            assert_eq!(seq_of(outcomes[9]), n as u64 * 10 + 9);
            assert_eq!(heard.records.lock().unwrap().len(), (n + 1) * 10);
        }
        let all = read_all(&log, 0);
        assert_eq!((all.next, all.holes.len()), (500, 0));
        assert_eq!(all.records, *heard.records.lock().unwrap());
        assert_eq!(read(&log, 123, 1).records.len(), 1, "at least one record");
        assert_eq!(read(&log, 123, 1).records[0].position.seq, 123);
        assert_eq!(read(&log, 500, 1000).next, 500);
        assert_eq!(read(&log, 9_999, 1000).next, 9_999);
        assert_eq!(log.bounds().lanes[0].next, 500);
        assert!(log.close());
        assert_eq!(append(&log, batch(0, 1), at(1)), Err(AppendError::Closed));
    });
}

#[test]
fn a_restart_finds_everything_and_still_knows_duplicates() {
    on_each_disk(|place| {
        let (log, first) = place.open();
        for n in 0..100 {
            append(&log, batch(n * 10, 10), at(n as i64)).unwrap();
        }
        let before = read_all(&log, 0);
        drop(log);
        let (log, report) = place.open();
        assert_eq!((report.next, report.torn_bytes, report.records_rewritten), (1000, 0, 0));
        assert_eq!((report.epoch, report.epoch_reason), (first.epoch, None));
        assert_eq!(report.dedupe_entries, 1000);
        assert!(report.records_scanned < 500, "sealed segments have checkpoints");
        assert_eq!(read_all(&log, 0), before);
        let outcomes = append(&log, batch(0, 1000), at(101)).unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Duplicate));
        assert_eq!(seq_of(append(&log, batch(1000, 1), at(101)).unwrap()[0]), 1000);
    });
}

#[test]
fn appends_that_come_together_share_a_sync() {
    on_each_disk(|place| {
        let (log, _) = place.open();
        let (tell, told) = std::sync::mpsc::channel();
        for n in 0..500 {
            let tell = tell.clone();
            let reply = Box::new(move |result| tell.send((n, result)).unwrap());
            log.append(batch(n, 1), at(0), reply);
        }
        drop(tell);
        for (at, (n, result)) in told.iter().enumerate() {
            let outcomes: Vec<Outcome> = result.unwrap();
            assert_eq!((at, seq_of(outcomes[0])), (n, n as u64), "answered in order");
        }
        assert!(log.stats().fsyncs < 250, "{} syncs", log.stats().fsyncs);
    });
}

#[test]
fn a_twin_is_a_duplicate_and_other_content_is_refused() {
    on_each_disk(|place| {
        let (log, _) = place.open();
        let one = || event("a", "one", at(0));
        let two = || event("a", "two", at(0));
        let outcomes = append(&log, vec![one(), one()], at(0)).unwrap();
        assert!(matches!(outcomes[..], [Outcome::Accepted(_), Outcome::Duplicate]));
        let other = || event("b", "three", at(0));
        let refused = append(&log, vec![other(), two(), one()], at(0));
        assert_eq!(refused, Err(AppendError::IdReused(vec![1])));
        let inside = vec![event("c", "x", at(0)), event("c", "y", at(0))];
        assert_eq!(append(&log, inside, at(0)), Err(AppendError::IdReused(vec![1])));
        assert_eq!(read_all(&log, 0).next, 1, "nothing of a refused batch is taken");
        assert_eq!(seq_of(append(&log, vec![other()], at(0)).unwrap()[0]), 1);
    });
}

#[test]
fn an_old_event_is_acknowledged_and_not_shown() {
    on_each_disk(|place| {
        let (log, _) = place.open();
        let limit = 3600 - 300;
        let young = event("young", "goal", at(-limit));
        let old = event("old", "goal", at(-limit - 1));
        let outcomes = append(&log, vec![old, young], at(0)).unwrap();
        assert!(matches!(outcomes[..], [Outcome::TooOld, Outcome::Accepted(_)]));
        let mut social = event("social", "post", at(-301));
        social.stream = Stream::Social;
        let mut sensor = event("sensor", "wind", at(-9_999));
        sensor.stream = Stream::Sensor;
        let outcomes = append(&log, vec![social, sensor], at(0)).unwrap();
        assert!(matches!(outcomes[..], [Outcome::TooOld, Outcome::Accepted(_)]), "{outcomes:?}");
        assert_eq!(ids(&read_all(&log, 0).records), ["young", "sensor"]);
        assert_eq!(log.stats().too_old, 2);
    });
}

#[test]
fn fault_36_a_replay_is_judged_by_when_its_events_were_first_received() {
    on_each_disk(|place| {
        let (log, _) = place.open();
        append(&log, vec![event("now", "goal", at(90_000))], at(90_000)).unwrap();
        let (young, old) = (event("young", "goal", at(0)), event("old", "goal", at(-4_000)));
        let replay = || vec![young.clone(), old.clone()];
        assert_eq!(append(&log, replay(), at(90_000)).unwrap(), [Outcome::TooOld; 2]);
        let outcomes = append_again(&log, replay(), at(1)).unwrap();
        assert!(matches!(outcomes[..], [Outcome::Accepted(_), Outcome::TooOld]), "{outcomes:?}");
        let again = append_again(&log, replay(), at(1)).unwrap();
        assert_eq!(again, [Outcome::Duplicate, Outcome::TooOld]);
        let chunk = read_all(&log, 0);
        assert_eq!(ids(&chunk.records), ["now", "young"]);
        assert_eq!(chunk.records[1].received_at, at(1));
        append(&log, vec![event("next", "goal", at(90_001))], at(90_001)).unwrap();
        assert_eq!(log.health(), Ok(()), "log time has not moved");
    });
}

#[test]
fn what_leaves_the_window_is_too_old_and_never_shown_again() {
    on_each_disk(|place| {
        let (log, _) = place.open();
        // As far in the future as a source may be.
        append(&log, vec![event("a", "goal", at(300))], at(0)).unwrap();
        for seconds in [10, 3_000, 3_599, 3_600, 3_601, 3_602, 3_700, 9_000] {
            let outcomes = append(&log, vec![event("a", "goal", at(300))], at(seconds)).unwrap();
            assert!(matches!(outcomes[0], Outcome::Duplicate | Outcome::TooOld), "{seconds}");
        }
        assert_eq!(log.stats().dedupe_entries, 0);
    });
}

#[test]
fn an_id_that_was_taken_again_after_its_window_is_known_after_a_restart() {
    on_each_disk(|place| {
        let (log, _) = place.open();
        let again = |seconds: i64| vec![event("a", &seconds.to_string(), at(seconds))];
        append(&log, again(0), at(0)).unwrap();
        assert_eq!(seq_of(append(&log, again(4_000), at(4_000)).unwrap()[0]), 1);
        drop(log);
        let (log, _) = place.open();
        let outcomes = append(&log, again(4_000), at(4_001)).unwrap();
        assert_eq!(outcomes, [Outcome::Duplicate]);
    });
}

#[test]
fn a_clock_that_is_set_forward_and_back_costs_nothing_but_time() {
    on_each_disk(|place| {
        let off = Arc::new(AtomicI64::new(0));
        let (log, _) = place.open_with(|options| {
            options.retention_bytes = 64 << 10;
            options.clock = clock_off_by(off.clone());
        });
        let fill: Vec<_> = (0..30).map(|n| batch(n * 50, 50)).collect();
        for events in &fill {
            append(&log, events.clone(), at(0)).unwrap();
        }
        let before = log.stats();
        assert!(before.segments > 2, "{before:?}");
        let days = 8 * 86_400;
        off.store(days, Relaxed);
        for seconds in 1..=60 {
            let_pass(at(seconds));
            let now = at(seconds + days);
            let refused = append_at(&log, vec![event("new", "goal", at(seconds))], now);
            assert_eq!(refused, Err(AppendError::Busy), "not acknowledged as too old");
        }
        assert!(matches!(log.health(), Err(LogHealthError::Clock(_))), "{:?}", log.health());
        std::thread::sleep(Duration::from_millis(1_200));
        assert_eq!(log.bounds().lanes[0].first, 0, "retention has removed nothing");
        off.store(0, Relaxed);
        let outcomes = append(&log, fill[0].clone(), at(61)).unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Duplicate));
        assert_eq!(log.health(), Ok(()));
        let outcomes = append(&log, vec![event("new", "goal", at(61))], at(61)).unwrap();
        assert_eq!(seq_of(outcomes[0]), 1_500);
    });
}

#[test]
fn a_full_window_refuses_and_recovers_as_it_ages() {
    on_each_disk(|place| {
        let (log, _) = place.open_with(|options| options.dedupe_entries_max = 10);
        append(&log, batch(0, 8), at(0)).unwrap();
        assert_eq!(append(&log, batch(8, 3), at(0)), Err(AppendError::DedupeFull));
        append(&log, batch(8, 2), at(0)).unwrap();
        assert_eq!(append(&log, batch(0, 10), at(0)).unwrap(), vec![Outcome::Duplicate; 10]);
        append(&log, vec![event("later", "goal", at(3_800))], at(3_800)).unwrap();
    });
}

#[test]
fn retention_removes_the_oldest_but_nothing_of_the_window() {
    on_each_disk(|place| {
        let open = || place.open_with(|options| options.retention_bytes = 256 << 10);
        let (log, _) = open();
        let fill = |from: usize, now: i64| {
            for n in 0..60 {
                let events = (0..50)
                    .map(|i| event(&format!("e{}", from + n * 50 + i), "goal", at(now)))
                    .collect();
                append(&log, events, at(now)).unwrap();
            }
        };
        fill(0, 0);
        assert!(log.stats().size_bytes > 400 << 10, "the window is kept whatever it takes");
        assert_eq!(log.bounds().lanes[0].first, 0);
        fill(3_000, 8_000);
        fill(6_000, 8_001);
        let bounds = log.bounds().lanes[0];
        assert!(bounds.first >= 2_500, "{bounds:?}");
        let chunk = read(&log, 0, 1000);
        assert_eq!((chunk.holes[0].from, chunk.holes[0].to), (0, bounds.first - 1));
        assert_eq!(chunk.holes[0].reason, HoleReason::Retention);
        assert_eq!(chunk.records[0].position.seq, bounds.first);
        drop(log);
        let (_, report) = open();
        assert_eq!((report.first, report.next), (bounds.first, bounds.next));
    });
}

#[test]
fn what_somebody_has_yet_to_read_is_held_whatever_retention_says() {
    on_each_disk(|place| {
        let (log, _) = place.open_with(|options| options.retention_bytes = 64 << 10);
        log.hold_from(10);
        let fill = |name: &str, now: i64| {
            for n in 0..60 {
                let id = |i| format!("{name}{n}-{i}");
                let events = (0..50).map(|i| event(&id(i), "goal", at(now))).collect();
                append(&log, events, at(now)).unwrap();
            }
        };
        fill("a", 0);
        fill("b", 8_000);
        std::thread::sleep(Duration::from_millis(1_200));
        assert_eq!(log.bounds().lanes[0].first, 0, "the segment with 10 is still needed");
        log.hold_from(u64::MAX);
        fill("c", 8_001);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while log.bounds().lanes[0].first < 1_000 {
            assert!(std::time::Instant::now() < deadline, "{:?}", log.bounds());
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn the_ring_is_used_where_it_is_allowed_and_the_report_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (log, report) = Journal::open(options(dir.path(), Backend::Plain)).unwrap();
    assert_eq!(&*report.backend, "plain files: as configured");
    drop(log);
    let (_log, report) = Journal::open(options(dir.path(), Backend::Auto)).unwrap();
    let auto = report.backend;
    let other = tempfile::tempdir().unwrap();
    match Journal::open(options(other.path(), Backend::Glommio)) {
        Ok((_, report)) => assert_eq!((&*auto, &auto), ("direct I/O", &report.backend)),
        Err(OpenError::Backend(why)) => assert_eq!(*auto, *format!("plain files: {why}")),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_sink_or_a_reply_that_panics_does_not_take_the_log_with_it() {
    struct Bad;
    impl TailSink for Bad {
        fn durable(&mut self, _: Vec<Record>, _: &[Span]) {
            panic!("as planned");
        }
    }
    on_each_disk(|place| {
        let (log, _) = place.open();
        let heard = Heard::default();
        log.attach(Box::new(Bad));
        log.attach(Box::new(heard.clone()));
        log.append(batch(0, 1), at(0), Box::new(|_| panic!("as planned")));
        append(&log, batch(1, 1), at(0)).unwrap();
        assert_eq!(ids(&heard.records.lock().unwrap()), ["e0", "e1"]);
    });
}

#[test]
fn two_processes_cannot_have_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Journal::open(options(dir.path(), Backend::Plain)).unwrap();
    match Journal::open(options(dir.path(), Backend::Plain)) {
        Err(OpenError::Locked { pid, .. }) => assert_eq!(*pid, *std::process::id().to_string()),
        other => panic!("{:?}", other.map(|(_, report)| report)),
    }
    drop(log);
    Journal::open(options(dir.path(), Backend::Plain)).unwrap();
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Journal::open(options(&file, Backend::Plain)).err().unwrap();
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn a_folder_can_be_dumped_and_verified_while_it_is_written_to() {
    for backend in [Backend::Plain, Backend::Auto] {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path(), backend);
        let (log, report) = Journal::open(options.clone()).unwrap();
        for n in 0..100 {
            append(&log, batch(n * 10, 10), at(n as i64)).unwrap();
        }
        std::thread::sleep(Duration::from_millis(400));
        let mut dumped = Vec::new();
        let next = offline::dump(&options.dir, 5, 995, |found| match found {
            offline::Dumped::Record { record, epoch, .. } => {
                assert_eq!(Some(epoch), report.epoch);
                dumped.push(record.position.seq);
                true
            }
            damage => panic!("{damage:?}"),
        });
        assert_eq!(next.unwrap(), 995);
        assert_eq!(dumped, (5..995).collect::<Vec<_>>());
        assert_eq!(offline::dump(&options.dir, 0, u64::MAX, |_| true).unwrap(), 1000);
        let reports: Vec<_> =
            offline::verify(&options.dir).unwrap().map(|report| report.unwrap()).collect();
        assert!(reports.len() > 2);
        assert!(reports.iter().all(|report| report.problems.is_empty()), "{reports:?}");
        assert_eq!(reports.iter().map(|report| report.records).sum::<u64>(), 1000);
    }
}
