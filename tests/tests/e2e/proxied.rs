//! Behind a load balancer a client's own address counts (FAULTS 13), only who is trusted may name
//! it, and a proxy that doesn't is closed and counted (FAULTS 5, 6).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use touchline_tests::e2e::http::{event_with, post_signed};
use touchline_tests::e2e::proxy::{get, header, header_of, header_of_check, knock};
use touchline_tests::e2e::server::{Backend, Home, PARTNERS, Server};
use touchline_tests::e2e::socket::{Socket, upgrade};
use touchline_tests::e2e::{PATIENCE, until};

use crate::{both, is_sound};

/// Where every test connects from is a proxy.
const TRUSTING: &str = "[sessions]\nper_ip_max = 2\nhandshake_s = 0.5\n";
const PROXIES: &str = "listen.trusted_proxies=10.0.0.0/8,127.0.0.1";

fn serve_behind_proxies(home: &Home, backend: Backend) -> Server {
    let mut command = home.command(backend);
    command.args(["--set", PROXIES]);
    Server::start(command)
}

fn of(client: &str) -> Vec<u8> {
    header_of(client.parse().expect("an address"))
}

fn counted(server: &Server) -> f64 {
    server.metric("touchline_handshake_failures_total{reason=\"bad_proxy_header\"}")
}

#[test]
fn fault_13_limits_by_address_are_the_clients_not_the_proxys() {
    both(|backend| {
        let home = Home::new(TRUSTING);
        let server = serve_behind_proxies(&home, backend);
        let to = server.addresses().stream;
        let enter = |client: &str| knock(to, &of(client), "teams=ars");
        let inside = [enter("203.0.113.7:1"), enter("203.0.113.7:2"), enter("203.0.113.8:1")];
        assert!(inside.iter().all(|(status, _)| *status == 101), "each has room for two");
        assert_eq!(enter("203.0.113.7:3").0, 429);
        // For IPv6 an address is its network, also behind a proxy.
        let six = [enter("[2001:db8::1]:1"), enter("[2001:db8::2]:1"), enter("[2001:db8::3]:1")];
        assert_eq!(six.map(|(status, _)| status), [101, 101, 429]);
        // The exemption is of whoever is on this host; the proxy is, these clients are not.
        let home_made: Vec<_> = (0..4).map(|_| enter("127.0.0.9:1")).collect();
        assert!(home_made.iter().all(|(status, _)| *status == 101));
        let checks: Vec<_> = (0..4).map(|_| knock(to, &header_of_check(), "")).collect();
        assert!(checks.iter().all(|(status, _)| *status == 101), "the proxy's own address");
        drop(inside);
        until("there is room again", || enter("203.0.113.7:4").0 == 101);
        assert_eq!(counted(&server), 0.0);
    });
}

#[test]
fn a_slow_session_is_listed_with_its_clients_address_and_a_refusal_is_logged_with_it() {
    let home = Home::new(TRUSTING);
    let mut server = serve_behind_proxies(&home, Backend::Auto);
    let addresses = server.addresses();
    let mut slow = Socket::dial(addresses.stream, Some(4 * 1024)).unwrap();
    slow.send_raw(&[&of("[2001:db8::7]:4711")[..], upgrade("teams=ars", "").as_bytes()].concat());
    assert!(slow.head().unwrap().starts_with("HTTP/1.1 101"));
    slow.hear_op("subscribed");
    let data = format!(r#"{{"pad":"{}"}}"#, "x".repeat(8_000));
    let (proxy, _end) = passing_on(addresses.api, of("203.0.113.9:4712"));
    for n in 0..100 {
        let body = event_with(&format!("g-{n}"), &["ars"], &data);
        assert_eq!(post_signed(proxy, PARTNERS[0], &body).unwrap().status, 202);
    }
    let listed: Value = serde_json::from_str(&server.admin("/sessions/slow").body).unwrap();
    assert_eq!(listed["sessions"][0]["peer"], "[2001:db8::7]:4711", "{listed}");
    assert_eq!(post_signed(proxy, "nobody", "{}").unwrap().status, 404);
    let line = server.wait_for_line("webhook was refused");
    assert!(line.contains("203.0.113.9:4712"), "{line}");
}

/// A proxy of our own: passes each connection on to `to`, with `header` in front. It ends with what
/// is returned.
fn passing_on(to: SocketAddr, header: Vec<u8>) -> (SocketAddr, std::sync::mpsc::Sender<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (keep, end) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let goes_on =
            || !matches!(end.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
        while goes_on() {
            let Ok((mut client, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            };
            client.set_nonblocking(false).unwrap();
            let mut server = TcpStream::connect(to).unwrap();
            server.write_all(&header).unwrap();
            let (mut back_from, mut back_to) =
                (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut client, &mut server));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut back_from, &mut back_to);
                let _ = back_to.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    (address, keep)
}

/// What no proxy that was told to speak version 2 begins with.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let address = "203.0.113.7:1".parse().unwrap();
    let good = header_of(address);
    let mut wrong_signature = good.clone();
    wrong_signature[11] = b'X';
    vec![
        ("missing", upgrade("teams=ars", "").into_bytes()),
        ("version 1", b"PROXY TCP4 203.0.113.7 10.0.0.1 1 443\r\n".to_vec()),
        ("signature", wrong_signature),
        ("version 3", header(0x31, 0x11, &[0; 12])),
        ("command", header(0x22, 0x11, &[0; 12])),
        ("family", header(0x21, 0x41, &[0; 12])),
        ("short", header(0x21, 0x11, &[0; 11])),
        ("values", header(0x21, 0x11, &[[0; 12].as_slice(), &[4, 0, 9, 0]].concat())),
        ("long", header(0x21, 0x11, &[0; 60_000])),
    ]
}

/// Sends `bytes` and reads to the end; what came before it.
fn said(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(bytes);
    let mut all = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut all);
    all
}

#[test]
fn fault_05_a_proxy_that_says_anything_else_is_closed_without_an_answer_and_counted() {
    both(|backend| {
        let home = Home::new(TRUSTING);
        let server = serve_behind_proxies(&home, backend);
        let addresses = server.addresses();
        for port in [addresses.stream, addresses.api] {
            for (what, bytes) in malformed() {
                let before = counted(&server);
                let follow_up = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
                assert_eq!(said(port, &[&bytes[..], follow_up].concat()), b"", "{what}");
                until(what, || counted(&server) == before + 1.0);
            }
        }
        let good = of("203.0.113.7:1");
        assert_eq!(get(addresses.stream, &good, "/healthz").unwrap().status, 200);
        assert_eq!(get(addresses.stream, &header_of_check(), "/healthz").unwrap().status, 200);
        assert_eq!(get(addresses.api, &good, "/v1/live").unwrap().status, 200);
        // Whatever a header holds, a second one is the client's, and no request.
        let twice = [&good[..], &good].concat();
        assert_eq!(get(addresses.stream, &twice, "/healthz").unwrap().status, 400);
        assert_eq!(get(addresses.api, &twice, "/v1/live").unwrap().status, 400);
        assert_eq!(server.admin("/readyz").status, 200, "the admin port has no proxies");
    });
}

#[test]
fn a_proxy_that_is_closed_is_named_in_the_log_with_what_is_wrong_and_what_to_do() {
    let home = Home::new(TRUSTING);
    let server = serve_behind_proxies(&home, Backend::Auto);
    let told = |port: &str, wrong: &str| {
        server.log().iter().any(|line| {
            let parts = ["a trusted proxy's connection was closed", port, wrong, "127.0.0.1:"];
            parts.iter().all(|part| line.contains(part)) && line.contains("trusted_proxies")
        })
    };
    let short = header(0x21, 0x11, &[0; 11]);
    let missing = upgrade("teams=ars", "").into_bytes();
    for (to, port) in [(server.addresses().stream, "stream"), (server.addresses().api, "api")] {
        for (bytes, wrong) in
            [(&missing, "send-proxy-v2"), (&short, "parts don't fit"), (&Vec::new(), "in the time")]
        {
            assert_eq!(said(to, bytes), b"");
            until(wrong, || told(&format!("\"port\":\"{port}\""), wrong));
        }
    }
    let before = server.log().len();
    for _ in 0..2_000 {
        drop(TcpStream::connect(server.addresses().stream).unwrap().write_all(&missing));
    }
    until("each is counted", || counted(&server) >= 2_000.0);
    assert!(server.log().len() - before < 200, "a flood has few lines");
}

#[test]
fn fault_06_half_a_header_is_closed_in_the_time_that_a_head_has() {
    let home = Home::new(TRUSTING);
    let server = serve_behind_proxies(&home, Backend::Auto);
    let addresses = server.addresses();
    let good = of("203.0.113.7:1");
    for (port, least) in [(addresses.stream, 0.4), (addresses.api, 4.5)] {
        let before = counted(&server);
        let begin = Instant::now();
        assert_eq!(said(port, &good[..20]), b"");
        let took = begin.elapsed().as_secs_f32();
        assert!((least..least + 5.0).contains(&took), "{took}");
        until("it is counted", || counted(&server) == before + 1.0);
        // In pieces it is one all the same.
        let mut stream = TcpStream::connect(port).unwrap();
        for byte in &good {
            stream.write_all(&[*byte]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        assert_eq!(touchline_tests::e2e::http::answer(stream).unwrap().status, 404);
    }
}

#[test]
fn fault_05_from_anybody_else_a_header_is_a_bad_request() {
    both(|backend| {
        let home = Home::new("");
        let mut command = home.command(backend);
        command.args(["--set", "listen.trusted_proxies=10.0.0.0/8"]);
        let server = Server::start(command);
        let header = of("10.0.0.1:1");
        for port in [server.addresses().stream, server.addresses().api] {
            assert_eq!(get(port, &header, "/healthz").unwrap().status, 400);
        }
        assert_eq!(counted(&server), 0.0);
        is_sound(&server);
    });
}

/// The balancer reaches no admin port: the stream port tells it when to send nobody any more, and
/// goes on for whoever comes all the same.
#[test]
fn fault_38_from_sigterm_on_the_stream_port_tells_balancers_and_still_lets_clients_in() {
    let home = Home::new("[drain]\ngrace_s = 2\n");
    let mut server = serve_behind_proxies(&home, Backend::Auto);
    let to = server.addresses().stream;
    let check = || get(to, &header_of_check(), "/healthz").map_or(0, |answer| answer.status);
    assert_eq!(check(), 200);
    server.signal(Signal::TERM);
    until("it is told", || check() == 503);
    let (status, mut late) = knock(to, &of("203.0.113.7:1"), "teams=ars");
    assert_eq!(status, 101);
    late.hear_op("reconnect");
    assert_eq!(late.hear_close(), Some(1012));
    drop(late);
    assert_eq!(server.wait_for_end(), Some(0));
}
