//! Sensors, polled over real HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use touchline_core::dead::DeadLetters;
use touchline_core::log::EventLog;
use touchline_core::time::Timestamp;
use touchline_ingest::breaker::BreakerRules;
use touchline_ingest::clock::Clock;
use touchline_ingest::mapping::From;
use touchline_ingest::outbound::Surroundings;
use touchline_ingest::poll::{Ask, PollStats, Poller, Trouble};
use touchline_ingest::sensor::{self, Mapping, SensorSource, ValueRules};
use touchline_tests::upstream::{Fault, Upstream};

use crate::Ledger;

pub const MS: Duration = Duration::from_millis(1);
pub const BODY: &str = r#"{"readings":[{"team":"ars","key":"wind","n":1,"v":3}]}"#;

pub fn body(n: u64) -> String {
    format!(r#"{{"readings":[{{"team":"ars","key":"wind","n":{n},"v":{n}}}]}}"#)
}

pub fn source(name: &str, url: &str) -> SensorSource {
    SensorSource {
        ask: Ask {
            name: name.into(),
            url: url.into(),
            interval: 100 * MS,
            timeout: 80 * MS,
            headers: vec![("x-key".into(), "secret".into())],
            body_bytes_max: 256 << 10,
            breaker: BreakerRules {
                failures: 5,
                open_first: 300 * MS,
                open_max: Duration::from_secs(5),
            },
        },
        rules: ValueRules { age_max: Duration::from_secs(10), heartbeat: Duration::from_secs(5) },
        mapping: Mapping {
            items: "/readings".into(),
            team: From::parse("/team"),
            kind: From::parse("wind"),
            key: From::parse("/key"),
            sequence: Some(From::parse("/n")),
            time: None,
            value: From::parse("/v"),
        },
        routes_max: 64,
    }
}

pub fn clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp(since.as_micros() as i64)
    })
}

/// Follows `sources` into `ledger` while `look` looks, on a runtime of one thread.
pub fn follow(
    sources: Vec<SensorSource>,
    ledger: &Arc<Ledger>,
    look: impl FnOnce(&[Arc<PollStats>]),
) {
    follow_by(clock(), sources, ledger, look);
}

/// The same by another clock.
pub fn follow_by(
    clock: Clock,
    sources: Vec<SensorSource>,
    ledger: &Arc<Ledger>,
    look: impl FnOnce(&[Arc<PollStats>]),
) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let log: Arc<dyn EventLog> = ledger.clone();
    let dead: Arc<dyn DeadLetters> = ledger.clone();
    let around = Surroundings::new(log, clock, dead);
    let mut poller = Poller::new(&around);
    runtime.block_on(async { sensor::follow(&mut poller, sources) }).unwrap();
    look(poller.stats());
    runtime.block_on(poller.stop());
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(5 * MS);
    }
}

#[test]
fn a_value_is_published_when_it_changes_and_not_before() {
    let (upstream, ledger) = (Upstream::start(BODY), Ledger::new());
    follow(vec![source("emirates", &upstream.url())], &ledger, |stats| {
        until("the first", || ledger.events().len() == 1);
        until("it is asked again", || upstream.requests() > 5);
        assert_eq!(ledger.events().len(), 1, "nothing has changed");
        let changed = Instant::now();
        upstream.set_body(&body(2));
        until("the change", || ledger.events().len() == 2);
        assert!(changed.elapsed() < 250 * MS, "{:?}", changed.elapsed());
        let event = &ledger.events()[1];
        assert_eq!(
            (&*event.source, &*event.id, &*event.data),
            ("emirates", "ars/wind:2", &br#"{"value":2}"#[..])
        );
        assert_eq!(stats[0].published(), 2);
        assert!(stats[0].unchanged() > 0 && stats[0].staleness(Instant::now()) < 500 * MS);
    });
}

#[test]
fn fault_26_a_source_in_trouble_delays_no_other_and_is_back_when_it_is_well() {
    for fault in Fault::ALL {
        let (ill, well, ledger) = (Upstream::start(BODY), Upstream::start(BODY), Ledger::new());
        let sources = vec![source("ill", &ill.url()), source("well", &well.url())];
        follow(sources, &ledger, |stats| {
            until("both", || ledger.events().len() == 2);
            ill.set_fault(fault);
            let expected = match fault {
                Fault::Slow(_) | Fault::Drip => Trouble::Timeout,
                Fault::Status(_) => Trouble::Status,
                Fault::RedirectLoop => Trouble::Redirect,
                Fault::Huge | Fault::GzipBomb => Trouble::TooLarge,
                Fault::WrongType => Trouble::ContentType,
                Fault::BadJson => Trouble::BadJson,
                _ => Trouble::Broken,
            };
            until(&format!("{fault:?} is counted"), || stats[0].troubles_of(expected) >= 3);
            until("the breaker opens", || stats[0].breaker() == 2);
            let (polls, begin) = (stats[1].polls(), Instant::now());
            until("ten ticks of the other", || stats[1].polls() >= polls + 10);
            assert!(begin.elapsed() < 1_300 * MS, "{fault:?}: {:?}", begin.elapsed());
            assert!(stats[0].staleness(Instant::now()) > 500 * MS);
            assert!(stats[0].ticks_skipped() > 0);
            ill.set_fault(Fault::None);
            ill.set_body(&body(9));
            until("it is back", || ledger.events().iter().any(|event| &*event.id == "ars/wind:9"));
            until("its breaker closes", || stats[0].breaker() == 0);
        });
    }
}

#[test]
fn fault_26_what_a_device_says_wrong_is_parked_with_its_bytes_and_what_ails_parks_nothing() {
    for fault in Fault::ALL {
        let (ill, ledger) = (Upstream::start(BODY), Ledger::new());
        ill.set_fault(fault);
        follow(vec![source("ill", &ill.url())], &ledger, |stats| {
            until(&format!("{fault:?} opens the breaker"), || stats[0].breaker() == 2);
        });
        let letters = ledger.letters();
        let (reason, raw) = match fault {
            Fault::WrongType => ("content_type", &b"<html>maintenance</html>"[..]),
            Fault::BadJson => ("bad_json", &b"{\"readings\":[NaN}"[..]),
            Fault::Huge => ("too_large", &[b' '; 1_000][..]),
            Fault::GzipBomb => ("too_large", &[b' '; 1_000][..]),
            _ => {
                assert_eq!(letters, [], "{fault:?}");
                continue;
            }
        };
        let [letter] = &letters[..] else { panic!("{fault:?}: {} letters", letters.len()) };
        assert_eq!((&*letter.source, letter.reason, letter.attempts), ("ill", reason, 1));
        let begins = &letter.raw[..raw.len().min(letter.raw.len())];
        assert_eq!(begins, raw, "{fault:?}");
        assert!(letter.raw.len() <= 256 << 10, "{fault:?}");
    }
}

#[test]
fn fault_26_an_upstream_that_refuses_connections_is_counted_as_such() {
    let gone = Upstream::start(BODY).url();
    follow(vec![source("gone", &gone)], &Ledger::new(), |stats| {
        until("counted", || stats[0].troubles_of(Trouble::Connect) >= 5);
        until("the breaker opens", || stats[0].breaker() == 2);
    });
}

#[test]
fn fault_26_bad_readings_cost_themselves_alone() {
    let both = r#"{"readings":[{"team":"Arsenal FC","key":"k","n":1,"v":1},
                    {"team":"ars","key":"good","n":1,"v":1}]}"#;
    let (upstream, ledger) = (Upstream::start(both), Ledger::new());
    follow(vec![source("mixed", &upstream.url())], &ledger, |stats| {
        until("the good one", || ledger.events().len() == 1);
        until("counted", || stats[0].troubles_of(Trouble::BadReading) > 1);
        let [letter] = &ledger.letters()[..] else { panic!("one a minute") };
        assert_eq!((letter.reason, &letter.raw[..]), ("bad_reading", both.as_bytes()));
        assert_eq!(stats[0].breaker(), 0, "the source answers");
        upstream.set_body(&body(5));
        until("forward", || ledger.events().len() == 2);
        upstream.set_body(&body(4));
        until("backwards", || stats[0].troubles_of(Trouble::Backwards) > 0);
        upstream.set_body(&body(5).replace("\"v\":5", "\"v\":6"));
        until("standing", || stats[0].troubles_of(Trouble::Standing) > 0);
        assert_eq!(ledger.events().len(), 2);
    });
}

#[test]
fn what_the_log_refuses_is_tried_again_at_the_next_tick() {
    let (upstream, ledger) = (Upstream::start(BODY), Ledger::new());
    ledger.set_refusing(true);
    follow(vec![source("emirates", &upstream.url())], &ledger, |stats| {
        until("refused", || stats[0].troubles_of(Trouble::LogRefused) >= 3);
        ledger.set_refusing(false);
        until("taken", || ledger.events().len() == 1);
        assert_eq!(stats[0].breaker(), 0, "it isn't the source's fault");
    });
}

#[test]
fn two_hundred_sources_on_one_thread_miss_less_than_one_tick_in_fifty() {
    let upstream = Upstream::start(BODY);
    let sources = (0..200).map(|n| source(&format!("s{n}"), &upstream.url())).collect();
    follow(sources, &Ledger::new(), |stats| {
        std::thread::sleep(3_000 * MS);
        let polls: u64 = stats.iter().map(|it| it.polls()).sum();
        let missed: u64 = stats.iter().map(|it| it.ticks_missed()).sum();
        assert!(missed * 50 < polls, "{missed} of {polls} ticks missed");
        assert!(polls > 200 * 20, "{polls} polls in 3 s");
    });
}
