//! A stream of posts behind the running binary: from the stream to the socket, and into the
//! metrics.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use touchline_tests::e2e::log::dump;
use touchline_tests::e2e::server::{Backend, Home, touchline, words};
use touchline_tests::e2e::socket::Socket;
use touchline_tests::e2e::until;
use touchline_tests::stream::{Form, Stream, StreamFault};

fn config(url: &str) -> String {
    format!(
        "[sources.social.plaza]\nurl = \"{url}\"\nid = \"/id\"\ntext = \"/text\"\n\
         author = \"/by\"\nrewind = \"since_id\"\n\
         terms = [\"ars: arsenal, #afc\", \"che: chelsea\"]\nposts_per_s_max = 5\n"
    )
}

#[test]
fn a_post_is_on_the_socket_once_however_often_it_comes() {
    for form in [Form::Lines, Form::Socket] {
        let stream = Stream::start(form);
        stream.set_repeats(2);
        stream.set_fault(StreamFault::EndAfter(2));
        let home = Home::new(&config(&stream.url()));
        let server = home.serve(Backend::Auto);
        let mut client = Socket::open(server.addresses().stream, "teams=ars&streams=social");
        client.hear_op("subscribed");
        until("it is open", || stream.open() == 1);
        let evil = r"Arsenal v Chelsea\u001b[31m <script>alert(1)</script>\n\u202e";
        stream.say(&format!(r#"{{"id":"p-1","text":"{evil}","by":"jo"}}"#));
        let event = client.hear_op("event");
        assert_eq!((&event["topic"], &event["id"]), (&"social:ars+che".into(), &"p-1".into()));
        assert_eq!((&event["type"], &event["data"]["author"]), (&"post".into(), &"jo".into()));
        assert!(event["data"]["text"].as_str().is_some_and(|text| text.ends_with('\u{202e}')));
        stream.say(r#"{"id":"p-2","text":"rain"}"#);
        stream.set_fault(StreamFault::None);
        stream.say(r#"{"id":"p-3","text":"to the #AFC"}"#);
        let event = client.hear_op("event");
        assert_eq!(event["id"], "p-3", "p-1 came again, and isn't shown again");
        let posts = |result: &str| {
            server.metric(&format!(
                r#"touchline_social_posts_total{{source="plaza",result="{result}"}}"#
            ))
        };
        until("counted", || posts("published") == 2.0);
        assert!(posts("no_team") >= 1.0);
        let of = |name: &str| server.metric(&format!("touchline_{name}{{source=\"plaza\"}}"));
        assert_eq!((of("source_connected"), of("events_ingested_total")), (1.0, 2.0));
        assert!(of("source_connects_total") >= 2.0 && of("source_staleness_seconds") < 30.0);
        let ended = r#"touchline_ingest_errors_total{source="plaza",reason="ended"}"#;
        assert_eq!(server.metric(ended), 1.0);
        for form in ["--no-follow", "--json"] {
            tail_is_tame(&home, form);
        }
    }
}

/// Where the place of the stream is kept.
fn place(home: &Home) -> String {
    let file = home.path("data").join("places").join("plaza.place");
    std::fs::read_to_string(file).unwrap_or_default()
}

fn posts(home: &Home) -> Vec<String> {
    dump(&home.journal()).into_iter().map(|it| it.name).collect()
}

#[test]
fn fault_29_a_stream_goes_on_after_kill_9_where_the_log_has_everything() {
    for (form, rewind, asks, kept) in [
        (Form::Lines, "since_id", "since_id=p-3", r#""id":"p-3""#),
        (Form::Events, "last_event_id", "last-event-id: 2", r#""id":"2""#),
        (Form::Socket, "backfill_minutes", "backfill_minutes=1", "\"at\""),
    ] {
        let stream = Stream::start(form);
        stream.set_repeats(2);
        let kind = if form == Form::Events { "kind = \"events\"\n" } else { "" };
        let config = config(&stream.url()) + kind;
        let home = Home::new(&config.replace("\"since_id\"", &format!("\"{rewind}\"")));
        let mut server = home.serve(Backend::Auto);
        let mut client = Socket::open(server.addresses().stream, "teams=ars&streams=social");
        client.hear_op("subscribed");
        until("it is open", || stream.open() == 1);
        for n in 1..=3 {
            stream.say(&format!(r#"{{"id":"p-{n}","text":"arsenal"}}"#));
            client.hear_op("event");
        }
        until("the place is kept", || place(&home).contains(kept));
        server.kill_9();
        stream.say(r#"{"id":"p-4","text":"arsenal again"}"#);
        let asked = stream.heads().len();
        let mut server = home.serve(Backend::Auto);
        until("it asks again", || stream.heads().len() > asked);
        let head = stream.heads().last().expect("it has asked").1.clone();
        assert!(head.contains(asks), "{form:?}: {head}");
        until("what came while it was away", || posts(&home).len() >= 4);
        stream.say(r#"{"id":"p-5","text":"arsenal"}"#);
        until("what comes now", || posts(&home).len() >= 5);
        server.stop();
        let want = ["p-1", "p-2", "p-3", "p-4", "p-5"].map(|id| format!("plaza/{id}"));
        assert_eq!(posts(&home), want, "{form:?}: nothing lost, nothing twice");
    }
}

#[test]
fn fault_29_a_flood_loses_nothing_and_repeats_nothing_however_often_it_is_killed() {
    let stream = Stream::start(Form::Lines);
    stream.set_repeats(usize::MAX);
    let config = config(&stream.url()).replace("posts_per_s_max = 5", "posts_per_s_max = 10000");
    let home = Home::new(&config);
    let (is_over, said) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until("somebody listens", || stream.open() == 1);
            while !is_over.load(Ordering::Relaxed) {
                let n = said.fetch_add(1, Ordering::Relaxed);
                stream.say(&format!(r#"{{"id":"p-{n}","text":"arsenal"}}"#));
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
        });
        let mut before = String::new();
        for _ in 0..3 {
            let mut server = home.serve(Backend::Auto);
            until("the place moves", || place(&home) != before);
            std::thread::sleep(std::time::Duration::from_millis(700));
            server.kill_9();
            before = place(&home);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let mut server = home.serve(Backend::Auto);
    let count = said.load(Ordering::Relaxed);
    until("all of it", || posts(&home).len() >= count);
    server.stop();
    let mut all = posts(&home);
    all.sort();
    let mut want: Vec<_> = (0..count).map(|n| format!("plaza/p-{n}")).collect();
    want.sort();
    assert_eq!(all, want);
}

/// What people wrote reaches no terminal as it is.
fn tail_is_tame(home: &Home, form: &str) {
    let mut tail = touchline();
    tail.args(["tail", "--no-follow", "--source", "plaza"]).arg("--config").arg(home.config());
    if form == "--json" {
        tail.arg(form);
    }
    let shown = words(&tail.output().expect("it runs"));
    assert!(shown.contains("p-1") && shown.contains("script"), "{shown}");
    let is_tame = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
    assert!(shown.chars().all(is_tame), "{shown:?}");
}

#[test]
fn a_first_message_comes_from_its_file_and_no_line_or_page_tells_a_key() {
    let stream = Stream::start(Form::Socket);
    let url = stream.url().replace("ws://", "ws://jo:K3Y@") + "?token=K3Y";
    let home = Home::new(&(config(&url) + "subscribe_file = \"plaza.first\"\n"));
    std::fs::write(home.path("plaza.first"), "{\"token\":\"K3Y\"}\n").unwrap();
    stream.set_fault(StreamFault::Status(503, None));
    let server = home.serve(Backend::Auto);
    until("it is told to come again", || !stream.heads().is_empty());
    stream.set_fault(StreamFault::None);
    until("the first message", || stream.heard().contains(&(1, br#"{"token":"K3Y"}"#.to_vec())));
    assert!(stream.heads()[0].1.contains("token=K3Y"), "it is asked with its key");
    let pages = ["/config", "/metrics"].map(|path| server.admin(path).body);
    assert!(pages[0].contains("/posts?token=***"), "{}", pages[0]);
    let lines = server.log().concat();
    assert!(lines.contains("a stream is lost"), "{lines}");
    for shown in pages.iter().chain([&lines]) {
        assert!(!shown.contains("K3Y"), "{shown}");
    }
}

#[test]
fn a_stream_that_cannot_be_followed_as_configured_is_refused_by_name() {
    for (change, says) in [
        ("terms = [\"Arsenal: arsenal\"]", "the team of"),
        ("url = \"ftp://127.0.0.1/\"", "must begin with http:// or https://"),
        ("kind = \"websocket\"", "must begin with ws:// or wss://"),
        ("rewind_parameter = \"after\"", "`rewind_parameter` goes with"),
        ("event = \"post\"", "`event` names server-sent events"),
        ("secret_header = \"authorization\"", "belong together"),
        ("kind = \"carrier pigeon\"", "must be one of lines, events, websocket"),
    ] {
        let key = change.split(" =").next().unwrap_or_default();
        let mut lines: Vec<String> =
            config("http://127.0.0.1:1/").lines().map(str::to_owned).collect();
        lines.retain(|line| !line.starts_with(&format!("{key} =")) && !line.starts_with("rewind"));
        let home = Home::new(&format!("{}\n{change}\n", lines.join("\n")));
        let refused = home.command(Backend::Auto).output().expect("it runs");
        assert_eq!(refused.status.code(), Some(3), "{change}: {}", words(&refused));
        let words = words(&refused);
        assert!(
            words.contains("sources.social.plaza") && words.contains(says),
            "{change}: {words}"
        );
    }
    let home = Home::new("[sources.social.plaza]\nurl = \"http://127.0.0.1:1/\"\n");
    let refused = home.command(Backend::Auto).output().expect("it runs");
    assert!(words(&refused).contains("`sources.social.plaza`: `id` is missing"));
}
