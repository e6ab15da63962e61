//! A host without descriptors (FAULTS 41): who comes is told so, who is in stays, and it recovers
//! by itself.
//!
//! The limit belongs to a process, so the shard runs in a child: this very test, started again with
//! a variable set.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Stage, event, eventually, member, options};
use rustix::process::{Resource, Rlimit, setrlimit};
use touchline_fanout::testing::Client;
use touchline_fanout::{Backend, ShardStats};

const CHILD: &str = "TOUCHLINE_TEST_BACKEND";
const LIMIT: u64 = 64;

/// The shard: says where it listens, publishes an event for each line it is sent, and answers with
/// its numbers.
fn serve(backend: Backend) {
    setrlimit(Resource::Nofile, Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) }).unwrap();
    let stage = Stage::start(options(backend));
    println!("\nlistening {}", stage.fanout().local_addr());
    for line in std::io::stdin().lines() {
        stage.log.push(vec![event("ars", &line.unwrap())]);
        let sum = |of: fn(&ShardStats) -> u64| stage.sum(of);
        println!("\nshortages {}", sum(|stats| stats.accept_shortages.get()));
    }
}

#[test]
fn fault_41_without_descriptors_newcomers_get_503_and_the_rest_goes_on() {
    match std::env::var(CHILD).as_deref() {
        Ok("uring") => return serve(Backend::IoUring),
        Ok(_) => return serve(Backend::Epoll),
        Err(_) => {}
    }
    for backend in ["uring", "epoll"] {
        check(backend);
    }
}

fn check(backend: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("fault_41_without_descriptors_newcomers_get_503_and_the_rest_goes_on")
        .env(CHILD, backend)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut answer = |name: &str| {
        let line = lines.find(|line| line.starts_with(name)).unwrap();
        line.split(' ').nth(1).unwrap().to_owned()
    };
    let address = answer("listening").parse().unwrap();
    let mut inside = Vec::new();
    let mut refused = 0;
    for _ in 0..2 * LIMIT {
        let mut client = Client::connect_unanswered(address, "teams=ars");
        match client.head() {
            head if head.starts_with("HTTP/1.1 101") => inside.push(client),
            head if head.starts_with("HTTP/1.1 503") => refused += 1,
            head => panic!("{backend}: {head:?}"),
        }
    }
    assert!(refused > LIMIT / 2 && inside.len() > 30, "{backend}: {refused}, {}", inside.len());
    writeln!(input, "still-here").unwrap();
    assert!(answer("shortages").parse::<u64>().unwrap() > 0);
    for client in &mut inside {
        client.text();
        client.text();
        assert_eq!(member(&client.text(), "id"), "still-here", "{backend}");
    }
    inside.truncate(10);
    std::thread::sleep(Duration::from_millis(200));
    eventually("room again", || {
        let mut client = Client::connect_unanswered(address, "teams=ars");
        client.head().starts_with("HTTP/1.1 101")
    });
    drop(input);
    child.wait().unwrap();
}
