//! A fan-out on a log in memory, and events to publish.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use touchline_core::event::Event;
use touchline_core::time::Timestamp;
use touchline_fanout::testing::{Client, MemoryLog};
use touchline_fanout::{Backend, Fanout, FanoutOptions, Plan, PlanInput, ShardCommand, Shards};

/// Running shards, and their log.
pub struct Stage {
    pub fanout: Option<Fanout>,
    pub log: MemoryLog,
}

/// Options of one shard for up to a thousand connections.
pub fn options(backend: Backend) -> FanoutOptions {
    let plan = Plan::make(&PlanInput {
        connections_max: 1_000,
        shards: Shards::Count(1),
        cores: vec![],
        last_core_is_left: false,
        nofile_hard: 20_000,
    })
    .unwrap();
    let mut options = FanoutOptions::new("127.0.0.1:0".parse().unwrap(), plan);
    options.backend = backend;
    options
}

/// Runs `test` once on each backend.
pub fn on_both_backends(test: impl Fn(FanoutOptions)) {
    for backend in [Backend::IoUring, Backend::Epoll] {
        println!("on {backend:?}");
        test(options(backend));
    }
}

impl Stage {
    pub fn start(options: FanoutOptions) -> Self {
        let log = MemoryLog::new(7);
        Self::start_on(options, log)
    }

    pub fn start_on(options: FanoutOptions, log: MemoryLog) -> Self {
        let (fanout, feed) = Fanout::start(options, Arc::new(log.clone())).unwrap();
        log.attach(Box::new(feed));
        Self { fanout: Some(fanout), log }
    }

    pub fn fanout(&self) -> &Fanout {
        self.fanout.as_ref().unwrap()
    }

    pub fn connect(&self, query: &str) -> Client {
        Client::connect(self.fanout().local_addr(), query)
    }

    /// A client whose hello and subscribed have been read.
    pub fn follow(&self, query: &str) -> Client {
        let mut client = self.connect(query);
        assert!(client.text().starts_with(r#"{"op":"hello""#));
        let subscribed = client.text();
        assert!(subscribed.starts_with(r#"{"op":"subscribed""#), "{subscribed}");
        client
    }

    pub fn publish(&self, route: &str, id: &str) {
        self.log.push(vec![event(route, id)]);
    }

    /// A number of all shards together.
    pub fn sum(&self, of: impl Fn(&touchline_fanout::ShardStats) -> u64) -> u64 {
        self.fanout().stats().iter().map(|stats| of(stats)).sum()
    }

    pub fn open(&self) -> u64 {
        self.sum(|stats| stats.connections.get() as u64)
    }

    /// Stops the shards; they end in order.
    pub fn stop(mut self) {
        let fanout = self.fanout.take().unwrap();
        fanout.command(ShardCommand::Stop).unwrap();
        fanout.join().unwrap();
    }
}

pub fn event(route: &str, id: &str) -> Event {
    let data = Bytes::from_static(br#"{"minute":12}"#);
    Event { occurred_at: Timestamp(1_000_000), data, ..Event::sample(id, route) }
}

/// Waits until `is_so`, for five seconds at most.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(5), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A string member of a flat JSON text, found by its name.
pub fn member<'t>(text: &'t str, name: &str) -> &'t str {
    let key = format!(r#""{name}":""#);
    let from = text.find(&key).unwrap_or_else(|| panic!("{name} in {text}")) + key.len();
    &text[from..from + text[from..].find('"').unwrap()]
}
