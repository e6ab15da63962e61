//! What a partner is answered at the door: one request at a time, through the router, against a log
//! in memory.

mod support;

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use support::{Desk, Mode, NOW_S, OTHER_SECRET, PATH, SECRET, event, signed};
use touchline_core::log::AppendError;
use touchline_ingest::broadcast::{Partner, Secret, Sources, sign};

#[tokio::test]
async fn a_signed_body_is_202_once_all_of_it_is_durable() {
    let desk = Desk::new();
    let answer = desk.post(&json!([event("1"), event("2")])).await;
    assert_eq!(answer.tally(), (2, 0, 0));
    assert_eq!(desk.post(&event("3")).await.tally(), (1, 0, 0), "a lone object");
    let events = desk.log.events();
    assert_eq!(events.len(), 3);
    assert_eq!(&*events[2].source, "skyline");
    assert_eq!(&events[2].data[..], br#"{"minute":12}"#);
    let stats = &desk.state.stats()[0];
    assert_eq!((stats.accepted(), stats.bodies()), (3, 2));
}

/// A request as a partner might send it; a header without a value is left away.
fn ours(path: &str, kind: &str, id: &str, at: &str, signature: &str, body: &[u8]) -> Request<Body> {
    let headers = [
        ("content-type", kind),
        ("webhook-id", id),
        ("webhook-timestamp", at),
        ("webhook-signature", signature),
    ];
    let mut request = Request::post(path);
    for (name, value) in headers.into_iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(name, value);
    }
    request.body(Body::from(body.to_vec())).unwrap()
}

/// FAULTS 27: what is wrong with the envelope, in the order in which it is judged.
#[tokio::test]
async fn fault_27_a_request_that_is_not_what_the_partner_signed_is_refused() {
    let body = event("1").to_string();
    let body = body.as_bytes();
    let signature = |at_s| sign(&Secret::parse(SECRET).unwrap(), "msg-1", at_s, body);
    let now = NOW_S.to_string();
    let good = signature(NOW_S);
    let json = "application/json";
    let mut changed = body.to_vec();
    changed[10] ^= 1;
    let other = sign(&Secret::parse(OTHER_SECRET).unwrap(), "msg-1", NOW_S, body);
    let shorter = good[..good.len() - 4].to_owned();
    let v2 = good.replace("v1,", "v2,");
    let late = (NOW_S + 1).to_string();
    let (old, new) = ((NOW_S - 301).to_string(), (NOW_S + 301).to_string());
    let (old_signature, new_signature) = (signature(NOW_S - 301), signature(NOW_S + 301));
    let too_large = vec![b' '; 1024 * 1024 + 1];
    #[rustfmt::skip]
    let cases = [
        ("404 unknown_partner", ours("/v1/ingest/broadcast/nobody", json, "msg-1", &now, &good, body)),
        ("404 unknown_partner", ours("/v1/ingest/broadcast/%2e%2e", json, "msg-1", &now, &good, body)),
        ("415 unsupported_type", ours(PATH, "", "msg-1", &now, &good, body)),
        ("415 unsupported_type", ours(PATH, "text/plain", "msg-1", &now, &good, body)),
        ("415 unsupported_type", ours(PATH, "application/json; charset=latin-1", "msg-1", &now, &good, body)),
        ("415 unsupported_type", ours(PATH, "application/jsonp", "msg-1", &now, &good, body)),
        ("415 unsupported_type", ours(PATH, "application/+json", "msg-1", &now, &good, body)),
        ("415 unsupported_type", ours(PATH, "text/x+json", "msg-1", &now, &good, body)),
        ("413 body_too_large", ours(PATH, json, "msg-1", &now, &good, &too_large)),
        ("401 signature_missing", ours(PATH, json, "", &now, &good, body)),
        ("401 signature_missing", ours(PATH, json, "msg-1", "", &good, body)),
        ("401 signature_missing", ours(PATH, json, "msg-1", &now, "", body)),
        ("401 signature_missing", ours(PATH, json, "msg 1", &now, &good, body)),
        ("401 signature_missing", ours(PATH, json, "msg-1", "yesterday", &good, body)),
        ("401 signature_missing", ours(PATH, json, "msg-1", "-1", &good, body)),
        ("401 signature_missing", ours(PATH, json, "msg-1", "99999999999999999999", &good, body)),
        ("401 signature_invalid", ours(PATH, json, "msg-2", &now, &good, body)),
        ("401 signature_invalid", ours(PATH, json, "msg-1", &late, &good, body)),
        ("401 signature_invalid", ours(PATH, json, "msg-1", &now, &good, &changed)),
        ("401 signature_invalid", ours(PATH, json, "msg-1", &now, &other, body)),
        ("401 signature_invalid", ours(PATH, json, "msg-1", &now, &shorter, body)),
        ("401 signature_invalid", ours(PATH, json, "msg-1", &now, &v2, body)),
        ("401 signature_invalid", ours(PATH, json, "msg-1", &now, "v1,", body)),
        ("401 signature_invalid", ours(PATH, json, "msg-1", &now, "garbage", body)),
        ("401 timestamp_out_of_tolerance", ours(PATH, json, "msg-1", &old, &old_signature, body)),
        ("401 timestamp_out_of_tolerance", ours(PATH, json, "msg-1", &new, &new_signature, body)),
    ];
    for (n, (want, request)) in cases.into_iter().enumerate() {
        let desk = Desk::new();
        let answer = desk.send(request).await;
        let got = format!("{} {}", answer.status.as_u16(), answer.code());
        assert_eq!(got, want, "case {n}: {}", answer.json);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.json["status"], answer.status.as_u16());
        let source = if want.starts_with("404") { "(unknown)" } else { "skyline" };
        assert_eq!(desk.errors(source, answer.code()), 1, "case {n} is counted");
        assert!(desk.log.events().is_empty(), "case {n}");
    }
    let desk = Desk::new();
    let kind = "application/cloudevents+json; charset=UTF-8";
    assert_eq!(desk.send(ours(PATH, kind, "msg-1", &now, &good, body)).await.tally(), (1, 0, 0));
    let get = Request::get(PATH).body(Body::empty()).unwrap();
    let answer = desk.send(get).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (405, "method_not_allowed"));
    assert_eq!(answer.headers["allow"], "POST");
}

#[tokio::test]
async fn fault_27_five_minutes_either_way_are_tolerated() {
    for off in [-300, 300] {
        let desk = Desk::new();
        let answer =
            desk.send(signed(SECRET, NOW_S + off, event("1").to_string().as_bytes())).await;
        assert_eq!(answer.tally(), (1, 0, 0), "{off} s");
    }
}

#[tokio::test]
async fn fault_27_while_a_secret_rotates_both_sides_may_use_either() {
    let desk = Desk::new();
    let body = event("1").to_string();
    let send = |secret| desk.send(signed(secret, NOW_S, body.as_bytes()));
    assert_eq!(send(OTHER_SECRET).await.status, 401);
    let swap = |secrets: &[&str]| {
        let partner = Partner::new("skyline", secrets).unwrap();
        desk.state.replace_sources(Sources::new([partner]).unwrap());
    };
    swap(&[SECRET, OTHER_SECRET]);
    assert_eq!(send(SECRET).await.tally(), (1, 0, 0));
    assert_eq!(send(OTHER_SECRET).await.tally(), (0, 1, 0));
    swap(&[OTHER_SECRET]);
    assert_eq!(send(SECRET).await.status, 401);
    let sign = |secret| sign(&Secret::parse(secret).unwrap(), "msg-1", NOW_S, body.as_bytes());
    let both = format!("v1a,x {} {}", sign(SECRET), sign(OTHER_SECRET));
    let mut request = signed(SECRET, NOW_S, body.as_bytes());
    request.headers_mut().insert("webhook-signature", both.parse().unwrap());
    assert_eq!(desk.send(request).await.tally(), (0, 1, 0), "two signatures on one delivery");
    assert_eq!(desk.errors("skyline", "signature_invalid"), 2, "counters outlive a reload");
    desk.state.replace_sources(Sources::default());
    assert_eq!(send(OTHER_SECRET).await.code(), "unknown_partner");
}

#[tokio::test]
async fn fault_27_a_repeat_is_202_and_the_same_id_with_other_content_is_422() {
    let desk = Desk::new();
    assert_eq!(desk.post(&event("1")).await.tally(), (1, 0, 0));
    assert_eq!(desk.post(&event("1")).await.tally(), (0, 1, 0));
    let mut other = event("1");
    other["data"] = json!({"minute": 13});
    let answer = desk.post(&json!([event("2"), other])).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "id_reused"));
    assert_eq!(answer.json["errors"][0]["index"], 1);
    assert_eq!(answer.json["errors"][0]["field"], "id");
    assert_eq!(answer.json["errors"][0]["reason"], "id_reused");
    assert_eq!(desk.log.events().len(), 1, "nothing of a refused body enters the log");
    assert_eq!(desk.post(&json!([event("3"), event("3")])).await.tally(), (1, 1, 0));
}

#[tokio::test]
async fn fault_27_old_items_are_acknowledged_and_future_ones_refused() {
    let desk = Desk::new();
    let mut old = event("1");
    old["occurred_at"] = json!("2026-06-24T17:04:59Z");
    let answer = desk.post(&json!([old, event("2")])).await;
    assert_eq!(answer.tally(), (1, 0, 1));
    let mut ahead = event("3");
    ahead["occurred_at"] = json!("2026-06-24T18:05:01Z");
    let answer = desk.post(&json!([ahead, event("4")])).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "in_future"));
    assert_eq!(answer.json["errors"][0]["reason"], "in_future");
    assert_eq!(desk.log.events().len(), 1);
}

#[tokio::test]
async fn fault_27_a_body_with_one_bad_item_is_refused_whole() {
    let desk = Desk::new();
    let mut bad = event("2");
    bad["teams"] = json!([]);
    let answer = desk.post(&json!([event("1"), bad, 7])).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "invalid_events"));
    let errors = answer.json["errors"].as_array().unwrap();
    let at: Vec<_> = errors.iter().map(|e| (e["index"].as_u64(), e["field"].as_str())).collect();
    assert_eq!(at, [(Some(1), Some("teams")), (Some(2), Some(""))]);
    assert!(desk.log.events().is_empty());
    assert_eq!(desk.post_raw(b"{\"id\":").await.code(), "bad_json");
    assert_eq!(desk.post_raw(b"[]").await.code(), "bad_count");
}

#[tokio::test]
async fn each_refusal_of_the_log_tells_the_partner_when_to_come_back() {
    #[rustfmt::skip]
    let cases = [
        (Mode::Refuse(AppendError::DedupeFull), "429 dedupe_full"),
        (Mode::Refuse(AppendError::Busy), "503 log_busy"),
        (Mode::Refuse(AppendError::Unreachable), "503 log_unreachable"),
        (Mode::Refuse(AppendError::DiskFull), "503 log_full"),
        (Mode::Refuse(AppendError::ReadOnly), "503 log_read_only"),
        (Mode::Refuse(AppendError::Unknown("reset".into())), "503 log_unknown"),
        (Mode::Refuse(AppendError::Closed), "503 closing"),
        (Mode::Forget, "503 log_unknown"),
        (Mode::Hang, "503 log_unknown"),
    ];
    let desk = Desk::with(|options| options.append_timeout = Duration::from_millis(50), |_| {});
    for (mode, want) in cases {
        desk.log.set(mode);
        let answer = desk.post(&event("1")).await;
        assert_eq!(format!("{} {}", answer.status.as_u16(), answer.code()), want);
        let after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&after), "{want}");
    }
    assert_eq!(desk.state.stats()[0].accepted(), 0);
    desk.log.let_go();
    desk.log.set(Mode::Take);
    assert_eq!(desk.post(&event("1")).await.tally(), (1, 0, 0), "it recovers by itself");
}

#[tokio::test]
async fn a_request_is_known_by_one_id_in_answer_and_log() {
    let desk = Desk::new();
    let mut request = desk.signed(event("1").to_string().as_bytes());
    request.headers_mut().insert("x-request-id", "their-7".parse().unwrap());
    let answer = desk.send(request).await;
    assert_eq!(answer.headers["x-request-id"], "their-7");
    assert_eq!(&*desk.log.events()[0].correlation, "their-7");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut request = desk.signed(event("2").to_string().as_bytes());
    request.headers_mut().insert("traceparent", trace.parse().unwrap());
    let answer = desk.send(request).await;
    assert_eq!(answer.headers["x-request-id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(answer.headers["traceparent"], trace);
    assert_eq!(&*desk.log.events()[1].correlation, "4bf92f3577b34da6a3ce929d0e0e4736");
    let answer = desk.post(&json!({})).await;
    let made = answer.headers["x-request-id"].to_str().unwrap();
    assert_eq!(answer.json["request_id"], made, "a refusal names it in its body too");
    assert_eq!(made.len(), 36);
}
