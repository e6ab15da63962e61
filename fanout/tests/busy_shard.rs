//! Claim: who sits on another shard than a crowd waits for its turn of the core, not for the crowd.
//!
//! Two shards are pinned to one core, the worst that a plan can do. One carries a crowd that gets
//! 100 events a second and keeps the core busy. Beside the crowd, and on the other shard, sits
//! somebody who follows a quiet team. `--nocapture` prints what each of them waited.

mod common;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Stage, member, options};
use touchline_fanout::Backend;
use touchline_fanout::testing::Client;

const CROWD: usize = 900;
const EVENTS: usize = 200;
const TICK: Duration = Duration::from_millis(10);

#[test]
fn a_busy_shard_holds_up_its_own_sessions_and_not_those_of_the_shard_beside_it() {
    let mut it = options(Backend::Auto);
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let core = (0..1_024).find(|core| allowed.is_set(*core)).unwrap();
    it.plan.cores = vec![Some(core); 2];
    it.plan.connections_max = 4 * CROWD;
    it.plan.sessions_max = 2 * CROWD;
    let stage = Stage::start(it);
    let crowd: Vec<_> = (0..CROWD).map(|_| follow_on(&stage, 0, "hot")).collect();
    let beside = follow_on(&stage, 0, "calm");
    let apart = follow_on(&stage, 1, "calm");

    let quiet = waits(&stage, vec![beside, apart], None);
    let [beside, apart] = [0, 1].map(|shard| follow_on(&stage, shard, "calm"));
    let busy = waits(&stage, vec![beside, apart], Some(crowd));
    println!("median, p99 ms: quiet, shards 0 and 1: {quiet:?}; with a crowd on shard 0: {busy:?}");
    let [(beside, _), (apart, _)] = busy[..] else { panic!("two clients") };
    assert!(apart < beside, "{apart} ms on the other shard, {beside} ms in the crowd's");
    stage.stop();
}

/// A follower of `team` on the shard `number`: dials until the kernel's spread gives it that one.
fn follow_on(stage: &Stage, number: usize, team: &str) -> Client {
    loop {
        let mut client = stage.connect(&format!("teams={team}"));
        let hello = client.text();
        if member(&hello, "session").starts_with(&format!("{number}-")) {
            assert!(client.text().starts_with(r#"{"op":"subscribed""#));
            return client;
        }
    }
}

/// Median and 99th percentile, in ms, of what each of `clients` waits for events of the team
/// `calm`, while `crowd`, if there is one, gets as many of its own.
fn waits(stage: &Stage, clients: Vec<Client>, crowd: Option<Vec<Client>>) -> Vec<(f64, f64)> {
    let is_over = AtomicBool::new(false);
    let begin = Instant::now();
    let due = |n: usize| begin + TICK * (n as u32 + 1);
    std::thread::scope(|scope| {
        let has_crowd = crowd.is_some();
        if let Some(crowd) = crowd {
            scope.spawn(|| drain(crowd, &is_over));
        }
        let listen = |mut client: Client| {
            let waited = |n| {
                assert_eq!(member(&client.text(), "id"), format!("c{n}"));
                due(n).elapsed().as_secs_f64() * 1e3
            };
            let mut waited: Vec<f64> = (0..EVENTS).map(waited).collect();
            waited.sort_by(f64::total_cmp);
            (waited[EVENTS / 2], waited[EVENTS * 99 / 100])
        };
        let listening: Vec<_> =
            clients.into_iter().map(|client| scope.spawn(move || listen(client))).collect();
        for n in 0..EVENTS {
            std::thread::sleep(due(n).saturating_duration_since(Instant::now()));
            if has_crowd {
                stage.publish("hot", &format!("h{n}"));
            }
            stage.publish("calm", &format!("c{n}"));
        }
        let waited = listening.into_iter().map(|thread| thread.join().unwrap()).collect();
        is_over.store(true, Relaxed);
        waited
    })
}

/// Reads what the crowd is sent, and throws it away.
fn drain(crowd: Vec<Client>, is_over: &AtomicBool) {
    crowd.iter().for_each(|client| client.stream().set_nonblocking(true).unwrap());
    let mut scratch = [0; 4_096];
    while !is_over.load(Relaxed) {
        for client in &crowd {
            while matches!(std::io::Read::read(&mut client.stream(), &mut scratch), Ok(1..)) {}
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}
