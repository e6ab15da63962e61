//! Claim: what can't be accepted is kept where its owner can look at it, mend the cause, and have
//! it tried again, exactly once (FAULTS 26, 36).

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use touchline_core::dead::{DeadLetter, Desk};
use touchline_core::event::Stream;
use touchline_core::time::Timestamp;
use touchline_store::dead::{Book, Claim, DeadOptions};
use touchline_tests::e2e::http::{event, post_signed, request};
use touchline_tests::e2e::server::{Backend, Home, Server, touchline, words};
use touchline_tests::e2e::socket::Socket;
use touchline_tests::e2e::until;
use touchline_tests::upstream::{Fault, Upstream};

fn file(home: &Home) -> PathBuf {
    home.path("data").join("dead-letters.db")
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

/// Parks `raw` as a webhook's body of the first partner that came just now; its id.
fn park(home: &Home, raw: &str) -> String {
    let mut book = Book::open(DeadOptions::new(file(home))).unwrap();
    let letter = DeadLetter {
        desk: Desk::Webhook,
        stream: Stream::Broadcast,
        source: "skyline".into(),
        reason: "invalid_events",
        detail: "item 0: \u{1b}[31m is no type".into(),
        attempts: 1,
        correlation: "came-1".into(),
        received_at: now(),
        raw: raw.as_bytes().to_vec().into(),
    };
    book.put(&[letter], now()).unwrap();
    let id = book.list(&Default::default(), 1, true).unwrap().remove(0).id;
    book.close();
    id
}

/// `touchline dlq` beside a server.
fn dlq(home: &Home, server: Option<&Server>, arguments: &[&str]) -> Output {
    let mut command = touchline();
    command.arg("--config").arg(home.config());
    if let Some(server) = server {
        command.arg("--admin").arg(server.addresses().admin.to_string());
    }
    command.arg("dlq").args(arguments).output().expect("it runs")
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn fault_26_a_bad_answer_of_a_sensor_is_there_with_its_bytes_and_counted() {
    let upstream = Upstream::start(r#"{"readings":[]}"#);
    let home = Home::new(&format!(
        "[sources.sensor.emirates]\nurl = \"{}\"\nitems = \"/readings\"\nteam = \"/team\"\n\
         type = \"wind\"\nkey = \"/key\"\nsequence = \"/n\"\nvalue = \"/v\"\n",
        upstream.url()
    ));
    let server = home.serve(Backend::Auto);
    let depth = || server.metric(r#"touchline_dlq_messages{stream="sensor"}"#);
    upstream.set_fault(Fault::Status(500));
    let status = r#"touchline_ingest_errors_total{source="emirates",reason="status"}"#;
    until("it ails", || server.metric(status) >= 2.0);
    upstream.set_fault(Fault::BadJson);
    until("a letter", || depth() >= 1.0);
    assert_eq!(depth(), 1.0, "what ails parks nothing");
    assert_eq!(
        server.metric(r#"touchline_dlq_parked_total{stream="sensor",reason="bad_json"}"#),
        1.0
    );
    let oldest =
        |stream| server.metric(&format!("touchline_dlq_oldest_seconds{{stream=\"{stream}\"}}"));
    let before = oldest("sensor");
    until("it ages", || oldest("sensor") >= before + 0.5);
    assert!(before < 30.0 && oldest("sensor") < 60.0, "seconds since it was parked: {before}");
    assert_eq!(oldest("broadcast"), 0.0, "where nothing lies nothing ages");
    assert!(server.metric("touchline_dlq_bytes") > 0.0);
    assert_eq!(server.metric("touchline_dlq_lost_total"), 0.0);
    let [letter] = &lines(&dlq(&home, None, &["list", "--json"]))[..] else { panic!("one") };
    assert_eq!((&letter["source"], &letter["reason"]), (&"emirates".into(), &"bad_json".into()));
    assert_eq!((&letter["desk"], &letter["state"]), (&"sensor".into(), &"parked".into()));
    assert!(letter["correlation"].as_str().unwrap().starts_with("emirates-"));
    let id = letter["id"].as_str().unwrap();
    let raw = dlq(&home, None, &["show", id, "--raw"]);
    assert_eq!(raw.stdout, b"{\"readings\":[NaN}");
    let tried = dlq(&home, Some(&server), &["replay", id]);
    assert_eq!(tried.status.code(), Some(1), "{}", words(&tried));
    assert!(words(&tried).contains("refused    bad_json"), "{}", words(&tried));
    // A value that came long ago is worth nothing to anybody: that is no error.
    let good = DeadLetter {
        desk: Desk::Sensor,
        stream: Stream::Sensor,
        source: "emirates".into(),
        reason: "bad_reading",
        detail: "mended since".into(),
        attempts: 1,
        correlation: "c".into(),
        received_at: now().minus(Duration::from_secs(60)),
        raw: r#"{"readings":[{"team":"ars","key":"mast","n":7,"v":1}]}"#.into(),
    };
    Book::open(DeadOptions::new(file(&home))).unwrap().put(&[good], now()).unwrap();
    let tried = dlq(&home, Some(&server), &["replay", "--reason", "bad_reading"]);
    assert_eq!(tried.status.code(), Some(0), "{}", words(&tried));
    assert!(words(&tried).contains("1 too old"), "{}", words(&tried));
}

#[test]
fn fault_36_a_letter_is_listed_shown_replayed_once_and_dropped() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let good = park(&home, &event("g-1", &["ars"]));
    let bad = park(&home, r#"{"id":"g-2","teams":["ars"]}"#);
    let mut client = Socket::open(server.addresses().stream, "teams=ars");
    client.hear_op("subscribed");

    let table = words(&dlq(&home, None, &["list"]));
    assert!(table.contains(&good) && table.contains(&bad) && !table.contains('\u{1b}'), "{table}");
    let shown = words(&dlq(&home, None, &["show", &good]));
    assert!(shown.contains("came-1") && shown.contains("\"g-1\""), "{shown}");
    let none = dlq(&home, None, &["list", "--source", "arena", "--json"]);
    assert!(none.stdout.is_empty() && none.status.success());
    let unknown = dlq(&home, None, &["list", "--stream", "brodcast"]);
    assert_eq!(unknown.status.code(), Some(1), "{}", words(&unknown));

    let tried = dlq(&home, Some(&server), &["replay", "--all", "--json"]);
    assert_eq!(tried.status.code(), Some(1), "one is refused: {}", words(&tried));
    let results: Vec<_> =
        lines(&tried).iter().map(|it| (it["id"].clone(), it["result"].clone())).collect();
    let want = [(&good, "accepted"), (&bad, "refused")];
    assert_eq!(results, want.map(|(id, result)| (id.as_str().into(), result.into())));
    let heard = client.hear_op("event");
    assert_eq!((&heard["id"], &heard["source"]), (&"g-1".into(), &"skyline".into()));

    for (more, words_of) in [(&[][..], "replayed at"), (&["--again"], "1 duplicate(s)")] {
        let tried = dlq(&home, Some(&server), &[&["replay", &good][..], more].concat());
        assert!(tried.status.success() && words(&tried).contains(words_of), "{}", words(&tried));
    }
    server.accept(&event("g-3", &["ars"]));
    assert_eq!(client.hear_op("event")["id"], "g-3", "g-1 was heard once");
    let waiting = r#"touchline_dlq_messages{stream="broadcast"}"#;
    until("one waits", || server.metric(waiting) == 1.0);
    let [letter] = &lines(&dlq(&home, None, &["list", "--state", "parked", "--json"]))[..] else {
        panic!("one is parked")
    };
    assert_eq!((&letter["id"], &letter["attempts"]), (&bad.as_str().into(), &2.into()));
    assert_eq!(letter["history"].as_array().unwrap().len(), 2, "{letter}");

    let asked = dlq(&home, None, &["drop", &bad]);
    assert!(!asked.status.success() && words(&asked).contains("--yes"), "{}", words(&asked));
    let gone = dlq(&home, None, &["drop", &bad, "--yes"]);
    assert!(gone.status.success() && words(&gone).contains("1 letter(s)"), "{}", words(&gone));
    until("nobody waits", || server.metric(waiting) == 0.0);
    assert_eq!(dlq(&home, None, &["drop", &bad, "--yes"]).status.code(), Some(1));
    assert_eq!(dlq(&home, None, &["show", &bad]).status.code(), Some(1));
    assert_eq!(dlq(&home, None, &["drop", "--yes"]).status.code(), Some(1), "which?");
}

#[test]
fn fault_36_a_kill_between_mark_and_append_is_settled_by_the_next_start() {
    let home = Home::new("");
    let mut server = home.serve(Backend::Auto);
    let taken = event("taken", &["ars"]);
    server.accept(&taken);
    let (before, after) = (park(&home, &event("not-taken", &["ars"])), park(&home, &taken));
    server.kill_9();
    let mut book = Book::open(DeadOptions::new(file(&home))).unwrap();
    for id in [&before, &after] {
        assert!(matches!(book.claim(id, now(), false, false).unwrap(), Claim::Taken(..)));
    }
    book.close();
    let server = home.serve(Backend::Auto);
    let settled = || lines(&dlq(&home, None, &["list", "--state", "replayed", "--json"]));
    until("both are settled", || settled().len() == 2);
    for letter in settled() {
        let what = letter["history"][1]["what"].as_str().unwrap();
        let want = if letter["id"] == before.as_str() { "accepted: 1" } else { "duplicate: 0" };
        assert!(what.contains(want), "{what}");
    }
    assert_eq!(server.metric("touchline_log_records_total"), 1.0, "one of them was new");
}

#[test]
fn a_replay_asks_a_server_that_runs_and_no_web_page_may() {
    let home = Home::new("");
    let id = park(&home, &event("g-1", &["ars"]));
    let nobody = dlq(&home, None, &["replay", &id, "--admin", "127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(words(&nobody).contains("is the server running?"), "{}", words(&nobody));
    let unnamed = dlq(&home, None, &["replay", &id]);
    assert!(words(&unnamed).contains("name it with --admin"), "{}", words(&unnamed));
    let server = home.serve(Backend::Auto);
    let post = |headers: &[(&str, &str)], body: &str| {
        request(server.addresses().admin, "POST", "/dlq/replay", headers, body).unwrap()
    };
    let page = post(&[("origin", "http://evil.example")], "{}");
    assert_eq!(page.status, 403, "{}", page.body);
    for bad in ["", "{}", "[]", r#"{"ids":[],"filter":{}}"#, r#"{"filter":{"steam":"x"}}"#] {
        assert_eq!(post(&[], bad).status, 400, "{bad}");
    }
    let many = format!(r#"{{"ids":["{}"]}}"#, ["x"; 401].join("\",\""));
    assert_eq!(post(&[], &many).status, 400);
    // A start looks what the last life has left half done, and answers 409 meanwhile.
    until("its turn", || post(&[], r#"{"ids":["none"]}"#).status != 409);
    let none: Value = serde_json::from_str(&post(&[], r#"{"ids":["none"]}"#).body).unwrap();
    assert_eq!(none["results"][0]["result"], "refused");
    let all: Value = serde_json::from_str(&post(&[], r#"{"filter":{}}"#).body).unwrap();
    assert_eq!((&all["results"][0]["result"], &all["next"]), (&"accepted".into(), &Value::Null));
}

#[test]
fn an_item_of_a_polled_partner_that_fits_nothing_is_one_letter_and_is_taken_once_it_does() {
    let at = jiff::Timestamp::now().as_second();
    let item = |id: u32, club: &str, at: i64| {
        format!(r#"{{"ref":{id},"club":"{club}","what":"goal","at":{at},"facts":{{}}}}"#)
    };
    let ahead = item(3, "ars", at + 3_600);
    let list = |more: &str| {
        let items = [item(1, "ars", at), item(2, "The Arsenal", at), ahead.clone(), more.into()];
        format!(r#"{{"feed":{{"list":[{}]}}}}"#, items.join(","))
    };
    let upstream = Upstream::start(&list(&item(4, "ars", at)));
    let section = |team: &str| {
        format!(
            "[sources.broadcast.feed]\npoll_url = \"{}\"\npoll_interval_s = 0.1\n\
             items = \"/feed/list\"\nteam = \"{team}\"\ntype = \"/what\"\nid = \"/ref\"\n\
             time = \"/at\"\nvalue = \"/facts\"\n",
            upstream.url()
        )
    };
    let home = Home::new(&section("/club"));
    let server = home.serve(Backend::Auto);
    let parked = |reason: &str| {
        let page = server.admin("/metrics").body;
        let sample =
            format!("touchline_dlq_parked_total{{stream=\"broadcast\",reason=\"{reason}\"}} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&sample)?.parse::<f64>().ok());
        value.unwrap_or(0.0)
    };
    let polls = || upstream.requests();
    let wait = |polled: u64| {
        let until_now = polls();
        until("it is asked again", || polls() > until_now + polled);
    };
    until("a letter", || parked("invalid_events") >= 1.0);
    wait(10);
    upstream.set_body(&list(&item(5, "ars", at)));
    wait(10);
    assert_eq!(
        parked("invalid_events"),
        1.0,
        "once, however often it is shown, whatever beside it"
    );
    assert_eq!(parked("in_future"), 0.0, "what lies ahead comes by itself");
    let [letter] = &lines(&dlq(&home, None, &["list", "--json"]))[..] else { panic!("one") };
    assert_eq!((&letter["source"], &letter["desk"]), (&"feed".into(), &"webhook".into()));
    let id = letter["id"].as_str().unwrap();
    let raw: Value =
        serde_json::from_slice(&dlq(&home, None, &["show", id, "--raw"]).stdout).unwrap();
    assert_eq!(raw["feed"]["list"][0]["club"], "The Arsenal", "{raw}");
    assert_eq!(raw["feed"]["list"].as_array().map(Vec::len), Some(1));
    let tried = dlq(&home, Some(&server), &["replay", id]);
    assert_eq!(tried.status.code(), Some(1), "it still fits nothing: {}", words(&tried));
    upstream.set_fault(Fault::BadJson);
    until("the whole answer", || parked("bad_json") >= 1.0);
    wait(3);
    assert_eq!(parked("bad_json"), 1.0, "once a minute");
    // Mended by a reload: what isn't shown any more is taken by its letter.
    home.configure(&section("ars"));
    server.signal(Signal::HUP);
    until("the mended mapping", || {
        server.metric(r#"touchline_config_reloads_total{result="taken"}"#) >= 1.0
    });
    let tried = dlq(&home, Some(&server), &["replay", id]);
    assert_eq!(tried.status.code(), Some(0), "{}", words(&tried));
}

#[test]
fn fault_36_a_file_that_cannot_be_used_is_told_and_costs_nothing_but_letters() {
    let home = Home::new("");
    std::fs::create_dir_all(home.path("data")).unwrap();
    std::fs::write(file(&home), "this is no database, and long enough to be told from one")
        .unwrap();
    let mut server = home.serve(Backend::Auto);
    server.wait_for_line("dead letters can't be kept");
    server.accept(&event("g-1", &["ars"]));
    assert_eq!(server.admin("/readyz").status, 200);
    std::fs::remove_file(file(&home)).unwrap();
    server.wait_for_line("dead letters are kept again");
    server.stop();
}

#[test]
fn fault_27_a_webhook_that_its_schema_refused_is_parked_and_taken_once_the_schema_is_mended() {
    let home = Home::new(
        "[sources.broadcast.feed]\nsecrets_file = \"partner.secrets\"\nschema_file = \"feed.json\"\n",
    );
    let strict = r#"{"properties":{"data":{"required":["player"]}}}"#;
    std::fs::write(home.path("feed.json"), strict).unwrap();
    let server = home.serve(Backend::Auto);
    let body = event("g-1", &["ars"]);
    let post = || post_signed(server.addresses().api, "feed", &body).expect("it answers");
    assert_eq!(post().status, 422);
    assert_eq!(post().status, 422, "the partner tries again");
    until("a letter", || server.metric(r#"touchline_dlq_messages{stream="broadcast"}"#) >= 1.0);
    let [letter] = &lines(&dlq(&home, None, &["list", "--json"]))[..] else { panic!("one") };
    assert_eq!((&letter["source"], &letter["reason"]), (&"feed".into(), &"invalid_events".into()));
    let id = letter["id"].as_str().unwrap();
    assert_eq!(dlq(&home, None, &["show", id, "--raw"]).stdout, body.as_bytes());
    let tried = dlq(&home, Some(&server), &["replay", id]);
    assert!(words(&tried).contains("/data"), "the schema still stands: {}", words(&tried));
    std::fs::write(home.path("feed.json"), "{}").unwrap();
    server.signal(Signal::HUP);
    until("the mended schema", || {
        server.metric(r#"touchline_config_reloads_total{result="taken"}"#) >= 1.0
    });
    let mut client = Socket::open(server.addresses().stream, "teams=ars");
    client.hear_op("subscribed");
    let tried = dlq(&home, Some(&server), &["replay", id]);
    assert_eq!(tried.status.code(), Some(0), "{}", words(&tried));
    assert_eq!(client.hear_op("event")["id"], "g-1");
    let answer = post();
    assert!(answer.body.contains(r#""duplicates":1"#), "{answer:?}");
}
