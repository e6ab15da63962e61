//! Claim: behind a real HAProxy on the configuration that we deploy, nine thousand clients lose
//! nothing and see nothing twice while one of their nodes is killed and another drained, and the
//! node that is left has all of them back within the drain's budget (FAULTS 38, 43).
//!
//! The log is a real Kafka of three brokers. Webhooks go through HAProxy as well. A test binary of
//! its own: nothing else of ours has room beside it on two cores.

mod crowd;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use touchline_tests::e2e::brokers::{Brokers, free_ports};
use touchline_tests::e2e::haproxy::{Haproxy, NodePorts, judge_deployed};
use touchline_tests::e2e::http::{event_with, post_signed};
use touchline_tests::e2e::server::{Backend, Home, PARTNERS, Server};

use crowd::{Crowd, TEAMS, team};

const SOCKETS: usize = 9_000;
/// Partners' connections that post all the while.
const PUBLISHERS: usize = 2;
/// Between two events of one publisher.
const PACE: Duration = Duration::from_millis(100);

const GRACE_S: u64 = 4;
const SESSIONS_PER_S: u64 = 1_500;
/// The latest that a session which is told to leave is told to come back.
const COME_BACK_S: u64 = 30;

/// A partner, through HAProxy, with teams of its own: so each team has its events in one order.
struct Publisher<'t> {
    api: SocketAddr,
    number: usize,
    is_over: &'t AtomicBool,
}

impl Publisher<'_> {
    /// Posts to its teams in turn until it is over, each event again and again until it is taken,
    /// as a partner does. Answers how many each team has had.
    fn run(&self) -> [usize; TEAMS] {
        let mut sent = [0; TEAMS];
        let mut turn = self.number;
        while !self.is_over.load(Relaxed) {
            let at = turn % TEAMS;
            self.deliver(at, sent[at]);
            sent[at] += 1;
            turn += PUBLISHERS;
            std::thread::sleep(PACE);
        }
        sent
    }

    fn deliver(&self, at: usize, n: usize) {
        let (id, team) = (format!("{}-{n}", team(at)), team(at));
        let body = event_with(&id, &[&team], &format!(r#"{{"n":{n}}}"#));
        let begin = Instant::now();
        // HAProxy answers 502 or 503 for a node that dies over it; nobody knows then what became of
        // the event, and sending it again is what partners do.
        while !post_signed(self.api, PARTNERS[0], &body).is_ok_and(|answer| answer.status == 202) {
            assert!(begin.elapsed() < Duration::from_secs(30), "{id} is never taken");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Ends the publishers, also where a check has failed: the test would wait for them for ever.
struct EndWith<'a>(&'a AtomicBool);

impl Drop for EndWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A node's folder, and where it will listen.
struct Place {
    home: Home,
    ports: NodePorts,
}

impl Place {
    fn new(brokers: &Brokers) -> Self {
        let first = free_ports(2);
        let [stream, api] = [0, 1].map(|n| SocketAddr::from(([127, 0, 0, 1], first + n)));
        // Behind the proxy loopback isn't exempt, and one address has a hundred clients: were they
        // counted as the proxy's, all but the first 150 would be refused.
        let home = Home::new(&format!(
            "[log]\nkind = \"kafka\"\n[log.kafka]\nbrokers = \"{}\"\npartitions = 4\n\
             [sessions]\nloopback_exempt = false\nper_ip_max = 150\n\
             per_ip_connects_per_s = 1000\n\
             [drain]\ngrace_s = {GRACE_S}\nsessions_per_s = {SESSIONS_PER_S}\n",
            brokers.addresses()
        ));
        Self { home, ports: NodePorts { stream, api } }
    }

    fn serve(&self) -> Server {
        let mut command = self.home.command(Backend::Auto);
        let NodePorts { stream, api } = self.ports;
        let settings = [
            format!("listen.stream={stream}"),
            format!("listen.api={api}"),
            "listen.trusted_proxies=127.0.0.1".into(),
            "node.connections_max=12000".into(),
        ];
        for setting in settings {
            command.args(["--set", &setting]);
        }
        Server::start(command)
    }
}

fn sessions(server: &Server) -> f64 {
    server.metric("touchline_connections{shard=\"0\"}")
}

/// Waits until `done`, for so long.
fn within(limit: Duration, what: &str, crowd: &Crowd, mut done: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < limit, "{what}: not within {limit:?}; {}", crowd.figures());
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{what}: {:.1} s; {}", begin.elapsed().as_secs_f32(), crowd.figures());
    begin.elapsed()
}

#[test]
fn haproxy_takes_the_file_as_it_is_deployed() {
    let (is_fine, said) = judge_deployed();
    assert!(is_fine && !said.contains("WARNING"), "{said}");
}

#[test]
fn fault_43_nine_thousand_clients_behind_haproxy_survive_a_kill_and_a_drain_whole() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the hard one");
    let brokers = Brokers::start(3);
    let [a, b, c] = [(); 3].map(|()| Place::new(&brokers));
    let mut first = a.serve();
    let mut second = b.serve();
    let haproxy = Haproxy::start([a.ports, b.ports, c.ports]);
    let crowd = Crowd::start(haproxy.stream, SOCKETS);
    within(Duration::from_secs(60), "all are in", &crowd, || crowd.is_whole());
    for server in [&first, &second] {
        let share = sessions(server) / SOCKETS as f64;
        assert!((0.4..0.6).contains(&share), "the least busy node gets the next: {share}");
    }
    let is_over = AtomicBool::new(false);
    let (sent, _left) = std::thread::scope(|scope| {
        let end = EndWith(&is_over);
        let publishing: Vec<_> = (0..PUBLISHERS)
            .map(|number| {
                let publisher = Publisher { api: haproxy.api, number, is_over: &is_over };
                scope.spawn(move || publisher.run())
            })
            .collect();
        let left = kill_and_drain(&crowd, &haproxy, [&mut first, &mut second], &c);
        drop(end);
        let each = publishing.into_iter().map(|thread| thread.join().expect("no panic"));
        let sent = each.fold([0; TEAMS], |all, of| std::array::from_fn(|n| all[n] + of[n]));
        (sent, left)
    });
    assert!(sent.iter().all(|count| *count > 0), "each team had events: {sent:?}");
    let whole = || crowd.is_whole() && crowd.has_had(&sent);
    within(Duration::from_secs(20), "everybody has had everything", &crowd, whole);
    println!("{} events to {SOCKETS} clients", sent.iter().sum::<usize>());
}

/// A third node comes, one of the first two dies, the other is drained. Answers the one that is
/// left.
fn kill_and_drain(crowd: &Crowd, haproxy: &Haproxy, nodes: [&mut Server; 2], c: &Place) -> Server {
    let [first, second] = nodes;
    let third = c.serve();
    let is_used = || ["stream", "api"].iter().all(|backend| haproxy.uses(backend, "c"));
    within(Duration::from_secs(20), "the third node is used", crowd, is_used);
    first.kill_9();
    // Whoever was on it comes back within a few seconds; nobody waits for HAProxy's checks.
    let away = || !crowd.is_whole();
    within(Duration::from_secs(5), "the kill is noticed", crowd, away);
    within(Duration::from_secs(30), "everybody is back", crowd, || crowd.is_whole());
    // A small one: it has just come, and HAProxy spares it for a while.
    assert!(sessions(&third) > SOCKETS as f64 / 50.0, "the newcomer has its share");

    let staying = sessions(second) as u64;
    second.signal(Signal::TERM);
    let unused = || ["stream", "api"].iter().all(|backend| !haproxy.uses(backend, "b"));
    let noticed = within(Duration::from_secs(GRACE_S), "the drain is noticed", crowd, unused);
    let telling = staying / SESSIONS_PER_S + 1;
    let budget = Duration::from_secs(GRACE_S + telling + COME_BACK_S + 5) - noticed;
    let is_back = || sessions(&third) >= SOCKETS as f64 && crowd.is_whole();
    within(budget, "all are on the node that is left", crowd, is_back);
    assert_eq!(second.wait_for_end(), Some(0), "{:#?}", second.log());
    for reason in ["bad_proxy_header", "address_full", "full"] {
        let sample = format!("touchline_handshake_failures_total{{reason=\"{reason}\"}}");
        assert_eq!(third.metric(&sample), 0.0, "{reason}");
    }
    assert_eq!(third.metric("touchline_resume_total{result=\"not_recovered\"}"), 0.0);
    third
}
