//! FAULTS 5 and 6 at the API port: what two servers could read in two ways gets one answer and the
//! end; what doesn't arrive ends as well, and costs nobody anything.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use touchline_tests::e2e::http::{SECRET, answer, delivery_headers, event, exchange, request};
use touchline_tests::e2e::server::{Backend, Home, PARTNERS};

/// A request that asks for nothing but an answer.
const LIVE: &str = "GET /v1/live HTTP/1.1\r\nHost: test\r\n\r\n";

/// [`LIVE`] with `extra` headers and a body of no chunks.
fn with(extra: &str) -> String {
    format!("GET /v1/live HTTP/1.1\r\nHost: test\r\n{extra}\r\n0\r\n\r\n")
}

#[test]
fn a_request_without_one_host_is_refused_and_its_connection_ends() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let to = server.addresses().api;
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        // Keep-alive is HTTP/1.1's default: only the server can end this connection.
        let asked = format!("GET /v1/teams HTTP/1.1\r\n{hosts}\r\n");
        let answer = exchange(to, asked.as_bytes()).expect("an answer, and an end");
        assert!(answer.status == 400 && answer.body.contains("bad_host"), "{answer:?}");
    }
    let answer = request(to, "DELETE", "/v1/live", &[], "").unwrap();
    assert!(answer.status == 405 && answer.body.contains("method_not_allowed"), "{answer:?}");
}

#[test]
fn fault_05_a_request_with_two_lengths_is_refused_and_its_connection_ends() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let to = server.addresses().api;
    let refused = |head: &str| {
        let answer = exchange(to, format!("{head}{LIVE}").as_bytes())
            .unwrap_or_else(|error| panic!("{error}: {head:?}"));
        assert_eq!(answer.status, 400, "{head:?}: {answer:?}");
        assert!(!answer.body.contains("HTTP/1.1 "), "a second answer: {head:?}: {answer:?}");
        answer
    };
    // hyper alone would take these.
    let ours = [
        with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        with("X: a\n"),
        LIVE.replace("\r\n", "\n"),
    ];
    for head in ours {
        let answer = refused(&head);
        assert!(answer.body.contains("bad_framing"), "{head:?}: {answer:?}");
    }
    let others = [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "X : a\r\n",
        "X: a\r\n folded\r\n",
        "X: a\0b\r\n",
        "X: a\rb\r\n",
    ];
    for extra in others {
        refused(&with(extra));
    }
    // What is beyond doubt is answered, and what follows it as well.
    let last = LIVE.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let both = exchange(to, format!("{LIVE}{last}").as_bytes()).unwrap();
    assert!(both.status == 200 && both.body.contains("HTTP/1.1 200"), "{both:?}");
}

#[test]
fn fault_05_a_chunked_webhook_is_taken_and_is_the_last_of_its_connection() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let body = event("g-1", &["ars"]);
    let headers = delivery_headers("d-1", SECRET, &body);
    let headers = headers.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    let delivery = format!(
        "POST /v1/ingest/broadcast/{} HTTP/1.1\r\nHost: test\r\n{headers}\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        PARTNERS[0],
        body.len()
    );
    let answer = exchange(server.addresses().api, (delivery + LIVE).as_bytes()).unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(!answer.body.contains("HTTP/1.1 "), "a second answer: {answer:?}");
}

#[test]
fn fault_06_a_head_that_drips_on_the_api_port_is_408() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let begin = Instant::now();
    let [mut idle, silent, mut dripping] =
        [(); 3].map(|()| TcpStream::connect(server.addresses().api).unwrap());
    idle.write_all(LIVE.as_bytes()).unwrap();
    for byte in LIVE.bytes().take(10) {
        dripping.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    let late = answer(dripping).unwrap();
    let took = begin.elapsed();
    assert!(late.status == 408 && late.body.contains("head_timeout"), "{late:?}");
    assert!((4_900..8_000).contains(&took.as_millis()), "{took:?}");
    // Nothing is owed to a connection on which no head has begun.
    let first = answer(idle).unwrap();
    assert_eq!(first.status, 200);
    assert!(!first.body.contains("HTTP/1.1 "), "an answer to nothing: {first:?}");
    assert!(answer(silent).is_err(), "an answer to nothing");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[test]
fn fault_06_two_thousand_slow_connections_cost_the_webhook_nothing() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("files for 2,000");
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let time_of_a_post = |id: &str| {
        let begin = Instant::now();
        server.accept(&event(id, &["ars"]));
        begin.elapsed()
    };
    let median = |prefix: &str| {
        let mut times: Vec<_> = (0..21).map(|n| time_of_a_post(&format!("{prefix}-{n}"))).collect();
        times.sort();
        times[10]
    };
    let before = median("before");
    let mut slow: Vec<_> = (0..2_000)
        .map(|_| {
            let mut stream = TcpStream::connect(server.addresses().api).expect("room");
            stream.write_all(b"POST /v1/ingest/broadcast/skyline HTTP/1.1\r\nhost: x\r\n").unwrap();
            stream
        })
        .collect();
    let during = median("during");
    // A tenth, and 5 ms for the clock of a shared host.
    let allowed = before.mul_f64(1.1) + Duration::from_millis(5);
    assert!(during <= allowed, "a webhook took {before:?}, and {during:?} among slow ones");
    assert_eq!(server.admin("/readyz").status, 200);
    let last = answer(slow.pop().expect("one of them")).expect("its time is over");
    assert_eq!(last.status, 408, "{last:?}");
}
