//! Every other command does its work and ends with the right code.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;
use touchline_tests::e2e::http::event;
use touchline_tests::e2e::server::{Backend, Home, run, touchline, words};

use crate::damage;

fn at(home: &Home, arguments: &[&str]) -> std::process::Output {
    touchline().arg("--config").arg(home.config()).args(arguments).output().expect("it runs")
}

/// A home with a journal of `count` events, and nobody who serves it.
fn home_with_events(count: usize) -> Home {
    let home = Home::new("");
    let mut server = home.serve(Backend::Auto);
    let events: Vec<_> = (0..count)
        .map(|n| event(&format!("g-{n}"), if n % 2 == 0 { &["ars", "che"] } else { &["liv"] }))
        .collect();
    server.accept(&format!("[{}]", events.join(",")));
    server.stop();
    home
}

#[test]
fn check_config_and_print_config_tell_what_is_in_force() {
    let home = Home::new("");
    let good = at(&home, &["check-config"]);
    assert_eq!(good.status.code(), Some(0), "{}", words(&good));
    assert!(words(&good).starts_with("good: "), "{}", words(&good));
    let printed = touchline()
        .arg("--config")
        .arg(home.config())
        .args(["print-config", "--set", "node.shards=2"])
        .env("TOUCHLINE__DRAIN__GRACE_S", "3")
        .output()
        .unwrap();
    let text = words(&printed);
    let line = |key: &str| text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    assert!(line("name").contains("touchline.toml:2"), "{text}");
    assert!(line("shards").ends_with("# flag"), "{text}");
    assert!(
        line("grace_s").contains("= 3 ") && line("grace_s").contains("TOUCHLINE__DRAIN__GRACE_S")
    );
    let of_windows = |line: &str| line.starts_with("bytes_max") && line.contains("\"512MiB\"");
    let windows = text.lines().find(|line| of_windows(line)).unwrap_or_default();
    assert!(windows.ends_with("# default"), "{text}");
    let json = at(&home, &["print-config", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["node.name"]["value"], "test");
    let bad = at(&home, &["check-config", "--set", "drain.grace_s=never"]);
    assert_eq!(bad.status.code(), Some(3));
    assert!(words(&bad).contains("`drain.grace_s` must be seconds"), "{}", words(&bad));
}

#[test]
fn a_usage_that_cannot_be_understood_ends_with_2() {
    for arguments in [&["sevre"][..], &["serve", "--nonsense"], &[], &["log"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["version"], &["help", "serve"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn completions_and_the_man_page_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let text = words(&run(&["completions", shell]));
        for command in ["serve", "demo", "check-config", "tail"] {
            assert!(text.contains(command), "{command} in {shell}");
        }
    }
    let page = words(&run(&["man"]));
    assert!(page.contains(".TH touchline") && page.contains("print\\-config"), "{page}");
}

#[test]
fn tail_prints_what_is_wanted_and_goes_on_with_what_comes() {
    let home = home_with_events(8);
    let all = words(&at(&home, &["tail", "--no-follow", "-n", "100"]));
    assert_eq!(all.lines().count(), 8, "{all}");
    let last = words(&at(&home, &["tail", "--no-follow", "-n", "2"]));
    assert!(last.contains("g-6") && last.contains("g-7") && !last.contains("g-5"), "{last}");
    let some =
        words(&at(&home, &["tail", "--no-follow", "--from", "0", "--team", "liv", "--json"]));
    let ids: Vec<Value> = some.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = ids.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["g-1", "g-3", "g-5", "g-7"]);
    let none = words(&at(&home, &["tail", "--no-follow", "--from", "0", "--type", "card.red"]));
    assert_eq!(none, "");

    let server = home.serve(Backend::Auto);
    let mut tail = touchline()
        .arg("--config")
        .arg(home.config())
        .args(["tail", "-n", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    // It may look for the end before or after this event; the second one it sees for sure once it
    // prints.
    std::thread::sleep(std::time::Duration::from_millis(500));
    server.accept(&event("fresh", &["ars"]));
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains("broadcast:ars skyline/fresh goal"), "{line}");
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn log_verify_and_dump_tell_sound_from_damaged() {
    let home = home_with_events(40);
    let folder = home.journal();
    let sound = at(&home, &["log", "verify"]);
    assert_eq!(sound.status.code(), Some(0), "{}", words(&sound));
    assert!(words(&sound).contains("sound: ") && words(&sound).contains("40 records"));
    let dump = at(&home, &["log", "dump", "--from", "3", "--to", "5"]);
    let text = words(&dump);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("g-3") && text.contains("g-4"), "{text}");

    let segment = damage(&folder, "g-10");
    let damaged = run(&["log", "verify", folder.to_str().unwrap()]);
    let text = words(&damaged);
    assert_eq!(damaged.status.code(), Some(1), "{text}");
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(text.contains(&format!("{name}: damage at byte")), "{text}");
    assert_eq!(run(&["log", "dump", folder.to_str().unwrap()]).status.code(), Some(1));
    let missing = run(&["log", "verify", "/nowhere"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(words(&missing).contains("/nowhere"), "{}", words(&missing));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let home = home_with_events(900);
    let mut dump = touchline()
        .arg("--config")
        .arg(home.config())
        .args(["log", "dump", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(dump.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("g-0"), "{first}");
    let output = dump.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert!(words(&output).is_empty(), "{}", words(&output));
}
