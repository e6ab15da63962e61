//! The fake upstream as a person uses it: a program that writes a configuration and obeys lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use touchline_tests::e2e::server::{Backend, Home};
use touchline_tests::e2e::socket::Socket;
use touchline_tests::e2e::until;
use touchline_tests::stream::StreamFault;
use touchline_tests::upstream::Fault;

/// Ends with the test.
struct Fake(Child);

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn each_fault_can_be_switched_on_and_off_while_a_server_listens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fake.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake_upstream"));
    command.arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut fake = Fake(command.spawn().unwrap());
    let mut keyboard = fake.0.stdin.take().unwrap();
    let mut lines = BufReader::new(fake.0.stdout.take().unwrap()).lines();
    let mut hear = |wanted: &str| {
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(wanted)));
        line.unwrap_or_else(|| panic!("it never said {wanted}")).unwrap();
    };
    hear("say TEXT posts it");
    let home = Home::new(&std::fs::read_to_string(&file).unwrap());
    let server = home.serve(Backend::Auto);
    let mut client = Socket::open(server.addresses().stream, "teams=ald&streams=social,sensor");
    client.hear_op("subscribed");
    let mut do_it = |line: &str| {
        writeln!(keyboard, "{line}").unwrap();
        hear(&format!("ok: {line}"));
    };
    // What is said before the server listens is heard by nobody.
    until("a post has come", || {
        do_it("say aldermoor, at last");
        client.hear_op("event").to_string().contains("at last")
    });
    until("a value has come", || client.hear_op("event")["topic"] == "sensor:ald");
    for (name, _) in Fault::NAMED {
        do_it(&format!("sensor {name}"));
    }
    for (name, _) in StreamFault::NAMED {
        do_it(&format!("stream {name}"));
    }
    do_it("sensor bad-json");
    let errors = r#"touchline_ingest_errors_total{source="fake",reason="bad_json"}"#;
    let breaker = r#"touchline_breaker_state{name="fake"}"#;
    until("the breaker opens", || server.metric(breaker) >= 1.0 && server.metric(errors) >= 1.0);
    do_it("sensor none");
    do_it("stream none");
    until("it closes", || server.metric(breaker) == 0.0);
    let posts = r#"touchline_social_posts_total{source="fake-stream",result="published"}"#;
    let before = server.metric(posts);
    until("posts come again", || server.metric(posts) > before);
}
