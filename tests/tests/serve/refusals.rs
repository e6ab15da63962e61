//! A start that can't be ends with one sentence that says what to do, or one for each mistake of a
//! configuration.

use std::net::TcpListener;

use touchline_tests::e2e::server::{Backend, Home, run, touchline, words};

/// Runs `serve`, which must fail with `code` and one line of standard error with all of `parts`; a
/// configuration's mistakes (code 3) have a line each.
fn check(home: &Home, more: &[&str], code: i32, parts: &[&str]) {
    let output = touchline().arg("serve").arg("--config").arg(home.config()).args(more).output();
    let output = output.expect("the binary runs");
    let text = words(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    let said: Vec<_> = text.lines().filter(|line| line.starts_with("touchline: ")).collect();
    assert!(said.len() == 1 || code == 3 && !said.is_empty(), "one sentence: {text}");
    for part in parts {
        assert!(said[0].contains(part), "{part} in {}", said[0]);
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn a_taken_port_is_named_with_its_holder_and_what_moves_ours() {
    let home = Home::new("");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let pid = format!("process {}", std::process::id());
    for (port, variable) in [
        ("stream", "TOUCHLINE__LISTEN__STREAM"),
        ("api", "TOUCHLINE__LISTEN__API"),
        ("admin", "TOUCHLINE__LISTEN__ADMIN"),
    ] {
        let flag = format!("--{port}={address}");
        check(&home, &[&flag], 1, &[&address, "is taken", &pid, variable]);
    }
}

#[test]
fn two_touchlines_do_not_share_a_stream_port() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    let other = Home::new("");
    let flag = format!("--stream={}", server.addresses().stream);
    let pid = format!("process {} (touchline)", server.pid());
    check(&other, &[&flag], 1, &["the stream port", "is taken", &pid]);
}

#[test]
fn two_touchlines_do_not_share_a_data_folder() {
    let home = Home::new("");
    let server = home.serve(Backend::Auto);
    check(&home, &[], 1, &[&server.pid().to_string(), "stop that one"]);
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    let home = Home::new("");
    std::fs::write(home.path("file"), b"").unwrap();
    let folder = home.path("file").join("data");
    let flag = format!("--data-dir={}", folder.display());
    let parts = [folder.to_str().unwrap(), "can't be written", "TOUCHLINE__NODE__DATA_DIR"];
    check(&home, &[&flag], 1, &parts);
    // Here even root may create nothing.
    check(&home, &["--data-dir=/proc/touchline"], 1, &["/proc/touchline", "can't be written"]);
}

#[test]
fn too_few_shards_are_refused_with_the_arithmetic() {
    let home = Home::new("");
    let more = ["--set", "node.shards=1", "--set", "node.connections_max=4000000"];
    check(&home, &more, 3, &["`node.shards`", "not 4000000", "open files"]);
}

#[test]
fn a_configuration_with_mistakes_is_refused_with_their_places() {
    let home = Home::new("[drain]\ngrace = 1\n");
    let parts = ["touchline.toml:16: unknown key `drain.grace`", "did you mean `drain.grace_s`?"];
    check(&home, &[], 3, &parts);
    let home = Home::new("");
    check(&home, &["--set", "node.nmae=x"], 3, &["flag: unknown key", "`node.name`"]);
    let missing = run(&["serve", "--config", "/nowhere/t.toml"]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(words(&missing).contains("/nowhere/t.toml: No such file"), "{}", words(&missing));
    std::fs::write(home.path("partner.secrets"), "whsec_short\n").unwrap();
    check(&home, &[], 3, &["arena.secrets_file", "partner.secrets:1"]);
}
