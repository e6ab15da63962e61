//! `touchline demo` from outside: one day, however often it is killed, told and followed without a
//! loss.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Demo, SEED};
use touchline::demo::league::league_day;
use touchline::live::fact::Score;

fn score(game: &Value) -> Score {
    serde_json::from_value(game["score"].clone()).unwrap()
}

fn goals(matches: &[Value]) -> u64 {
    matches.iter().map(|game| u64::from(score(game).home + score(game).away)).sum()
}

fn ids(matches: &[Value]) -> Vec<String> {
    let mut ids: Vec<_> =
        matches.iter().map(|game| game["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn check_scorers(matches: &[Value]) {
    for game in matches {
        let scorers = game["scorers"].as_array().unwrap().len();
        assert_eq!(scorers, usize::from(score(game).home + score(game).away), "{game:#}");
    }
}

#[tokio::test]
async fn a_demo_that_is_killed_goes_on_with_the_same_day_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut before: Option<Vec<String>> = None;
    let mut seen = 0;
    for _ in 0..3 {
        let mut demo = Demo::start(dir.path(), "300", &[]);
        let told = demo.eventually(|matches| matches.len() == 10 && goals(matches) > seen).await;
        check_scorers(&told);
        seen = goals(&told);
        demo.child.kill().unwrap();
        demo.child.wait().unwrap();
        assert_eq!(*before.get_or_insert_with(|| ids(&told)), ids(&told), "still the same day");
    }
    let demo = Demo::start(dir.path(), "1000", &[]);
    let over = |matches: &[Value]| {
        matches.len() == 10 && matches.iter().all(|game| game["status"] == "full_time")
    };
    let told = demo.eventually(over).await;
    assert_eq!(before.unwrap(), ids(&told));
    check_scorers(&told);
    let script = league_day(SEED, 0, "2026-06-24").unwrap();
    for fixture in &script.fixtures {
        let game = told.iter().find(|game| game["home"] == fixture.home.id.as_str()).unwrap();
        assert_eq!(score(game), fixture.moments.last().unwrap().score, "{game:#}");
    }
}

#[tokio::test]
async fn an_interrupt_ends_it_within_two_seconds_and_nobody_missed_a_thing() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(dir.path(), "600", &[]);
    demo.eventually(|matches| goals(matches) > 3).await;
    let live = demo.live().await.unwrap();
    assert_eq!(live["panel"]["sockets"], 60);
    let started = Instant::now();
    let pid = demo.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let exit = demo.child.wait().unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(exit.success(), "{exit}");
    let last = demo.last_line();
    assert!(last.starts_with("told "), "{last}");
    assert!(last.contains("; 0 received twice, 0 missing, "), "{last}");
    assert!(last.ends_with(", 0 gaps"), "{last}");
}
