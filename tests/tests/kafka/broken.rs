//! What becomes of what was acknowledged when nodes and brokers die (FAULTS 35).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use touchline_tests::e2e::brokers::Brokers;
use touchline_tests::e2e::http::{event, post_signed};
use touchline_tests::e2e::server::{Backend, PARTNERS, Server};

use crate::follower::{Follower, PATIENCE};
use crate::{Nodes, Turn, calm_brokers};

/// For how long no broker is there, with sources sending all the while.
const ALL_AWAY: Duration = Duration::from_secs(30);

/// What partners send meanwhile.
pub struct Load {
    /// So many of them, each a body at a time.
    partners: usize,
    /// Events in a body.
    batch: usize,
    /// From an answer to the next body.
    pause: Duration,
}

/// Enough to notice that something is missing.
pub const LIGHT: Load = Load { partners: 1, batch: 1, pause: Duration::from_millis(5) };
/// Some 1,500 events a second: requests of several lanes are under way whenever something breaks.
pub const HEAVY: Load = Load { partners: 8, batch: 25, pause: Duration::from_millis(60) };

/// Posts bodies to the nodes in turn, each again and again until it is taken, as a partner does.
/// Answers the ids.
fn publish(nodes: &Nodes, prefix: &str, load: &Load, is_over: &AtomicBool) -> Vec<String> {
    let mut ids = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let own = ids.len()..ids.len() + load.batch;
        let own: Vec<(usize, String)> = own.map(|n| (n, format!("{prefix}{n}"))).collect();
        let teams = |n: usize| [&["ars", "che"][..], &["ars"], &["che"]][n % 3];
        let events: Vec<String> = own.iter().map(|(n, id)| event(id, teams(*n))).collect();
        let body = format!("[{}]", events.join(","));
        let mut turn = ids.len() / load.batch;
        loop {
            let api = nodes.servers[turn % nodes.servers.len()].addresses().api;
            // A node that is gone is one that doesn't answer: the next one is asked.
            if post_signed(api, PARTNERS[0], &body).is_ok_and(|answer| answer.status == 202) {
                break;
            }
            if is_over.load(Ordering::Relaxed) {
                return ids;
            }
            turn += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
        ids.extend(own.into_iter().map(|(_, id)| id));
        std::thread::sleep(load.pause);
    }
    ids
}

/// Ends the publisher, also where a check has failed: the test would wait for it for ever.
struct EndWith<'a>(&'a AtomicBool);

impl Drop for EndWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Publishes `load` through `nodes` while `trouble` is made; afterwards every follower has heard it
/// all.
pub fn nothing_is_lost(
    nodes: &Nodes,
    prefix: &str,
    load: &Load,
    followers: &mut [Follower; 2],
    trouble: impl FnOnce(&mut [Follower; 2]),
) {
    let is_over = AtomicBool::new(false);
    let ids = std::thread::scope(|scope| {
        let end = EndWith(&is_over);
        let of = |n: usize| publish(nodes, &format!("{prefix}{n}-"), load, &is_over);
        let publishing: Vec<_> = (0..load.partners).map(|n| scope.spawn(move || of(n))).collect();
        go_on("some events", followers, 20);
        trouble(followers);
        drop(end);
        let ids = publishing.into_iter().flat_map(|it| it.join().expect("no panic"));
        ids.collect::<Vec<_>>()
    });
    // The last must not overtake what a spool still holds of other topics.
    listen_until("no spool holds anything", followers, || nodes.servers.iter().all(is_handed_on));
    nodes.servers[nodes.servers.len() - 1].accept(&event("last", &["ars"]));
    for follower in followers {
        follower.hear_until("the last", |it| it.has("last"));
        follower.check(ids.iter().cloned());
    }
}

/// Whether a node has no spool, or nothing in it.
fn is_handed_on(node: &Server) -> bool {
    let page = node.admin("/metrics").body;
    let left = page.lines().find_map(|line| line.strip_prefix("touchline_spool_events "));
    left.is_none_or(|left| left == "0")
}

/// Lets both hear until each has had `more` events than one had before. By turns: who is not
/// listened to answers no ping.
pub fn go_on(what: &str, followers: &mut [Follower; 2], more: usize) {
    let wanted = followers[0].ids.len() + more;
    let begin = Instant::now();
    while followers.iter().any(|it| it.ids.len() < wanted) {
        let heard = followers.each_ref().map(|it| it.ids.len());
        assert!(begin.elapsed() < PATIENCE, "never: {what}; {heard:?} of {wanted} events came");
        followers.iter_mut().for_each(|it| it.listen(Duration::from_millis(50)));
    }
}

/// Lets both hear until something else has happened.
pub fn listen_until(what: &str, followers: &mut [Follower], mut is_done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_done() {
        assert!(begin.elapsed() < PATIENCE, "never: {what}");
        followers.iter_mut().for_each(|it| it.listen(Duration::from_millis(100)));
    }
}

#[test]
fn fault_43_clients_of_a_node_that_was_killed_go_on_at_another_and_miss_nothing() {
    let _turn = Turn::Calm.take();
    let mut nodes = Nodes::start(calm_brokers(), "killed", 2, "");
    let mut followers = [0, 1].map(|node| Follower::start(&nodes, node, "ars,che"));
    let mut victim = nodes.take(0);
    nothing_is_lost(&nodes, "k", &LIGHT, &mut followers, |followers| {
        victim.kill_9();
        std::thread::sleep(Duration::from_millis(300));
        followers[0].move_to(&nodes, 0);
        go_on("more", followers, 40);
    });
}

#[test]
fn fault_35_brokers_die_one_after_the_other_and_all_together_and_nothing_is_lost() {
    let _turn = Turn::Harmed.take();
    let mut brokers = Brokers::start(3);
    let nodes = Nodes::start(&brokers, "broken", 2, "");
    let mut followers = [0, 1].map(|node| Follower::start(&nodes, node, "ars,che"));
    nothing_is_lost(&nodes, "b", &HEAVY, &mut followers, |followers| {
        for broker in 1..=3 {
            brokers.kill(broker);
            go_on("it goes on with two", followers, 500);
            brokers.start_node(broker);
            listen_until("it is back", followers, || brokers.listens(broker));
            let began = Instant::now();
            let settled = || began.elapsed() > Duration::from_secs(4);
            listen_until("the cluster has settled", followers, settled);
        }
        (1..=3).for_each(|broker| brokers.kill(broker));
        let away_since = Instant::now();
        let is_unready = || nodes.servers.iter().all(|it| it.admin("/readyz").status == 503);
        listen_until("not ready", followers, is_unready);
        for follower in &mut *followers {
            follower.hear_until("degraded", |it| it.states == ["degraded"]);
        }
        listen_until("all three are away for so long", followers, || {
            nodes.servers.iter().for_each(is_refused_at_once);
            away_since.elapsed() >= ALL_AWAY
        });
        (1..=3).for_each(|broker| brokers.start_node(broker));
        for follower in &mut *followers {
            follower.hear_until("live", |it| it.states == ["degraded", "live"]);
        }
        go_on("it goes on", followers, 500);
    });
    let [one, other] = &followers;
    println!("{} events", one.ids.len());
    assert!(one.seen.len() > 1 && one.seen.values().all(|events| events.len() > 1));
    assert_eq!(one.seen, other.seen, "both nodes agree on each topic's positions and order");
}

/// Two of three: who is left has lost most of the controllers as well, goes on naming leaders that
/// are gone, and takes nothing.
#[test]
fn fault_35_two_of_three_brokers_that_die_are_an_outage_and_the_spool_takes_over() {
    let _turn = Turn::Harmed.take();
    let mut brokers = Brokers::start(3);
    let nodes = Nodes::start_by(&brokers, "most", 2, "", |node, home| match node {
        0 => home.serve(Backend::Auto),
        _ => {
            let mut command = home.command(Backend::Auto);
            command.args(["--set", "log.kafka.spool=true"]);
            Server::start(command)
        }
    });
    let mut followers = [0, 1].map(|node| Follower::start(&nodes, node, "ars,che"));
    nothing_is_lost(&nodes, "m", &LIGHT, &mut followers, |followers| {
        [2, 3].into_iter().for_each(|broker| brokers.kill(broker));
        for follower in &mut *followers {
            follower.hear_until("degraded", |it| it.states == ["degraded"]);
        }
        assert_eq!(nodes.servers[0].admin("/readyz").status, 503, "nobody is sent here");
        is_refused_at_once(&nodes.servers[0]);
        let spooled = nodes.servers[1].post(&event("kept", &["ars"]));
        assert_eq!(spooled.status, 202, "{}", spooled.body);
        [2, 3].into_iter().for_each(|broker| brokers.start_node(broker));
        for follower in &mut *followers {
            follower.hear_until("live", |it| it.states == ["degraded", "live"]);
            follower.hear_until("what was kept", |it| it.has("kept"));
        }
        go_on("it goes on", followers, 40);
    });
}

/// A quota that is there as long as this: the tests that wait have the same brokers.
struct Quota;

impl Quota {
    fn set(bytes: u32) -> Self {
        calm_brokers().set_quota(Some(bytes));
        Self
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        calm_brokers().set_quota(None);
    }
}

/// Brokers that slow a client down answer it, and then don't listen to it for a while.
#[test]
fn fault_35_slowed_down_by_a_quota_nodes_refuse_what_is_too_much_and_lose_nothing() {
    let _turn = Turn::Calm.take();
    let nodes = Nodes::start(calm_brokers(), "quota", 2, "deliver_s_max = 4");
    let mut followers = [0, 1].map(|node| Follower::start(&nodes, node, "ars,che"));
    let refused = || {
        let pages = nodes.servers.iter().map(|node| node.admin("/metrics").body);
        let of = |page: String| {
            let lines = page.lines().filter(|it| it.starts_with("touchline_ingest_errors_total{"));
            let late =
                lines.filter(|it| it.contains("\"log_busy\"") || it.contains("\"log_unknown\""));
            late.filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
        };
        pages.map(of).sum::<f64>()
    };
    nothing_is_lost(&nodes, "q", &HEAVY, &mut followers, |followers| {
        go_on("some hundreds", followers, 500);
        let quota = Quota::set(10_000);
        listen_until("too much is refused", followers, || refused() > 10.0);
        go_on("less goes on", followers, 100);
        for node in &nodes.servers {
            assert_eq!(node.admin("/readyz").status, 200, "it is slow and well");
        }
        drop(quota);
        go_on("it goes on", followers, 1_000);
    });
}

/// A source is told so, and when to come again.
fn is_refused_at_once(server: &Server) {
    let begin = Instant::now();
    let refused = server.post(&event("refused", &["bou"]));
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.header("retry-after").is_some(), "{}", refused.head);
    assert!(begin.elapsed() < Duration::from_secs(2), "it is said at once");
}
