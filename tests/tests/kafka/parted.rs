//! A node that is cut off while all others go on: nothing is lost, nothing is shown twice, and both
//! agree once the line is whole (FAULTS 35).
//!
//! The node lives in a network of its own, in which relays stand where it takes the brokers to be.
//! Whoever wants to speak to it enters that network for as long as it takes to open a connection.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use touchline_tests::e2e::brokers::Brokers;
use touchline_tests::e2e::http::event;
use touchline_tests::e2e::server::Backend;
use touchline_tests::e2e::until;

use crate::broken::listen_until;
use crate::follower::Follower;
use crate::{Nodes, Turn, calm_brokers};

/// How long the node hears nothing of any broker.
const CUT: Duration = Duration::from_secs(30);
/// How soon a relay notices that it is cut, or not any more.
const LOOK: Duration = Duration::from_millis(50);

/// A network with nothing in it but a loopback.
struct Network {
    holder: Child,
    inside: File,
    outside: File,
    is_cut: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
}

impl Network {
    /// `None` where this process may make none.
    fn make() -> Option<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "ip link set lo up && echo up && exec cat"]);
        let mut holder = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut said = [0; 3];
        let is_up = holder.stdout.as_mut()?.read_exact(&mut said).is_ok();
        if !is_up {
            let _ = holder.wait();
            return None;
        }
        let inside = File::open(format!("/proc/{}/ns/net", holder.id())).ok()?;
        let outside = File::open("/proc/thread-self/ns/net").ok()?;
        let flag = Arc::<AtomicBool>::default;
        Some(Self { holder, inside, outside, is_cut: flag(), is_over: flag() })
    }

    /// Does `what` in there. What it opens stays there, whoever uses it later.
    fn within<T>(&self, what: impl FnOnce() -> T) -> T {
        let enter = |network: &File| {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        };
        enter(&self.inside).expect("a network that we made");
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(what));
        enter(&self.outside).expect("our own network");
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Puts a relay where a broker seems to be.
    fn relay(&self, broker: SocketAddr) {
        let listener = self.within(|| TcpListener::bind(broker)).expect("the broker's own port");
        let (is_cut, is_over) = (Arc::clone(&self.is_cut), Arc::clone(&self.is_over));
        // It ends with the process at the latest.
        std::thread::spawn(move || {
            for inner in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(outer) = TcpStream::connect(broker) else { continue };
                for (from, to) in [(&inner, &outer), (&outer, &inner)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (is_cut, is_over) = (Arc::clone(&is_cut), Arc::clone(&is_over));
                    std::thread::spawn(move || carry(from, to, &is_cut, &is_over));
                }
            }
        });
    }

    fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Carries bytes one way; none while the line is cut, and what came meanwhile afterwards.
fn carry(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool, is_over: &AtomicBool) {
    let mut bytes = vec![0; 64 << 10];
    from.set_read_timeout(Some(LOOK)).unwrap();
    while !is_over.load(Ordering::Relaxed) {
        if is_cut.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
            continue;
        }
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(got) if to.write_all(&bytes[..got]).is_ok() => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => break,
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

fn two_nodes(brokers: &Brokers, network: &Network) -> Nodes {
    (1..=3).for_each(|broker| network.relay(brokers.address(broker)));
    Nodes::start_by(brokers, "parted", 2, "spool = true", |n, home| match n {
        0 => network.within(|| home.serve(Backend::Auto)),
        _ => home.serve(Backend::Auto),
    })
}

#[test]
fn fault_35_a_node_that_is_cut_off_takes_events_and_both_sides_agree_afterwards() {
    let _turn = Turn::Calm.take();
    let Some(network) = Network::make() else {
        touchline_tests::note("needs the right to make network namespaces");
        return;
    };
    let nodes = two_nodes(calm_brokers(), &network);
    let mut followers = vec![
        network.within(|| Follower::start(&nodes, 0, "ars,che")),
        Follower::start(&nodes, 1, "ars,che"),
    ];
    let post = |node: usize, body: &str| match node {
        0 => network.within(|| nodes.servers[0].post(body).status),
        _ => nodes.servers[1].post(body).status,
    };
    let mut ids = Vec::new();
    let mut send = |name: &str, to: &[usize]| {
        let id = format!("{name}{}", ids.len());
        let body = event(&id, &["ars", "che"]);
        to.iter().for_each(|node| assert_eq!(post(*node, &body), 202, "{id} at node {node}"));
        ids.push(id);
    };
    (0..10).for_each(|_| send("whole", &[0, 1]));
    network.cut(true);
    let cut_at = Instant::now();
    listen_until("node 0 spools", &mut followers, || {
        network.within(|| nodes.servers[0].post(&event("probe", &["bou"])).status == 202)
    });
    followers[0].hear_until("degraded", |it| it.states == ["degraded"]);
    while cut_at.elapsed() < CUT {
        send("near", &[0]);
        send("far", &[1]);
        // A partner that got no answer in time tries elsewhere.
        send("both", &[0, 1]);
        followers.iter_mut().for_each(|it| it.listen(Duration::from_millis(100)));
    }
    assert!(!followers[0].ids.iter().any(|id| id.starts_with("near")), "it has no position yet");
    network.cut(false);
    followers[0].hear_until("live", |it| it.states == ["degraded", "live"]);
    let waiting = || network.within(|| nodes.servers[0].metric("touchline_spool_events"));
    listen_until("drained", &mut followers, || waiting() == 0.0);
    send("last", &[0]);
    let last = ids[ids.len() - 1].clone();
    for follower in &mut followers {
        follower.hear_until("the last", |it| it.has(&last));
        follower.check(ids.iter().cloned());
    }
    assert_eq!(followers[0].seen, followers[1].seen, "both agree on positions and order");
    until("it is ready", || network.within(|| nodes.servers[0].admin("/readyz").status) == 200);
}
