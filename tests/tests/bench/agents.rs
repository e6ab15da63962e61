//! Clients on other hosts: two agents, each in a network and with a clock of its own, and a server
//! that runs already in a third.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use touchline_tests::e2e::server::{Backend, Home, Server};
use touchline_tests::e2e::until;

use crate::{Results, bench, turn};

/// The agents' clocks are this much ahead of ours, in seconds.
const AHEAD_S: [i64; 2] = [5_000, 70];

fn shell(script: &str) -> bool {
    let status = Command::new("sh").args(["-euc", script]).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A network namespace with one cable into ours.
struct Host {
    holder: Child,
    number: usize,
}

impl Host {
    fn new(number: usize) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let holder = command.spawn().unwrap();
        let (pid, n) = (holder.id(), number);
        let host = Self { holder, number };
        let link = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        until("the namespace is there", || {
            link(&pid.to_string()).is_some_and(|its| Some(its) != link("self"))
        });
        let made = shell(&format!(
            "ip link add tlb{n} type veth peer name tlb{n}x netns {pid}
             ip addr add 10.213.{n}.1/24 dev tlb{n}
             ip link set tlb{n} up
             nsenter --net=/proc/{pid}/ns/net ip addr add 10.213.{n}.2/24 dev tlb{n}x
             nsenter --net=/proc/{pid}/ns/net ip link set tlb{n}x up
             nsenter --net=/proc/{pid}/ns/net ip route add default via 10.213.{n}.1"
        ));
        assert!(made, "a cable to namespace {n}");
        host
    }

    /// An agent there whose clock is ahead of ours.
    fn agent(&self, ahead_s: i64) -> Child {
        let network = format!("--net=/proc/{}/ns/net", self.holder.id());
        let (n, ahead) = (self.number, ahead_s.to_string());
        let (listen, source) = (format!("10.213.{n}.2:7070"), format!("10.213.{n}.2"));
        let mut command = Command::new("nsenter");
        command.args([&network, "unshare", "--time", "--monotonic", &ahead, "--fork"]);
        command.args(["--kill-child"]).arg(bench());
        command.args(["agent", "--listen", &listen, "--source", &source]);
        command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The cable ends with either of its ends.
        shell(&format!("ip link del tlb{}", self.number));
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Whether this host lets us make networks and clocks.
fn may_make_hosts() -> bool {
    let may = shell(
        "unshare --time --monotonic 5 --fork true; unshare --net true
         ip link add tlb0 type veth peer name tlb0x; ip link del tlb0",
    );
    if !may {
        touchline_tests::note("needs the right to make network and time namespaces");
    }
    may
}

fn wait_until_listening(agent: &mut Child) {
    let mut words = Vec::new();
    let mut stderr = agent.stderr.take().unwrap();
    let mut byte = [0];
    let deadline = Instant::now() + Duration::from_secs(20);
    while !words.ends_with(b"waits for a controller") && Instant::now() < deadline {
        match stderr.read(&mut byte) {
            Ok(1) => words.push(byte[0]),
            _ => break,
        }
    }
    assert!(words.ends_with(b"waits for a controller"), "{}", String::from_utf8_lossy(&words));
    // It goes on talking, and nobody may stop it by not listening.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
}

#[test]
fn agents_on_other_hosts_carry_the_clients_and_their_clocks_are_read() {
    let (Some(_turn), true) = (turn(), may_make_hosts()) else { return };
    let hosts = [1, 2].map(Host::new);
    let home = Home::new("");
    let secrets = home.path("partner.secrets");
    let mut command = home.command(Backend::Auto);
    command.args(["--set", "listen.stream=0.0.0.0:0"]);
    command.args(["--set", &format!("sources.broadcast.bench.secrets_file={}", secrets.display())]);
    let mut server = Server::spawn(command);
    server.wait_until_serving();
    let addresses = server.addresses();
    let mut agents: Vec<Child> =
        hosts.iter().zip(AHEAD_S).map(|(host, ahead_s)| host.agent(ahead_s)).collect();
    agents.iter_mut().for_each(wait_until_listening);

    // Both agents reach the server by the address of the first cable: ours is one host.
    let target = format!("ws://10.213.1.1:{}", addresses.stream.port());
    let api = addresses.api.to_string();
    let asked = ["run", "--quick", "--any-speed", "--scenario", "many-teams", "--time", "0.3"];
    let whom = ["--target", &target, "--api", &api, "--secrets-file", secrets.to_str().unwrap()];
    // Twice: an agent must be free again when its controller has done with it.
    let crew = ["--sockets", "600", "--agents", "10.213.1.2:7070,10.213.2.2:7070"];
    let crew = [&crew[..], &["--pairs", "2"]].concat();
    let results = Results::of(&[&asked[..], &whom, &crew].concat());
    for agent in &mut agents {
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
    assert!(results.output.status.success(), "{}", results.said());
    let runs = results.runs();
    assert_eq!(runs.len(), 2, "{}", results.said());
    for run in &runs {
        let counts = &run["harvest"]["counts"];
        assert_eq!(counts["delivered"], run["expected"], "{counts}");
        check_clocks(run);
        let busy = run["generator_most"].as_f64().unwrap();
        assert!(busy > 0.0, "what agents use of their cores is seen");
    }
    let run = &runs[0];
    let p99_us = run["harvest"]["windows"][0]["latency"]["p99"].as_u64().unwrap();
    let misread_us = 60_000_000;
    assert!((1..misread_us).contains(&p99_us), "a clock that was misread shows: {p99_us} us");
}

/// Each clock is read as it was set, within the error that is printed with the result.
fn check_clocks(run: &Value) {
    let clocks = run["clocks"].as_array().unwrap();
    assert_eq!(clocks.len(), 2, "{clocks:?}");
    for (clock, ahead_s) in clocks.iter().zip(AHEAD_S) {
        let ahead_us = clock["ahead_us"].as_f64().unwrap();
        let error_us = clock["error_us"].as_f64().unwrap();
        println!("{}: {ahead_us:.1} us ahead, within {error_us:.1} us", clock["agent"]);
        let wrong_us = (ahead_us + ahead_s as f64 * 1e6).abs();
        assert!(wrong_us <= error_us, "{wrong_us} us wrong, {error_us} us promised");
        assert!(error_us < 10_000_000.0, "seven times less than what the nearer clock is off by");
        assert!(clock["host"]["kernel"].is_string(), "where its clients ran: {clock}");
    }
}
