//! One shard without the rest of the house, under the schedules of `touchline-bench`.
//!
//! It speaks the language of `touchline-bench floor` (lines of JSON on standard input and output),
//! publishes from a log in memory, and so shows what the shard alone costs above a bare volley.
//! `epoll` as the first argument takes that backend.

use std::io::{BufRead, stdin};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use touchline_core::event::{Event, Route, Stream};
use touchline_core::time::Timestamp;
use touchline_fanout::testing::MemoryLog;
use touchline_fanout::{Backend, Fanout, FanoutOptions, Plan, PlanInput, Shards, clock};

fn main() {
    let plan = Plan::make(&PlanInput {
        connections_max: 19_000,
        shards: Shards::Count(1),
        cores: Vec::new(),
        last_core_is_left: false,
        nofile_hard: 20_000,
    })
    .expect("19,000 sockets fit one table");
    let mut options = FanoutOptions::new("127.0.0.1:0".parse().expect("is an address"), plan);
    if std::env::args().nth(1).as_deref() == Some("epoll") {
        options.backend = Backend::Epoll;
    }
    let log = MemoryLog::new(1);
    let (fanout, feed) = Fanout::start(options, Arc::new(log.clone())).expect("the fan-out starts");
    log.attach(Box::new(feed));
    println!("{}", json!({ "listening": fanout.local_addr() }));
    for line in stdin().lock().lines() {
        let line: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        println!("\"playing\"");
        play(&log, &line["play"]);
        report(&fanout);
    }
}

fn play(log: &MemoryLog, schedule: &Value) {
    let number = |value: &Value| value.as_u64().expect("a number");
    let (start, teams) = (number(&schedule["start_ns"]), number(&schedule["teams"]));
    let (mut due, mut n) = (start, 0);
    for phase in schedule["phases"].as_array().expect("phases") {
        let rate = phase["rate"].as_f64().expect("a rate");
        let phase_start = due;
        for step in 0..number(&phase["events"]) {
            due = phase_start + (step as f64 / rate * 1e9) as u64;
            let wait = due.saturating_sub(clock::monotonic().0);
            std::thread::sleep(Duration::from_nanos(wait));
            log.push(vec![event(due, n, n % teams, n / teams)]);
            n += 1;
        }
        due = phase_start + (number(&phase["events"]) as f64 / rate * 1e9) as u64;
    }
}

fn event(due: u64, n: u64, team: u64, seq: u64) -> Event {
    Event {
        stream: Stream::Broadcast,
        source: "bench".into(),
        id: format!("bench-{n:08}").into(),
        route: Route::new(&[format!("t{team:03}")]).expect("a team's name is a valid one"),
        kind: "goal".into(),
        occurred_at: Timestamp(1_700_000_000_123_456 + (due / 1_000_000) as i64),
        data: format!(r#"{{"t":"{due:016x}","seq":"{seq:08x}","n":"{n:08x}"}}"#).into(),
        lang: None,
        supersedes: None,
        sensor: None,
        trace: None,
        correlation: "bench".into(),
    }
}

fn report(fanout: &Fanout) {
    for stats in fanout.stats() {
        eprintln!(
            "deliveries {} sends {} blocked {} latency p99 {:?} spread p50 {:?} overflows {} reads {}",
            stats.deliveries.get(),
            stats.sends.get(),
            stats.sends_blocked.get(),
            stats.delivery_latency.snapshot().quantile(0.99),
            stats.broadcast_spread.snapshot().quantile(0.5),
            stats.mailbox_overflows.get(),
            stats.rereads.get(),
        );
    }
}
