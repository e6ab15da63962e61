//! Claim: what brokers will never take is parked once and costs those beside it nothing, whoever
//! it came from (FAULTS 35); and a post that we can't bear costs itself alone (FAULTS 29).

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use touchline_core::dead::{DeadLetter, DeadLetters, Desk};
use touchline_core::event::{Event, Topic};
use touchline_core::log::{
    AppendError, AppendReply, EventLog, Lane, LogBounds, LogHealthError, ReadReply, ReadRequest,
};
use touchline_core::time::Timestamp;
use touchline_ingest::breaker::BreakerRules;
use touchline_ingest::broadcast::{self, BroadcastOptions, BroadcastState, Partner, Sources};
use touchline_ingest::clock::Clock;
use touchline_ingest::mapping::From;
use touchline_ingest::outbound::Surroundings;
use touchline_ingest::poll::{self, Ask, Poller};
use touchline_ingest::sensor::{self, Mapping, SensorSource, ValueRules};
use touchline_ingest::social::{
    self, BackoffRules, Fate, PostMapping, Rewind, Social, SocialKind, SocialSource,
};

use support::{Letters, MemoryLog, NOW_S, SharedLog, event};

const MS: Duration = Duration::from_millis(1);

/// Answers each request with what it is told at the time: a poll with the whole and its length, a
/// stream (whose text ends in a line feed) by beginning with it.
struct Service {
    url: String,
    says: Arc<Mutex<String>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn start(says: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (says, heads) = (Arc::new(Mutex::new(says.to_owned())), Arc::default());
        let service = Self { url, says: Arc::clone(&says), heads: Arc::clone(&heads) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (says, heads) = (Arc::clone(&says), Arc::clone(&heads));
                std::thread::spawn(move || serve(stream, &says, &heads));
            }
        });
        service
    }

    fn say(&self, text: &str) {
        *self.says.lock().unwrap() = text.to_owned();
    }

    fn requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

fn serve(mut stream: TcpStream, says: &Mutex<String>, heads: &Mutex<Vec<String>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = says.lock().unwrap().clone();
        let is_stream = text.ends_with('\n');
        let length = match is_stream {
            true => "connection: close".to_owned(),
            false => format!("content-length: {}", text.len()),
        };
        let kind = "content-type: application/json";
        let answer = format!("HTTP/1.1 200 OK\r\n{kind}\r\n{length}\r\n\r\n{text}");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
        heads.lock().unwrap().push(String::from_utf8_lossy(&std::mem::take(&mut head)).into());
        if is_stream {
            // Long enough to be read; then the stream is asked for again.
            std::thread::sleep(200 * MS);
            return;
        }
    }
}

/// A log whose brokers refuse events with `heavy` in their id: those alone, or each batch that
/// holds one.
struct Picky {
    memory: Arc<MemoryLog>,
    log: SharedLog,
    heavy: &'static str,
    refuses_batches: bool,
    appends: Mutex<Vec<String>>,
}

impl Picky {
    fn new(heavy: &'static str, refuses_batches: bool) -> Arc<Self> {
        let memory = MemoryLog::new();
        let log = SharedLog(Arc::clone(&memory));
        Arc::new(Self { memory, log, heavy, refuses_batches, appends: Mutex::default() })
    }

    fn ids(&self) -> Vec<String> {
        self.memory.events().iter().map(|event| event.id.to_string()).collect()
    }

    /// The ids of each append.
    fn appends(&self) -> Vec<String> {
        self.appends.lock().unwrap().clone()
    }
}

impl EventLog for Picky {
    fn append(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        let ids: Vec<&str> = events.iter().map(|event| &*event.id).collect();
        self.appends.lock().unwrap().push(ids.join(" "));
        let is_heavy = |n: &usize| events[*n].id.contains(self.heavy);
        let mut which: Vec<usize> = (0..events.len()).filter(is_heavy).collect();
        if which.is_empty() {
            return self.log.append(events, received_at, reply);
        }
        if self.refuses_batches {
            which = (0..events.len()).collect();
        }
        let others = events.into_iter().enumerate().filter(|(n, _)| !which.contains(n));
        let others = others.map(|(_, event)| event).collect();
        self.log.append(others, received_at, Box::new(drop));
        reply(Err(AppendError::Refused(which)));
    }

    fn read(&self, request: ReadRequest, reply: ReadReply) {
        self.log.read(request, reply);
    }

    fn bounds(&self) -> LogBounds {
        self.log.bounds()
    }

    fn lane_of(&self, topic: &Topic) -> Lane {
        self.log.lane_of(topic)
    }

    fn health(&self) -> Result<(), LogHealthError> {
        Ok(())
    }
}

/// A node around a source: its log, its letters, a clock that tests move.
struct Node {
    log: Arc<Picky>,
    letters: Arc<Letters>,
    now: Arc<AtomicI64>,
}

impl Node {
    fn new(log: Arc<Picky>) -> Self {
        let now = Arc::new(AtomicI64::new(NOW_S * 1_000_000));
        Self { log, letters: Arc::default(), now }
    }

    fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Arc::new(move || Timestamp(now.load(Ordering::Relaxed)))
    }

    fn around(&self) -> Surroundings {
        Surroundings::new(self.log.clone(), self.clock(), self.letters.clone())
    }

    /// Reason and desk of each letter.
    fn letters(&self) -> Vec<(&'static str, Desk)> {
        self.letters.all().iter().map(|letter| (letter.reason, letter.desk)).collect()
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(5 * MS).await;
    }
}

/// Waits for three more answers to be looked at.
async fn a_while(service: &Service) {
    let before = service.requests();
    until("it is asked again", || service.requests() >= before + 4).await;
}

fn ask(name: &str, service: &Service) -> Ask {
    let second = Duration::from_secs(1);
    Ask {
        name: name.into(),
        url: service.url.clone().into_boxed_str().into(),
        interval: 20 * MS,
        timeout: second,
        headers: Vec::new(),
        body_bytes_max: 1 << 20,
        breaker: BreakerRules { failures: 5, open_first: second, open_max: second },
    }
}

fn device(service: &Service) -> SensorSource {
    let second = Duration::from_secs(1);
    SensorSource {
        ask: ask("emirates", service),
        rules: ValueRules { age_max: 60 * second, heartbeat: 30 * second },
        mapping: Mapping {
            items: "/r".into(),
            team: From::parse("ars"),
            kind: From::parse("wind"),
            key: From::parse("/key"),
            sequence: Some(From::parse("/n")),
            time: None,
            value: From::parse("/v"),
        },
        routes_max: 64,
    }
}

fn values(n: u32) -> String {
    json!({"r": [{"key": "heavy", "n": n, "v": n}, {"key": "mast", "n": n, "v": n}]}).to_string()
}

#[tokio::test]
async fn fault_35_a_value_that_brokers_refuse_is_tried_twice_and_those_beside_it_are_in() {
    let (service, node) = (Service::start(&values(1)), Node::new(Picky::new("heavy", false)));
    let mut poller = Poller::new(&node.around());
    sensor::follow(&mut poller, vec![device(&service)]).unwrap();
    until("it is parked", || !node.letters().is_empty()).await;
    a_while(&service).await;
    let both = "ars/heavy:1 ars/mast:1".to_owned();
    assert_eq!(node.log.appends(), [both, "ars/heavy:1".into()], "with others, and alone");
    assert_eq!(node.letters(), [("log_refused", Desk::Log)]);
    let stats = &poller.stats()[0];
    assert_eq!((stats.published(), stats.troubles_of(poll::Trouble::LogRefused)), (1, 1));
    service.say(&values(2));
    until("the next", || node.log.ids() == ["ars/mast:1", "ars/mast:2"]).await;
    a_while(&service).await;
    assert_eq!((node.log.appends().len(), node.letters().len()), (4, 1), "a letter a minute");
    poller.stop().await;
}

/// A webhook desk for `feed`, which is asked and sends our own shape.
fn desk(node: &Node) -> BroadcastState {
    let sources = Sources::new([Partner::without_secrets("feed").unwrap()]).unwrap();
    let options = BroadcastOptions { clock: node.clock(), ..BroadcastOptions::default() };
    BroadcastState::new(node.log.clone(), sources, options, node.letters.clone())
}

#[tokio::test]
async fn fault_35_of_a_list_that_brokers_refuse_as_one_batch_each_event_is_tried_alone() {
    let list = json!([event("g-1"), event("heavy"), event("g-3")]).to_string();
    let (service, node) = (Service::start(&list), Node::new(Picky::new("heavy", true)));
    let (mut poller, webhooks) = (Poller::new(&node.around()), desk(&node));
    broadcast::follow(&mut poller, vec![ask("feed", &service)], &webhooks).unwrap();
    until("all are tried", || node.log.ids() == ["g-1", "g-3"]).await;
    a_while(&service).await;
    assert_eq!(node.log.appends(), ["g-1 heavy g-3", "g-1", "heavy", "g-3"]);
    assert_eq!(node.letters(), [("log_refused", Desk::Log)]);
    assert_eq!(poller.stats()[0].troubles_of(poll::Trouble::LogRefused), 1);
    assert_eq!((webhooks.stats()[0].parked(), webhooks.stats()[0].kept_back()), (1, 0));
    poller.stop().await;
}

#[tokio::test]
async fn corrections_beyond_those_of_a_minute_are_counted_and_kept_by_a_later_one() {
    let list = |minute: u32| {
        let corrected = |n: u32| {
            let mut event = event(&format!("g-{n}"));
            event["data"]["minute"] = minute.into();
            event
        };
        json!((0..25).map(corrected).collect::<Vec<_>>()).to_string()
    };
    let (service, node) = (Service::start(&list(7)), Node::new(Picky::new("heavy", false)));
    let (mut poller, webhooks) = (Poller::new(&node.around()), desk(&node));
    broadcast::follow(&mut poller, vec![ask("feed", &service)], &webhooks).unwrap();
    until("the first copies", || node.log.ids().len() == 25).await;
    service.say(&list(8));
    let stats = Arc::clone(&webhooks.stats()[0]);
    until("five have no room", || stats.kept_back() >= 5).await;
    assert_eq!((node.letters().len(), stats.parked()), (20, 20), "of this minute");
    node.now.fetch_add(60_000_000, Ordering::Relaxed);
    until("the next keeps them", || stats.parked() == 25).await;
    let kept_back = stats.kept_back();
    a_while(&service).await;
    assert_eq!((node.letters().len(), stats.kept_back()), (25, kept_back), "each once");
    let bad = |n: u32| json!({"id": format!("b-{n}")});
    node.now.fetch_add(60_000_000, Ordering::Relaxed);
    service.say(&json!((0..25).map(bad).collect::<Vec<_>>()).to_string());
    until("items too", || stats.kept_back() >= kept_back + 5).await;
    assert_eq!(stats.parked(), 45);
    poller.stop().await;
}

fn plaza(service: &Service) -> SocialSource {
    SocialSource {
        name: "plaza".into(),
        url: service.url.clone().into_boxed_str().into(),
        kind: SocialKind::Lines,
        headers: Vec::new(),
        event: None,
        subscribe: None,
        mapping: PostMapping {
            id: From::parse("/id"),
            text: From::parse("/text"),
            time: None,
            kind: From::parse("post"),
            author: None,
            value: None,
        },
        terms: vec!["ars: arsenal".into()],
        posts_per_s_max: 1_000,
        routes_max: 512,
        post_bytes_max: 64 << 10,
        stall: Duration::from_secs(10),
        rewind: Rewind::SinceId,
        rewind_parameter: "since_id".into(),
        backoff: BackoffRules { first: 20 * MS, max: 50 * MS, limited_first: MS, good_after: MS },
    }
}

fn post(id: &str) -> String {
    format!("{}\n", json!({"id": id, "text": "arsenal"}))
}

#[tokio::test]
async fn fault_35_a_post_that_brokers_refuse_holds_no_place_back_and_is_a_repeat_afterwards() {
    let posts = [post("1"), post("heavy"), post("3")].concat();
    for refuses_batches in [false, true] {
        let (service, folder) = (Service::start(&posts), tempfile::tempdir().unwrap());
        let node = Node::new(Picky::new("heavy", refuses_batches));
        let around = Surroundings { places: Some(folder.path().into()), ..node.around() };
        let social = Social::start(vec![plaza(&service)], &around).unwrap();
        let stats = &social.stats()[0];
        until("it is asked again", || service.requests() >= 3).await;
        until("repeats are known", || stats.posts(Fate::Duplicate) >= 6).await;
        assert_eq!(node.log.ids(), ["1", "3"]);
        assert_eq!((stats.posts(Fate::Published), stats.posts(Fate::Refused)), (2, 1));
        assert_eq!(stats.troubles_of(social::Trouble::LogRefused), 1);
        assert_eq!(node.letters(), [("log_refused", Desk::Log)]);
        let tried = node.log.appends().iter().filter(|ids| ids.contains("heavy")).count();
        assert_eq!(tried, 2, "with others, and alone");
        let place = || std::fs::read_to_string(folder.path().join("plaza.place"));
        until("the place is behind it", || place().is_ok_and(|it| it.contains(r#""id":"3""#)))
            .await;
        social.stop().await;
    }
}

/// A keeper that can't bear a post without a text: whoever reads it panics.
struct Poisoned(Arc<Letters>);

impl DeadLetters for Poisoned {
    fn park(&self, letter: DeadLetter) {
        assert!(letter.reason != "bad_post", "a post that we can't bear, for the test");
        self.0.park(letter);
    }
}

#[tokio::test]
async fn fault_29_a_post_that_makes_us_panic_is_parked_and_the_stream_goes_on_behind_it() {
    let poison = "{\"id\":\"2\",\"says\":\"arsenal\"}\n";
    let service = Service::start(&[&post("1"), poison, &post("3")].concat());
    let node = Node::new(Picky::new("heavy", false));
    let poisoned = Arc::new(Poisoned(Arc::clone(&node.letters)));
    let around = Surroundings { dead: poisoned, ..node.around() };
    let social = Social::start(vec![plaza(&service)], &around).unwrap();
    let stats = &social.stats()[0];
    until("what follows it", || node.log.ids() == ["1", "3"]).await;
    assert_eq!((stats.connects(), stats.troubles_of(social::Trouble::Panicked)), (1, 1));
    assert_eq!(stats.posts(Fate::Unreadable), 1);
    let [letter] = &node.letters.all()[..] else { panic!("one letter") };
    assert_eq!((letter.reason, letter.desk), ("panicked", Desk::Social));
    assert_eq!(letter.raw, poison.trim_end());
    until("it is asked again", || service.requests() >= 2).await;
    let head = service.heads.lock().unwrap()[1].clone();
    assert!(head.contains("since_id=3"), "from behind it: {head}");
    social.stop().await;
}
