//! An echo server for the Autobahn cases: a real shard that sends back what it is sent.
//!
//! Usage: `ws_echo [ADDRESS] [MESSAGE_BYTES_MAX] [auto|epoll]`. It listens (by default on a free
//! loopback port, messages up to 16 MiB, io_uring where the host allows it), prints `listening on
//! ADDRESS`, and echoes until it is killed.
//!
//! Handshake, parser, closes, control queue and volley are those of the product. What differs is
//! one hook of the fan-out's `testing` feature, which answers a message with itself, and limits
//! that the cases would run into: rates, queues, fragments, deadlines.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use touchline_core::ws::FrameLimits;
use touchline_fanout::testing::MemoryLog;
use touchline_fanout::{Backend, Fanout, FanoutOptions, Plan, PlanInput, Rules, Shards};

/// Longer than any case; heartbeats would be frames that no case expects.
const LONG: Duration = Duration::from_secs(3_600);
/// Room for every answer to a case: the largest sends 1,000 messages of 128 KiB.
const QUEUE_BYTES_MAX: usize = 1 << 30;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".into());
    let message_bytes_max = match arguments.next() {
        Some(number) => number.parse().context("MESSAGE_BYTES_MAX must be a number")?,
        None => 16 << 20,
    };
    let input = PlanInput {
        connections_max: 100,
        shards: Shards::Count(1),
        cores: vec![],
        last_core_is_left: false,
        nofile_hard: 1_024,
    };
    let plan = Plan::make(&input).context("plan one shard")?;
    let address = address.parse().with_context(|| format!("{address} is no address"))?;
    let mut options = FanoutOptions::new(address, plan);
    options.rules = rules(message_bytes_max);
    options.faults.echo = true;
    if arguments.next().as_deref() == Some("epoll") {
        options.backend = Backend::Epoll;
    }
    let log = MemoryLog::new(1);
    let (fanout, feed) = Fanout::start(options, Arc::new(log.clone())).context("start a shard")?;
    log.attach(Box::new(feed));
    println!("listening on {}", fanout.local_addr());
    fanout.join().map_err(|shards| anyhow::anyhow!("shards {shards:?} failed"))
}

/// The cases count fragments only to tell a message's size; what limits them here is that size.
fn rules(message_bytes_max: usize) -> Rules {
    let mut rules = Rules::default();
    rules.sessions.frames =
        FrameLimits { message_bytes_max, fragments_max: u32::MAX, empty_fragments_max: u32::MAX };
    rules.sessions.heartbeat = LONG;
    rules.sessions.message_max = LONG;
    rules.hub.control_bytes_max = QUEUE_BYTES_MAX;
    rules
}
