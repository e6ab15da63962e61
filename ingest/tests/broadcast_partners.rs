//! What is agreed with one partner besides its secret: how it signs, in which shape it sends, what
//! its items must be like, how much it may have under way; and what becomes of what is refused.

mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value as Json, json};
use support::{Desk, Mode, NOW_S, PATH, event};
use touchline_core::dead::Desk as DeadDesk;
use touchline_core::event::Stream;
use touchline_core::time::Timestamp;
use touchline_ingest::broadcast::{
    Context, ItemMapping, Partner, Schema, Scheme, SchemeText, Secret, SecretEncoding, Sources,
};
use touchline_ingest::limits::LETTERS_PER_MINUTE_MAX;
use touchline_ingest::mapping::From;

fn agreeing(agree: impl FnOnce(&mut Partner)) -> Desk {
    Desk::with(|_| {}, agree)
}

fn minute_schema() -> Arc<Schema> {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"data": {"required": ["minute"],
            "properties": {"minute": {"type": "integer", "minimum": 0, "maximum": 130}}}},
    });
    Arc::new(Schema::compile(schema.to_string().as_bytes()).unwrap())
}

fn mapping() -> ItemMapping {
    ItemMapping {
        items: "/happenings".into(),
        team: From::parse("/clubs"),
        kind: From::parse("/what"),
        id: From::parse("/ref"),
        time: From::parse("/at"),
        value: From::parse("/facts"),
    }
}

fn happening(id: u64) -> Json {
    json!({"ref": id, "clubs": ["ARS", "CHE"], "what": "Goal", "at": NOW_S, "facts": {"min": 9}})
}

#[tokio::test]
async fn fault_27_an_item_that_breaks_the_schema_is_422_and_its_body_is_parked() {
    let desk = agreeing(|partner| partner.schema = Some(minute_schema()));
    assert_eq!(desk.post(&event("1")).await.tally(), (1, 0, 0));
    let mut late = event("2");
    late["data"] = json!({"minute": 131});
    let body = json!([event("3"), late]).to_string();
    let mut request = desk.signed(body.as_bytes());
    request.headers_mut().insert("x-request-id", "their-9".parse().unwrap());
    let answer = desk.send(request).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "invalid_events"));
    let error = &answer.json["errors"][0];
    assert_eq!(
        (&error["index"], &error["field"], &error["reason"]),
        (&json!(1), &json!("/data/minute"), &json!("schema"))
    );
    assert_eq!(desk.log.events().len(), 1, "nothing of a refused body enters the log");
    let letters = desk.letters.all();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!((letter.desk, letter.stream), (DeadDesk::Webhook, Stream::Broadcast));
    assert_eq!((&*letter.source, letter.reason), ("skyline", "invalid_events"));
    assert_eq!((&letter.raw[..], &*letter.correlation), (body.as_bytes(), "their-9"));
    assert_eq!(letter.received_at, Timestamp(NOW_S * 1_000_000));
    assert!(letter.detail.contains("item 1: /data/minute"), "{}", letter.detail);
}

#[tokio::test]
async fn fault_27_all_that_is_422_is_parked_and_nothing_that_is_not() {
    let desk = Desk::new();
    desk.post(&event("1")).await;
    let mut other = event("1");
    other["data"] = json!({"minute": 13});
    let mut ahead = event("2");
    ahead["occurred_at"] = json!("2026-06-24T18:05:01Z");
    for (body, code) in [(other, "id_reused"), (ahead, "in_future"), (json!({}), "invalid_events")]
    {
        assert_eq!(desk.post(&body).await.code(), code);
        let letters = desk.letters.all();
        assert_eq!(letters.last().map(|letter| letter.reason), Some(code));
    }
    assert_eq!(desk.post_raw(b"{").await.code(), "bad_json");
    let mut forged = desk.signed(b"{}");
    forged.headers_mut().insert("webhook-signature", "v1,AAAA".parse().unwrap());
    assert_eq!(desk.send(forged).await.status, 401);
    desk.log.set(Mode::Refuse(touchline_core::log::AppendError::Busy));
    assert_eq!(desk.post(&event("9")).await.status, 503);
    assert_eq!(desk.letters.all().len(), 3, "a 400, a 401 and a 503 leave no letter");
}

#[tokio::test]
async fn fault_27_a_partner_in_a_loop_leaves_a_bounded_number_of_letters() {
    let desk = Desk::new();
    for n in 0..200 {
        assert_eq!(desk.post(&json!({"n": n})).await.status, 422);
    }
    let bound = LETTERS_PER_MINUTE_MAX as usize;
    assert_eq!(desk.letters.all().len(), bound);
    let stats = &desk.state.stats()[0];
    assert_eq!((stats.parked(), stats.kept_back()), (bound as u64, 200 - bound as u64));
    desk.advance_s(60);
    desk.post(&json!({})).await;
    assert_eq!(desk.letters.all().len(), bound + 1, "the next minute has room again");
}

#[tokio::test]
async fn a_letter_is_read_again_by_what_is_agreed_today() {
    let desk = agreeing(|partner| partner.schema = Some(minute_schema()));
    let mut late = event("1");
    late["data"] = json!({"minute": 131});
    assert_eq!(desk.post(&late).await.status, 422);
    let letter = desk.letters.all().remove(0);
    let again = |desk: &Desk| {
        desk.state.events_of(&letter.source, &letter.raw, letter.received_at, "replay-1")
    };
    assert_eq!(again(&desk).unwrap_err().errors[0].reason, "schema");
    let mended = Partner::new("skyline", &[support::SECRET]).unwrap();
    desk.state.replace_sources(Sources::new([mended]).unwrap());
    let events = again(&desk).unwrap();
    assert_eq!((events.len(), &*events[0].id, &*events[0].correlation), (1, "1", "replay-1"));
    let gone = desk.state.events_of("nobody", &letter.raw, letter.received_at, "r");
    assert_eq!(gone.unwrap_err().code.as_str(), "unknown_partner");
    let mut ahead = event("2");
    ahead["occurred_at"] = json!("2026-06-24T18:30:00Z");
    let raw = ahead.to_string();
    let early = desk.state.events_of("skyline", raw.as_bytes(), letter.received_at, "r");
    assert_eq!(early.unwrap_err().code.as_str(), "in_future");
    desk.advance_s(30 * 60);
    let by_now = desk.state.events_of("skyline", raw.as_bytes(), letter.received_at, "r");
    assert_eq!(by_now.unwrap().len(), 1, "what lay ahead has happened");
}

#[tokio::test]
async fn a_partner_with_a_shape_and_a_signature_of_its_own_is_understood() {
    let key = "a secret that both sides know";
    let desk = agreeing(|partner| {
        let secret = Secret::decode(key, SecretEncoding::Text).unwrap();
        *partner = Partner::with_secrets("skyline", vec![secret]).unwrap();
        partner.mapping = Some(mapping());
        partner.scheme = Scheme::new(&SchemeText {
            signature_header: "x-hub-signature-256",
            signature_prefix: "sha256=",
            ..SchemeText::default()
        })
        .unwrap();
    });
    let body = json!({"sent_by": "arena", "happenings": [happening(1), happening(2)]}).to_string();
    let signed = |body: &str| {
        Request::post(PATH)
            .header("content-type", "application/json")
            .header("x-hub-signature-256", format!("sha256={}", hmac_sha256(key, body)))
            .body(Body::from(body.to_owned()))
            .unwrap()
    };
    assert_eq!(desk.send(signed(&body)).await.tally(), (2, 0, 0));
    assert_eq!(desk.send(signed(&body)).await.tally(), (0, 2, 0), "a repeat is a repeat");
    let events = desk.log.events();
    assert_eq!(
        (&*events[0].id, &*events[0].kind, events[0].route.as_str()),
        ("1", "goal", "ars+che")
    );
    assert_eq!(&events[0].data[..], br#"{"min":9}"#);
    let mut bad = happening(3);
    bad["clubs"] = json!("Arsenal FC");
    let answer = desk.send(signed(&json!({"happenings": [happening(4), bad]}).to_string())).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "invalid_events"));
    assert_eq!(
        (&answer.json["errors"][0]["index"], &answer.json["errors"][0]["field"]),
        (&json!(1), &json!("team"))
    );
    for (body, code) in [("{\"happenings\":[]}", "bad_count"), ("[]", "invalid_events")] {
        assert_eq!(desk.send(signed(body)).await.code(), code, "{body}");
    }
    assert_eq!(desk.log.events().len(), 2);
}

/// By another hand than the code under test.
fn hmac_sha256(key: &str, body: &str) -> String {
    use hmac::Mac as _;
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn our_own_shape_stays_byte_for_byte_also_under_a_schema() {
    let desk = agreeing(|partner| partner.schema = Some(minute_schema()));
    let body = r#"{"id":"1","teams":["ars"],"type":"goal","occurred_at":"2026-06-24T17:59:58Z",
        "data":{ "minute" : 7, "odds":1.10 }}"#;
    assert_eq!(desk.post_raw(body.as_bytes()).await.tally(), (1, 0, 0));
    assert_eq!(&desk.log.events()[0].data[..], br#"{ "minute" : 7, "odds":1.10 }"#);
}

#[tokio::test]
async fn fault_27_requests_beyond_a_partners_places_are_429_and_strangers_take_none() {
    let desk = Desk::with(
        |options| options.append_timeout = Duration::from_millis(300),
        |partner| partner.requests_max = 2,
    );
    desk.log.set(Mode::Hang);
    let first = ["1", "2"].map(|id| {
        let (state, request) = (desk.state.clone(), desk.signed(event(id).to_string().as_bytes()));
        tokio::spawn(async move {
            use tower::ServiceExt as _;
            touchline_ingest::broadcast::router(state).oneshot(request).await.unwrap().status()
        })
    });
    for _ in 0..400 {
        if desk.state.stats()[0].bodies() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let answer = desk.post(&event("3")).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (429, "too_many_requests"));
    assert_eq!(answer.headers["retry-after"], "1");
    let forged = support::signed(support::OTHER_SECRET, NOW_S, b"{}");
    assert_eq!(desk.send(forged).await.status, 401);
    for request in first {
        assert_eq!(request.await.unwrap(), 503, "the log never answered");
    }
    desk.log.let_go();
    desk.log.set(Mode::Take);
    assert_eq!(desk.post(&event("3")).await.tally(), (1, 0, 0), "there is room again");
}

#[tokio::test]
async fn a_partner_that_is_polled_cannot_be_spoken_for() {
    let desk = agreeing(|partner| *partner = Partner::without_secrets("skyline").unwrap());
    let answer = desk.post(&event("1")).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (404, "unknown_partner"));
    assert!(answer.json["detail"].as_str().unwrap().contains("polled"), "{}", answer.json);
}

/// A partner of that shape and schema, and one of ours.
fn agreed() -> [Partner; 2] {
    let plain = || Partner::without_secrets("skyline").unwrap();
    let (mut mapped, mut own) = (plain(), plain());
    mapped.mapping = Some(mapping());
    own.schema = Some(minute_schema());
    [mapped, own]
}

proptest::proptest! {
    /// Bytes are flipped in bodies that are sound: whatever comes of it is answered, and what is
    /// taken is an event that a client can read.
    #[test]
    fn whatever_a_body_holds_is_answered(
        flips in proptest::collection::vec((0..400usize, 0..=255u8), 0..6),
        is_list in proptest::bool::ANY,
    ) {
        let now = Timestamp(NOW_S * 1_000_000);
        let context = Context { source: "skyline", correlation: "c", trace: None, now };
        let mapped = json!({"happenings": [happening(1), happening(2)]});
        let own = if is_list { json!([event("1"), event("2")]) } else { event("1") };
        for (partner, body) in agreed().iter().zip([mapped, own]) {
            let mut raw = body.to_string().into_bytes();
            for (place, byte) in &flips {
                let place = place % raw.len();
                raw[place] = *byte;
            }
            let whole = partner.events_of(&raw, context);
            let each = partner.each_of(&raw, context);
            if flips.is_empty() {
                let all_taken = each.as_ref().is_ok_and(|it| it.iter().all(Result::is_ok));
                assert!(whole.is_ok() && all_taken);
            }
            let one_by_one = each.unwrap_or_default().into_iter().filter_map(Result::ok);
            let taken: Vec<_> = whole.unwrap_or_default().into_iter().chain(one_by_one).collect();
            for event in taken {
                assert!(touchline_core::event::check_id(&event.id).is_ok(), "{event:?}");
                let data: Json = serde_json::from_slice(&event.data).unwrap();
                assert!(data.is_object(), "{event:?}");
            }
        }
    }
}
