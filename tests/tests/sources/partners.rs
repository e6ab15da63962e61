//! Partners that sign, send or answer in ways of their own, behind the running binary.

use rustix::process::Signal;
use serde_json::{Value, json};
use touchline_tests::e2e::http::{Answer, SECRET, event, post_as};
use touchline_tests::e2e::log::dump;
use touchline_tests::e2e::server::{Backend, Home, Server, words};
use touchline_tests::e2e::until;
use touchline_tests::stream::{Form, Stream};
use touchline_tests::upstream::{Fault, Upstream};

const OTHER_SECRET: &str = "whsec_b3RoZXItc2VjcmV0LW90aGVyLXNlY3JldA==";

fn post(server: &Server, secret: &str, body: &str) -> Answer {
    post_as(server.addresses().api, "skyline", "d-1", secret, body).expect("it answers")
}

/// Sends SIGHUP and waits until it is taken.
fn reload(server: &Server) {
    let taken = || server.metric("touchline_config_reloads_total{result=\"taken\"}");
    let before = taken();
    server.signal(Signal::HUP);
    until("the reload is taken", || taken() > before);
}

#[test]
fn fault_27_a_secret_rotates_by_reload_and_both_are_good_in_between() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let status = |secret: &str, id: &str| post(&server, secret, &event(id, &["ars"])).status;
    let rotate = |secrets: &str| {
        std::fs::write(home.path("partner.secrets"), secrets).unwrap();
        reload(&server);
    };
    assert_eq!((status(SECRET, "1"), status(OTHER_SECRET, "1")), (202, 401));
    rotate(&format!("# the old one\n{SECRET}\n# and the new one\n{OTHER_SECRET}\n"));
    assert_eq!((status(SECRET, "2"), status(OTHER_SECRET, "3")), (202, 202));
    rotate(OTHER_SECRET);
    assert_eq!((status(SECRET, "4"), status(OTHER_SECRET, "4")), (401, 202));
    assert!(!server.log().concat().contains("b3RoZXIt"), "a secret is printed nowhere");
}

#[test]
fn fault_27_schema_and_limits_are_those_of_the_last_reload() {
    let home = Home::new("");
    let partner = |more: &str| {
        let text = format!("[sources.broadcast.feed]\nsecrets_file = \"partner.secrets\"\n{more}");
        home.configure(&text);
    };
    std::fs::write(home.path("feed.json"), "{}").unwrap();
    partner("schema_file = \"feed.json\"\n");
    let server = home.serve(Backend::Auto);
    let send = |id: &str| {
        let body = event(id, &["ars"]);
        post_as(server.addresses().api, "feed", "d-1", SECRET, &body).expect("it answers")
    };
    assert_eq!(send("1").status, 202);
    let schema = json!({"properties": {"data": {"required": ["player"]}}});
    std::fs::write(home.path("feed.json"), schema.to_string()).unwrap();
    reload(&server);
    let refused = send("2");
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert!(refused.body.contains("\"reason\":\"schema\""), "{}", refused.body);
    partner("events_per_s_max = 1\nevents_burst_max = 1000\n");
    reload(&server);
    let many: Vec<_> = (0..999).map(|n| event(&format!("m-{n}"), &["ars"])).collect();
    let many = format!("[{}]", many.join(","));
    let post = || post_as(server.addresses().api, "feed", "d-1", SECRET, &many).expect("answers");
    assert_eq!(post().status, 202);
    let limited = post();
    assert_eq!(limited.status, 429, "{}", limited.body);
    assert!(limited.header("retry-after").is_some());
    std::fs::write(home.path("feed.json"), "{\"type\":\"strnig\"}").unwrap();
    partner("schema_file = \"feed.json\"\n");
    server.signal(Signal::HUP);
    until("a bad schema is refused", || {
        server.metric("touchline_config_last_reload_successful") == 0.0
    });
    until("it is said which", || {
        let says = |line: &String| line.contains("is no schema") && line.contains("feed.json");
        server.log().iter().any(says)
    });
    let check = home.command(Backend::Auto).output().expect("it runs");
    assert_eq!(check.status.code(), Some(3), "{}", words(&check));
}

fn polled(url: &str) -> String {
    format!(
        "[sources.broadcast.feed]\npoll_url = \"{url}\"\npoll_interval_s = 0.1\n\
         items = \"/happenings\"\nteam = \"/club\"\ntype = \"/what\"\nid = \"/ref\"\ntime = \"/at\"\n\
         value = \"/facts\"\n"
    )
}

fn happening(id: u32, minute: u32) -> Value {
    let now = jiff::Timestamp::now().as_second();
    json!({"ref": id, "club": "ARS", "what": "Goal", "at": now, "facts": {"minute": minute}})
}

fn ids(home: &Home) -> Vec<String> {
    dump(&home.journal()).into_iter().map(|it| it.name).collect()
}

#[test]
fn a_polled_partners_events_are_published_once_however_often_they_are_shown() {
    let (first, second) = (happening(1, 3), happening(2, 9));
    let list = |items: &[&Value]| json!({ "happenings": items }).to_string();
    let upstream = Upstream::start(&list(&[&first]));
    let home = Home::new(&polled(&upstream.url()));
    let mut server = home.serve(Backend::Auto);
    let ingested = r#"touchline_events_ingested_total{source="feed"}"#;
    until("the first", || server.metric(ingested) == 1.0);
    let bad = json!({"ref": 3, "club": "Arsenal FC"});
    upstream.set_body(&list(&[&first, &bad, &second]));
    until("the second, beside a bad one", || server.metric(ingested) == 2.0);
    let errors = |reason: &str| {
        server.metric(&format!(
            "touchline_ingest_errors_total{{source=\"feed\",reason=\"{reason}\"}}"
        ))
    };
    assert!(errors("bad_reading") >= 1.0);
    let changed = happening(2, 10);
    upstream.set_body(&list(&[&first, &changed, &happening(4, 11)]));
    until("what is new comes through beside what was changed", || server.metric(ingested) == 3.0);
    assert_eq!(errors("id_reused"), 1.0, "R15, and said once");
    let parked = r#"touchline_dlq_parked_total{stream="broadcast",reason="id_reused"}"#;
    until("what was corrected is kept, once", || server.metric(parked) == 1.0);
    upstream.set_fault(Fault::Status(500));
    until("the breaker opens", || server.metric("touchline_breaker_state{name=\"feed\"}") >= 1.0);
    upstream.set_fault(Fault::None);
    upstream.set_body(&list(&[&first, &second]));
    server.stop();
    let server = home.serve(Backend::Auto);
    until("it is asked again", || {
        server.metric("touchline_source_polls_total{source=\"feed\"}") > 3.0
    });
    assert_eq!(ids(&home), ["feed/1", "feed/2", "feed/4"], "nothing twice after a restart");
    let answer = post_as(server.addresses().api, "feed", "d-1", SECRET, "{}").unwrap();
    assert_eq!(answer.status, 404, "nobody can speak for it: {}", answer.body);
}

fn test(home: &Home, arguments: &[&str]) -> std::process::Output {
    let mut command = touchline_tests::e2e::server::touchline();
    command.arg("--config").arg(home.config()).args(["source", "test"]).args(arguments);
    command.output().expect("it runs")
}

#[test]
fn source_test_asks_what_is_polled_and_names_each_problem() {
    let good = json!({"happenings": [happening(1, 3), {"ref": 2}]}).to_string();
    let upstream = Upstream::start(&good);
    let device = Upstream::start(r#"{"team":"ars","mast":"north","wind_ms":3.5}"#);
    let sensor = format!(
        "[sources.sensor.mast]\nurl = \"{}\"\nteam = \"/team\"\ntype = \"wind\"\nkey = \"/mast\"\n\
         value = \"/wind_ms\"\ntimeout_s = 1\n",
        device.url() + "?apikey=K3Y"
    );
    let home = Home::new(&(polled(&upstream.url()) + "poll_timeout_s = 5\n" + &sensor));
    let shown = test(&home, &["mast"]);
    assert_eq!(shown.status.code(), Some(0), "{}", words(&shown));
    assert!(words(&shown).contains("sensor:ars") && words(&shown).contains("{\"value\":3.5}"));
    let asked = format!("asked: {}?apikey=***\n", device.url());
    assert!(words(&shown).contains(&asked) && !words(&shown).contains("K3Y"), "{}", words(&shown));
    let shown = test(&home, &["feed", "--json"]);
    assert_eq!(shown.status.code(), Some(1), "{}", words(&shown));
    let page: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(
        (&page["events"][0]["id"], &page["events"][0]["type"]),
        (&json!("1"), &json!("goal"))
    );
    let detail = page["problems"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("item 1: team"), "{page}");
    upstream.set_fault(Fault::Status(503));
    let failed = test(&home, &["feed"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(words(&failed).contains("status: it answers 503"), "{}", words(&failed));
    let unknown = test(&home, &["nobody"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(words(&unknown).contains("there are: ") && words(&unknown).contains("mast"));
    assert!(!home.journal().exists(), "nothing was published");
}

#[test]
fn source_test_listens_to_a_stream_of_posts_for_a_while() {
    let stream = Stream::start(Form::Lines);
    let home = Home::new(&format!(
        "[sources.social.plaza]\nurl = \"{}\"\nid = \"/id\"\ntext = \"/text\"\n\
         terms = [\"ars: arsenal\"]\n",
        stream.url()
    ));
    let shown = std::thread::scope(|scope| {
        let tested = scope.spawn(|| test(&home, &["plaza", "--wait-s", "3"]));
        until("it listens", || stream.open() == 1);
        stream.say(r#"{"id":"p-1","text":"Arsenal are through"}"#);
        stream.say(r#"{"id":"p-2","text":"rain"}"#);
        tested.join().unwrap()
    });
    assert_eq!(shown.status.code(), Some(0), "{}", words(&shown));
    let text = words(&shown);
    assert!(text.contains("social:ars") && text.contains("p-1") && !text.contains("p-2"), "{text}");
    assert!(!home.journal().exists(), "nothing was published");
    drop(stream);
    let gone = test(&home, &["plaza", "--wait-s", "1"]);
    assert_eq!(gone.status.code(), Some(1), "{}", words(&gone));
}

/// Schemes as partners have them, with a secret file of each.
const SCHEMES: [(&str, &str, &str); 4] = [
    ("plain", "", SECRET),
    (
        "hub",
        "secret_encoding = \"text\"\nsignature = \"hmac\"\nsignature_header = \"x-hub-signature-256\"\n\
         signature_prefix = \"sha256=\"\nid_header = \"x-github-delivery\"\n",
        "it's a \"secret\" $HOME to `everybody`",
    ),
    (
        "stripe",
        "secret_encoding = \"text\"\nsignature = \"hmac\"\nsignature_header = \"stripe-signature\"\n\
         signature_element = \"v1\"\ntimestamp_element = \"t\"\nsigned = \"{timestamp}.{body}\"\n",
        "whsec_of_a_partner_that_means_it",
    ),
    (
        "slack",
        "secret_encoding = \"hex\"\nsignature = \"hmac\"\nsignature_header = \"x-slack-signature\"\n\
         signature_prefix = \"v0=\"\nsigned = \"v0:{timestamp}:{body}\"\n\
         timestamp_header = \"x-slack-request-timestamp\"\nsignature_encoding = \"base64url\"\n\
         signature_algorithm = \"sha512\"\n",
        "00112233445566778899aabbccddeeff",
    ),
];

#[test]
fn the_command_that_source_test_prints_sends_a_signed_delivery() {
    let mut more = String::new();
    for (name, keys, _) in SCHEMES {
        more += &format!("[sources.broadcast.{name}]\nsecrets_file = \"{name}.secrets\"\n{keys}");
    }
    let home = Home::new(&more);
    for (name, _, secret) in SCHEMES {
        std::fs::write(home.path(&format!("{name}.secrets")), format!("# mine\n {secret}\n"))
            .unwrap();
    }
    let server = home.serve(Backend::Auto);
    let body = home.path("it's a body.json");
    for (name, _, secret) in SCHEMES {
        std::fs::write(&body, event(name, &["ars"])).unwrap();
        let shown = test(&home, &[name, "--body", body.to_str().unwrap()]);
        assert_eq!(shown.status.code(), Some(0), "{}", words(&shown));
        let text = words(&shown);
        assert!(text.contains("broadcast:ars") && !text.contains(secret), "{text}");
        let (_, command) = text.split_once("signed:\n\n").expect("a command");
        assert!(command.contains("can see the key while openssl runs"), "{command}");
        let port = format!(":{}/v1/", server.addresses().api.port());
        let command = command.replace(":0/v1/", &port);
        let sent = std::process::Command::new("sh").arg("-c").arg(&command).output().unwrap();
        assert!(words(&sent).contains("\"accepted\":1"), "{name}: {command}{}", words(&sent));
        let bad = event(name, &["NO TEAM"]);
        std::fs::write(&body, bad).unwrap();
        let shown = test(&home, &[name, "--body", body.to_str().unwrap()]);
        assert_eq!(shown.status.code(), Some(1));
        assert!(
            words(&shown).contains("problem: invalid_events: item 0: teams"),
            "{}",
            words(&shown)
        );
    }
    assert_eq!(test(&home, &["plain"]).status.code(), Some(2), "without a body");
    let lines = server.log();
    let unaged = lines.iter().filter(|line| line.contains("signs no time")).count();
    assert_eq!(unaged, 1, "only the one without a time: {lines:#?}");
}

/// The blocks of a page that configure sources.
fn examples(page: &str) -> Vec<String> {
    let path = format!("{}/../docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(block, _)| block.to_owned()).filter(|it| it.contains("[sources.")).collect()
}

#[test]
fn the_examples_of_the_pages_are_good_configurations() {
    let all = [examples("webhooks.md"), examples("sources.md")].concat();
    assert!(all.len() >= 4, "{}", all.len());
    let home = Home::new("");
    for partner in ["hub", "pay", "shop", "chat", "arena"] {
        std::fs::write(home.path(&format!("{partner}.secrets")), SECRET).unwrap();
    }
    std::fs::write(home.path("arena.schema.json"), "{}").unwrap();
    std::fs::write(home.path("plaza.secret"), "Bearer token").unwrap();
    for example in all {
        // The page's own partner takes the place of the one that every home has.
        home.configure("");
        let given = std::fs::read_to_string(home.config()).unwrap();
        let own = "[sources.broadcast.arena]\nsecrets_file = \"partner.secrets\"\n";
        assert!(given.contains(own));
        std::fs::write(home.config(), given.replace(own, "") + &example).unwrap();
        let mut command = touchline_tests::e2e::server::touchline();
        command.arg("--config").arg(home.config()).arg("check-config");
        let checked = command.output().expect("it runs");
        assert_eq!(checked.status.code(), Some(0), "{example}\n{}", words(&checked));
    }
}
