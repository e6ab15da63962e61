//! TLS, SCRAM and tokens on a real broker: with the right secrets a node serves, with wrong ones it
//! says whose they are and starts not at all (FAULTS 35).

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use touchline_tests::e2e::brokers::Brokers;
use touchline_tests::e2e::http::{event, request};
use touchline_tests::e2e::server::{Backend, Home, Server, words};
use touchline_tests::e2e::socket::Socket;
use touchline_tests::e2e::until;

use crate::Turn;

/// One broker, so one copy; `security` is the rest of `[log.kafka]`.
fn home(brokers: &Brokers, security: &str) -> Home {
    Home::new(&format!(
        "[log]\nkind = \"kafka\"\n[log.kafka]\nbrokers = \"{}\"\npartitions = 2\n\
         replication = 1\nin_sync_min = 1\n{security}\n",
        brokers.addresses()
    ))
}

fn security(ca: &Path, mechanism: &str, user: &str, password: &Path) -> String {
    format!(
        "tls = true\nca_file = {ca:?}\nsasl_mechanism = \"{mechanism}\"\nsasl_user = \"{user}\"\n\
         sasl_password_file = {password:?}\n"
    )
}

#[test]
fn fault_35_a_node_signs_in_by_tls_and_scram_or_is_told_what_is_wrong() {
    let _turn = Turn::Small.take();
    let brokers = Brokers::start_secured(1);
    let [ca, other_ca, password] =
        ["ca.pem", "other-ca.pem", "password"].map(|name| brokers.secret(name));
    let scram = "SCRAM-SHA-512";

    let good = home(&brokers, &security(&ca, scram, "touchline", &password));
    let mut server = good.serve(Backend::Auto);
    let mut socket = Socket::open(server.addresses().stream, "teams=ars");
    socket.hear_op("subscribed");
    // A broker that has just begun may take longer than a webhook waits; who sends again is served.
    let body = event("g-1", &["ars"]);
    until("the event is taken", || server.post(&body).status == 202);
    assert_eq!(socket.hear_op("event")["id"], "g-1");
    drop(socket);
    server.stop();

    let wrong_password = good.path("wrong.password");
    std::fs::write(&wrong_password, "not it\n").expect("a file");
    let missing = good.path("missing.pem");
    let rows = [
        ("password", security(&ca, scram, "touchline", &wrong_password), "sasl_password_file"),
        ("user", security(&ca, scram, "nobody", &password), "`log.kafka.sasl_user`"),
        ("mechanism", security(&ca, "PLAIN", "touchline", &password), "sasl_mechanism"),
        ("signer", security(&other_ca, scram, "touchline", &password), "`log.kafka.ca_file`"),
        ("file", security(&missing, scram, "touchline", &password), "missing.pem: No such file"),
    ];
    let secret = std::fs::read_to_string(&password).expect("a file");
    for (what, security, advice) in rows {
        let home = home(&brokers, &security);
        let refused = home.command(Backend::Auto).output().expect("it runs");
        let said = words(&refused);
        assert_eq!(refused.status.code(), Some(3), "{what}: {said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.contains(advice), "{what}: {said}");
        assert!(!said.contains(secret.trim()) && !said.contains("not it"), "{what}: {said}");
        println!("{what}: {last}");
    }
    // Who speaks in the clear is hung up on, which looks like a broker that is away: it is waited
    // for, and what else it may be is said.
    let home = home(&brokers, "");
    let mut server = Server::spawn(home.command(Backend::Auto));
    let line = server.wait_for_line("the start begins again until brokers answer");
    assert!(line.contains("`log.kafka.tls`"), "{line}");
    let line = server.wait_for_line("the start waits for Kafka");
    assert!(line.contains("most likely expects TLS"), "{line}");
}

/// A token that nobody has signed, as Kafka's own validator takes it: whole or not at all in its
/// file, as whoever writes tokens should do.
fn write_token(file: &Path, life: Duration) {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = format!(r#"{{"sub":"touchline","iat":{now_s},"exp":{}}}"#, now_s + life.as_secs());
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let token = format!("{}.{}.", part(r#"{"alg":"none"}"#), part(&claims));
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, token).expect("a file");
    std::fs::rename(fresh, file).expect("a file");
}

#[test]
fn fault_35_a_node_signs_in_by_a_token_that_expires_and_is_replaced() {
    const LIFE: Duration = Duration::from_secs(20);
    let _turn = Turn::Small.take();
    let brokers = Brokers::start_secured(1);
    let ca = brokers.secret("ca.pem");
    let security = |token: &Path| {
        format!(
            "tls = true\nca_file = {ca:?}\nsasl_mechanism = \"OAUTHBEARER\"\n\
             sasl_token_file = {token:?}\n"
        )
    };
    // One that has expired lets nobody in, and says so.
    let missing = brokers.secret("no.token");
    let home_without = home(&brokers, &security(&missing));
    let refused = home_without.command(Backend::Auto).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(3), "{}", words(&refused));
    assert!(words(&refused).contains("no.token"), "{}", words(&refused));

    let token = brokers.secret("token");
    write_token(&token, LIFE);
    let home = home(&brokers, &security(&token));
    let mut server = home.serve(Backend::Auto);
    let mut socket = Socket::open(server.addresses().stream, "teams=ars");
    socket.hear_op("subscribed");
    let begin = Instant::now();
    let mut taken = 0;
    // Three lives long: at each moment somebody has written the next one in time.
    let mut written_at = Instant::now();
    while begin.elapsed() < LIFE * 3 {
        if written_at.elapsed() > LIFE / 2 {
            write_token(&token, LIFE);
            written_at = Instant::now();
        }
        let body = event(&format!("t-{taken}"), &["ars"]);
        until("the event is taken", || server.post(&body).status == 202);
        assert_eq!(socket.hear_op("event")["id"], format!("t-{taken}"));
        taken += 1;
        std::thread::sleep(Duration::from_secs(2));
    }
    // Whoever writes them stops: once the last one has expired it is said, and nothing is taken.
    server.wait_for_line("can't sign in to Kafka with a token");
    until("sources are refused", || server.post(&event("late", &["ars"])).status == 503);
    let admin = server.addresses().admin;
    let readiness = || request(admin, "GET", "/readyz", &[], "").expect("it answers").body;
    until("it is said whose turn it is", || readiness().contains("`log.kafka.sasl_token_file`"));
    server.wait_for_line("Kafka is away, and this is likely why");
    write_token(&token, LIFE * 10);
    until("it is taken again", || server.post(&event("late-1", &["ars"])).status == 202);
    // Nobody has read the first client's socket meanwhile: it may have been ended for that.
    let mut socket = Socket::open(server.addresses().stream, "teams=ars");
    socket.hear_op("subscribed");
    until("the next is taken", || server.post(&event("late-2", &["ars"])).status == 202);
    // What was taken before it subscribed it may be shown as well; nothing else comes before.
    let mut shown = socket.hear_op("event")["id"].clone();
    if shown == "late-1" {
        shown = socket.hear_op("event")["id"].clone();
    }
    assert_eq!(shown, "late-2");
}
