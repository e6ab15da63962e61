//! `/readyz` tells of shards that are gone, and the process stays to tell it.

use std::time::{Duration, Instant};

use touchline::config::{LoadRequest, load};
use touchline::running::Order;
use touchline_fanout::ShardCommand;

#[test]
fn a_shard_that_has_ended_makes_the_node_unready_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let request = LoadRequest {
        ignore_default_file: true,
        flags: vec![
            set("node.data_dir", folder.path().to_str().unwrap()),
            set("node.connections_max", "100"),
            set("listen.stream", "127.0.0.1:0"),
            set("listen.api", "127.0.0.1:0"),
            set("listen.admin", "127.0.0.1:0"),
        ],
        ..LoadRequest::default()
    };
    let running = touchline::start(load(request).unwrap()).unwrap();
    let appliance = running.appliance();
    let reasons = || appliance.reasons_not_ready();
    until("ready", || reasons().is_empty());
    appliance.command(ShardCommand::Stop);
    until("unready", || reasons().iter().any(|reason| reason.starts_with("shard 0: ")));
    assert!(!appliance.shards_alive(), "the watchdog isn't fed any more");
    let url = format!("http://{}/readyz", running.addresses().admin);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = runtime.block_on(async { reqwest::get(url).await.unwrap() });
    assert_eq!(answer.status(), 503);
    let body = runtime.block_on(answer.text()).unwrap();
    assert!(body.contains("shard 0: no sign of life"), "{body}");
    running.stop(Order::Now);
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
