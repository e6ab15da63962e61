//! A sensor behind the running binary: from the device to the socket, and into the metrics.

use std::time::{Duration, Instant};

use touchline_tests::e2e::server::{Backend, Home, words};
use touchline_tests::e2e::socket::Socket;
use touchline_tests::e2e::until;
use touchline_tests::upstream::{Fault, Upstream};

fn config(url: &str) -> String {
    format!(
        "[sources.sensor.emirates]\nurl = \"{url}\"\nitems = \"/readings\"\nteam = \"/team\"\n\
         type = \"wind\"\nkey = \"/key\"\nsequence = \"/n\"\nvalue = \"/v\"\n"
    )
}

fn body(n: u32) -> String {
    format!(r#"{{"readings":[{{"team":"ars","key":"north","n":{n},"v":{n}}}]}}"#)
}

#[test]
fn a_change_at_the_device_is_on_the_socket_within_a_poll_and_its_way() {
    let upstream = Upstream::start(&body(1));
    let home = Home::new(&config(&upstream.url()));
    let server = home.serve(Backend::Auto);
    until("published", || {
        server.metric(r#"touchline_events_ingested_total{source="emirates"}"#) >= 1.0
    });
    let mut client = Socket::open(server.addresses().stream, "teams=ars&streams=sensor");
    let subscribed = client.hear_op("subscribed");
    assert_eq!(subscribed["snapshot"][0]["data"]["value"], 1, "{subscribed}");
    for n in 2..6 {
        let changed = Instant::now();
        upstream.set_body(&body(n));
        let event = client.hear_op("event");
        assert_eq!(
            (&event["id"], &event["key"]),
            (&format!("ars/north:{n}").into(), &"north".into())
        );
        assert_eq!((&event["type"], &event["data"]["value"]), (&"wind".into(), &n.into()));
        assert!(changed.elapsed() < Duration::from_secs(1), "{:?}", changed.elapsed());
    }
    upstream.set_fault(Fault::Status(500));
    until("the breaker opens", || {
        server.metric(r#"touchline_breaker_state{name="emirates"}"#) >= 1.0
    });
    let errors = r#"touchline_ingest_errors_total{source="emirates",reason="status"}"#;
    assert!(server.metric(errors) >= 5.0);
    assert_eq!(server.admin("/readyz").status, 200, "a device in trouble is no reason");
}

#[test]
fn a_sensor_that_lacks_a_field_is_refused_by_name() {
    let home =
        Home::new("[sources.sensor.emirates]\nurl = \"http://127.0.0.1:1/\"\nteam = \"ars\"\n");
    let refused = home.command(Backend::Auto).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(3), "{}", words(&refused));
    assert!(words(&refused).contains("`sources.sensor.emirates`: `type` is missing"));
    let home = Home::new(&config("ftp://127.0.0.1/"));
    let refused = home.command(Backend::Auto).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(3), "{}", words(&refused));
    assert!(words(&refused).contains("must begin with http:// or https://"));
}

#[test]
fn what_is_said_again_and_what_a_device_says_that_counts_anew_reaches_the_socket() {
    let upstream = Upstream::start(&body(50_059));
    let home = Home::new(&(config(&upstream.url()) + "heartbeat_s = 0.3\n"));
    let server = home.serve(Backend::Auto);
    let mut client = Socket::open(server.addresses().stream, "teams=ars&streams=sensor");
    client.hear_op("subscribed");
    let ids: Vec<_> = (0..3).map(|_| client.hear_op("event")["id"].clone()).collect();
    let is_repeat =
        |id: &serde_json::Value| id.as_str().is_some_and(|id| id.starts_with("ars/north:50059~"));
    assert!(ids[1..].iter().all(is_repeat), "heartbeats under one sequence: {ids:?}");
    let mut n = 0;
    until("it counts anew", || {
        n += 1;
        upstream.set_body(&body(n));
        std::thread::sleep(Duration::from_millis(150));
        server.metric(r#"touchline_source_sequence_restarts_total{source="emirates"}"#) >= 1.0
    });
    upstream.set_body(&body(n + 1));
    let value = loop {
        let value = client.hear_op("event")["data"]["value"].as_u64();
        if value.is_some_and(|value| value < 50_059) {
            break value;
        }
    };
    assert!(value.is_some_and(|value| value <= u64::from(n) + 1), "{value:?}");
}

#[test]
fn fault_26_a_source_in_trouble_shows_in_its_gauges_and_on_the_board() {
    let upstream = Upstream::start(&body(1));
    let home = Home::new(&format!(
        "{}secret_header = \"authorization\"\nsecret_file = \"emirates.secret\"\n",
        config(&upstream.url())
    ));
    std::fs::write(home.path("emirates.secret"), "Bearer it-is-i\n").expect("a file");
    private(&home.path("emirates.secret"));
    let server = home.serve(Backend::Auto);
    let gauge =
        |name: &str| server.metric(&format!(r#"touchline_source_{name}{{source="emirates"}}"#));
    let state = || {
        let live: serde_json::Value = serde_json::from_str(&server.api("/v1/live").body).unwrap();
        let mut all = live["sources"].as_array().expect("a list").iter();
        let ours = all.find(|source| source["name"] == "emirates");
        ours.map_or(String::new(), |it| it["state"].as_str().unwrap_or_default().to_string())
    };
    until("it is fresh", || state() == "fresh");
    assert!(upstream.head().contains("authorization: Bearer it-is-i\r\n"), "{}", upstream.head());
    assert!(gauge("staleness_seconds") < 1.0 && gauge("clock_skew_seconds") == 0.0);
    upstream.set_body(&body(1).replace("\"v\":1", "\"v\":2"));
    until("it stands", || gauge("staleness_seconds") > 2.0);
    until("it is stale on the board", || state() == "stale");
    assert_eq!(server.metric(r#"touchline_breaker_state{name="emirates"}"#), 0.0);
    upstream.set_body(&body(2));
    until("it is fresh again", || state() == "fresh");
}

#[test]
fn fault_26_a_device_that_is_frozen_shows_in_a_gauge_though_it_answers_well() {
    let upstream = Upstream::start(&body(1));
    let home = Home::new(&config(&upstream.url()));
    let server = home.serve(Backend::Auto);
    let gauge =
        |name: &str| server.metric(&format!(r#"touchline_source_{name}{{source="emirates"}}"#));
    until("it stands", || gauge("sequence_still_seconds") > 2.0);
    assert!(gauge("staleness_seconds") < 2.0, "it answers");
    upstream.set_body(&body(1).replace("\"n\":1", "\"n\":2"));
    until("it moves", || gauge("sequence_still_seconds") < 1.0);
}

#[test]
fn what_a_devices_clock_is_off_by_and_the_ticks_it_misses_are_shown() {
    let at = std::time::SystemTime::now() - Duration::from_secs(3_600);
    let at = at.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let body = body(1).replace("\"n\"", &format!("\"at\":{at},\"n\""));
    let upstream = Upstream::start(&body);
    let home = Home::new(&(config(&upstream.url()) + "time = \"/at\"\ntimeout_s = 1\n"));
    let server = home.serve(Backend::Auto);
    let gauge =
        |name: &str| server.metric(&format!(r#"touchline_source_{name}{{source="emirates"}}"#));
    until("it is measured", || gauge("clock_skew_seconds") > 0.0);
    let skew = gauge("clock_skew_seconds");
    assert!((3_599.0..3_610.0).contains(&skew), "{skew}");
    upstream.set_fault(Fault::Slow(Duration::from_millis(700)));
    until("ticks are missed", || gauge("ticks_missed_total") >= 6.0);
}

/// Readable to its owner alone.
fn private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}
