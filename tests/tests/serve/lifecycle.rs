//! Signals, drains, reloads and the service manager get what they are promised.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use touchline_tests::e2e::http::{SECRET, event};
use touchline_tests::e2e::server::{Backend, Home, PARTNERS, Server, run, words};
use touchline_tests::e2e::socket::{Heard, Socket, handshake_status};
use touchline_tests::e2e::{PATIENCE, until};

const OTHER_SECRET: &str = "whsec_b3RoZXItc2VjcmV0LW90aGVyLXNlY3JldA==";
const RELOADED: &str = "touchline_config_last_reload_successful";

fn refused_reloads(server: &Server) -> f64 {
    server.metric("touchline_config_reloads_total{result=\"refused\"}")
}

fn open(server: &Server) -> Socket {
    Socket::open(server.addresses().stream, "teams=ars")
}

/// Starts it under a manager that is told of at `place`, and wants signs of life.
fn serve_for(home: &Home, place: &Path, watchdog: Duration) -> Server {
    let mut command = home.command(Backend::Auto);
    command.env("NOTIFY_SOCKET", place);
    command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
    Server::start(command)
}

/// Waits for its end, which must be in order; how long it took.
fn time_to_end(server: &mut Server) -> Duration {
    let begin = Instant::now();
    assert_eq!(server.wait_for_end(), Some(0), "{:#?}", server.log());
    begin.elapsed()
}

#[test]
fn fault_38_sigterm_serves_through_the_grace_then_tells_everybody_and_ends_with_0() {
    let home = Home::new("[drain]\ngrace_s = 1.5\n");
    let mut server = home.serve(Backend::Auto);
    let mut early = open(&server);
    server.signal(Signal::TERM);
    until("not ready", || server.admin("/readyz").status == 503);
    let ready = server.admin("/readyz");
    assert!(ready.body.contains("draining"), "{ready:?}");
    // The grace is for load balancers that haven't noticed: all goes on.
    let mut late = open(&server);
    server.accept(&event("g-1", &["ars"]));
    for socket in [&mut early, &mut late] {
        assert_eq!(socket.hear_op("event")["id"], "g-1");
        let reconnect = socket.hear_op("reconnect");
        let after = reconnect["after_ms"].as_u64().unwrap();
        assert!((5_000..=30_000).contains(&after), "{after}");
        assert_eq!(reconnect["reason"], "drain");
        assert_eq!(socket.hear(), Heard::Close(1012));
    }
    drop((early, late));
    time_to_end(&mut server);
    let dump = run(&["log", "dump", home.journal().to_str().unwrap()]);
    assert!(words(&dump).contains("g-1"), "{}", words(&dump));
}

#[test]
fn fault_38_sessions_leave_at_the_configured_pace() {
    let home = Home::new("[drain]\ngrace_s = 0\nsessions_per_s = 20\n");
    let mut server = home.serve(Backend::Auto);
    let mut sockets: Vec<_> = (0..30).map(|_| open(&server)).collect();
    sockets.iter_mut().for_each(|socket| drop(socket.hear_op("subscribed")));
    let begin = Instant::now();
    server.signal(Signal::TERM);
    let listeners: Vec<_> = sockets
        .into_iter()
        .map(|mut socket| {
            std::thread::spawn(move || {
                socket.hear_op("reconnect");
                assert_eq!(socket.hear(), Heard::Close(1012));
                begin.elapsed()
            })
        })
        .collect();
    let mut left: Vec<_> = listeners.into_iter().map(|one| one.join().unwrap()).collect();
    left.sort();
    let spread = left[29] - left[0];
    assert!(spread > Duration::from_millis(900), "30 at 20 a second left within {spread:?}");
    time_to_end(&mut server);
}

#[test]
fn fault_38_a_second_sigterm_ends_at_once() {
    let home = Home::new("[drain]\ngrace_s = 60\n");
    let mut server = home.serve(Backend::Auto);
    let _socket = open(&server);
    server.signal(Signal::TERM);
    until("not ready", || server.admin("/readyz").status == 503);
    server.signal(Signal::TERM);
    let took = time_to_end(&mut server);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn sigint_sends_everybody_away_within_two_seconds() {
    let home = Home::new("[drain]\ngrace_s = 60\nsessions_per_s = 1\n");
    let mut server = home.serve(Backend::Auto);
    let mut sockets: Vec<_> = (0..50).map(|_| open(&server)).collect();
    server.signal(Signal::INT);
    let took = time_to_end(&mut server);
    assert!(took < Duration::from_secs(2), "{took:?}");
    for socket in &mut sockets {
        socket.hear_op("reconnect");
        assert_eq!(socket.hear(), Heard::Close(1012));
    }
}

#[test]
fn fault_39_a_reload_that_cannot_be_is_refused_whole_and_said_once() {
    let home = Home::new("[drain]\ngrace_s = 1\n");
    let mut server = home.serve(Backend::Auto);
    assert_eq!(server.metric(RELOADED), 1.0);
    // Each also changes the secrets: nothing of it may be taken.
    std::fs::write(home.path("other.secrets"), OTHER_SECRET).unwrap();
    let other = format!("[sources.broadcast.{}]\nsecrets_file = \"other.secrets\"\n", PARTNERS[0]);
    let good = std::fs::read_to_string(home.config()).unwrap();
    let swapped = good.replace("partner.secrets", "other.secrets");
    let bad = [
        ("invalid", format!("{other}[drain\n")),
        ("half written", swapped[..swapped.len() - 4].to_owned()),
        ("unknown key", swapped.replace("grace_s", "grace")),
        ("restart-only key", swapped.replace("connections_max = 1000", "connections_max = 2000")),
        ("bad secret", good.replace("partner.secrets", "missing.secrets")),
    ];
    for (n, (what, text)) in bad.into_iter().enumerate() {
        std::fs::write(home.config(), text).unwrap();
        server.signal(Signal::HUP);
        until(what, || refused_reloads(&server) == (n + 1) as f64);
        assert_eq!(server.metric(RELOADED), 0.0, "{what}");
        let errors = || {
            let lines = server.log();
            lines.iter().filter(|line| line.contains("was not reloaded")).count()
        };
        // The line takes its own way to us, behind the metric.
        until(what, || errors() > n);
        assert_eq!(errors(), n + 1, "{what}: one line each");
        assert_eq!(server.post_as("x", OTHER_SECRET, &event("x", &["ars"])).status, 401, "{what}");
    }
    server.accept(&event("still the old secret", &["ars"]));
    std::fs::write(home.config(), swapped).unwrap();
    server.signal(Signal::HUP);
    until("the good file", || server.metric(RELOADED) == 1.0);
    assert_eq!(server.post_as("new", OTHER_SECRET, &event("new", &["ars"])).status, 202);
    assert_eq!(server.post_as("old", SECRET, &event("old", &["ars"])).status, 401);
    server.wait_for_line("the configuration was read again");
}

#[test]
fn fault_39_a_hundred_sighups_a_second_cost_nobody_anything() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let mut socket = open(&server);
    socket.hear_op("subscribed");
    for n in 0..100 {
        server.signal(Signal::HUP);
        if n % 5 == 0 {
            server.accept(&event(&format!("g-{n}"), &["ars"]));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    for n in (0..100).step_by(5) {
        assert_eq!(socket.hear_op("event")["id"], format!("g-{n}"));
    }
    assert_eq!(server.metric(RELOADED), 1.0);
    assert_eq!(refused_reloads(&server), 0.0);
    assert!(server.metric("touchline_config_reloads_total{result=\"taken\"}") > 0.0);
    assert_eq!(server.admin("/readyz").status, 200);
}

#[test]
fn a_reloaded_limit_holds_for_the_next_message() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let status = || handshake_status(server.addresses().stream, "Origin: https://fans.example\r\n");
    assert_eq!(status(), 403);
    home.configure("[sessions]\norigins = [\"https://fans.example\"]\n");
    server.signal(Signal::HUP);
    until("let in", || status() == 101);
}

#[test]
fn the_service_manager_hears_ready_watchdog_and_stopping() {
    let home = Home::new("[drain]\ngrace_s = 0\n");
    let place = home.path("notify.sock");
    let manager = UnixDatagram::bind(&place).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut server = serve_for(&home, &place, Duration::from_millis(200));
    let hear = || {
        let mut bytes = [0; 1024];
        let len = manager.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    };
    let until_hears = |what: &str| {
        let begin = Instant::now();
        while !hear().lines().any(|line| line == what) {
            assert!(begin.elapsed() < PATIENCE, "never {what}");
        }
    };
    until_hears("READY=1");
    let begin = Instant::now();
    (0..5).for_each(|_| until_hears("WATCHDOG=1"));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    server.signal(Signal::TERM);
    until_hears("STOPPING=1");
    time_to_end(&mut server);
}

/// Five sessions leave at one a second: far longer than the manager would wait for a sign of life.
#[test]
fn the_watchdog_is_fed_while_sessions_leave() {
    let home = Home::new("[drain]\ngrace_s = 0\nsessions_per_s = 1\n");
    let place = home.path("notify.sock");
    let manager = UnixDatagram::bind(&place).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut server = serve_for(&home, &place, Duration::from_millis(400));
    let mut sockets: Vec<_> = (0..5).map(|_| open(&server)).collect();
    sockets.iter_mut().for_each(|socket| drop(socket.hear_op("subscribed")));
    server.signal(Signal::TERM);
    let (mut fed, mut leaving) = (0, false);
    let mut bytes = [0; 1024];
    loop {
        let len = manager.recv(&mut bytes).expect("a message");
        let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
        if text.contains("STATUS=stopping") {
            break;
        }
        leaving |= text.contains("told to leave");
        fed += u32::from(leaving && text.contains("WATCHDOG=1"));
    }
    assert!(fed >= 5, "{fed} signs of life in the seconds of leaving");
    drop(sockets);
    time_to_end(&mut server);
}
