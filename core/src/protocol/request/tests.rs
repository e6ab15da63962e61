//! What a client may say is understood, and everything else has a code that stays.

use proptest::prelude::*;

use super::*;
use crate::log::{Lane, Mark};

fn mark() -> Mark {
    Mark { epoch: Epoch(9), next: [7].into() }
}

fn position() -> Position {
    Position { lane: Lane(0), seq: 6 }
}

fn mark_token() -> String {
    token::encode_mark(&mark())
}

fn position_token() -> String {
    token::encode_position(Epoch(9), position())
}

fn names(teams: &[Team]) -> Vec<&str> {
    teams.iter().map(Team::as_str).collect()
}

fn subscribe(message: &str) -> Subscribe {
    match parse_message(message.as_bytes()) {
        Ok(ClientMessage::Subscribe(subscribe)) => subscribe,
        other => panic!("{other:?}: {message}"),
    }
}

/// The code and the id that `message` is answered with.
fn check(message: &str, id: Option<RequestId>, code: ErrorCode) {
    let shown: String = message.chars().take(120).collect();
    match parse_message(message.as_bytes()) {
        Err(error) => {
            assert_eq!((error.code, error.id), (code, id), "{shown}: {}", error.message);
            assert!(error.message.len() < 250, "{}", error.message);
        }
        Ok(parsed) => panic!("{parsed:?}: {shown}"),
    }
}

#[test]
fn a_subscribe_may_say_everything_or_little() {
    let little = subscribe(r#"{"op":"subscribe","teams":["ars"]}"#);
    assert_eq!(names(&little.teams), ["ars"]);
    assert_eq!(little, Subscribe { teams: little.teams.clone(), ..defaults() });
    let full = subscribe(&format!(
        r#" {{"teams":["ars","che","ars"],"id":1,"streams":["broadcast","social"],"lang":"es",
            "mark":"{}","after":{{"broadcast:ars+che":"{}"}},"op":"subscribe"}} "#,
        mark_token(),
        position_token()
    ));
    assert_eq!((full.id, names(&full.teams)), (Some(1), vec!["ars", "che"]));
    assert_eq!(full.streams, StreamSet::EMPTY.with(Stream::Broadcast).with(Stream::Social));
    assert_eq!(full.lang, Lang::new("es").ok());
    let resume = full.resume.unwrap();
    assert_eq!(resume.mark, Some(mark()));
    let topic = Topic::parse("broadcast:ars+che").unwrap();
    assert_eq!(resume.after, [(topic, Epoch(9), position())]);
}

fn defaults() -> Subscribe {
    Subscribe { streams: StreamSet::DEFAULT, ..Subscribe::default() }
}

#[test]
fn escapes_in_strings_are_read() {
    assert_eq!(names(&subscribe(r#"{"\u006fp":"subscribe","teams":["\u0061rs"]}"#).teams), ["ars"]);
}

#[test]
fn the_other_ops_are_read() {
    let parse = |message: &str| parse_message(message.as_bytes()).unwrap();
    assert_eq!(parse(r#"{"op":"ping"}"#), ClientMessage::Ping { id: None });
    assert_eq!(parse(r#"{"op":"ping","id":0}"#), ClientMessage::Ping { id: Some(0) });
    assert_eq!(parse(r#"{"op":"auth","id":3,"token":"t"}"#), ClientMessage::Auth { id: Some(3) });
    match parse(r#"{"op":"unsubscribe","id":2,"teams":["che"]}"#) {
        ClientMessage::Unsubscribe { id: Some(2), teams } => assert_eq!(names(&teams), ["che"]),
        other => panic!("{other:?}"),
    }
}

/// FAULTS 25.
#[test]
fn what_is_not_one_object_is_bad_json() {
    let deep = |open: &str| open.repeat(10_000);
    for message in [
        "",
        "null",
        "[]",
        "1",
        "{",
        r#"{"op":"ping"}{}"#,
        r#"{"op":"ping",}"#,
        r#"{"op":NaN}"#,
        r#"{"op":"ping","id":Infinity}"#,
        r#"{op:"ping"}"#,
        "{\"op\":\"pi\nng\"}",
        r#"{"\ud800":1,"op":"ping"}"#,
        &deep("["),
        &deep(r#"{"a":"#),
    ] {
        check(message, None, ErrorCode::BadJson);
    }
    let error = parse_message(b"{\"op\":\"ping\xff\"}").unwrap_err();
    assert_eq!(error.code, ErrorCode::BadJson);
}

#[test]
fn an_unknown_op_or_field_is_named_and_the_id_comes_back() {
    check(r#"{"id":5}"#, Some(5), ErrorCode::UnknownOp);
    check(r#"{"id":5,"op":"Ping"}"#, Some(5), ErrorCode::UnknownOp);
    check(r#"{"op":7,"id":5}"#, Some(5), ErrorCode::UnknownOp);
    check(r#"{"op":"\ud800","id":5}"#, Some(5), ErrorCode::UnknownOp);
    check(r#"{"op":"ping","id":5,"teams":[]}"#, Some(5), ErrorCode::UnknownField);
    check(r#"{"op":"auth","token":"t","teams":[]}"#, None, ErrorCode::UnknownField);
    check(r#"{"op":"unsubscribe","teams":["a"],"lang":"es"}"#, None, ErrorCode::UnknownField);
    check(r#"{"op":"subscribe","team":["ars"]}"#, None, ErrorCode::UnknownField);
    check(r#"{"op":"subscribe","teams":["ars"],"Lang":"es"}"#, None, ErrorCode::UnknownField);
    let long = format!(r#"{{"op":"ping","{}":1}}"#, "é".repeat(5_000));
    check(&long, None, ErrorCode::UnknownField);
}

/// FAULTS 25: duplicate keys, depth, numbers beyond their type, lone surrogates.
#[test]
fn a_value_out_of_its_grammar_is_a_bad_field() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (fields, id) in [
        (r#""op":"ping","id":1,"id":1"#, Some(1)),
        (r#""op":"ping","op":"ping""#, None),
        (r#""op":"ping","\u006fp":"auth""#, None),
        (r#""op":"ping","id":-1"#, None),
        (r#""op":"ping","id":1.0"#, None),
        (r#""op":"ping","id":"1""#, None),
        (r#""op":"ping","id":null"#, None),
        (r#""op":"ping","id":1e400"#, None),
        (r#""op":"ping","id":9007199254740992"#, None),
        (r#""op":"ping","id":18446744073709551616"#, None),
        (r#""op":"auth","id":3"#, Some(3)),
        (r#""op":"auth","id":3,"token":{}"#, Some(3)),
        (r#""op":"subscribe","id":4"#, Some(4)),
        (r#""op":"subscribe","teams":[]"#, None),
        (r#""op":"subscribe","teams":"ars""#, None),
        (r#""op":"subscribe","teams":["Ars"]"#, None),
        (r#""op":"subscribe","teams":["ars",1]"#, None),
        (r#""op":"subscribe","teams":["\ud800"]"#, None),
        (r#""op":"subscribe","teams":null"#, None),
        (&format!(r#""op":"subscribe","id":1,"teams":{deep}"#), Some(1)),
        (r#""op":"subscribe","teams":["ars"],"streams":[]"#, None),
        (r#""op":"subscribe","teams":["ars"],"streams":["tv"]"#, None),
        (r#""op":"subscribe","teams":["ars"],"lang":"ES""#, None),
        (r#""op":"subscribe","teams":["ars"],"mark":null"#, None),
        (r#""op":"subscribe","teams":["ars"],"after":[]"#, None),
        (r#""op":"subscribe","teams":["ars"],"after":{"goals":"x"}"#, None),
        (r#""op":"subscribe","teams":["ars"],"after":{"broadcast:ars":1}"#, None),
        (r#""op":"unsubscribe","teams":[]"#, None),
    ] {
        check(&format!("{{{fields}}}"), id, ErrorCode::BadField);
    }
    let twice = format!(r#""broadcast:ars":"{0}","broadcast:ars":"{0}""#, position_token());
    let message = format!(r#"{{"op":"subscribe","teams":["ars"],"after":{{{twice}}}}}"#);
    check(&message, None, ErrorCode::BadField);
}

/// FAULTS 24.
#[test]
fn a_token_that_nobody_wrote_is_a_bad_token() {
    let with = |fields: &str| format!(r#"{{"op":"subscribe","id":8,"teams":["ars"],{fields}}}"#);
    check(&with(r#""mark":"""#), Some(8), ErrorCode::BadToken);
    check(&with(r#""mark":"forged""#), Some(8), ErrorCode::BadToken);
    check(&with(&format!(r#""mark":"{}""#, position_token())), Some(8), ErrorCode::BadToken);
    check(&with(r#""after":{"broadcast:ars":"x"}"#), Some(8), ErrorCode::BadToken);
}

#[test]
fn lists_have_a_limit() {
    let teams = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!(r#""t{n}""#)).collect();
        format!(r#"{{"op":"subscribe","teams":[{}]}}"#, names.join(","))
    };
    assert_eq!(subscribe(&teams(SUBSCRIBE_TEAMS_MAX)).teams.len(), SUBSCRIBE_TEAMS_MAX);
    check(&teams(SUBSCRIBE_TEAMS_MAX + 1), None, ErrorCode::TooManyTeams);
    let after = |count: usize| {
        let pos = position_token();
        let pairs: Vec<String> =
            (0..count).map(|n| format!(r#""broadcast:t{n}":"{pos}""#)).collect();
        format!(r#"{{"op":"subscribe","teams":["a"],"after":{{{}}}}}"#, pairs.join(","))
    };
    let most = subscribe(&after(AFTER_TOPICS_MAX)).resume.unwrap();
    assert_eq!(most.after.len(), AFTER_TOPICS_MAX);
    check(&after(AFTER_TOPICS_MAX + 1), None, ErrorCode::BadField);
}

fn query(text: &str) -> Subscribe {
    parse_query(text).unwrap_or_else(|error| panic!("{error:?}: {text}")).unwrap()
}

#[test]
fn a_url_says_what_a_subscribe_says() {
    let after = format!("broadcast:ars+che~{0},update:ars:es~{0}", position_token());
    let plain = format!(
        "teams=ars,che&streams=broadcast,update&lang=es&mark={}&after={after}",
        mark_token()
    );
    let escaped = plain.replace(',', "%2C").replace(':', "%3a").replace('+', "%2B");
    let got = query(&plain);
    assert_eq!(got, query(&escaped.replace('~', "%7E")));
    assert_eq!((got.id, names(&got.teams)), (None, vec!["ars", "che"]));
    assert_eq!((got.streams, got.lang), (StreamSet::DEFAULT, Lang::new("es").ok()));
    let resume = got.resume.unwrap();
    assert_eq!(resume.after[0].0.to_string(), "broadcast:ars+che");
    assert_eq!((resume.mark, resume.after.len()), (Some(mark()), 2));
    assert_eq!(query("teams=ars").streams, StreamSet::DEFAULT);
}

#[test]
fn a_url_that_asks_for_nothing_asks_for_nothing() {
    for text in ["", "&", "token=", "token"] {
        assert_eq!(parse_query(text), Ok(None), "{text}");
    }
}

#[test]
fn a_url_is_read_as_strictly_as_a_message() {
    use ErrorCode as E;
    let many: Vec<String> = (0..1_030).map(|n| n.to_string()).collect();
    let many = format!("teams={}", many.join(","));
    for (text, code) in [
        ("team=ars", E::UnknownField),
        ("teams=ars&Teams=che", E::UnknownField),
        ("teams=ars&teams=che", E::BadField),
        ("teams=", E::BadField),
        ("teams=ars,", E::BadField),
        ("teams=ars+che", E::BadField),
        ("teams=ars%", E::BadField),
        ("teams=ars%2", E::BadField),
        ("teams=ars%zz", E::BadField),
        ("teams=ars%+1", E::BadField),
        ("teams=ars%ff", E::BadField),
        ("teams=ars%00", E::BadField),
        ("streams=social", E::BadField),
        ("mark=x", E::BadField),
        ("teams=ars&streams=", E::BadField),
        ("teams=ars&lang=", E::BadField),
        ("teams=ars&mark=", E::BadToken),
        ("teams=ars&after=broadcast:ars", E::BadField),
        ("teams=ars&after=broadcast:ars~x", E::BadToken),
        ("teams=ars&after=broadcast:ars~x~y", E::BadToken),
        ("token=t", E::AuthUnavailable),
        ("teams=ars&token=t", E::AuthUnavailable),
        (&many, E::TooManyTeams),
    ] {
        match parse_query(text) {
            Err(error) => assert_eq!(error.code, code, "{text}: {}", error.message),
            Ok(got) => panic!("{got:?}: {text}"),
        }
    }
}

proptest! {
    #[test]
    fn garbage_is_never_a_panic(text in r#"[{}\[\]":,a-z0-9\\%~=&+. é-]{0,80}"#) {
        let _ = parse_message(text.as_bytes());
        let _ = parse_query(&text);
    }

    #[test]
    fn what_is_percent_encoded_comes_back(text in "\\PC{0,20}") {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        prop_assert_eq!(percent_decode(&encoded), Some(text));
    }
}
