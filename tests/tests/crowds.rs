//! FAULTS 6 by the tool of the trade: `slowhttptest` holds two thousand requests open, a few bytes
//! at a time, on both ports. Whoever follows a team must not notice. A test binary of its own, for
//! it compares times: nothing else of ours runs meanwhile.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use touchline_tests::e2e::http::event;
use touchline_tests::e2e::server::{Backend, Home, Server};
use touchline_tests::e2e::socket::Socket;
use touchline_tests::e2e::until;

const CROWD: usize = 2_000;
const FOLLOWERS: usize = 20;
const EVENTS: usize = 60;

/// A slow head for each of the crowd: a header every second until the server ends it.
fn crowd(url: &str) -> Child {
    let count = CROWD.to_string();
    let wanted = ["-H", "-c", &count, "-r", "2000", "-i", "1", "-l", "9", "-x", "8", "-p", "3"];
    Command::new("slowhttptest")
        .args(wanted)
        .args(["-t", "GET", "-u", url])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("slowhttptest, which `make test` installs")
}

/// From the start of a webhook to the last follower, of each event; ascending.
fn latencies(server: &Server, followers: &mut [Socket], run: &str) -> Vec<Duration> {
    let mut all: Vec<_> = (0..EVENTS)
        .map(|n| {
            let (id, begin) = (format!("{run}-{n}"), Instant::now());
            server.accept(&event(&id, &["ars"]));
            for follower in &mut *followers {
                assert_eq!(follower.hear_op("event")["id"], id);
            }
            begin.elapsed()
        })
        .collect();
    all.sort();
    all
}

fn failures(server: &Server, reason: &str) -> f64 {
    server.metric(&format!("touchline_handshake_failures_total{{reason=\"{reason}\"}}"))
}

#[test]
fn fault_06_two_thousand_slow_connections_move_nobody_else() {
    let home = Home::new("");
    let mut command = home.command(Backend::Auto);
    command.args(["--set", "node.connections_max=4000"]);
    let mut server = Server::spawn(command);
    server.wait_until_serving();
    let addresses = server.addresses();
    let mut followers: Vec<_> =
        (0..FOLLOWERS).map(|_| Socket::open(addresses.stream, "teams=ars")).collect();
    followers.iter_mut().for_each(|follower| drop(follower.hear_op("subscribed")));
    let ports = [("stream", addresses.stream, "/v1/stream"), ("api", addresses.api, "/v1/live")];
    for (name, address, path) in ports {
        let quiet = latencies(&server, &mut followers, &format!("{name}-quiet"));
        let late_before = failures(&server, "late");
        let tool = crowd(&format!("http://{address}{path}"));
        std::thread::sleep(Duration::from_millis(1_500));
        let loud = latencies(&server, &mut followers, &format!("{name}-loud"));
        let said = tool.wait_with_output().expect("it ends by itself");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        // The median tells of the server; one late event in sixty, of the host. What a crowd could
        // do is hold up a turn of the shard for as long as it takes to look at all of them.
        let (quiet, loud) = (quiet[EVENTS / 2], loud[EVENTS / 2]);
        println!("{name}: median {quiet:?} without, {loud:?} with {CROWD} slow connections");
        assert!(loud < quiet * 3 + Duration::from_millis(10), "{quiet:?} became {loud:?}");
        let last = said.rfind("service available").map(|at| &said[at..]).unwrap_or_default();
        assert!(last.lines().next().unwrap_or_default().contains("YES"), "{said}");
        if name == "stream" {
            let ended = || failures(&server, "late") - late_before;
            until("all of them are told that they are late", || ended() >= CROWD as f64);
        }
    }
    assert_eq!(server.metric("touchline_session_panics_total"), 0.0);
}
