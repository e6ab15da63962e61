//! How a source is asked: one request at a time, with its headers, over one connection, by clocks
//! that nobody can set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use touchline_core::time::Timestamp;
use touchline_ingest::clock::Clock;
use touchline_ingest::mapping::From;
use touchline_ingest::poll::Trouble;
use touchline_tests::upstream::{Fault, Upstream};

use super::Ledger;
use super::sensors::{BODY, MS, body, clock, follow, follow_by, source, until};

#[test]
fn fault_26_one_request_is_in_flight_and_ticks_that_pass_are_counted_not_made_up_for() {
    let (upstream, ledger) = (Upstream::start(BODY), Ledger::new());
    upstream.set_fault(Fault::Slow(700 * MS));
    let mut patient = source("slow", &upstream.url());
    patient.ask.timeout = 1_000 * MS;
    follow(vec![patient], &ledger, |stats| {
        until("three answers", || upstream.requests() >= 4);
        assert_eq!(upstream.busy_most(), 1);
        let missed = stats[0].ticks_missed();
        // Those of one request are counted with the one after the next.
        assert!((6 * 2..8 * 3).contains(&missed), "{missed} missed");
        let requests = upstream.requests();
        upstream.set_fault(Fault::None);
        until("it is fast", || upstream.requests() >= requests + 2);
        std::thread::sleep(500 * MS);
        assert!(upstream.requests() <= requests + 12, "they don't pile up");
        assert_eq!((stats[0].breaker(), upstream.busy_most()), (0, 1));
    });
}

#[test]
fn its_headers_arrive_over_one_connection_and_packed_answers_are_read() {
    let (upstream, ledger) = (Upstream::start(BODY), Ledger::new());
    upstream.set_fault(Fault::Gzip);
    follow(vec![source("emirates", &upstream.url())], &ledger, |stats| {
        until("many polls", || upstream.requests() >= 20);
        let head = upstream.head().to_ascii_lowercase();
        assert!(head.contains("\r\nx-key: secret\r\n"), "{head}");
        assert!(head.contains("gzip") && head.contains("accept: application/json"), "{head}");
        assert!(upstream.connections() <= 2, "{} connections", upstream.connections());
        assert_eq!((ledger.events().len(), stats[0].breaker()), (1, 0));
    });
}

#[test]
fn fault_26_who_says_when_to_come_back_is_left_alone_until_then() {
    for status in [429, 503] {
        let (upstream, ledger) = (Upstream::start(BODY), Ledger::new());
        upstream.set_fault(Fault::RetryAfter(status, 2));
        follow(vec![source("busy", &upstream.url())], &ledger, |stats| {
            until("it is asked", || stats[0].breaker() == 2);
            let begin = Instant::now();
            upstream.set_fault(Fault::None);
            until("it is asked again", || upstream.requests() > 1);
            let waited = begin.elapsed();
            assert!(waited > 1_800 * MS && waited < 3_500 * MS, "{status}: {waited:?}");
            until("it is well", || stats[0].breaker() == 0 && ledger.events().len() == 1);
        });
    }
}

#[test]
fn fault_26_a_name_that_does_not_resolve_is_counted_and_delays_no_other() {
    let (well, ledger) = (Upstream::start(BODY), Ledger::new());
    // No name may have a part of more than 63 bytes; the other is for the resolver to say.
    let names = [format!("{}.invalid", "a".repeat(64)), "no-such-host.invalid".to_string()];
    let mut sources: Vec<_> =
        names.iter().map(|name| source("gone", &format!("http://{name}/values"))).collect();
    sources.push(source("well", &well.url()));
    follow(sources, &ledger, |stats| {
        for gone in &stats[..2] {
            let of = |trouble| gone.troubles_of(trouble);
            until("it is counted", || of(Trouble::Connect) + of(Trouble::Timeout) >= 5);
            until("its breaker opens", || gone.breaker() == 2);
        }
        let (polls, begin) = (stats[2].polls(), Instant::now());
        until("ten ticks of the other", || stats[2].polls() >= polls + 10);
        assert!(begin.elapsed() < 1_300 * MS, "{:?}", begin.elapsed());
        assert!(stats[0].staleness(Instant::now()) > 500 * MS);
    });
}

#[test]
fn fault_40_a_clock_that_is_set_makes_nothing_old_and_hides_no_staleness() {
    for set_s in [-3_600, 3_600] {
        let (off, ledger) = (Arc::new(AtomicI64::new(0)), Ledger::new());
        let (of_clock, real) = (Arc::clone(&off), clock());
        let ours: Clock =
            Arc::new(move || Timestamp(real().0 + of_clock.load(Ordering::Relaxed) * 1_000_000));
        let body_now = |n: u64| {
            let at = clock()().0 / 1_000;
            format!(r#"{{"readings":[{{"team":"ars","key":"wind","at":{at},"v":{n}}}]}}"#)
        };
        let upstream = Upstream::start(&body_now(0));
        let mut timed = source("emirates", &upstream.url());
        timed.mapping.sequence = None;
        timed.mapping.time = Some(From::parse("/at"));
        follow_by(ours, vec![timed], &ledger, |stats| {
            until("the first", || ledger.events().len() == 1);
            off.store(set_s, Ordering::Relaxed);
            for n in 1..5 {
                upstream.set_body(&body_now(n));
                until("it is published", || ledger.events().len() as u64 > n);
            }
            assert_eq!(stats[0].troubles_of(Trouble::TooOld), 0, "{set_s} s");
            upstream.set_fault(Fault::Status(500));
            until("it is stale", || stats[0].staleness(Instant::now()) > 500 * MS);
            assert!(stats[0].staleness(Instant::now()) < Duration::from_secs(60));
        });
    }
}

#[test]
fn a_task_that_fails_is_counted_and_begins_anew() {
    let (upstream, ledger, asked) = (Upstream::start(BODY), Ledger::new(), AtomicU64::new(0));
    let real = clock();
    let fails_once: Clock = Arc::new(move || {
        assert!(asked.fetch_add(1, Ordering::Relaxed) != 5, "a mistake of ours, for the test");
        real()
    });
    follow_by(fails_once, vec![source("emirates", &upstream.url())], &ledger, |stats| {
        until("it fails", || stats[0].troubles_of(Trouble::Panicked) == 1);
        upstream.set_body(&body(2));
        until("it goes on", || ledger.events().iter().any(|event| &*event.id == "ars/wind:2"));
        assert_eq!(stats[0].troubles_of(Trouble::Panicked), 1);
    });
}
