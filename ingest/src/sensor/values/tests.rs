//! Which readings are news, and under which ids: each by a second of an afternoon.

use super::*;
use std::sync::OnceLock;
use touchline_core::limits::ID_BYTES_MAX;

const SECOND: i64 = 1_000_000;
const NOON: i64 = 1_000_000 * SECOND;

fn values() -> Values {
    let rules = ValueRules { age_max: Duration::from_secs(10), heartbeat: Duration::from_secs(5) };
    Values::new("emirates", rules)
}

fn of_team(team: &str, sequence: Option<u64>, at_s: Option<i64>, data: &str) -> Reading {
    Reading {
        route: Route::parse(team).unwrap(),
        kind: "wind".into(),
        key: "mast".into(),
        sequence,
        measured_at: at_s.map(|s| Timestamp(NOON + s * SECOND)),
        data: data.as_bytes().to_vec(),
    }
}

fn reading(sequence: Option<u64>, at_s: Option<i64>, data: &str) -> Reading {
    of_team("ars", sequence, at_s, data)
}

/// So many seconds after noon, by a wall clock that is off by `off_s`.
fn at(at_s: i64, off_s: i64) -> At<'static> {
    static NOON_STEADY: OnceLock<Instant> = OnceLock::new();
    let noon = *NOON_STEADY.get_or_init(|| Instant::now() + Duration::from_secs(10_000));
    let received_at = Timestamp(NOON + (at_s + off_s) * SECOND);
    let now = noon + Duration::from_secs(at_s as u64);
    At { received_at, now, tick: (at_s + off_s) as u64, correlation: "c" }
}

fn judge(it: &mut Values, reading: &Reading, at: &At<'_>) -> Result<Event, Verdict> {
    match it.judge(reading, at) {
        Verdict::News(event) => Ok(*event),
        other => Err(other),
    }
}

/// Judges at a second after noon: the id of what is news.
fn take(it: &mut Values, reading: &Reading, at_s: i64) -> Result<String, Verdict> {
    judge(it, reading, &at(at_s, 0)).map(|event| event.id.to_string())
}

/// The id of the first of a new run.
fn restarted(it: &mut Values, reading: &Reading, at_s: i64) -> Event {
    match it.judge(reading, &at(at_s, 0)) {
        Verdict::Restarted(event) => *event,
        other => panic!("at {at_s} s: {other:?}"),
    }
}

#[test]
fn only_changes_are_news_and_what_stays_is_said_again_before_it_is_stale() {
    let mut it = values();
    assert_eq!(take(&mut it, &reading(Some(1), None, "{}"), 0).unwrap(), "ars/mast:1");
    assert_eq!(take(&mut it, &reading(Some(2), None, "{}"), 1), Err(Verdict::Unchanged));
    assert_eq!(take(&mut it, &reading(Some(3), None, "[]"), 2).unwrap(), "ars/mast:3");
    assert_eq!(take(&mut it, &reading(Some(3), None, "[]"), 6), Err(Verdict::Unchanged));
    let again = take(&mut it, &reading(Some(3), None, "[]"), 7).unwrap();
    assert_eq!(again, format!("ars/mast:3~{}", (NOON + 7 * SECOND) / (5 * SECOND)), "its own id");
}

#[test]
fn an_id_is_the_sequence_else_the_time_else_the_tick() {
    let mut it = values();
    let by_time = take(&mut it, &reading(None, Some(1), "1"), 1).unwrap();
    assert_eq!(by_time, format!("ars/mast:@{}", NOON + SECOND));
    assert_eq!(take(&mut it, &reading(None, None, "2"), 9).unwrap(), "ars/mast:#9");
    assert_eq!(take(&mut it, &reading(None, None, "3"), 9).unwrap(), "ars/mast:#10", "its own");
}

#[test]
fn one_key_under_two_teams_is_two_values() {
    let mut it = values();
    let ids = ["ars", "che"].map(|team| take(&mut it, &of_team(team, Some(1), None, "1"), 0));
    assert_eq!(ids, [Ok("ars/mast:1".into()), Ok("che/mast:1".into())]);
}

#[test]
fn an_id_that_would_be_too_long_is_cut_and_stands_for_its_own_reading_alone() {
    let mut it = values();
    let long = |n| Reading { key: "k".repeat(80).into(), ..reading(Some(n), None, "1") };
    let teams = [1, 2, 3].map(|n| format!("{}{n}", "t".repeat(31))).join("+");
    let of = |n| Reading { route: Route::parse(&teams).unwrap(), ..long(n) };
    let ids = [1, 2].map(|n| id_of(&of(n), None, 0));
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[0], id_of(&of(1), None, 7), "stable");
    assert!(ids.iter().all(|id| id.len() == ID_BYTES_MAX), "{ids:?}");
    assert!(take(&mut it, &of(1), 0).is_ok());
}

#[test]
fn sequences_that_go_back_or_stand_still_are_noticed() {
    let mut it = values();
    take(&mut it, &reading(Some(5), None, "1"), 0).unwrap();
    assert_eq!(take(&mut it, &reading(Some(4), None, "2"), 1), Err(Verdict::Backwards));
    assert_eq!(take(&mut it, &reading(Some(5), None, "2"), 1), Err(Verdict::Standing));
    assert!(take(&mut it, &reading(Some(6), None, "2"), 1).is_ok());
}

#[test]
fn a_device_that_counts_anew_is_heard_again_after_three_answers() {
    let mut it = values();
    take(&mut it, &reading(Some(50_059), None, "0"), 0).unwrap();
    for n in [1, 2] {
        let back = take(&mut it, &reading(Some(n), None, "1"), n as i64);
        assert_eq!(back, Err(Verdict::Backwards), "{n}");
    }
    let first = restarted(&mut it, &reading(Some(3), None, "1"), 3);
    assert_eq!(&*first.id, "ars/mast:3.3", "`ars/mast:3` may stand for something else");
    it.forget(&first);
    let again = judge(&mut it, &reading(Some(3), None, "1"), &at(4, 0)).unwrap();
    assert_eq!(again.id, first.id, "the same on a retry");
    assert_eq!(take(&mut it, &reading(Some(4), None, "2"), 5).unwrap(), "ars/mast:4.3");
    assert_eq!(take(&mut it, &reading(Some(3), None, "1"), 6), Err(Verdict::Backwards));
}

#[test]
fn a_device_that_counts_anew_and_stands_is_heard_again_after_its_age_max() {
    let mut it = values();
    take(&mut it, &reading(Some(50_059), None, "0"), 0).unwrap();
    for s in 1..10 {
        assert_eq!(take(&mut it, &reading(Some(1), None, "1"), s), Err(Verdict::Backwards), "{s}");
    }
    assert_eq!(&*restarted(&mut it, &reading(Some(1), None, "1"), 10).id, "ars/mast:1.10");
}

#[test]
fn answers_that_list_what_was_said_before_are_no_restart() {
    let mut it = values();
    for s in 0..20 {
        let listed = [s, s + 1, s + 2, s + 3].map(|n| reading(Some(n as u64), None, "1"));
        for reading in listed.iter().chain(&listed) {
            let verdict = it.judge(reading, &at(s, 0));
            assert!(!matches!(verdict, Verdict::Restarted(_)), "{s}: {verdict:?}");
        }
    }
}

#[test]
fn answers_that_come_late_by_the_devices_own_time_are_no_restart() {
    let mut it = values();
    take(&mut it, &reading(Some(60), Some(6), "0"), 6).unwrap();
    for n in 1..5 {
        let late = reading(Some(50 + n), Some(n as i64), "1");
        assert_eq!(take(&mut it, &late, 6 + n as i64), Err(Verdict::Backwards), "{n}");
    }
}

#[test]
fn what_the_log_refused_is_tried_again_under_its_id() {
    for one in [reading(Some(1), None, "1"), reading(None, Some(0), "1"), reading(None, None, "1")]
    {
        let mut it = values();
        let event = judge(&mut it, &one, &at(0, 0)).unwrap();
        assert_eq!(take(&mut it, &one, 1), Err(Verdict::Unchanged));
        it.forget(&event);
        assert_eq!(judge(&mut it, &one, &at(2, 0)).unwrap().id, event.id);
        let other = Reading { data: b"2".to_vec(), ..one.clone() };
        it.forget(&event);
        assert!(take(&mut it, &other, 3).is_ok(), "and what it says instead");
    }
}

#[test]
fn another_value_at_the_same_time_has_an_id_of_its_own() {
    let mut it = values();
    let ids = ["1", "2", "3"].map(|data| take(&mut it, &reading(None, Some(0), data), 0).unwrap());
    assert_eq!(ids[0], format!("ars/mast:@{NOON}"));
    assert_eq!(ids[1..], [format!("{}.1", ids[0]), format!("{}.2", ids[0])]);
    assert_eq!(take(&mut it, &reading(None, Some(0), "3"), 0), Err(Verdict::Unchanged));
    let later = take(&mut it, &reading(None, Some(1), "4"), 1).unwrap();
    assert_eq!(later, format!("ars/mast:@{}", NOON + SECOND));
}

#[test]
fn what_the_log_knows_under_other_content_is_said_under_another_id() {
    let mut it = values();
    let one = reading(Some(7), None, "1");
    let event = judge(&mut it, &one, &at(1, 0)).unwrap();
    it.rename(&event);
    assert_eq!(take(&mut it, &one, 2).unwrap(), "ars/mast:7.2");
    it.rename(&event);
    assert_eq!(take(&mut it, &one, 3), Err(Verdict::Unchanged), "that is settled");
}

#[test]
fn a_clock_that_is_an_hour_off_is_measured_and_corrected() {
    for off_s in [-3_600, 3_600] {
        let mut it = values();
        for s in 0..5 {
            let late = reading(None, Some(s + off_s), &s.to_string());
            let at = at(s, 0);
            let event = judge(&mut it, &late, &at).unwrap();
            assert_eq!(event.occurred_at, at.received_at, "by our clock");
        }
        assert_eq!(it.skew(), Some(-off_s * SECOND));
        let stale = reading(None, Some(off_s - 20), "stale");
        assert_eq!(take(&mut it, &stale, 5), Err(Verdict::TooOld), "25 s by its own clock");
    }
}

#[test]
fn a_delay_of_the_network_is_no_skew() {
    let event = judge(&mut values(), &reading(None, Some(0), "1"), &at(1, 0)).unwrap();
    assert_eq!(event.occurred_at, Timestamp(NOON));
}

#[test]
fn fault_26_a_time_that_stands_still_is_old_for_good_and_no_clock_that_is_off() {
    let mut it = values();
    for s in 0..300 {
        let changing = reading(None, Some(0), &s.to_string());
        let is_news = take(&mut it, &changing, s).is_ok();
        assert_eq!(is_news, s <= 10, "{s} s");
    }
    assert_eq!(it.skew(), Some(0));
    assert!(take(&mut it, &reading(None, Some(300), "on"), 300).is_ok(), "it goes on");
}

#[test]
fn fault_26_a_value_that_was_left_lying_for_months_is_no_clock_that_is_off() {
    let months_s = 120 * 86_400;
    for lying_s in [-months_s, -86_400] {
        let mut it = values();
        let left = reading(None, Some(lying_s), "left");
        for s in 0..3 {
            assert_eq!(take(&mut it, &left, s), Err(Verdict::TooOld), "{s} s");
        }
        // A device that knows no better counts from its own start, and its clock goes.
        let goes = reading(None, Some(lying_s + 3), "goes");
        let event = judge(&mut it, &goes, &at(3, 0)).unwrap();
        assert_eq!(event.occurred_at, Timestamp(NOON + 3 * SECOND));
    }
}

#[test]
fn fault_40_a_clock_that_is_set_moves_no_heartbeat_and_makes_nothing_old() {
    for set_s in [-3_600, 3_600] {
        let mut it = values();
        let mut ids = Vec::new();
        for s in 0..60 {
            let off_s = if s < 30 { 0 } else { set_s };
            // The device's own clock is well; its value never changes.
            let verdict = it.judge(&reading(None, Some(s), "1"), &at(s, off_s));
            match verdict {
                Verdict::News(event) => ids.push((s, event.id)),
                other => assert_eq!(other, Verdict::Unchanged, "{set_s}: {s} s"),
            }
        }
        assert!(ids.iter().map(|(s, _)| *s).eq((0..60).step_by(5)), "{set_s}: {ids:?}");
        let count = ids.len();
        ids.sort_by(|a, b| a.1.cmp(&b.1));
        ids.dedup_by(|a, b| a.1 == b.1);
        assert_eq!(ids.len(), count, "no id twice");
    }
}

#[test]
fn fault_40_a_clock_that_is_set_back_repeats_no_id() {
    let mut it = values();
    let mut ids = std::collections::HashSet::new();
    for s in 0..60 {
        let off_s = if s < 30 { 0 } else { -30 };
        let one = reading(None, None, if s % 20 < 10 { "1" } else { "2" });
        if let Ok(event) = judge(&mut it, &one, &at(s, off_s)) {
            assert!(ids.insert(event.id.clone()), "{s} s: {}", event.id);
        }
    }
    assert!(ids.len() >= 12);
}

#[test]
fn keys_that_are_not_seen_any_more_give_their_places_to_others() {
    let mut it = values();
    let keyed = |n: usize| Reading { key: format!("m-{n}").into(), ..reading(None, Some(0), "1") };
    for n in 0..KEYS_MAX {
        assert!(take(&mut it, &keyed(n), 0).is_ok());
    }
    assert_eq!(take(&mut it, &keyed(KEYS_MAX), 1), Err(Verdict::Full));
    let idle_s = KEY_IDLE_MAX.as_secs() as i64;
    let stays = Reading { measured_at: Some(Timestamp(NOON + 200 * SECOND)), ..keyed(0) };
    take(&mut it, &stays, 200).unwrap();
    let late = |n| Reading { measured_at: Some(at(idle_s + 1, 0).received_at), ..keyed(n) };
    assert!(take(&mut it, &late(KEYS_MAX), idle_s + 1).is_ok());
    assert_eq!((it.known.len(), it.skews.len()), (2, 2), "the one that was seen, and the new one");
}

#[test]
fn a_first_value_that_the_log_has_already_is_said_again_at_once() {
    let heartbeat = |s: i64| (NOON + s * SECOND) / (5 * SECOND);
    let mut it = values();
    // As another node has published it.
    let first = judge(&mut it, &reading(Some(7), None, "1"), &at(11, 0)).unwrap();
    let again = it.say_again(&first, at(11, 0).received_at).unwrap();
    assert_eq!(*again.id, format!("ars/mast:7~{}", heartbeat(11)));
    assert_eq!((&again.data, &again.sensor), (&first.data, &first.sensor));
    assert_eq!(it.say_again(&first, at(11, 0).received_at), None, "once for each answer");
    // That node used the number of this heartbeat as well.
    let more = it.say_again(&again, at(11, 0).received_at).unwrap();
    assert_eq!(*more.id, format!("{}~{}", again.id, heartbeat(11) + 1));
    assert_eq!(take(&mut it, &reading(Some(7), None, "1"), 12), Err(Verdict::Unchanged));
    let later = judge(&mut it, &reading(Some(7), None, "1"), &at(16, 0)).unwrap();
    assert_eq!(*later.id, format!("ars/mast:7~{}", heartbeat(16).max(heartbeat(11) + 2)));
    assert_eq!(it.say_again(&later, at(16, 0).received_at), None, "it is no first one");
}

#[test]
fn a_first_value_that_is_tried_again_may_still_be_a_repeat() {
    let mut it = values();
    let one = reading(Some(7), None, "1");
    let first = judge(&mut it, &one, &at(1, 0)).unwrap();
    it.forget(&first);
    let retried = judge(&mut it, &one, &at(2, 0)).unwrap();
    assert!(it.say_again(&retried, at(2, 0).received_at).is_some());
    let changed = judge(&mut it, &reading(Some(8), None, "2"), &at(3, 0)).unwrap();
    assert_eq!(it.say_again(&changed, at(3, 0).received_at), None);
}

#[test]
fn fault_26_a_device_that_is_frozen_is_told_by_the_sequence_that_stands() {
    let mut it = values();
    let of =
        |key: &str, n: u64, data: &str| Reading { key: key.into(), ..reading(Some(n), None, data) };
    let mut still_s = |readings: &[Reading], at_s: i64| {
        let at = at(at_s, 0);
        it.begin_answer();
        readings.iter().for_each(|reading| drop(it.judge(reading, &at)));
        it.still_since().map(|since| (at.now - since).as_secs())
    };
    assert_eq!(still_s(&[of("north", 1, "{}"), of("south", 1, "{}")], 0), Some(0));
    assert_eq!(still_s(&[of("north", 2, "{}"), of("south", 2, "{}")], 4), Some(0), "a calm");
    assert_eq!(still_s(&[of("north", 3, "{}"), of("south", 2, "{}")], 7), Some(3), "one stands");
    // Said again as heartbeats all the while.
    assert_eq!(still_s(&[of("north", 3, "{}"), of("south", 2, "{}")], 100), Some(96));
    assert_eq!(still_s(&[of("north", 3, "[]"), of("south", 2, "[]")], 101), Some(97), "values");
    assert_eq!(still_s(&[of("north", 4, "[]")], 102), Some(0), "the other is gone");
    let listed = [of("north", 2, "1"), of("north", 3, "1"), of("north", 4, "1")];
    assert_eq!(still_s(&listed, 104), Some(2), "what was said before moves nothing");
    // The device counts anew.
    for (at_s, n) in [(105, 1), (106, 2), (107, 3)] {
        still_s(&[of("north", n, "[]")], at_s);
    }
    assert_eq!(still_s(&[of("north", 3, "[]")], 109), Some(2));
    assert_eq!(still_s(&[], 110), None, "it counts nothing");
    assert_eq!(still_s(&[reading(None, None, "1")], 111), None, "nor does this one");
}
