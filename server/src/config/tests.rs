//! Layers win in their order, mistakes are named with their place, and secrets stay hidden.

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn request() -> LoadRequest {
    LoadRequest { ignore_default_file: true, ..LoadRequest::default() }
}

fn with_file(text: &str) -> (tempfile::TempDir, LoadRequest) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("touchline.toml");
    std::fs::write(&file, text).unwrap();
    let request = LoadRequest { file: Some(file), ..request() };
    (folder, request)
}

fn refusal(text: &str) -> String {
    let (_folder, request) = with_file(text);
    load(request).unwrap_err().to_string()
}

#[test]
fn the_table_holds_every_default_that_the_sections_need() {
    let loaded = load(request()).unwrap();
    assert_eq!(loaded.options.connections_max, 50_000);
    assert_eq!(loaded.options.rules.hub, touchline_core::config::HubConfig::default());
    assert_eq!(loaded.options.drain.grace.as_secs(), 10);
    assert!(!loaded.options.node.is_empty());
    for key in keys::all().filter(|key| key.default.is_some()) {
        let mut without = layers::defaults().unwrap();
        without.values.remove(key.path);
        let raw: Result<raw::Raw, _> = Figment::from(&without).extract();
        assert!(raw.is_err(), "no section reads {}", key.path);
    }
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let (_folder, base) = with_file("[node]\nname = \"file\"\n[drain]\ngrace_s = 3\n");
    let check = |request: &LoadRequest, name: &str, origin: &str| {
        let loaded = load(request.clone()).unwrap();
        assert_eq!(loaded.options.node, name);
        assert!(loaded.origin("node.name").to_string().contains(origin));
        assert_eq!(loaded.options.drain.grace.as_secs(), 3);
    };
    check(&base, "file", "touchline.toml:2");
    let mut by_variable = base.clone();
    by_variable.environment.push(("TOUCHLINE__NODE__NAME".into(), "007".into()));
    by_variable.environment.push(("TOUCHLINE_SEEDS_S".into(), "not ours".into()));
    check(&by_variable, "007", "TOUCHLINE__NODE__NAME");
    check(&by_variable.with("node.name", "flag"), "flag", "flag");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known() {
    let text = "[node]\nname = \"a\"\n\n[drain]\ngrace = 3\n";
    let message = refusal(text);
    assert!(message.contains("touchline.toml:5: unknown key `drain.grace`"), "{message}");
    assert!(message.contains("did you mean `drain.grace_s`?"), "{message}");
    assert!(refusal("[nodes]\nname = \"a\"\n").contains("unknown key `nodes`"));
    let message = refusal("\"node.name\" = 1\n");
    assert!(message.contains("unknown key"), "{message}");
    let mut by_variable = request();
    by_variable.environment.push(("TOUCHLINE__LISTEN__STREEM".into(), "x".into()));
    let message = load(by_variable).unwrap_err().to_string();
    assert!(message.contains("TOUCHLINE__LISTEN__STREEM: unknown key"), "{message}");
    assert!(message.contains("`listen.stream`"), "{message}");
}

/// A partner that is asked, and `more`.
fn asked(more: &str) -> String {
    format!("[sources.broadcast.sky]\npoll_url = \"http://127.0.0.1:1/\"\n{more}\n")
}

#[test]
fn a_bad_value_is_refused_with_its_line_and_what_is_expected() {
    for (text, want) in [
        ("[node]\nconnections_max = -1\n", "touchline.toml:2: `node.connections_max` must be"),
        ("[node]\nconnections_max = 1.5\n", "whole number"),
        ("[listen]\nstream = \"localhost\"\n", "an address and a port"),
        ("[windows]\nbytes_max = \"16MB\"\n", "such as \"16MiB\""),
        ("[dead_letters]\nletter_bytes_max = \"64KiB\"\n", "between 128KiB and 8MiB"),
        ("[drain]\ngrace_s = 1e9\n", "seconds between 0 and 600"),
        ("[sources.sensor.a]\nurl = \"http://x/\"\n", "`sources.sensor.a`: `team` is missing"),
        ("[sources.sensor.a]\nheartbeat_s = 4000\n", "`heartbeat_s` (4000) must be below"),
        ("[sources.sensor.a]\ntimeout_s = 3\n", "seconds between 0.005 and 2"),
        (
            "[sources.sensor.a]\nurl = \"http://x/\"\nteam = \"ars\"\ntype = \"t\"\nkey = \"k\"\n\
             [sources.social.a]\nurl = \"http://y/\"\n",
            "`sources.social.a`: `sources.sensor.a` has that name",
        ),
        (
            &asked("[sources.sensor.sky]\nurl = \"http://y/\""),
            "`sources.sensor.sky`: `sources.broadcast.sky` has that",
        ),
        (
            &asked("[sources.social.sky]\nurl = \"http://y/\""),
            "`sources.social.sky`: `sources.broadcast.sky` has that",
        ),
        ("[sources.social.Sky]\nurl = \"http://y/\"\n", "`sources.social.Sky`: its name"),
        ("[log]\nkind = \"redis\"\n", "must be one of journal, kafka"),
        ("[log.kafka]\nin_sync_min = 4\n", "must be 1 to `replication`"),
        ("[log.kafka]\ndeliver_s_max = 5\n", "half a second below `ingest.append_timeout_s`"),
        ("node = 3\n", "is a section"),
        ("[node]\nname = \n", "touchline.toml:2: not valid TOML"),
        ("[windows]\nbytes_max = \"1MiB\"\n", "more than `windows.bytes_max`"),
        ("[sessions]\norigins = [\"example.com\"]\n", "is not an origin"),
        ("[listen]\ntrusted_proxies = [\"10.0.0.1/8\"]\n", "\"10.0.0.1/8\" has bits behind"),
        ("[listen]\ntrusted_proxies = [\"lb.example\"]\n", "is no address and no range"),
        ("[sources.broadcast.Sky]\nsecrets = []\n", "the partner's name"),
        ("[sources.broadcast.sky]\nsecrets = []\n", "has no secret"),
        ("[sources.broadcast.sky]\npoll_interval_s = 9\n", "counts with `poll_url` only"),
        (&asked("signed = \"{body}\""), "`signed` counts with signature = \"hmac\" only"),
        (&asked("signature = \"hmac\""), "`signature_header` is missing"),
        (&asked("signature = \"hmac\"\ntolerance_s = 9"), "`tolerance_s` needs `timestamp_header`"),
        (&asked("signature = \"rsa\""), "must be one of standard, hmac"),
        (&asked("schema_file = \"no.json\""), "`schema_file`: "),
        (&asked("team = \"/team\""), "`type` is missing: a mapping tells"),
        (&asked("team = \"a\"\ntype = \"b\"\nid = \"c\""), "`id` must be a pointer"),
        (&asked("poll_secret_header = \"x\""), "belong together"),
        (&asked("secret_encoding = \"hex\"\nsecrets = [\"xyz\"]"), "secret 1 must be written as"),
    ] {
        let message = refusal(text);
        assert!(message.contains(want), "{text}: {message}");
        assert!(!message.contains('\n'), "one line: {message}");
    }
}

#[test]
fn every_mistake_is_named_at_once() {
    let message = refusal("[node]\nnmae = 1\nshards = 0\n[drain]\nx = 1\n");
    assert_eq!(message.matches("touchline.toml:").count(), 3, "{message}");
}

#[test]
fn a_secret_is_shown_nowhere() {
    let text = format!("[sources.broadcast.sky]\nsecrets = [\"{SECRET}\"]\n");
    let (_folder, request) = with_file(&text);
    let loaded = load(request).unwrap();
    assert_eq!(loaded.options.sources.iter().next().unwrap().secrets().len(), 1);
    for shown in [
        print::to_toml(&loaded),
        print::to_json(&loaded).to_string(),
        format!("{:?}", loaded.options),
    ] {
        assert!(!shown.contains("MfKQ9r8G"), "{shown}");
    }
    assert!(print::to_toml(&loaded).contains("(1 hidden)"));
    let broken = format!("[sources.broadcast.sky]\nsecrets = [\"{SECRET}\nx = \"");
    assert!(!refusal(&broken).contains("MfKQ9r8G"));
    let wrong = format!("[sources.broadcast.sky]\nsecrets = \"{SECRET}\"\n");
    assert!(!refusal(&wrong).contains("MfKQ9r8G"));
}

/// Sources with a key in each place where an address or a first message can have one.
const KEYED: &str = "[sources.broadcast.feed]\npoll_url = \"https://K3Y@a.example/v2?K3Y\"\n\
     [sources.sensor.mast]\nurl = \"http://10.0.0.5:81/v?apikey=K3Y&n=K3Y\"\nteam = \"ars\"\n\
     type = \"wind\"\nkey = \"a\"\n\
     [sources.social.plaza]\nurl = \"wss://jo:K3Y@b.example/s\"\nid = \"/id\"\ntext = \"/text\"\n\
     terms = [\"ars: arsenal\"]\nsubscribe = \"{\\\"token\\\":\\\"K3Y\\\"}\"\n";

#[test]
fn a_key_in_an_address_or_in_a_first_message_is_shown_nowhere() {
    let (folder, request) = with_file(KEYED);
    let loaded = load(request).unwrap();
    let social = &loaded.options.social[0];
    assert_eq!(social.subscribe.as_deref(), Some("{\"token\":\"K3Y\"}"));
    assert_eq!(&*loaded.options.sensors[0].ask.url, "http://10.0.0.5:81/v?apikey=K3Y&n=K3Y");
    let (toml, json) = (print::to_toml(&loaded), print::to_json(&loaded));
    for shown in [&toml, &json.to_string(), &format!("{:?}", loaded.options)] {
        assert!(!shown.contains("K3Y"), "{shown}");
    }
    let url = &json["sources.sensor.mast.url"]["value"];
    assert_eq!(url, "http://10.0.0.5:81/v?apikey=***&n=***");
    for line in [
        "# poll_url = \"https://***@a.example/v2?***\"",
        "# url = \"wss://***@b.example/s\"",
        "# subscribe = \"(hidden)\"",
    ] {
        assert!(toml.contains(line), "{line}: {toml}");
    }
    let by_file = KEYED.replace("subscribe = ", "subscribe_file = \"plaza.first\" # ");
    std::fs::write(folder.path().join("plaza.first"), "{\"token\":\"F1LE\"}\n").unwrap();
    std::fs::write(folder.path().join("touchline.toml"), &by_file).unwrap();
    let loaded = load(loaded.request).unwrap();
    let social = &loaded.options.social[0];
    assert_eq!(social.subscribe.as_deref(), Some("{\"token\":\"F1LE\"}"));
    for (change, says) in [
        (KEYED.to_owned() + "subscribe_file = \"x\"\n", "give one of them"),
        (KEYED.replace("subscribe = ", "subscribe_file = \"no.file\" # "), "no.file: "),
        (KEYED.replace("wss://", "https://"), "`subscribe` is a WebSocket's first message"),
        (KEYED.replace("wss://", "ftp://") + "kind = \"websocket\"\n", "its url must begin with"),
    ] {
        let message = refusal(&change);
        assert!(message.contains(says) && !message.contains("K3Y"), "{message}");
    }
}

#[test]
fn what_is_printed_can_be_read_again() {
    let loaded = load(request().with("node.shards", "2").with("drain.grace_s", "0.5")).unwrap();
    let (_folder, again) = with_file(&print::to_toml(&loaded));
    let again = load(again).unwrap();
    assert_eq!(again.changed(&loaded), Vec::<String>::new());
}

#[test]
fn a_reload_takes_what_may_change_and_refuses_the_rest_whole() {
    let (folder, request) = with_file("[drain]\ngrace_s = 1\n");
    let file = folder.path().join("touchline.toml");
    let loaded = load(request).unwrap();
    std::fs::write(&file, "[drain]\ngrace_s = 2\n").unwrap();
    let fresh = loaded.reread().unwrap();
    assert_eq!(fresh.options.drain.grace.as_secs(), 2);
    assert_eq!(fresh.changed(&loaded), ["drain.grace_s"]);
    std::fs::write(&file, "[drain]\ngrace_s = 3\n[node]\nconnections_max = 9\n").unwrap();
    let message = fresh.reread().unwrap_err().to_string();
    assert!(message.contains("`node.connections_max` changed"), "{message}");
    std::fs::write(&file, "[drain]\ngrace_s = ").unwrap();
    assert!(fresh.reread().is_err());
}

#[test]
fn the_reference_is_what_the_table_says() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/config.md");
    let have = std::fs::read_to_string(page).unwrap_or_default();
    assert!(
        have == reference::markdown(),
        "docs/reference/config.md is stale: run `cargo run -p touchline -- reference config > \
         docs/reference/config.md`"
    );
}

#[test]
fn a_letter_of_the_largest_event_is_never_cut() {
    use touchline_core::event::{Event, Route};
    use touchline_core::limits::{DATA_BYTES_MAX, ID_BYTES_MAX, KIND_BYTES_MAX, NAME_BYTES_MAX};
    let longest = |bytes: usize| -> Box<str> { "x".repeat(bytes).into() };
    let teams: Vec<String> =
        (0..8).map(|n| format!("{n}{}", longest(NAME_BYTES_MAX - 1))).collect();
    let event = Event {
        source: longest(NAME_BYTES_MAX),
        route: Route::parse(&teams.join("+")).unwrap(),
        kind: longest(KIND_BYTES_MAX),
        data: longest(DATA_BYTES_MAX).into_boxed_bytes().to_vec().into(),
        correlation: longest(ID_BYTES_MAX),
        ..Event::sample(&longest(ID_BYTES_MAX), "ars")
    };
    let mut raw = Vec::new();
    touchline_core::log::record::encode(&event, event.occurred_at, &mut raw);
    assert!((raw.len() as u64) < crate::limits::LETTER_BYTES_MIN, "{}", raw.len());
}
