//! What devices do: count anew, stand still, say one thing for two teams, change within a second.

use std::time::{Duration, Instant};

use touchline_core::event::Event;
use touchline_core::time::Timestamp;
use touchline_ingest::mapping::From;
use touchline_ingest::poll::Trouble;
use touchline_ingest::sensor::{SensorSource, ValueRules};
use touchline_tests::upstream::{Fault, Upstream};

use super::Ledger;
use super::sensors::{BODY, MS, body, clock, follow, source, until};

/// One whose readings say when they were measured, in milliseconds.
fn timed(url: &str) -> SensorSource {
    let mut it = source("emirates", url);
    it.mapping.sequence = None;
    it.mapping.time = Some(From::parse("/at"));
    it.rules = ValueRules { age_max: 400 * MS, heartbeat: Duration::from_secs(5) };
    it
}

fn body_at(at: Timestamp, value: u64) -> String {
    let at = at.0 / 1_000;
    format!(r#"{{"readings":[{{"team":"ars","key":"wind","at":{at},"v":{value}}}]}}"#)
}

fn value_of(event: &Event) -> String {
    String::from_utf8_lossy(&event.data).into_owned()
}

#[test]
fn a_device_that_counts_anew_is_heard_again() {
    let (upstream, ledger) = (Upstream::start(&body(50_059)), Ledger::new());
    follow(vec![source("emirates", &upstream.url())], &ledger, |stats| {
        until("the first run", || ledger.events().len() == 1);
        let mut n = 0;
        until("the second run", || {
            n += 1;
            upstream.set_body(&body(n));
            std::thread::sleep(150 * MS);
            ledger.events().len() > 3
        });
        assert_eq!(stats[0].restarts(), 1);
        assert!(stats[0].troubles_of(Trouble::Backwards) >= 2);
        let events = ledger.events();
        let ids: std::collections::HashSet<_> = events.iter().map(|event| &event.id).collect();
        assert_eq!(ids.len(), events.len());
        let second = events[1].id.rsplit_once('.').expect("a part of the run's").1;
        assert!(events[2].id.ends_with(second), "one run: {ids:?}");
    });
}

#[test]
fn one_key_under_two_teams_is_published_for_both() {
    let both = |n: u64| {
        let of = |team| format!(r#"{{"team":"{team}","key":"sun","n":{n},"v":{n}}}"#);
        format!(r#"{{"readings":[{},{}]}}"#, of("ars"), of("che"))
    };
    let (upstream, ledger) = (Upstream::start(&both(1)), Ledger::new());
    follow(vec![source("emirates", &upstream.url())], &ledger, |_| {
        until("the first", || ledger.events().len() == 2);
        upstream.set_body(&both(2));
        until("the second", || ledger.events().len() == 4);
    });
    let events = ledger.events();
    let ids: Vec<_> = events.iter().map(|event| &*event.id).collect();
    assert_eq!(ids, ["ars/sun:1", "che/sun:1", "ars/sun:2", "che/sun:2"]);
}

#[test]
fn fault_26_a_source_that_says_nothing_of_use_goes_stale_though_it_answers() {
    let stale = clock()();
    let bad = r#"{"readings":[{"team":"Arsenal FC","key":"wind","n":9,"v":1}]}"#;
    let standing = body(5).replace("\"v\":5", "\"v\":6");
    let cases = [
        (false, body(5), bad.to_string(), Trouble::BadReading),
        (false, body(5), body(4), Trouble::Backwards),
        (false, body(5), standing, Trouble::Standing),
        (true, body_at(stale, 1), body_at(stale, 1), Trouble::TooOld),
        (true, body_at(stale, 1), body_at(stale, 2), Trouble::TooOld),
    ];
    for (is_timed, well, ill, trouble) in cases {
        let (upstream, ledger) = (Upstream::start(&well), Ledger::new());
        let of = |url: &str| if is_timed { timed(url) } else { source("emirates", url) };
        follow(vec![of(&upstream.url())], &ledger, |stats| {
            until("it is well", || ledger.events().len() == 1);
            assert!(stats[0].staleness(Instant::now()) < 400 * MS);
            upstream.set_body(&ill);
            until(trouble.as_str(), || stats[0].troubles_of(trouble) > 6);
            let staleness = stats[0].staleness(Instant::now());
            assert!(staleness > 500 * MS, "{trouble:?}: {staleness:?}");
            assert_eq!(stats[0].breaker(), 0, "its line is well");
            upstream.set_body(r#"{"readings":[]}"#);
            until("nothing to say", || stats[0].staleness(Instant::now()) < 100 * MS);
        });
    }
}

#[test]
fn a_value_that_changes_within_its_time_is_published_and_one_that_stood_long_is_not() {
    let (now, ledger) = (clock(), Ledger::new());
    // A device whose clock is an hour slow.
    let slow = |ms: i64| Timestamp(now().0 - 3_600_000_000 + ms * 1_000);
    let first = slow(0);
    let upstream = Upstream::start(&body_at(first, 1));
    follow(vec![timed(&upstream.url())], &ledger, |stats| {
        until("the first", || ledger.events().len() == 1);
        upstream.set_body(&body_at(first, 2));
        until("another within its time", || ledger.events().len() == 2);
        let late = ledger.events()[1].occurred_at.0 - now().0;
        assert!(late.abs() < 1_000_000, "by our clock: {late} us");
        assert!((stats[0].skew_seconds() - 3_600.0).abs() < 1.0, "{}", stats[0].skew_seconds());
        until("it is too old", || stats[0].troubles_of(Trouble::TooOld) > 0);
        upstream.set_body(&body_at(slow(0), 3));
        until("it goes on", || ledger.events().len() == 3);
    });
    let events = ledger.events();
    assert!(events[1].id.starts_with(&*events[0].id) && events[1].id != events[0].id);
    assert_eq!(value_of(&events[2]), r#"{"value":3}"#);
}

#[test]
fn what_stands_beside_a_reused_id_is_sent_again_at_once() {
    let two = r#"{"readings":[{"team":"ars","key":"a","n":1,"v":1},
                   {"team":"ars","key":"b","n":1,"v":1}]}"#;
    let (upstream, ledger) = (Upstream::start(two), Ledger::new());
    ledger.reuse("ars/a:1");
    let mut rare = source("emirates", &upstream.url());
    rare.ask.interval = 2_000 * MS;
    follow(vec![rare], &ledger, |stats| {
        until("the other", || ledger.events().len() == 1);
        assert_eq!((&*ledger.events()[0].id, stats[0].polls()), ("ars/b:1", 1));
        until("the one, under another id", || ledger.events().len() == 2);
        assert!(ledger.events()[1].id.starts_with("ars/a:1."), "{:?}", ledger.events()[1].id);
        assert_eq!((stats[0].troubles_of(Trouble::IdReused), stats[0].polls()), (1, 2));
    });
}

#[test]
fn replies_that_the_log_drops_give_their_places_back() {
    let (upstream, ledger) = (Upstream::start(BODY), Ledger::new());
    ledger.lose(12);
    follow(vec![source("emirates", &upstream.url())], &ledger, |stats| {
        until("all are lost", || ledger.to_lose() == 0);
        until("the next is taken", || ledger.events().len() == 1);
        assert_eq!(stats[0].troubles_of(Trouble::LogRefused), 12);
        assert_eq!(stats[0].troubles_of(Trouble::LogBehind), 0);
        assert_eq!(&*ledger.events()[0].id, "ars/wind:1");
        upstream.set_fault(Fault::Status(500));
    });
}

/// Whoever asked before may have been gone for almost as long as a value counts.
#[test]
fn a_value_that_another_node_has_published_is_said_again_at_once() {
    let (upstream, ledger) = (Upstream::start(BODY), Ledger::new());
    ledger.know("ars/wind:1");
    let begin = Instant::now();
    follow(vec![source("emirates", &upstream.url())], &ledger, |stats| {
        until("it is said again", || ledger.events().len() == 1);
        assert!(begin.elapsed() < Duration::from_secs(2), "before its heartbeat");
        let event = &ledger.events()[0];
        assert!(event.id.starts_with("ars/wind:1~"), "{}", event.id);
        until("it goes on", || stats[0].polls() > 5);
        assert_eq!(ledger.events().len(), 1, "once");
    });
}
