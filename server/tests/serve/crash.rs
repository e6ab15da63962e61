//! kill -9 at any moment loses nothing that was acknowledged, and repeats nothing.
//!
//! Partners send without pause and, as partners do, send again whatever wasn't answered 202.
//! Followers keep what the protocol tells them to keep, a mark and the last position of each topic,
//! and come back with it. The server is killed at random moments, now and then before it has begun
//! to serve. In the end the log holds every acknowledged event exactly once, and every follower has
//! heard exactly once what it follows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::Rng as _;
use serde_json::Value;

use crate::support::*;

/// How often the server is killed while it serves.
const KILLS: usize = 50;
/// How often it is killed before that.
const EARLY_KILLS: usize = 10;
const PARTNERS: usize = 3;
/// Teams of each follower.
const FOLLOWED: [&str; 4] = ["ars", "ars,che", "liv", "ars,che,liv,eve"];
const ROUTES: [&[&str]; 5] = [&["ars"], &["ars", "che"], &["liv"], &["eve", "liv"], &["eve"]];

/// What all threads share.
#[derive(Default)]
struct World {
    /// Ports of the server that serves now.
    ports: Mutex<Option<(SocketAddr, SocketAddr)>>,
    /// What was answered 202, with its teams.
    acknowledged: Mutex<BTreeMap<String, &'static [&'static str]>>,
    sending_ends: AtomicBool,
    hearing_ends: AtomicBool,
}

impl World {
    fn ports(&self) -> Option<(SocketAddr, SocketAddr)> {
        *self.ports.lock().unwrap()
    }

    /// Sends numbered events in bodies of random size; goes on to the next only after a 202.
    fn send(&self, partner: usize) {
        let mut rng = rand::rng();
        let mut number = 0;
        while !self.sending_ends.load(Ordering::Relaxed) {
            let count = rng.random_range(1..20);
            let ids: Vec<_> = (number..number + count).map(|n| format!("p{partner}-{n}")).collect();
            let teams: Vec<_> = ids.iter().map(|_| ROUTES[rng.random_range(0..5)]).collect();
            let events: Vec<_> =
                ids.iter().zip(&teams).map(|(id, teams)| event(id, teams)).collect();
            let body = format!("[{}]", events.join(","));
            while !self.try_send(&body) {
                std::thread::sleep(Duration::from_millis(5));
            }
            self.acknowledged.lock().unwrap().extend(ids.into_iter().zip(teams));
            number += count;
        }
    }

    fn try_send(&self, body: &str) -> bool {
        let Some((_, api)) = self.ports() else { return false };
        match try_post(api, SECRET, body) {
            Ok(answer) if answer.status == 202 => true,
            Ok(answer) => {
                assert!(matches!(answer.status, 429 | 503), "{}", answer.body);
                false
            }
            Err(_) => false,
        }
    }

    fn follow(&self, teams: &str) -> Follower {
        let mut follower = Follower { teams: teams.into(), ..Follower::default() };
        while !self.hearing_ends.load(Ordering::Relaxed) {
            let Some((stream, _)) = self.ports() else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            if let Ok(socket) = Socket::try_open(stream, &follower.query()) {
                follower.hear(socket, &self.hearing_ends);
            }
        }
        follower
    }

    /// Ids of what was acknowledged for any of `teams`.
    fn wanted(&self, teams: &str) -> BTreeSet<String> {
        let acknowledged = self.acknowledged.lock().unwrap();
        let of = |route: &[&str]| route.iter().any(|team| teams.split(',').any(|one| one == *team));
        acknowledged.iter().filter(|(_, route)| of(route)).map(|(id, _)| id.clone()).collect()
    }
}

/// A client that keeps what the protocol tells it to keep.
#[derive(Default)]
struct Follower {
    teams: String,
    mark: Option<String>,
    after: BTreeMap<String, String>,
    heard: BTreeMap<String, usize>,
    troubles: Vec<Value>,
    sessions: usize,
}

impl Follower {
    fn query(&self) -> String {
        let mut query = format!("teams={}", self.teams);
        if let Some(mark) = &self.mark {
            query.push_str(&format!("&mark={mark}"));
        }
        if !self.after.is_empty() {
            let after = self.after.iter().map(|(topic, pos)| format!("{topic}~{pos}"));
            let after = after.collect::<Vec<_>>().join(",").replace('+', "%2B");
            query.push_str(&format!("&after={after}"));
        }
        query
    }

    fn hear(&mut self, mut socket: Socket, ends: &AtomicBool) {
        self.sessions += 1;
        while let Heard::Json(json) = socket.hear() {
            let text = |name: &str| json[name].as_str().map(str::to_owned);
            match json["op"].as_str() {
                Some("event") => {
                    *self.heard.entry(text("id").unwrap()).or_default() += 1;
                    self.after.insert(text("topic").unwrap(), text("pos").unwrap());
                }
                Some("mark") => self.take_mark(text("mark")),
                Some("subscribed") => {
                    if json["recovered"] == false {
                        self.troubles.push(json.clone());
                    }
                    self.take_mark(text("mark"));
                }
                Some("hello") => {}
                _ => self.troubles.push(json.clone()),
            }
            if ends.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// A mark covers every position before it.
    fn take_mark(&mut self, mark: Option<String>) {
        // On resume `subscribed` repeats the client's own mark: what came after it still counts.
        if self.mark != mark {
            self.mark = mark;
            self.after.clear();
        }
    }
}

#[test]
fn fault_30_kill_9_at_any_moment_loses_and_repeats_nothing() {
    // Frequent marks, and segments small enough that several are begun and checkpointed.
    let home = Home::new(
        "[sessions]\nheartbeat_s = 1\npong_s = 60\n[log]\nsegment_bytes = \"64KiB\"\n\
         retention_bytes = \"64MiB\"\n",
    );
    let world = World::default();
    let followers = std::thread::scope(|scope| {
        let world = &world;
        let senders: Vec<_> = (0..PARTNERS).map(|n| scope.spawn(move || world.send(n))).collect();
        let followers: Vec<_> =
            FOLLOWED.iter().map(|teams| scope.spawn(move || world.follow(teams))).collect();
        for n in 0..KILLS + EARLY_KILLS {
            if n % 6 == 5 { kill_early(&home) } else { kill_serving(&home, world) }
        }
        let server = home.serve();
        *world.ports.lock().unwrap() = Some((server.stream, server.api));
        std::thread::sleep(Duration::from_millis(300));
        world.sending_ends.store(true, Ordering::Relaxed);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        wait_for_the_last(world, &server);
        world.hearing_ends.store(true, Ordering::Relaxed);
        server.kill();
        followers.into_iter().map(|follower| follower.join().unwrap()).collect::<Vec<_>>()
    });
    check_log(&home, &world);
    for follower in followers {
        check_follower(&follower, &world);
    }
}

fn kill_serving(home: &Home, world: &World) {
    let server = home.serve();
    *world.ports.lock().unwrap() = Some((server.stream, server.api));
    std::thread::sleep(Duration::from_millis(rand::rng().random_range(10..350)));
    *world.ports.lock().unwrap() = None;
    server.kill();
}

fn kill_early(home: &Home) {
    let mut command = touchline();
    command.arg("serve").arg("--config").arg(home.config()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the binary runs");
    std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..120)));
    child.kill().expect("it runs");
    child.wait().expect("ours");
}

/// Followers are sent all that is durable within a moment; one last event marks the end.
fn wait_for_the_last(world: &World, server: &Server) {
    let deadline = Instant::now() + PATIENCE;
    let records = || server.metric("touchline_log_pending_bytes");
    while records() > 0.0 {
        assert!(Instant::now() < deadline);
    }
    // Caught up: nobody waits for the log, and two looks in a row see no delivery.
    let mut before = -1.0;
    loop {
        let deliveries = server.metric("touchline_deliveries_total");
        let idle = server.metric("touchline_catching_up_sessions") == 0.0;
        if idle && deliveries == before && world.ports().is_some() {
            return;
        }
        before = deliveries;
        assert!(Instant::now() < deadline, "deliveries never end");
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn check_log(home: &Home, world: &World) {
    let folder = home.path("data").join("journal");
    let dump = run(&["log", "dump", "--json", folder.to_str().unwrap()]);
    assert_eq!(dump.status.code(), Some(0), "{}", String::from_utf8_lossy(&dump.stderr));
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for line in String::from_utf8_lossy(&dump.stdout).lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        *times.entry(record["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "more than once in the log: {twice:?}");
    let acknowledged = world.acknowledged.lock().unwrap();
    assert!(acknowledged.len() > 500, "only {} events got through", acknowledged.len());
    let lost: Vec<_> = acknowledged.keys().filter(|id| !times.contains_key(*id)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

fn check_follower(follower: &Follower, world: &World) {
    let Follower { teams, heard, troubles, sessions, .. } = follower;
    // Nothing is older than retention here: every hole would be ours.
    assert!(troubles.is_empty(), "{teams} was told of {troubles:?}");
    let twice: Vec<_> = heard.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{teams} heard more than once: {twice:?}");
    let missing: Vec<_> =
        world.wanted(teams).into_iter().filter(|id| !heard.contains_key(id)).collect();
    assert!(missing.is_empty(), "{teams} never heard: {missing:?}");
    assert!(*sessions > KILLS / 2, "{teams} came back only {sessions} times");
}
