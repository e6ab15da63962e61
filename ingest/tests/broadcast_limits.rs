//! What one partner may cost: its rate, its routes, the bytes in flight; and what is counted about
//! it.

mod support;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use futures_lite::stream::{self, StreamExt as _};
use serde_json::json;
use support::{Desk, Mode, OTHER_SECRET, SECRET, event};
use touchline_ingest::broadcast::{Partner, Sources, router};
use touchline_ingest::limits::{ARRIVAL_MIN, IN_FLIGHT_STEP_BYTES};
use tower::ServiceExt as _;

/// Waits until `holds`, two seconds at most.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within 2 s: {what}");
}

#[tokio::test]
async fn fault_27_a_burst_past_the_rate_is_429_with_a_time_to_come_back() {
    let desk = Desk::with(
        |_| {},
        |partner| {
            partner.events_per_s = 100;
            partner.events_burst = 1_000;
        },
    );
    let body: Vec<_> = (0..600).map(|n| event(&n.to_string())).collect();
    assert_eq!(desk.post(&json!(body)).await.tally(), (600, 0, 0));
    let answer = desk.post(&json!(body)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (429, "rate_limited"));
    let after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3).contains(&after), "200 events too many at 100/s are 2 s, not {after}");
    assert_eq!(desk.post(&json!(body[..300])).await.tally(), (0, 300, 0), "a smaller one fits");
}

#[tokio::test]
async fn fault_27_forged_requests_spend_nothing_of_a_partners_rate() {
    let desk = Desk::with(
        |_| {},
        |partner| {
            partner.events_per_s = 1;
            partner.events_burst = 1;
        },
    );
    let body: Vec<_> = (0..1_000).map(|n| event(&n.to_string())).collect();
    let body = json!(body).to_string();
    for _ in 0..5 {
        let forged = support::signed(OTHER_SECRET, desk.now_s(), body.as_bytes());
        assert_eq!(desk.send(forged).await.status, 401);
    }
    assert_eq!(desk.post_raw(body.as_bytes()).await.tally(), (1_000, 0, 0), "a full body fits");
}

#[tokio::test]
async fn a_partner_that_invents_routes_is_stopped_at_the_door() {
    let desk = Desk::with(|_| {}, |partner| partner.routes_max = 10);
    let routed = |n: usize| {
        let mut event = event(&format!("r{n}"));
        event["teams"] = json!([format!("t{n}")]);
        event
    };
    let first: Vec<_> = (0..10).map(routed).collect();
    assert_eq!(desk.post(&json!(first)).await.tally(), (10, 0, 0));
    let answer = desk.post(&json!([routed(0), routed(10)])).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (429, "too_many_routes"));
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(desk.log.events().len(), 10, "R23: never after the log has taken the event");
    assert_eq!(desk.post(&routed(3)).await.tally(), (0, 1, 0));
}

#[tokio::test]
async fn bytes_in_flight_are_bounded_until_the_log_has_replied() {
    let step = IN_FLIGHT_STEP_BYTES;
    let desk = Desk::with(
        |options| {
            options.in_flight_bytes_max = 3 * step;
            options.append_timeout = Duration::from_millis(20);
        },
        |_| {},
    );
    desk.log.set(Mode::Hang);
    for n in 0..3 {
        assert_eq!(desk.post(&event(&n.to_string())).await.code(), "log_unknown");
    }
    assert_eq!(desk.state.in_flight_bytes(), 3 * step, "answered, but the log still has them");
    let answer = desk.post(&event("4")).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "overloaded"));
    assert!(answer.headers.contains_key("retry-after"));
    desk.log.let_go();
    assert_eq!(desk.state.in_flight_bytes(), 0);
    desk.log.set(Mode::Take);
    assert_eq!(desk.post(&event("4")).await.tally(), (1, 0, 0));
}

/// A body of which one byte comes, and then nothing.
fn drip() -> Body {
    let byte = Ok::<_, Infallible>(Bytes::from_static(b"{"));
    Body::from_stream(stream::once(byte).chain(stream::pending()))
}

#[tokio::test]
async fn two_thousand_strangers_with_a_byte_each_lock_nobody_out() {
    let desk = Desk::new();
    let mut strangers = tokio::task::JoinSet::new();
    for _ in 0..2_000 {
        let forged = support::signed(OTHER_SECRET, desk.now_s(), b"{");
        let request = forged.map(|_| drip());
        strangers.spawn(router(desk.state.clone()).oneshot(request));
    }
    eventually("all have sent their byte", || {
        desk.state.in_flight_bytes() >= 2_000 * IN_FLIGHT_STEP_BYTES
    })
    .await;
    assert_eq!(desk.post(&event("1")).await.tally(), (1, 0, 0));
    strangers.abort_all();
    while strangers.join_next().await.is_some() {}
    assert_eq!(desk.state.in_flight_bytes(), 0, "what they held is given back");
}

/// A megabyte of which all but the end comes.
fn withheld() -> Body {
    let most = Ok::<_, Infallible>(Bytes::from(vec![b' '; (1 << 20) - 200]));
    Body::from_stream(stream::once(most).chain(stream::pending()))
}

#[tokio::test]
async fn strangers_who_hold_the_whole_budget_give_way_to_a_partner() {
    let desk = Desk::new();
    let mut strangers = tokio::task::JoinSet::new();
    for _ in 0..66 {
        let forged = support::signed(OTHER_SECRET, desk.now_s(), b"{");
        let request = forged.map(|_| withheld());
        strangers.spawn(router(desk.state.clone()).oneshot(request));
    }
    eventually("they hold all of it", || desk.state.in_flight_bytes() > 63 << 20).await;
    let begin = std::time::Instant::now();
    for n in 0..20 {
        let body = event(&n.to_string());
        while desk.post(&body).await.status != 202 {
            assert!(begin.elapsed() < 2 * ARRIVAL_MIN + Duration::from_secs(1), "locked out");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let evicted = strangers.try_join_next().expect("one gave way").unwrap().unwrap();
    assert_eq!(evicted.status(), 503);
    strangers.abort_all();
    while strangers.join_next().await.is_some() {}
    assert_eq!(desk.state.in_flight_bytes(), 0, "what they held is given back");
}

#[tokio::test]
async fn what_a_partner_sent_counts_also_when_it_hung_up() {
    let desk = Desk::new();
    desk.log.set(Mode::TakeLater(Duration::from_millis(50)));
    let body = event("1");
    let hurried = tokio::time::timeout(Duration::from_millis(5), desk.post(&body)).await;
    assert!(hurried.is_err());
    let stats = &desk.state.stats()[0];
    eventually("the event is counted", || stats.accepted() == 1).await;
    eventually("its bytes are given back", || desk.state.in_flight_bytes() == 0).await;
}

#[tokio::test]
async fn fault_40_staleness_counts_from_the_last_new_event_whatever_the_clock_says() {
    let desk = Desk::new();
    let stale = || desk.state.stats()[0].staleness(Instant::now());
    let pause = Duration::from_millis(120);
    tokio::time::sleep(pause).await;
    assert!(stale() >= pause, "from the start, before the first");
    desk.post(&event("1")).await;
    assert!(stale() < pause, "{:?}", stale());
    tokio::time::sleep(pause).await;
    desk.post(&event("1")).await;
    for set_s in [-3_600, 7_200] {
        desk.advance_s(set_s);
        assert!(stale() >= pause && stale() < 60 * pause, "{set_s}: {:?}", stale());
    }
    let skyline = Partner::new("skyline", &[SECRET]).unwrap();
    let harbour = Partner::new("harbour", &[SECRET]).unwrap();
    desk.state.replace_sources(Sources::new([skyline, harbour]).unwrap());
    let all = desk.state.stats();
    let named: Vec<_> = all.iter().map(|stats| (stats.source(), stats.accepted())).collect();
    assert_eq!(named, [("harbour", 0), ("skyline", 1), ("(unknown)", 0)]);
}
