//! Claim: a client that comes from another node, a moment ahead of this one, resumes whole; one
//! with positions that no node has ever shown is told so (R4).

mod common;

use std::time::{Duration, Instant};

use common::{Stage, eventually, member, on_both_backends};
use touchline_core::log::{Epoch, Lane, Mark, Position, token};
use touchline_fanout::testing::Client;

const EPOCH: Epoch = Epoch(7);

fn mark(next: u64) -> String {
    token::encode_mark(&Mark { epoch: EPOCH, next: [next].into() })
}

fn resume(stage: &Stage, next: u64) -> Client {
    let mut client = stage.connect(&format!("teams=ars&mark={}", mark(next)));
    assert!(client.text().starts_with(r#"{"op":"hello""#));
    client
}

#[test]
fn a_client_that_is_ahead_of_this_node_waits_for_it_and_misses_nothing() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        stage.log.share(0);
        (0..3).for_each(|n| stage.publish("ars", &format!("e{n}")));
        let mut ahead = resume(&stage, 5);
        eventually("the log is asked", || stage.log.looks_ahead() > 0);
        ahead.send_text(r#"{"op":"ping","id":9}"#);
        stage.log.share(2);
        let subscribed = ahead.text();
        assert!(subscribed.contains(r#""recovered":true"#), "{subscribed}");
        assert!(subscribed.contains(&mark(5)), "its own mark: {subscribed}");
        assert_eq!(ahead.text(), r#"{"op":"pong","id":9}"#, "what it said next comes next");
        stage.log.share(0);
        (3..7).for_each(|n| stage.publish("ars", &format!("e{n}")));
        for n in 5..7 {
            assert_eq!(member(&ahead.text(), "id"), format!("e{n}"), "not what it has already");
        }
        stage.stop();
    });
}

#[test]
fn positions_that_nobody_has_shown_are_of_another_life_once_the_log_has_said_so() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        stage.publish("ars", "e0");
        let begin = Instant::now();
        assert!(resume(&stage, 9).text().contains(r#""recovered":false"#));
        assert!(begin.elapsed() < Duration::from_secs(2), "a log of its own needs no question");
        stage.log.share(0);
        let mut lost = resume(&stage, 9);
        lost.set_patience(Duration::from_secs(10));
        let subscribed = lost.text();
        assert!(subscribed.contains(r#""recovered":false"#), "{subscribed}");
        assert!(begin.elapsed() >= Duration::from_secs(5), "it was waited for");
        stage.stop();
    });
}

#[test]
fn a_position_ahead_counts_as_a_mark_does() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        stage.log.share(0);
        (0..3).for_each(|n| stage.publish("ars", &format!("e{n}")));
        let at = token::encode_position(EPOCH, Position { lane: Lane(0), seq: 3 });
        let query = format!("teams=ars&mark={}&after=broadcast:ars~{at}", mark(3));
        let mut ahead = stage.connect(&query);
        assert!(ahead.text().starts_with(r#"{"op":"hello""#));
        eventually("the log is asked", || stage.log.looks_ahead() > 0);
        (3..5).for_each(|n| stage.publish("ars", &format!("e{n}")));
        assert!(ahead.text().contains(r#""recovered":true"#));
        assert_eq!(member(&ahead.text(), "id"), "e4", "e3 it has");
        stage.stop();
    });
}
