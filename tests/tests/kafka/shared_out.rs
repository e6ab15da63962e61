//! Claim: of several nodes one asks each source, and when it ends another has taken over within ten
//! seconds (R20).

use std::time::{Duration, Instant};

use touchline_tests::e2e::server::Server;
use touchline_tests::upstream::Upstream;

use crate::{Nodes, Turn, calm_brokers};

const SOURCES: usize = 8;
const TAKEOVER_MAX: Duration = Duration::from_secs(10);

fn sections(url: &str) -> String {
    let section = |n: usize| {
        format!(
            "[sources.sensor.venue-{n}]\nurl = \"{url}\"\nitems = \"/readings\"\nteam = \"ars\"\n\
             type = \"wind\"\nkey = \"/key\"\nsequence = \"/n\"\nvalue = \"/v\"\n"
        )
    };
    (0..SOURCES).map(section).collect()
}

/// Which sources a node says are its own.
fn held(server: &Server) -> Vec<bool> {
    let is_held = |n: usize| {
        let sample = format!("touchline_source_assigned{{source=\"venue-{n}\"}}");
        server.metric(&sample) > 0.0
    };
    (0..SOURCES).map(is_held).collect()
}

fn until(what: &str, max: Duration, is_so: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < max, "not within {max:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    begin.elapsed()
}

#[test]
fn a_source_is_asked_by_one_node_and_by_another_soon_after_that_one_was_killed() {
    let _turn = Turn::Calm.take();
    let upstream = Upstream::start(r#"{"readings":[{"key":"north","n":1,"v":1}]}"#);
    let mut nodes = Nodes::start(calm_brokers(), "shared-out", 2, &sections(&upstream.url()));
    until("each source has one node, and each node some", Duration::from_secs(30), || {
        let [one, other] = [0, 1].map(|node| held(&nodes.servers[node]));
        let are_shared = one.iter().zip(&other).all(|(one, other)| one != other);
        are_shared && one.contains(&true) && other.contains(&true)
    });
    let (asked, begin) = (upstream.requests(), Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    let per_s = (upstream.requests() - asked) as f64 / begin.elapsed().as_secs_f64();
    let once = (SOURCES * 10) as f64;
    assert!(per_s < 1.2 * once, "{per_s} requests a second for {SOURCES} sources: some twice");
    let mut victim = nodes.take(0);
    victim.kill_9();
    let survivor = &nodes.servers[0];
    let took = until("the other has all", TAKEOVER_MAX, || held(survivor).iter().all(|it| *it));
    assert!(took > Duration::from_millis(500), "it was to be missed first: {took:?}");
    let asked = upstream.requests();
    until("they are asked", Duration::from_secs(5), || upstream.requests() > asked + 80);
}
