//! Claim: a node that is still starting answers at its ports: sources are told to come again, and
//! whoever watches over it sees that it lives, isn't ready, and why.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};

use touchline_tests::e2e::http::{event, post_signed, request};
use touchline_tests::e2e::server::{Backend, Home, PARTNERS, Server};
use touchline_tests::e2e::until;

#[test]
fn fault_35_without_a_broker_at_the_start_sources_get_503_and_readyz_says_what_is_awaited() {
    // A port at which nobody answers, and nobody else will while the test holds it.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let brokers = silent.local_addr().expect("bound");
    let home =
        Home::new(&format!("[log]\nkind = \"kafka\"\n[log.kafka]\nbrokers = \"{brokers}\"\n"));
    let mut server = Server::spawn(home.command(Backend::Auto));
    let line = server.wait_for_line("starting: the ports answer");
    let line: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
    let address = |name: &str| -> SocketAddr {
        line[name].as_str().expect("an address").parse().expect("an address")
    };
    let (api, admin) = (address("api"), address("admin"));
    let refused = post_signed(api, PARTNERS[0], &event("early", &["ars"])).expect("an answer");
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(refused.header("retry-after"), Some("5"), "{}", refused.head);
    let ask = |path| request(admin, "GET", path, &[], "").expect("an answer");
    assert_eq!(ask("/healthz").status, 200);
    let ready = ask("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains(&brokers.to_string()), "{}", ready.body);
}

/// A listener that reads what comes and hangs up, as one does that expects something else.
fn hangs_up() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    // It ends with the process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1024]);
        }
    });
    address
}

#[test]
fn fault_35_a_start_that_waits_says_what_most_likely_keeps_it_from_the_brokers() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    for (brokers, security, likely) in [
        (nobody, "", "nothing listens there"),
        (hangs_up(), "", "most likely expects TLS"),
        (hangs_up(), "tls = true\n", "most likely speaks no TLS"),
    ] {
        let home = Home::new(&format!(
            "[log]\nkind = \"kafka\"\n[log.kafka]\nbrokers = \"{brokers}\"\n{security}"
        ));
        let mut server = Server::spawn(home.command(Backend::Auto));
        let line = server.wait_for_line("starting: the ports answer");
        let line: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
        let admin = line["admin"].as_str().expect("an address").parse().expect("an address");
        let ready = || request(admin, "GET", "/readyz", &[], "").expect("an answer").body;
        until(likely, || ready().contains(likely));
        let line = server.wait_for_line("the start waits for Kafka");
        assert!(line.contains(likely), "{line}");
    }
}
