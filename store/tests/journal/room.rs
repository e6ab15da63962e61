//! FAULT 32 on the simulated disk: no room, no descriptor, a sync that fails or takes long.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use touchline_core::log::{AppendError, Epoch, EventLog, LogHealthError};
use touchline_store::journal::engine::{Append, Engine};
use touchline_store::journal::{Journal, JournalOptions};

use crate::faults::{goal, open, quick, wait_until};
use crate::support::sim_disk::{SimDisk, Trouble};
use crate::support::{at, event, ids, read_all, seq_of};

#[test]
fn fault_32_a_full_disk_refuses_and_recovers_by_itself() {
    let disk = SimDisk::new(6);
    let (log, _) = open(&disk).unwrap();
    goal(&log, "a").unwrap();
    disk.set_capacity(disk.used() + 2_000);
    assert_eq!(goal(&log, "b"), Err(AppendError::DiskFull));
    assert_eq!(log.health(), Err(LogHealthError::DiskFull));
    assert_eq!(ids(&read_all(&log, 0).records), ["a"], "reading goes on");
    disk.set_capacity(disk.used() + 100_000);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(
        goal(&log, "b"),
        Err(AppendError::DiskFull),
        "a little room only opens it for a moment"
    );
    disk.set_capacity(u64::MAX);
    wait_until("it recovers", || log.health().is_ok());
    assert_eq!(seq_of(goal(&log, "b").unwrap()[0]), 1, "the failed one left no trace");
    drop(log);
    let (log, report) = open(&disk).unwrap();
    assert_eq!((report.torn_bytes, report.quarantined.len()), (0, 0));
    assert_eq!(ids(&read_all(&log, 0).records), ["a", "b"]);
}

#[test]
fn fault_32_a_new_segment_without_a_descriptor_is_tried_again() {
    let disk = SimDisk::new(10);
    let (log, _) = open(&disk).unwrap();
    goal(&log, "e0").unwrap();
    disk.set_no_descriptors(true);
    let mut taken = 1;
    let refused = loop {
        match goal(&log, &format!("e{taken}")) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 40, "a segment ends");
    };
    assert_eq!(refused, AppendError::DiskFull);
    assert_eq!(log.health(), Err(LogHealthError::DiskFull));
    assert_eq!(read_all(&log, 0).records.len(), taken, "reading goes on");
    disk.set_no_descriptors(false);
    wait_until("it recovers", || log.health().is_ok());
    assert_eq!(seq_of(goal(&log, "after").unwrap()[0]), taken as u64);
    drop(log);
    let (log, report) = open(&disk).unwrap();
    assert_eq!((report.torn_bytes, report.quarantined.len()), (0, 0));
    assert_eq!(read_all(&log, 0).records.len(), taken + 1);
}

#[test]
fn fault_32_an_id_is_not_refused_for_a_twin_that_failed() {
    let disk = SimDisk::new(11);
    let fresh = Epoch(1);
    let opened = Engine::open(disk.clone(), &disk, quick(), fresh).map(|opened| opened.engine);
    let mut engine = opened.map_err(|error| error.to_string()).unwrap();
    let one = |id: &str, word: &str| Append {
        events: vec![event(id, word, at(0))],
        received_at: at(0),
        is_again: false,
    };
    assert!(engine.commit(vec![one("a", "goal")]).verdicts[0].is_ok());
    disk.plan(2, Trouble::Eio);
    let verdicts = engine.commit(vec![one("b", "goal"), one("b", "no goal")]).verdicts;
    for verdict in verdicts {
        assert!(matches!(verdict, Err(AppendError::Unknown(_))), "{verdict:?}");
    }
}

#[test]
fn fault_32_a_failed_sync_ends_writing_until_restart() {
    let disk = SimDisk::new(7);
    let (log, _) = open(&disk).unwrap();
    goal(&log, "a").unwrap();
    wait_until("the idle journal has written its proof", || log.stats().proofs > 0);
    disk.plan(2, Trouble::Eio);
    assert!(matches!(goal(&log, "b"), Err(AppendError::Unknown(_))));
    assert_eq!(log.health(), Err(LogHealthError::ReadOnly));
    for _ in 0..3 {
        assert_eq!(goal(&log, "b"), Err(AppendError::ReadOnly), "it is never tried again");
    }
    assert_eq!(ids(&read_all(&log, 0).records), ["a"], "what isn't durable isn't shown");
    drop(log);
    // The cache still shows what the failed sync has left: it must be synced again before it is
    // served.
    let (log, _) = open(&disk).unwrap();
    let served = ids(&read_all(&log, 0).records);
    drop(log);
    disk.restart(true);
    let (log, _) = open(&disk).unwrap();
    assert_eq!(ids(&read_all(&log, 0).records), served);
    assert!(goal(&log, "b").is_ok());
}

#[test]
fn fault_32_a_slow_sync_pushes_back_by_bytes_and_by_time() {
    let disk = SimDisk::new(8);
    let options = JournalOptions {
        pending_bytes_max: 100_000,
        pending_age_max: Duration::from_millis(300),
        ..quick()
    };
    let writes = disk.clone();
    let (log, _) = Journal::open_on(options, move || writes, disk.clone()).unwrap();
    goal(&log, "first").unwrap();
    let hold = disk.hold();
    let (tell, told) = channel();
    let mut sent = 0;
    let send = |n: u64| {
        let tell = tell.clone();
        let events = vec![event(&format!("e{n}"), &"x".repeat(10_000), at(0))];
        log.append(events, at(0), Box::new(move |result| drop(tell.send((n, result)))));
    };
    let refused = loop {
        send(sent);
        sent += 1;
        if let Ok((n, result)) = told.try_recv() {
            break (n, result);
        }
        assert!(sent < 100, "bytes are bounded");
    };
    assert_eq!(refused.1, Err(AppendError::Busy));
    assert!((5..20).contains(&sent), "{sent}");
    assert!(log.stats().pending_bytes <= 100_000);
    std::thread::sleep(Duration::from_millis(350));
    assert!(matches!(log.health(), Err(LogHealthError::Slow(_))));
    send(1_000);
    assert_eq!(told.recv().unwrap(), (1_000, Err(AppendError::Busy)), "time is bounded");
    drop(hold);
    for _ in 0..sent - 1 {
        let (n, result) = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(result.is_ok(), "{n}: {result:?}");
    }
    wait_until("it is well again", || log.health().is_ok());
    assert_eq!(log.stats().pending_bytes, 0);
}

#[test]
fn fault_32_closing_does_not_wait_for_a_disk_that_hangs() {
    let disk = SimDisk::new(9);
    let options = JournalOptions { close_timeout: Duration::from_millis(200), ..quick() };
    let writes = disk.clone();
    let (log, _) = Journal::open_on(options, move || writes, disk.clone()).unwrap();
    goal(&log, "a").unwrap();
    let hold = disk.hold();
    let (tell, told) = channel();
    let events = vec![event("b", "goal", at(0))];
    log.append(events, at(0), Box::new(move |result| drop(tell.send(result))));
    let started = Instant::now();
    assert!(!log.close());
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(goal(&log, "c"), Err(AppendError::Closed));
    drop(hold);
    assert!(told.recv_timeout(Duration::from_secs(60)).unwrap().is_ok(), "it is still done");
}
