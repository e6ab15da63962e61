//! The simulator as a partner, before a server that misbehaves: nothing is lost, and each match
//! keeps its order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use touchline_ingest::broadcast::{Secret, sign};

use super::*;
use crate::demo::Stopper;
use crate::demo::day::split_event_id;
use crate::live::fact::Kind;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

/// What the server has seen: what came in, in order, and every delivery of it.
#[derive(Default)]
struct Seen {
    /// First copies, in order of arrival.
    events: Vec<Value>,
    /// Every copy that was taken, by id.
    copies: HashMap<String, Vec<Value>>,
    /// Answers that failed.
    failures: usize,
    /// `webhook-id`s by event.
    webhooks: HashMap<String, String>,
}

#[derive(Clone)]
struct FakeServer {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl FakeServer {
    /// A server whose answer to its nth request is `answers[n % len]`.
    async fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, seen: Arc::default() };
        let turn = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let accepting = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(accepting.clone().serve(stream, answers, turn.clone()));
            }
        });
        server
    }

    async fn serve(
        self,
        mut stream: TcpStream,
        answers: &[&str],
        turn: Arc<std::sync::atomic::AtomicUsize>,
    ) {
        while let Some((head, body)) = read_request(&mut stream).await {
            let n = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let answer = match answers[n % answers.len()] {
                "drop" => None,
                "take and drop" => self.take(&head, &body).and(None),
                "take" => self.take(&head, &body),
                status => {
                    let (status, after) = status.split_once(" after ").unwrap_or((status, "0"));
                    let head = format!("HTTP/1.1 {status}\r\nretry-after: {after}");
                    Some(format!("{head}\r\ncontent-length: 2\r\n\r\n{{}}"))
                }
            };
            self.seen.lock().unwrap().failures += usize::from(answers[n % answers.len()] != "take");
            let Some(answer) = answer else { return };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    /// Verifies and keeps one event, as the appliance would.
    fn take(&self, head: &HashMap<String, String>, body: &[u8]) -> Option<String> {
        let id = &head["webhook-id"];
        let secret = Secret::parse(SECRET).unwrap();
        let timestamp = head["webhook-timestamp"].parse().unwrap();
        assert_eq!(head["webhook-signature"], sign(&secret, id, timestamp, body));
        let event: Value = serde_json::from_slice(body).unwrap();
        let key = event["id"].as_str().unwrap().to_owned();
        let mut seen = self.seen.lock().unwrap();
        let webhook = seen.webhooks.entry(key.clone()).or_insert_with(|| id.clone());
        assert_eq!(webhook, id, "a delivery keeps its webhook-id");
        let copies = seen.copies.entry(key).or_default();
        copies.push(event.clone());
        let first = copies.len() == 1;
        if first {
            seen.events.push(event);
        }
        let tally = format!(
            r#"{{"accepted":{},"duplicates":{},"too_old":0}}"#,
            u8::from(first),
            u8::from(!first)
        );
        let head = "HTTP/1.1 202 Accepted\r\ncontent-type: application/json";
        Some(format!("{head}\r\ncontent-length: {}\r\n\r\n{tally}", tally.len()))
    }

    fn partner(&self, meter: &Meter) -> Partner {
        let secret = Secret::parse(SECRET).unwrap();
        let url = format!("http://{}/v1/ingest/broadcast/demo", self.address);
        Partner::new(vec![url], secret, meter.clone()).unwrap()
    }

    fn simulator(&self, data_dir: &Path, fresh: bool, meter: &Meter) -> Simulator {
        let partner = self.partner(meter);
        let options = SimulatorOptions {
            data_dir: data_dir.to_owned(),
            seed: Some(11),
            matches: None,
            speed_milli: 10_000_000,
            fresh,
            trouble: false,
        };
        Simulator::open(options, partner, meter.clone(), World::default()).unwrap()
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<(HashMap<String, String>, Vec<u8>)> {
    let mut raw = Vec::new();
    let head_end = loop {
        if let Some(end) = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut raw).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(raw[..head_end].to_vec()).unwrap();
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let head: HashMap<_, _> =
        fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut body = raw.split_off(head_end);
    let len: usize = head["content-length"].parse().unwrap();
    while body.len() < len {
        stream.read_buf(&mut body).await.ok().filter(|read| *read > 0)?;
    }
    Some((head, body))
}

/// All of `day` arrived, once, and each match in its order.
fn check_whole(seen: &Seen, day: &Day, told: &str) {
    let mut last: HashMap<String, u64> = HashMap::new();
    let mut count = 0;
    for event in &seen.events {
        let (game, n) = split_event_id(event["id"].as_str().unwrap()).unwrap();
        if game.starts_with(told) {
            assert_eq!(n, last.get(game).copied().unwrap_or(0) + 1, "{game} keeps its order");
            last.insert(game.to_owned(), n);
            count += 1;
        }
    }
    assert_eq!(count, day.fixtures.iter().map(|fixture| fixture.moments.len()).sum::<usize>());
    for copies in seen.copies.values() {
        assert!(copies.iter().all(|copy| *copy == copies[0]), "a copy says the same");
    }
}

/// Runs `simulator` until the day is told.
async fn tell_one_day(mut simulator: Simulator) -> Simulator {
    let (_stopper, mut stop) = Stopper::new();
    let told = tokio::time::timeout(Duration::from_secs(60), simulator.tell_day(&mut stop));
    told.await.expect("a day takes seconds").unwrap();
    simulator
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_order_kept_whatever_the_server_does() {
    let answers = ["take", "503 Busy", "take", "drop", "take and drop", "take", "429 Slow", "take"];
    let server = FakeServer::start(Box::leak(Box::new(answers))).await;
    let dir = tempfile::tempdir().unwrap();
    let meter = Meter::default();
    let simulator = tell_one_day(server.simulator(dir.path(), true, &meter)).await;
    let seen = server.seen.lock().unwrap();
    check_whole(&seen, &simulator.day, &simulator.state.day);
    assert!(seen.failures > 50, "the server did misbehave: {}", seen.failures);
    let totals = meter.read().totals;
    let lost_answers = totals.events + totals.repeats;
    assert!(totals.refused == 0 && lost_answers >= seen.events.len() as u64, "{totals:?}");
    assert!(simulator.state.finished);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_deliveries_are_made_twice() {
    let server = FakeServer::start(&["take"]).await;
    let dir = tempfile::tempdir().unwrap();
    let meter = Meter::default();
    let simulator = tell_one_day(server.simulator(dir.path(), true, &meter)).await;
    let seen = server.seen.lock().unwrap();
    check_whole(&seen, &simulator.day, &simulator.state.day);
    let twice = seen.copies.values().filter(|copies| copies.len() == 2).count();
    let share = twice as f64 / seen.copies.len() as f64;
    assert!((0.01..0.12).contains(&share), "{twice} of {} twice", seen.copies.len());
    assert_eq!(meter.read().totals.repeats, twice as u64);
    let goals = seen.events.iter().filter(|event| event["type"] == Kind::Goal.as_str()).count();
    assert!(goals > 5, "{goals} goals in ten matches");
}

#[test]
fn a_day_that_was_killed_goes_on_where_it_was() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let servers = runtime();
    let server = servers.block_on(FakeServer::start(&["take", "take", "503 Busy"]));
    let dir = tempfile::tempdir().unwrap();
    let mut days = std::collections::HashSet::new();
    for lived_ms in [40, 90, 300, 700, 1_050, 20, 1_200, 400, 1_500, 1_300, 900, 60_000] {
        // Dropped in mid-air: nothing more is written, as after kill -9.
        runtime().block_on(async {
            let mut simulator = server.simulator(dir.path(), false, &Meter::default());
            days.insert(simulator.state.day.clone());
            let (_stopper, mut stop) = Stopper::new();
            let run = simulator.tell_day(&mut stop);
            drop(tokio::time::timeout(Duration::from_millis(lived_ms), run).await);
        });
        if DayFile::new(dir.path()).read().unwrap().is_some_and(|state| state.finished) {
            break;
        }
    }
    let ended = DayFile::new(dir.path()).read().unwrap().unwrap();
    assert!(ended.finished, "the last life was long enough");
    assert_eq!(days.len(), 1, "it was one day all the time: {days:?}");
    let day = make(&ended.script, ended.number, &ended.date).unwrap();
    check_whole(&server.seen.lock().unwrap(), &day, &ended.day);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_will_never_take_is_given_up_and_told() {
    let server = FakeServer::start(&["take", "take", "422 No", "take"]).await;
    let dir = tempfile::tempdir().unwrap();
    let meter = Meter::default();
    let simulator = tell_one_day(server.simulator(dir.path(), true, &meter)).await;
    let totals = meter.read().totals;
    let moments: usize = simulator.day.fixtures.iter().map(|fixture| fixture.moments.len()).sum();
    assert!(totals.refused > 20, "{totals:?}");
    let seen = server.seen.lock().unwrap();
    assert!(seen.events.len() < moments && seen.events.len() + totals.refused as usize >= moments);
    let ascends = |events: &[Value]| {
        let mut last: HashMap<String, u64> = HashMap::new();
        events.iter().all(|event| {
            let (game, n) = split_event_id(event["id"].as_str().unwrap()).unwrap();
            last.insert(game.to_owned(), n).is_none_or(|before| before < n)
        })
    };
    assert!(ascends(&seen.events), "what was given up changes no order");
}

/// 45 s are more than the partner waits of its own accord.
#[tokio::test]
async fn what_the_server_asks_to_wait_is_waited() {
    let server = FakeServer::start(&["503 Busy after 1", "429 Slow after 45", "take"]).await;
    let meter = Meter::default();
    let partner = server.partner(&meter);
    let body = Bytes::from_static(br#"{"id":"d:m1:1"}"#);
    let begin = std::time::Instant::now();
    let delivery = partner.deliver("wh-1", &body, now());
    let within = tokio::time::timeout(Duration::from_secs(4), delivery).await;
    assert!(within.is_err(), "it came back before the server asked it to");
    assert_eq!(server.seen.lock().unwrap().failures, 2, "in {:?}", begin.elapsed());
    let trouble = meter.read().totals.trouble.unwrap();
    let wait = trouble.strip_suffix(" s").unwrap().rsplit_once(' ').unwrap().1;
    assert!((45.0..=54.0).contains(&wait.parse::<f64>().unwrap()), "{trouble}");
}

#[tokio::test]
async fn fresh_begins_a_new_day_and_another_seed_does_too() {
    let server = FakeServer::start(&["take"]).await;
    let dir = tempfile::tempdir().unwrap();
    let meter = Meter::default();
    let mut first = server.simulator(dir.path(), false, &meter);
    first.save(&Mutex::default()).await.unwrap();
    assert_eq!(server.simulator(dir.path(), false, &meter).state.day, first.state.day);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_ne!(server.simulator(dir.path(), true, &meter).state.day, first.state.day);
    first.state.finished = true;
    first.save(&Mutex::default()).await.unwrap();
    let next = server.simulator(dir.path(), false, &meter);
    assert_eq!(next.state.number, 1, "a day that is over is followed by the next");
    let options = SimulatorOptions { seed: Some(12), ..first.options.clone() };
    let secret = Secret::parse(SECRET).unwrap();
    let partner = Partner::new(vec!["http://127.0.0.1:1/".into()], secret, meter.clone()).unwrap();
    let other = Simulator::open(options, partner, meter, World::default()).unwrap();
    assert_eq!(other.state.script, Script::League { seed: 12, trouble: false });
    assert_ne!(other.state.day, first.state.day);
}

#[tokio::test]
async fn a_stop_ends_it_within_a_second_and_keeps_what_was_told() {
    let server = FakeServer::start(&["503 Busy"]).await;
    let dir = tempfile::tempdir().unwrap();
    let simulator = server.simulator(dir.path(), true, &Meter::default());
    let (stopper, stop) = Stopper::new();
    let running = tokio::spawn(simulator.run(stop));
    tokio::time::sleep(Duration::from_millis(300)).await;
    stopper.stop();
    let ended = tokio::time::timeout(Duration::from_secs(1), running).await;
    ended.expect("it ends").unwrap().unwrap();
    assert!(!DayFile::new(dir.path()).read().unwrap().unwrap().finished);
}
