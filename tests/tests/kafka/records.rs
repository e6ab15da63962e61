//! What stands in the topics for others to read.

use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use touchline_ingest::kafka::SCHEMA;
use touchline_tests::e2e::http::{SECRET, delivery_headers, event, request};
use touchline_tests::e2e::server::{PARTNERS, Server};

use crate::{Nodes, Turn, admin, calm_brokers};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// POSTs one event in a request of that name, with that `traceparent`.
fn post_traced(server: &Server, name: &str, trace: &str) {
    let body = event(name, &["ars"]);
    let headers = delivery_headers(name, SECRET, &body);
    let mut headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
    headers.push(("traceparent", trace));
    let path = format!("/v1/ingest/broadcast/{}", PARTNERS[0]);
    let answer = request(server.addresses().api, "POST", &path, &headers, &body);
    let answer = answer.expect("the API port answers");
    assert_eq!(answer.status, 202, "{}", answer.body);
}

fn headers(message: &BorrowedMessage<'_>) -> Vec<(String, String)> {
    let headers = message.headers().expect("it has some");
    let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into();
    headers.iter().map(|it| (it.key.to_owned(), text(it.value))).collect()
}

#[test]
fn a_records_headers_carry_schema_correlation_and_the_webhooks_trace() {
    let _turn = Turn::Calm.take();
    let nodes = Nodes::start(calm_brokers(), "headers", 1, "");
    post_traced(&nodes.servers[0], "traced", TRACE);
    post_traced(&nodes.servers[0], "forged", &TRACE.replace("4bf9", "4BF9"));
    post_traced(&nodes.servers[0], "short", &TRACE[..TRACE.len() - 3]);
    nodes.servers[0].accept(&event("plain", &["ars"]));
    let topic = "headers.broadcast-events";
    let mut found = admin::read(calm_brokers(), topic, 4, 4, headers);
    let plain = found.pop().expect("the last");
    let of = |correlation: &str| {
        [("schema", SCHEMA), ("correlation", correlation)]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
    };
    let mut traced = of("traced").to_vec();
    traced.push(("traceparent".into(), TRACE.into()));
    assert_eq!(found, [traced, of("forged").to_vec(), of("short").to_vec()]);
    let keys: Vec<&str> = plain.iter().map(|(key, _)| &**key).collect();
    assert_eq!(keys, ["schema", "correlation"]);
}
