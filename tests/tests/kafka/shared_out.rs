//! Claim: of several nodes one asks each source, and when it ends another has taken over within ten
//! seconds, so soon that no value that stays becomes stale for its followers (R20).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use touchline_tests::e2e::server::Server;
use touchline_tests::e2e::socket::{Heard, Socket};
use touchline_tests::stream::{Form, Stream};
use touchline_tests::upstream::Upstream;

use crate::{Nodes, Turn, calm_brokers};

const SOURCES: usize = 8;
const TAKEOVER_MAX: Duration = Duration::from_secs(10);
/// `streams.sensor.age_max_s` at its default.
const AGE_MAX: Duration = Duration::from_secs(30);

fn sections(url: &str) -> String {
    let section = |n: usize| {
        format!(
            "[sources.sensor.venue-{n}]\nurl = \"{url}\"\nitems = \"/readings\"\nteam = \"ars\"\n\
             type = \"wind\"\nkey = \"/key\"\nsequence = \"/n\"\nvalue = \"/v\"\n"
        )
    };
    (0..SOURCES).map(section).collect()
}

/// Which sensors a node says are its own.
fn held(server: &Server) -> Vec<bool> {
    held_of(server, "venue")
}

/// The same of sources whose names begin so.
fn held_of(server: &Server, kind: &str) -> Vec<bool> {
    are(server, "assigned", kind)
}

/// Which of them a node says are so.
fn are(server: &Server, what: &str, kind: &str) -> Vec<bool> {
    let is_so = |n: usize| {
        let sample = format!("touchline_source_{what}{{source=\"{kind}-{n}\"}}");
        server.metric(&sample) > 0.0
    };
    (0..SOURCES).map(is_so).collect()
}

fn until(what: &str, max: Duration, is_so: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < max, "not within {max:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    begin.elapsed()
}

/// When a follower was told each source's value last, and the longest that it wasn't.
#[derive(Clone, Default)]
struct Ages(Arc<Mutex<(BTreeMap<String, Instant>, Duration)>>);

impl Ages {
    /// Listens all the while, to the end of the test.
    fn listen(mut socket: Socket) -> Self {
        let ages = Self::default();
        let of_thread = ages.clone();
        std::thread::spawn(move || {
            while Arc::strong_count(&of_thread.0) > 1 {
                let Heard::Json(json) = socket.hear_soon() else { continue };
                let source = json["source"].as_str().filter(|_| json["op"] == "event");
                source.into_iter().for_each(|source| of_thread.note(source));
            }
        });
        ages
    }

    fn note(&self, source: &str) {
        let (said_at, longest) = &mut *self.0.lock().unwrap();
        let now = Instant::now();
        let before = said_at.insert(source.to_owned(), now).unwrap_or(now);
        *longest = (now - before).max(*longest);
    }

    fn said_at(&self, source: &str) -> Option<Instant> {
        self.0.lock().unwrap().0.get(source).copied()
    }

    fn longest(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

#[test]
fn a_source_is_asked_by_one_node_and_by_another_soon_after_that_one_was_killed() {
    let _turn = Turn::Calm.take();
    let upstream = Upstream::start(r#"{"readings":[{"key":"north","n":1,"v":1}]}"#);
    let mut nodes = Nodes::start(calm_brokers(), "shared-out", 2, &sections(&upstream.url()));
    until("each source has one node, and each node some", Duration::from_secs(30), || {
        let [one, other] = [0, 1].map(|node| held(&nodes.servers[node]));
        let are_shared = one.iter().zip(&other).all(|(one, other)| one != other);
        are_shared && one.contains(&true) && other.contains(&true)
    });
    let (asked, begin) = (upstream.requests(), Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    let per_s = (upstream.requests() - asked) as f64 / begin.elapsed().as_secs_f64();
    let once = (SOURCES * 10) as f64;
    assert!(per_s < 1.2 * once, "{per_s} requests a second for {SOURCES} sources: some twice");
    let of_victim = held(&nodes.servers[0]).iter().position(|is_held| *is_held).expect("some");
    let of_victim = format!("venue-{of_victim}");
    let ages = Ages::listen(nodes.open(1, "teams=ars&streams=sensor"));
    until("its value", AGE_MAX, || ages.said_at(&of_victim).is_some());
    let value = ages.said_at(&of_victim);
    until("its heartbeat", AGE_MAX, || ages.said_at(&of_victim) > value);
    // The worst moment: just before the next.
    std::thread::sleep(Duration::from_secs(12));
    let (mut victim, killed) = (nodes.take(0), Instant::now());
    victim.kill_9();
    let survivor = &nodes.servers[0];
    let took = until("the other has all", TAKEOVER_MAX, || held(survivor).iter().all(|it| *it));
    assert!(took > Duration::from_millis(500), "it was to be missed first: {took:?}");
    let asked = upstream.requests();
    until("they are asked", Duration::from_secs(5), || upstream.requests() > asked + 80);
    let sources: Vec<String> = (0..SOURCES).map(|n| format!("venue-{n}")).collect();
    until("all values", 2 * AGE_MAX, || {
        sources.iter().all(|source| ages.said_at(source) > Some(killed))
    });
    assert!(ages.longest() < AGE_MAX, "a value was stale: not said for {:?}", ages.longest());
}

/// Streams of posts that say the same, and partners that are asked and answer the same.
fn streams_and_partners(streams: &[Stream], partner: &str) -> String {
    let stream = |(n, stream): (usize, &Stream)| {
        format!(
            "[sources.social.plaza-{n}]\nurl = \"{}\"\nid = \"/id\"\ntext = \"/text\"\n\
             terms = [\"ars: arsenal\"]\n",
            stream.url()
        )
    };
    let partner = |n: usize| {
        format!(
            "[sources.broadcast.feed-{n}]\npoll_url = \"{partner}\"\npoll_interval_s = 0.1\n\
             items = \"/happenings\"\nteam = \"/club\"\ntype = \"/what\"\nid = \"/ref\"\n\
             time = \"/at\"\nvalue = \"/facts\"\n"
        )
    };
    streams.iter().enumerate().map(stream).chain((0..streams.len()).map(partner)).collect()
}

#[test]
fn streams_and_partners_that_are_asked_are_taken_over_as_well_and_nothing_comes_twice() {
    let _turn = Turn::Calm.take();
    let streams: Vec<Stream> = (0..SOURCES).map(|_| Stream::start(Form::Lines)).collect();
    let at = jiff::Timestamp::now().as_second();
    let happened = |ids: &[u32]| {
        let of = |id: &u32| json!({"ref": id, "club": "ars", "what": "goal", "at": at, "facts": {"n": id}});
        json!({ "happenings": ids.iter().map(of).collect::<Vec<_>>() }).to_string()
    };
    let partner = Upstream::start(&happened(&[1]));
    let sections = streams_and_partners(&streams, &partner.url());
    let mut nodes = Nodes::start(calm_brokers(), "taken-over", 2, &sections);
    for kind in ["plaza", "feed"] {
        until("each source has one node, and each node some", Duration::from_secs(30), || {
            let [one, other] = [0, 1].map(|node| held_of(&nodes.servers[node], kind));
            let are_shared = one.iter().zip(&other).all(|(one, other)| one != other);
            are_shared && one.contains(&true) && other.contains(&true)
        });
    }
    let mut client = nodes.open(1, "teams=ars&streams=social,broadcast");
    client.hear_op("subscribed");
    until("one node listens to each", TAKEOVER_MAX, || {
        let [one, other] = [0, 1].map(|node| are(&nodes.servers[node], "connected", "plaza"));
        one.iter().zip(&other).all(|(one, other)| one != other)
    });
    let post = |id: &str| json!({"id": id, "text": "arsenal"}).to_string();
    streams.iter().for_each(|stream| stream.say(&post("before")));
    let mut heard = BTreeMap::<(String, String), u32>::new();
    let mut hear_all = |client: &mut Socket, post: &str, event: &str| {
        let begin = Instant::now();
        let has = |heard: &BTreeMap<(String, String), u32>| {
            let of = |kind: &str, n: usize, id: &str| {
                heard.contains_key(&(format!("{kind}-{n}"), id.to_owned()))
            };
            (0..SOURCES).all(|n| of("plaza", n, post) && of("feed", n, event))
        };
        while !has(&heard) {
            assert!(begin.elapsed() < AGE_MAX, "{post} or {event} is missing: {heard:?}");
            let Heard::Json(json) = client.hear_soon() else { continue };
            if json["op"] == "event" {
                let text = |key: &str| json[key].as_str().expect("text").to_owned();
                *heard.entry((text("source"), text("id"))).or_default() += 1;
            }
        }
        heard.values().all(|times| *times == 1)
    };
    // A partner's first event may have been shown before we listened.
    partner.set_body(&happened(&[1, 2]));
    assert!(hear_all(&mut client, "before", "2"), "each once");
    nodes.take(0).kill_9();
    let survivor = &nodes.servers[0];
    for kind in ["plaza", "feed"] {
        until("the other has all", TAKEOVER_MAX, || held_of(survivor, kind).iter().all(|it| *it));
    }
    until("it listens to each", TAKEOVER_MAX, || {
        are(survivor, "connected", "plaza").iter().all(|it| *it)
    });
    streams.iter().for_each(|stream| stream.say(&post("after")));
    partner.set_body(&happened(&[1, 2, 3]));
    assert!(hear_all(&mut client, "after", "3"), "each once");
}
