//! Each scenario of the tree, small, on the running binary: what its file expects comes of it.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::{Results, bench, turn};

/// Scenarios played at the same time.
const AT_ONCE: usize = 4;

/// Clients of a small run, and how much of its time is played.
const SMALL: [(&str, &str, &str); 7] = [
    // Its three hours become six seconds.
    ("soak", "200", "0.0005"),
    // Its thirteen minutes become eight seconds.
    ("trouble", "200", "0.01"),
    ("overload-150", "200", "0.03"),
    ("overload-200", "200", "0.03"),
    ("kafkorama", "400", "0.1"),
    ("scale", "200", "0.05"),
    // Whoever was thrown out waits for seconds before it comes back.
    ("restart", "500", "0.2"),
];

/// Posts of `trouble` that are published in the six seconds that count: one a second for each of
/// ten teams by each of three streams are 180, by two of them 120.
const HEARD_MIN: f64 = 140.0;

fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/scenarios");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut names: Vec<String> =
        files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Plays a scenario small; what was wrong with it, if anything.
fn play(name: &str) -> Option<String> {
    let small = SMALL.iter().find(|(of, ..)| *of == name);
    let (_, sockets, time) = small.unwrap_or(&("", "300", "0.08"));
    let asked = ["run", "--quick", "--any-speed", "--scenario", name, "--time", time];
    // It has none, and `--sockets 0` is refused.
    let sockets = if name == "webhook" { &[][..] } else { &["--sockets", sockets] };
    let results = Results::of(&[&asked[..], sockets].concat());
    let runs = results.runs();
    let arrived = runs.first().map_or(0, |run| {
        run["harvest"]["counts"]["delivered"].as_u64().unwrap()
            + run["posted"]["events"].as_u64().unwrap_or(0)
    });
    let is_quiet = name == "idle";
    let heard = |run: &serde_json::Value| {
        run["counters"]["touchline_social_posts_total:published"].as_f64().unwrap_or(0.0)
    };
    let is_heard = name != "trouble" || runs.first().is_some_and(|run| heard(run) > HEARD_MIN);
    let is_well = results.output.status.success()
        && runs.len() == 1
        && (arrived == 0) == is_quiet
        && is_heard;
    (!is_well).then(|| format!("{name}: {arrived} arrived: {}", results.said()))
}

#[test]
fn every_scenario_comes_out_as_its_file_expects() {
    let Some(_turn) = turn() else { return };
    let names = names();
    assert!(names.len() >= 16, "{names:?}");
    // Small ones mostly wait, and nobody asks how soon anything comes.
    let next = AtomicUsize::new(0);
    let work = || {
        let take = || names.get(next.fetch_add(1, Relaxed));
        std::iter::from_fn(take).filter_map(|name| play(name)).collect::<Vec<_>>()
    };
    let failed = std::thread::scope(|scope| {
        let workers = [(); AT_ONCE].map(|()| scope.spawn(work));
        workers.map(|worker| worker.join().unwrap()).concat()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn a_real_match_day_is_played_from_its_file() {
    let Some(_turn) = turn() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cup.json");
    let day = r#"{"matches":[{"date":"2026-06-11","goals1":[{"minute":10},{"minute":"45+2"}]},
                 {"date":"2026-06-11","goals2":[{"minute":90}]},{"date":"2026-06-12"}]}"#;
    std::fs::write(&file, day).unwrap();
    let asked = ["run", "--quick", "--any-speed", "--scenario", "match-day", "--time", "0.1"];
    let more = ["--sockets", "100", "--date", "2026-06-11", "--day", file.to_str().unwrap()];
    let results = Results::of(&[&asked[..], &more].concat());
    assert!(results.output.status.success(), "{}", results.said());
    let text = std::fs::read_to_string(results.folder.path().join("results.jsonl")).unwrap();
    assert!(text.contains(r#""teams":2"#), "two matches: {}", results.said());
    let run = &results.runs()[0];
    let beside = run["harvest"]["beside"].as_array().unwrap();
    let streams: Vec<_> = beside.iter().map(|of| (of[0].as_str().unwrap(), &of[1])).collect();
    assert_eq!([streams[0].0, streams[1].0], ["social", "sensor"]);
    for (stream, latency) in streams {
        assert!(latency["count"].as_u64().unwrap() > 0, "{stream}: {}", results.said());
    }
    let counters = &run["counters"];
    for counter in ["touchline_source_polls_total", "touchline_social_posts_total:thinned"] {
        assert!(counters[counter].as_f64().is_some_and(|count| count > 0.0), "{counters}");
    }
}

#[test]
fn what_does_not_exist_is_answered_with_what_does() {
    let results = Results::of(&["run", "--scenario", "sunday"]);
    assert_eq!(results.output.status.code(), Some(1));
    let said = results.said();
    assert!(said.contains("no scenario sunday;") && said.contains("hot-topic"), "{said}");
    let help = std::process::Command::new(bench()).args(["run", "--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("ws://host:port"));
}
