//! Items, good and bad, as tables; and the parser against serde_json, its independent judge.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use touchline_core::limits::DATA_BYTES_MAX;

use super::*;

const NOW: &str = "2026-06-24T18:00:00Z";

fn parse(body: &[u8]) -> Result<Vec<Event>, Problem> {
    let now = Timestamp::parse(NOW).unwrap();
    parse_body(body, Context { source: "skyline", correlation: "c-1", trace: None, now })
}

fn good() -> Json {
    json!({"id": "m1-1", "teams": ["che", "ars"], "type": "goal",
        "occurred_at": "2026-06-24T17:59:58.25Z", "data": {"minute": 12}})
}

/// The good item with one field put in its place.
fn with(field: &str, value: Json) -> Json {
    let mut item = good();
    item[field] = value;
    item
}

/// What is reported of a body: index, field, reason.
fn errors(body: &str) -> Vec<(usize, String, &'static str)> {
    let problem = parse(body.as_bytes()).expect_err(body);
    problem.errors.into_iter().map(|error| (error.index, error.field, error.reason)).collect()
}

#[test]
fn a_good_item_becomes_an_event_with_its_data_byte_for_byte() {
    let body = r#" [ {"data":{ "b":1.10,"a":"\u00e9 é" } , "id":"x \"1\"", "teams":["che","ars"],
        "type":"goal","occurred_at":"2026-06-24T19:59:58+02:00"} ] "#;
    let events = parse(body.as_bytes()).unwrap();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!(&event.data[..], "{ \"b\":1.10,\"a\":\"\\u00e9 é\" }".as_bytes());
    assert_eq!((&*event.id, event.route.as_str(), &*event.kind), ("x \"1\"", "ars+che", "goal"));
    assert_eq!(event.occurred_at, Timestamp::parse("2026-06-24T17:59:58Z").unwrap());
    assert_eq!((&*event.source, &*event.correlation), ("skyline", "c-1"));
    assert_eq!(parse(good().to_string().as_bytes()).unwrap().len(), 1, "a lone object");
}

#[test]
fn each_field_is_refused_for_its_own_reason() {
    let long = "x".repeat(129);
    let nine: Vec<String> = (0..9).map(|n| format!("t{n}")).collect();
    let deep: Json = serde_json::from_str(&nested(101)).unwrap();
    #[rustfmt::skip]
    let cases = [
        (json!(7), "", "wrong_type"),
        (json!([]), "", "wrong_type"),
        (with("id", json!(1)), "id", "wrong_type"),
        (with("id", json!("")), "id", "malformed"),
        (with("id", json!(long)), "id", "malformed"),
        (with("id", json!("a\u{1b}[31m")), "id", "malformed"),
        (with("id", json!("é")), "id", "malformed"),
        (with("teams", json!("ars")), "teams", "wrong_type"),
        (with("teams", json!(["ars", 1])), "teams", "wrong_type"),
        (with("teams", json!([])), "teams", "malformed"),
        (with("teams", json!(nine)), "teams", "malformed"),
        (with("teams", json!(["Arsenal"])), "teams", "malformed"),
        (with("teams", json!(["a+b"])), "teams", "malformed"),
        (with("type", json!("Goal")), "type", "malformed"),
        (with("type", json!(null)), "type", "wrong_type"),
        (with("occurred_at", json!(1_782_000_000)), "occurred_at", "wrong_type"),
        (with("occurred_at", json!("2026-06-24T18:05:00.000001Z")), "occurred_at", "in_future"),
        (with("data", json!("text")), "data", "wrong_type"),
        (with("data", json!([1])), "data", "wrong_type"),
        (with("data", json!(null)), "data", "wrong_type"),
        (with("data", deep), "data", "too_deep"),
        (with("data", json!({"x": "y".repeat(DATA_BYTES_MAX)})), "data", "too_large"),
        (with("priority", json!(1)), "priority", "unknown_field"),
        (with("ID", json!(1)), "ID", "unknown_field"),
    ];
    for (item, field, reason) in cases {
        let body = json!([good(), item]).to_string();
        assert_eq!(errors(&body), [(1, field.to_owned(), reason)], "{body:.200}");
    }
    for field in FIELDS {
        let mut item = good();
        item.as_object_mut().unwrap().remove(field);
        assert_eq!(errors(&item.to_string()), [(0, field.to_owned(), "missing")]);
        let twice = format!(r#"{{"{field}":{},"#, good()[field]);
        let twice = good().to_string().replacen('{', &twice, 1);
        assert_eq!(errors(&twice), [(0, field.to_owned(), "duplicate_field")], "{twice}");
    }
}

#[test]
fn limits_are_inclusive() {
    let room = DATA_BYTES_MAX - r#"{"x":""}"#.len();
    for item in [
        with("id", json!("~".repeat(128))),
        with("type", json!("a".repeat(64))),
        with("teams", json!((0..8).map(|n| format!("{n}{}", "t".repeat(31))).collect::<Vec<_>>())),
        with("teams", json!(["ars", "ars"])),
        with("occurred_at", json!("2026-06-24T18:05:00Z")),
        with("data", json!({"x": "y".repeat(room)})),
        with("data", serde_json::from_str(&nested(100)).unwrap()),
        with("data", json!({})),
    ] {
        assert!(parse(item.to_string().as_bytes()).is_ok(), "{item:.200}");
    }
    let items = |n: usize| Json::Array(vec![good(); n]).to_string();
    assert_eq!(parse(items(1_000).as_bytes()).unwrap().len(), 1_000);
    for n in [0, 1_001] {
        assert_eq!(parse(items(n).as_bytes()).unwrap_err().code, Code::BadCount, "{n}");
    }
}

fn nested(depth: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))
}

#[test]
fn every_bad_item_is_named_and_none_floods_the_answer() {
    let flood: Json =
        (0..50).map(|n| (format!("f{n}"), json!(n))).collect::<serde_json::Map<_, _>>().into();
    let got = errors(&json!([with("id", json!("")), good(), flood, 3]).to_string());
    let of = |index| got.iter().filter(|error| error.0 == index).count();
    assert_eq!([of(0), of(1), of(2), of(3)], [1, 0, ITEM_ERRORS_MAX, 1]);
    let long = with(&"é".repeat(1_000), json!(1)).to_string();
    assert!(errors(&long)[0].1.len() <= FIELD_ECHO_BYTES_MAX);
}

#[test]
fn only_bodies_that_lie_in_the_future_are_called_so() {
    let ahead = with("occurred_at", json!("2027-01-01T00:00:00Z"));
    let code = |items: Json| parse(items.to_string().as_bytes()).unwrap_err().code;
    assert_eq!(code(json!([good(), ahead])), Code::InFuture);
    assert_eq!(code(json!([with("id", json!("")), ahead])), Code::InvalidEvents);
}

#[test]
fn a_time_is_rfc_3339_and_nothing_else() {
    for good in [
        "2026-06-24T17:03:11Z",
        "2026-06-24t17:03:11z",
        "2026-06-24T17:03:11.5Z",
        "2026-06-24T17:03:11.123456789-07:30",
        "1999-12-31T23:59:60Z",
    ] {
        assert!(parse_rfc3339(good).is_some(), "{good}");
    }
    for bad in [
        "",
        "2026-06-24",
        "2026-06-24T17:03Z",
        "2026-06-24T17:03:11",
        "2026-06-24 17:03:11Z",
        "20260624T170311Z",
        "2026-06-24T17:03:11.Z",
        "2026-06-24T17:03:11,5Z",
        "2026-06-24T17:03:11+02",
        "2026-06-24T17:03:11+0200",
        "2026-06-24T17:03:11Z[Europe/London]",
        "+002026-06-24T17:03:11Z",
        "2026-02-30T17:03:11Z",
        "2026-06-24T25:03:11Z",
        " 2026-06-24T17:03:11Z",
        "２０26-06-24T17:03:11Z",
    ] {
        assert!(parse_rfc3339(bad).is_none(), "{bad}");
    }
}

#[test]
fn json_that_only_some_parsers_take_is_refused() {
    let frame = |data: &str| {
        let text = with("data", json!({"x": "HERE"})).to_string();
        text.replace(r#""HERE""#, data)
    };
    assert!(parse(frame("1.5e300").as_bytes()).is_ok());
    for data in [
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "0x1",
        "'x'",
        "tru",
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800\uffff""#,
        r#""\ud800\u0041""#,
        r#""\x41""#,
        r#""\u12""#,
        "\"tab\tinside\"",
        "\"nul\0\"",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\"}",
        "{a:1}",
        "/* note */ 1",
        "123456789012345678901234567890",
    ] {
        let body = frame(data);
        let refused = parse(body.as_bytes()).map(|_| ()).map_err(|problem| problem.code);
        assert_eq!(refused, Err(Code::BadJson), "{data}");
    }
    let whole = good().to_string();
    for body in [
        String::new(),
        " ".into(),
        format!("{whole}{whole}"),
        format!("{whole},"),
        format!("[{whole}"),
        format!("\u{feff}{whole}"),
        whole[..whole.len() - 1].into(),
        "[".repeat(500_000),
    ] {
        assert_eq!(parse(body.as_bytes()).unwrap_err().code, Code::BadJson, "{body:.80}");
    }
    let mut latin = frame("\"HERE\"").into_bytes();
    let at = latin.windows(4).position(|w| w == b"HERE").unwrap();
    latin[at] = 0xe9;
    assert_eq!(parse(&latin).unwrap_err().code, Code::BadJson, "not UTF-8");
}

/// Any JSON, with the texts and numbers on which parsers differ.
fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_object_data_is_it_comes_out_as_it_went_in(
        members in prop::collection::vec(("[a-z\\\\\"é]{0,8}", any_json()), 0..6),
        pretty in any::<bool>(),
    ) {
        let data: Json = members.into_iter().collect::<serde_json::Map<_, _>>().into();
        let data = if pretty { format!("{data:#}") } else { data.to_string() };
        let body = with("data", json!("HERE")).to_string().replace("\"HERE\"", &data);
        let events = parse(body.as_bytes()).unwrap();
        prop_assert_eq!(std::str::from_utf8(&events[0].data).unwrap(), data);
    }

    #[test]
    fn a_body_with_bytes_changed_is_read_as_serde_json_reads_it_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        data in any_json(),
    ) {
        let mut body = json!([good(), with("data", json!({"x": data}))]).to_string().into_bytes();
        for (at, byte) in &changes {
            let at = at.index(body.len());
            body[at] = *byte;
        }
        if let Ok(events) = parse(&body) {
            let judge: Vec<Json> = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(judge.len(), events.len());
            for (event, item) in events.iter().zip(&judge) {
                prop_assert_eq!(item["id"].as_str(), Some(&*event.id));
                prop_assert_eq!(item["type"].as_str(), Some(&*event.kind));
                let data: Json = serde_json::from_slice(&event.data).unwrap();
                prop_assert_eq!(&item["data"], &data);
            }
        }
    }

    #[test]
    fn bytes_at_random_never_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&body);
    }
}
