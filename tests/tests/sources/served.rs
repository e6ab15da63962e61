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
        assert_eq!((&event["id"], &event["key"]), (&format!("north:{n}").into(), &"north".into()));
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
