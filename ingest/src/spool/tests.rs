//! What goes through the spool enters the log once, in order, whatever happens on the way.

use std::sync::atomic::Ordering;

use bytes::Bytes;

mod waits;

use super::testing::{Mood, START, Stage, event, until};
use super::*;

#[test]
fn events_wait_on_disk_while_brokers_are_away_and_enter_the_log_in_order() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    stage.log.set(Mood::Away);
    for id in ["2", "3", "4", "5", "6"] {
        let outcomes = stage.append(&spooled, &[event(id, "ars")]);
        assert_eq!(outcomes, Ok(vec![Outcome::Spooled]));
    }
    assert_eq!(stage.log.ids(0), ["1"], "nobody sees what has no position");
    assert_eq!(spooled.stats().events, 5);
    assert!(spooled.health().is_ok(), "sources are served");
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert_eq!(stage.log.ids(0), ["1", "2", "3", "4", "5", "6"]);
    let outcomes = stage.append(&spooled, &[event("7", "ars")]).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Accepted(_)]), "straight through again");
}

#[test]
fn a_lane_waits_behind_its_own_spool_and_not_behind_another() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    // Brokers are back, and the first of the spool doesn't get through yet.
    stage.log.set(Mood::Chokes("1"));
    assert_eq!(stage.append(&spooled, &[event("2", "ars")]), Ok(vec![Outcome::Spooled]));
    let other = stage.append(&spooled, &[event("3", "che")]).unwrap();
    assert!(matches!(other[..], [Outcome::Accepted(_)]));
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert_eq!(
        (stage.log.ids(0), stage.log.ids(1)),
        (vec!["1".into(), "2".into()], vec!["3".into()])
    );
}

#[test]
fn fault_36_a_replay_takes_no_place_in_the_spool_and_waits_behind_its_lane() {
    let stage = Stage::new();
    let spooled = stage.open();
    let replay = |id: &str, team: &str| {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let reply = Box::new(move |answer| drop(tell.try_send(answer)));
        spooled.append_again(vec![event(id, team)], stage.now(), reply);
        told.recv_timeout(Duration::from_secs(5)).unwrap()
    };
    stage.log.set(Mood::Away);
    assert_eq!(replay("1", "ars"), Err(AppendError::Unreachable));
    assert_eq!(spooled.stats().events, 0);
    stage.append(&spooled, &[event("2", "ars")]).unwrap();
    stage.log.set(Mood::Chokes("2"));
    assert_eq!(replay("1", "ars"), Err(AppendError::Unreachable), "behind what was taken");
    assert!(matches!(replay("3", "che").unwrap()[..], [Outcome::Accepted(_)]));
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert!(matches!(replay("1", "ars").unwrap()[..], [Outcome::Accepted(_)]));
}

#[test]
fn a_spool_survives_its_process_and_repeats_nothing() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    for n in 0..20 {
        stage.append(&spooled, &[event(&n.to_string(), "ars")]).unwrap();
    }
    assert_eq!(spooled.close(), 20, "and says so");
    // As after kill -9 in the middle of a drain: some are in the log, the cursor knows of none.
    stage.log.set(Mood::Takes);
    for n in 0..7 {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let reply = Box::new(move |answer| drop(tell.try_send(answer)));
        stage.log.append(vec![event(&n.to_string(), "ars")], START, reply);
        told.recv().unwrap().unwrap();
    }
    let spooled = stage.open();
    until("drained", || spooled.stats().events == 0);
    let all: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(stage.log.ids(0), all);
    assert_eq!(spooled.stats().duplicates, 7);
    spooled.close();
    // A third life finds nothing to do.
    let spooled = stage.open();
    assert_eq!(spooled.stats().events, 0);
    assert_eq!(stage.log.ids(0), all);
}

#[test]
fn an_unknown_answer_is_asked_again_and_shows_nothing_twice() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars"), event("2", "che")]).unwrap();
    stage.log.set(Mood::Forgetful);
    until("tried", || !stage.log.ids(0).is_empty());
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert_eq!((stage.log.ids(0).len(), stage.log.ids(1).len()), (1, 1));
}

#[test]
fn sensor_values_are_refused_rather_than_kept_until_they_are_stale() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    let value = Event { stream: Stream::Sensor, ..event("wind-1", "ars") };
    assert_eq!(stage.append(&spooled, &[value]), Err(AppendError::Unreachable));
}

#[test]
fn a_spool_has_bounds_in_bytes_and_in_time() {
    let stage = Stage { bytes_max: 2 * size(&event("1", "ars")), ..Stage::new() };
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars"), event("2", "ars")]).unwrap();
    let third = [event("3", "ars")];
    assert_eq!(stage.append(&spooled, &third), Err(AppendError::Unreachable), "full");
    assert!(spooled.health().is_err(), "and not fit for sources");
    drop(spooled);
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    stage.pass(541);
    let post = Event { stream: Stream::Social, ..event("post", "ars") };
    let refused = stage.append(&spooled, &[post]);
    assert_eq!(refused, Err(AppendError::Unreachable), "nine tenths of ten minutes");
    stage.append(&spooled, &[event("2", "ars")]).unwrap();
    stage.pass(1_800);
    assert_eq!(stage.append(&spooled, &third), Err(AppendError::Unreachable), "too old");
    assert_eq!(spooled.stats().refused, 2);
}

#[test]
fn fault_36_what_the_log_refuses_is_parked_and_the_rest_goes_on() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    stage.log.set(Mood::Away);
    let other = Event { data: Bytes::from_static(b"{\"a\":1}"), ..event("1", "ars") };
    stage.append(&spooled, &[event("2", "ars"), other, event("3", "ars")]).unwrap();
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert_eq!(stage.log.ids(0), ["1", "2", "3"]);
    let letters = lock(&stage.letters.0);
    let found: Vec<_> = letters.iter().map(|it| (it.reason, it.attempts)).collect();
    assert_eq!(found, [("id_reused", 1)]);
    let (kept, _) = touchline_core::log::record::decode(letters[0].raw.clone()).unwrap();
    assert_eq!(&kept.data[..], b"{\"a\":1}", "with its bytes");
}

#[test]
fn fault_36_a_record_that_brokers_refuse_is_parked_and_its_lane_goes_on() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars"), event("poison", "ars")]).unwrap();
    stage.append(&spooled, &[event("3", "ars")]).unwrap();
    stage.log.set(Mood::Refuses("poison"));
    until("drained", || spooled.stats().events == 0);
    assert_eq!(stage.log.ids(0), ["1", "3"]);
    let letters = lock(&stage.letters.0);
    assert_eq!((letters[0].reason, letters.len()), ("log_refused", 1));
}

#[test]
fn a_cluster_that_ails_for_long_parks_nothing_and_loses_no_order() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    for id in ["1", "2", "3"] {
        stage.append(&spooled, &[event(id, "ars")]).unwrap();
    }
    // Too few copies are in sync: leaders answer, and every append ends as unknown.
    stage.log.set(Mood::Chokes("1"));
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!((spooled.stats().events, spooled.stats().parked), (3, 0));
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert_eq!(stage.log.ids(0), ["1", "2", "3"]);
}

#[test]
fn what_was_acknowledged_leaves_the_spool_only_once_its_letter_is_kept() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("poison", "ars")]).unwrap();
    stage.letters.1.store(true, Ordering::Relaxed);
    stage.log.set(Mood::Refuses("poison"));
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(lock(&stage.letters.0).len(), 1, "it is handed over once, and waited for");
    assert_eq!(spooled.close(), 1, "still there, for the next start");
    stage.letters.1.store(false, Ordering::Relaxed);
    let spooled = stage.open();
    until("parked", || spooled.stats().parked == 1);
    // Both have the same content: to a keeper they are one.
    assert_eq!((spooled.stats().events, lock(&stage.letters.0).len()), (0, 2));
}

#[test]
fn a_repeat_just_after_the_window_of_what_happened_is_found_however_young_its_spooling() {
    let stage = Stage::new();
    let spooled = stage.open();
    // Taken, and its answer lost; sent again 50 minutes later, while brokers are away.
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    stage.pass(50 * 60);
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    stage.pass(12 * 60);
    lock(&stage.log.inner).known.clear();
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert_eq!(stage.log.ids(0), ["1"]);
}

#[test]
fn an_old_spool_repeats_nothing_that_the_log_has_forgotten() {
    let stage = Stage::new();
    let spooled = stage.open();
    // Answered "unknown" just before the brokers went away: the partner sends it again.
    stage.log.set(Mood::Forgetful);
    let unknown = stage.append(&spooled, &[event("1", "ars")]);
    assert!(matches!(unknown, Err(AppendError::Unknown(_))));
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars"), event("2", "ars")]).unwrap();
    // The window of the log passes meanwhile.
    stage.pass(7_200);
    lock(&stage.log.inner).known.clear();
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert_eq!(stage.log.ids(0), ["1", "2"]);
    assert_eq!(spooled.stats().duplicates, 1);
}

#[test]
fn fault_36_an_old_event_that_reuses_an_id_of_the_log_is_parked_and_no_repeat() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    stage.log.set(Mood::Away);
    let other = Event { data: Bytes::from_static(b"{\"a\":1}"), ..event("1", "ars") };
    stage.append(&spooled, &[other, event("2", "ars")]).unwrap();
    stage.pass(7_200);
    lock(&stage.log.inner).known.clear();
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    assert_eq!(stage.log.ids(0), ["1", "2"]);
    assert_eq!((spooled.stats().parked, spooled.stats().duplicates), (1, 0));
    let letters = lock(&stage.letters.0);
    assert_eq!((letters[0].reason, letters.len()), ("id_reused", 1));
    let (kept, _) = touchline_core::log::record::decode(letters[0].raw.clone()).unwrap();
    assert_eq!(&kept.data[..], b"{\"a\":1}", "with its bytes");
}

#[test]
fn what_becomes_old_while_the_cluster_ails_is_looked_for_before_it_is_appended() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    // Brokers are back before it is old, and too few copies are in sync until it is.
    stage.pass(50 * 60);
    stage.log.set(Mood::Chokes("1"));
    stage.log.is_tried(2);
    stage.pass(20 * 60);
    lock(&stage.log.inner).known.clear();
    until("found", || spooled.stats().duplicates == 1);
    stage.log.set(Mood::Takes);
    assert_eq!((stage.log.ids(0), spooled.stats().events), (vec!["1".into()], 0));
}

#[test]
fn what_our_own_appends_left_is_found_however_long_the_cluster_says_unknown() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    stage.pass(58 * 60);
    // Old when it is first appended: by then the log was asked, and had nothing.
    stage.log.set(Mood::Forgetful);
    until("appended", || !stage.log.ids(0).is_empty());
    stage.log.set(Mood::Chokes("1"));
    stage.log.is_tried(2);
    stage.pass(7_200);
    lock(&stage.log.inner).known.clear();
    until("found", || spooled.stats().duplicates == 1);
    assert_eq!(stage.log.ids(0), ["1"]);
}

/// As after a power cut on a disk that kept the file's name and no bytes of it.
#[test]
fn a_spool_whose_cursor_is_lost_shows_nothing_again_and_loses_nothing() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars"), event("2", "ars")]).unwrap();
    stage.log.set(Mood::Takes);
    until("drained", || spooled.stats().events == 0);
    stage.pass(7_000);
    stage.log.set(Mood::Away);
    let young = |id| Event { occurred_at: stage.now(), ..event(id, "ars") };
    stage.append(&spooled, &[young("3")]).unwrap();
    spooled.close();
    std::fs::write(stage.cursor_file(), "").unwrap();
    // Retention has taken the first from the log, and its window both.
    lock(&stage.log.inner).known.clear();
    lock(&stage.log.inner).records[0].remove(0);
    stage.log.set(Mood::Takes);
    let spooled = stage.open();
    until("drained", || spooled.stats().events == 0);
    assert_eq!(stage.log.ids(0), ["2", "3"], "once each, and what is young");
    assert_eq!((spooled.stats().parked, spooled.stats().duplicates), (1, 1));
    let letters = lock(&stage.letters.0);
    assert_eq!((letters[0].reason, letters.len()), ("spool_place_lost", 1));
}
