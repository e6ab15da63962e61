//! What concerns shards as a whole: panics, full mailboxes, private tables, commands, ports.

mod common;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::{Stage, event, eventually, member, on_both_backends, options};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use touchline_core::ws::{CloseCode, Refusal};
use touchline_fanout::limits::DRAIN_PENDING_MAX;
use touchline_fanout::testing::{Client, Heard, MemoryLog};
use touchline_fanout::{Backend, Life, ShardCommand};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_panic_in_one_session_ends_that_session_and_nothing_else() {
    on_both_backends(|mut options| {
        options.faults.panic_on = Some("boom".into());
        let panic_at_settle = options.faults.panic_at_settle.clone();
        let stage = Stage::start(options);
        let mut other = stage.follow("teams=ars");
        let mut client = Client::connect_unanswered(stage.fanout().local_addr(), "teams=boom");
        assert_eq!(client.hear(), Heard::End, "in its handshake");
        let mut client = stage.follow("teams=ars");
        client.send_text(r#"{"op":"boom"}"#);
        assert_eq!(client.hear(), Heard::Close(Some(1011), "internal error".into()));
        let stuck = stage.follow("teams=ars");
        for n in 0..8_000 {
            panic_at_settle.store(n < 6_000, std::sync::atomic::Ordering::Relaxed);
            let mut event = event("ars", &format!("e{n}"));
            event.data = format!(r#"{{"pad":"{}"}}"#, "x".repeat(900)).into();
            stage.log.push(vec![event]);
            assert_eq!(member(&other.text(), "id"), format!("e{n}"));
        }
        assert!(stage.sum(|stats| stats.session_panics.get()) >= 3, "one in settling");
        assert_eq!(stage.fanout().stats()[0].life(), Life::Running);
        drop(stuck);
        stage.stop();
    });
}

#[test]
fn a_panic_elsewhere_ends_the_shard_which_says_so() {
    let options = options(Backend::Auto);
    let panic_in_turn = options.faults.panic_in_turn.clone();
    let mut stage = Stage::start(options);
    let mut client = stage.follow("teams=ars");
    panic_in_turn.store(true, std::sync::atomic::Ordering::Relaxed);
    eventually("dead", || stage.fanout().stats()[0].life() == Life::Dead);
    assert_eq!(client.hear(), Heard::End);
    stage.publish("ars", "to nobody");
    assert!(stage.fanout().command(ShardCommand::Stop).is_ok(), "room in its mailbox");
    assert_eq!(stage.fanout.take().unwrap().join(), Err(vec![0]));
}

#[test]
fn a_full_mailbox_loses_nothing() {
    on_both_backends(|mut options| {
        options.faults.pause_ms = 400;
        let stage = Stage::start(options);
        let mut client = stage.follow("teams=ars");
        let mut pauser = stage.connect("");
        pauser.text();
        pauser.send_text(r#"{"op":"pause!"}"#);
        std::thread::sleep(100 * MS);
        let count = 1_500;
        (0..count).for_each(|n| stage.publish("ars", &format!("e{n}")));
        (0..count).for_each(|n| assert_eq!(member(&client.text(), "id"), format!("e{n}")));
        assert!(stage.sum(|stats| stats.mailbox_overflows.get()) > 0, "it was full");
        assert!(stage.log.reads() > 0, "the rest was read from the log (R26)");
        stage.publish("ars", "live");
        assert_eq!(member(&client.text(), "id"), "live");
        stage.stop();
    });
}

#[test]
fn shards_with_private_tables_share_the_port_and_the_log() {
    on_both_backends(|mut options| {
        options.plan.private_tables = true;
        options.plan.cores = vec![None; 3];
        let stage = Stage::start_on(options, MemoryLog::new(7));
        let mut clients: Vec<_> = (0..60).map(|_| stage.follow("teams=ars")).collect();
        let shares: Vec<_> =
            stage.fanout().stats().iter().map(|stats| stats.opened.get()).collect();
        assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
        stage.publish("ars", "e1");
        clients.iter_mut().for_each(|client| assert_eq!(member(&client.text(), "id"), "e1"));
        stage.stop();
        clients.iter_mut().for_each(|client| assert_eq!(client.hear(), Heard::End));
    });
}

#[test]
fn status_rules_and_slow_sessions_reach_every_shard() {
    on_both_backends(|options| {
        let mut rules = options.rules.clone();
        let stage = Stage::start(options);
        let mut client = stage.follow("teams=ars");
        let streams = touchline_core::event::StreamSet::DEFAULT;
        let status = |state: &str| ShardCommand::Status { state: state.into(), streams };
        stage.fanout().command(status("degraded")).unwrap();
        let told = r#"{"op":"status","state":"degraded","streams":["broadcast","update"]}"#;
        assert_eq!(client.text(), told);
        let mut late = stage.connect("");
        assert!(late.text().contains(r#""state":"degraded""#));
        stage.fanout().command(status("live")).unwrap();
        assert!(client.text().contains("live"));
        assert!(!stage.connect("").text().contains("state"));
        rules.hub.teams_max = 1;
        stage.fanout().command(ShardCommand::Reload(rules.into())).unwrap();
        std::thread::sleep(50 * MS);
        client.send_text(r#"{"op":"subscribe","teams":["che"]}"#);
        assert_eq!(member(&client.text(), "code"), "too_many_teams");
        for n in 0..8_000 {
            let mut event = event("ars", &format!("e{n}"));
            event.data = format!(r#"{{"pad":"{}"}}"#, "x".repeat(900)).into();
            stage.log.push(vec![event]);
        }
        eventually("blocked", || stage.sum(|stats| stats.sends_blocked.get()) > 0);
        let slow = stage.fanout().slow_sessions(500 * MS);
        assert_eq!(slow.len(), 1);
        assert_eq!(slow[0].peer, Some(client.stream().local_addr().unwrap()));
        assert!(
            slow[0].is_blocked && slow[0].unsent_bytes > 0 && slow[0].session.starts_with("0-")
        );
        stage.stop();
    });
}

#[test]
fn a_port_that_is_taken_is_said_to_be() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options(Backend::Auto);
    options.listen = taken.local_addr().unwrap();
    let started = touchline_fanout::Fanout::start(options, std::sync::Arc::new(MemoryLog::new(7)));
    let Err(touchline_fanout::StartError::Listen { source, .. }) = started else { panic!() };
    assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
}

/// More than a drain lets wait at once, none of whom takes anything.
#[test]
fn fault_38_a_drain_goes_no_faster_than_receivers_take_their_closes() {
    let nofile = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: nofile.maximum, ..nofile }).unwrap();
    let mut options = options(Backend::Auto);
    (options.plan.sessions_max, options.plan.connections_max) = (2_000, 2_000);
    options.rules.sessions.close_max = Duration::from_secs(60);
    let no_buffers = options.faults.no_buffers.clone();
    let stage = Stage::start(options);
    let count = DRAIN_PENDING_MAX as u64 + 76;
    let clients: Vec<_> = (0..count).map(|_| stage.follow("teams=ars")).collect();
    no_buffers.store(true, Relaxed);
    let drain = ShardCommand::Drain {
        sessions_per_s: 1_000_000,
        reason: "drain".into(),
        reconnect_after: (5_000 * MS, 30_000 * MS),
    };
    stage.fanout().command(drain).unwrap();
    let told = || stage.sum(|stats| stats.closed[CloseCode::Restart.index()].get());
    eventually("as many as may wait are told", || told() == DRAIN_PENDING_MAX as u64);
    std::thread::sleep(300 * MS);
    assert_eq!(told(), DRAIN_PENDING_MAX as u64, "nobody more while none has taken it");
    no_buffers.store(false, Relaxed);
    eventually("all are told", || told() == count);
    drop(clients);
    eventually("drained", || stage.fanout().stats()[0].is_drained.load(Relaxed));
    stage.stop();
}

#[test]
fn fault_41_a_shut_door_refuses_newcomers_and_keeps_who_is_inside() {
    on_both_backends(|options| {
        let stage = Stage::start(options);
        let mut inside = stage.follow("teams=ars");
        stage.fanout().command(ShardCommand::Door { is_open: false }).unwrap();
        let refused = || stage.sum(|stats| stats.refused[Refusal::NoMemory.index()].get());
        eventually("refused", || {
            let mut newcomer = Client::connect_unanswered(stage.fanout().local_addr(), "");
            let head = newcomer.head();
            head.starts_with("HTTP/1.1 503") && head.contains("Retry-After: ") && refused() > 0
        });
        stage.publish("ars", "e1");
        assert_eq!(member(&inside.text(), "id"), "e1");
        stage.fanout().command(ShardCommand::Door { is_open: true }).unwrap();
        std::thread::sleep(50 * MS);
        stage.follow("teams=ars");
        stage.stop();
    });
}
