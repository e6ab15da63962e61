//! `touchline demo` with all its sources, from outside: what they say is on the board, each tells
//! how it does, and with `--trouble` nothing is lost or shown twice all the same.

mod support;

use serde_json::Value;
use support::Demo;

/// Sources of `live` of that kind.
fn of<'a>(live: &'a Value, kind: &str) -> Vec<&'a Value> {
    let sources = live["sources"].as_array().unwrap();
    sources.iter().filter(|source| source["kind"] == kind).collect()
}

fn count(live: &Value, state: &str) -> usize {
    live["sources"].as_array().unwrap().iter().filter(|source| source["state"] == state).count()
}

/// The number before `what` in the demo's last line.
fn figure(last: &str, what: &str) -> u64 {
    let words: Vec<&str> = last.split(what).next().unwrap().split_whitespace().collect();
    words.last().unwrap().replace(',', "").parse().unwrap_or_else(|_| panic!("{what} in {last}"))
}

#[tokio::test]
async fn all_three_kinds_of_sources_are_well_and_followers_get_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(dir.path(), "300", &[]);
    let live = demo.eventually_live(|live| count(live, "fresh") == 12).await;
    assert_eq!(live["sources_total"], 12);
    assert_eq!(of(&live, "broadcast")[0]["name"], "matchday");
    assert_eq!(of(&live, "social")[0]["name"], "plaza");
    assert_eq!(of(&live, "sensor").len(), 10);
    assert!(of(&live, "sensor").iter().all(|source| source["breaker"] == "closed"));
    let rate = |live: &Value, kind: &str| {
        of(live, kind).iter().map(|source| source["events_per_s"].as_f64().unwrap()).sum::<f64>()
    };
    demo.eventually_live(|live| rate(live, "sensor") > 5.0 && rate(live, "social") > 0.5).await;
    let goals = |game: &Value| game["scorers"].as_array().unwrap().len();
    demo.eventually(|matches| matches.iter().map(goals).sum::<usize>() > 9).await;
    let last = demo.interrupt();
    assert!(figure(&last, " of them posts") > 20, "{last}");
    assert!(figure(&last, " values") > 100, "{last}");
    assert!(last.contains("; 0 received twice, 0 missing, "), "{last}");
    assert!(last.ends_with(", 0 gaps"), "{last}");
}

/// FAULTS 26, 27 and 29, all at once, on the way of real events.
#[tokio::test]
async fn fault_26_27_29_in_trouble_sources_ail_and_recover_and_nothing_is_lost_or_shown_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(dir.path(), "300", &["--trouble"]);
    let ails = |live: &Value| count(live, "failing") + count(live, "stale") > 0;
    let ill = demo.eventually_live(|live| ails(live) && count(live, "fresh") > 4).await;
    let ill = ill["sources"][0]["name"].as_str().unwrap().to_owned();
    demo.eventually_live(|live| {
        let sources = live["sources"].as_array().unwrap();
        sources.iter().any(|source| source["name"] == *ill && source["state"] == "fresh")
    })
    .await;
    // A goal was taken back, and the board says so.
    let live = demo
        .eventually_live(|live| {
            let events = live["events"].as_array().unwrap();
            events.iter().any(|event| event["type"] == "var.overturned")
        })
        .await;
    for game in live["matches"].as_array().unwrap() {
        let goals =
            game["score"]["home"].as_u64().unwrap() + game["score"]["away"].as_u64().unwrap();
        assert_eq!(game["scorers"].as_array().unwrap().len() as u64, goals, "{game:#}");
    }
    let cut = demo.metric("touchline_ingest_errors_total{source=\"plaza\"").await;
    assert!(cut.iter().sum::<f64>() > 0.0, "the stream was cut, and sent junk");
    demo.eventually_counted("reason=\"sequence_standing\"").await;
    let last = demo.interrupt();
    let (told, again) = (figure(&last, " events, "), figure(&last, " of them again"));
    assert!(again > 20 && told > again, "{last}");
    assert!(figure(&last, " of them posts") > 20, "{last}");
    assert!(last.contains("; 0 received twice, 0 missing, "), "{last}");
    assert!(last.ends_with(", 0 gaps"), "{last}");
}

#[test]
fn without_the_script_of_the_brokers_kafka_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let refused = support::command(dir.path(), "60", &["--kafka"])
        .env("TOUCHLINE_KAFKA_SCRIPT", dir.path().join("nowhere.sh"))
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(words.contains("nowhere.sh") && words.contains("TOUCHLINE_KAFKA_SCRIPT"), "{words}");
}
