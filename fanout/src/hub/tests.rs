//! The hub's promises one at a time, in sequences short enough to be read. The simulation in
//! `tests/` runs all of them at once against an oracle.

mod bounds;
mod epochs;
mod fairness;
mod langs;
mod rereading;

use std::sync::Arc;

use touchline_core::config::HubConfig;
use touchline_core::event::{StreamSet, Team, Topic};
use touchline_core::frame::{self, Batch};
use touchline_core::log::{Lane, Mark, Position};
use touchline_core::protocol::{ClientMessage, Resume, Subscribe};
use touchline_core::time::Monotonic;

use super::testing::{EPOCH, batch, bounds, published, update};
use super::*;

const NOW: Monotonic = Monotonic(1);

struct Fixture {
    hub: Hub,
    volley: Volley,
    next: u64,
}

impl Fixture {
    fn new() -> Self {
        Self::with(HubConfig::default())
    }

    fn with(config: HubConfig) -> Self {
        let hub = Hub::new(config, &bounds(0, 0), &mark(0));
        Self { hub, volley: Volley::default(), next: 0 }
    }

    fn follower(&mut self, teams: &[&str], resume: Option<Resume>) -> SessionId {
        let id = self.hub.open(NOW);
        self.subscribe(id, teams, StreamSet::ALL, resume);
        id
    }

    fn subscribe(
        &mut self,
        id: SessionId,
        teams: &[&str],
        streams: StreamSet,
        resume: Option<Resume>,
    ) {
        let teams = teams.iter().map(|team| Team::new(team).unwrap()).collect();
        let subscribe = Subscribe { teams, streams, resume, ..Subscribe::default() };
        let message = ClientMessage::Subscribe(subscribe);
        self.hub.handle_message(id, message, &bounds(0, self.next), NOW).unwrap();
    }

    fn publish(&mut self, topics: &[&str]) {
        let from = self.next;
        let events =
            topics.iter().zip(from..).map(|(topic, seq)| published(topic, 0, seq)).collect();
        self.next += topics.len() as u64;
        self.hub.handle_batch(&batch(from, self.next, events), NOW);
    }

    /// One volley in which sockets take `capacity` bytes each. What each session got.
    fn volley(&mut self, capacity: usize) -> Vec<(SessionId, Vec<u8>)> {
        self.hub.poll_volley(&mut self.volley, 256, NOW);
        let mut got = Vec::new();
        for parcel in self.volley.parcels() {
            let bytes = self.volley.bytes(parcel);
            let sent = bytes.len().min(capacity);
            got.push((parcel.session, bytes[..sent].to_vec()));
            if sent < bytes.len() {
                self.hub.settle(&self.volley, parcel, sent);
            }
        }
        got
    }

    /// All that is due to `id` as texts of frames, sockets taking everything.
    fn drain(&mut self, id: SessionId) -> Vec<String> {
        let mut bytes = Vec::new();
        while self.hub.has_work() {
            self.hub.poll_volley(&mut self.volley, 256, NOW);
            let mine = self.volley.parcels().iter().filter(|parcel| parcel.session == id);
            mine.for_each(|parcel| bytes.extend_from_slice(self.volley.bytes(parcel)));
        }
        frames(&bytes)
    }
}

fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let (head, len) = match bytes[1] {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            len => (2, usize::from(len)),
        };
        texts.push(String::from_utf8(frame::payload(&bytes[..head + len]).to_vec()).unwrap());
        bytes = &bytes[head + len..];
    }
    texts
}

fn ids(texts: &[String]) -> Vec<String> {
    let value = |text: &String| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let of = |value: serde_json::Value| match value["op"].as_str().unwrap() {
        "event" => value["id"].as_str().unwrap().to_owned(),
        op => op.to_owned(),
    };
    texts.iter().map(value).map(of).collect()
}

fn mark(next: u64) -> Mark {
    Mark { epoch: EPOCH, next: [next].into() }
}

fn resume(next: u64, after: &[(&str, u64)]) -> Option<Resume> {
    let position = |seq| Position { lane: Lane(0), seq };
    let after =
        after.iter().map(|(topic, seq)| (Topic::parse(topic).unwrap(), EPOCH, position(*seq)));
    Some(Resume { mark: Some(mark(next)), after: after.collect() })
}

#[test]
fn a_follower_of_two_teams_of_a_route_gets_its_event_once() {
    let mut fixture = Fixture::new();
    let id = fixture.follower(&["ars", "che"], None);
    fixture.publish(&["broadcast:ars+che", "broadcast:bra", "broadcast:che"]);
    assert_eq!(ids(&fixture.drain(id)), ["subscribed", "e0", "e2"]);
}

#[test]
fn a_half_sent_frame_is_finished_first() {
    let mut fixture = Fixture::new();
    let id = fixture.follower(&["ars"], None);
    fixture.drain(id);
    fixture.publish(&["social:ars", "social:ars"]);
    let got = fixture.volley(100);
    assert_eq!(got[0].1.len(), 100);
    assert!(!fixture.hub.has_work(), "blocked");
    fixture.publish(&["broadcast:ars"]);
    fixture.hub.handle_writable(id);
    let mut bytes = got[0].1.clone();
    while fixture.hub.has_work() {
        fixture.volley(1 << 20).into_iter().for_each(|(_, text)| bytes.extend(text));
    }
    assert_eq!(ids(&frames(&bytes)), ["e0", "e2", "e1"], "then by priority");
}

#[test]
fn a_session_that_comes_back_goes_on_where_it_was() {
    let mut fixture = Fixture::new();
    fixture.publish(&["broadcast:ars", "broadcast:ars+che", "broadcast:ars", "broadcast:che"]);
    let id = fixture.follower(&["ars"], resume(1, &[("broadcast:ars", 2)]));
    let got = fixture.drain(id);
    assert!(got[0].contains(r#""recovered":true"#), "{}", got[0]);
    assert_eq!(ids(&got), ["subscribed", "e1"], "che alone is not followed, ars 2 is known");
}

#[test]
fn what_is_below_the_window_comes_from_the_log_and_then_live() {
    let mut fixture = Fixture::new();
    let config = HubConfig { windows_bytes_max: 0, ..HubConfig::default() };
    fixture.hub = Hub::new(config, &bounds(0, 0), &mark(0));
    fixture.publish(&["broadcast:ars", "broadcast:che", "broadcast:ars"]);
    fixture.publish(&["broadcast:bra"]);
    let id = fixture.follower(&["ars"], resume(0, &[]));
    assert_eq!(ids(&fixture.drain(id)), ["subscribed"]);
    let read = fixture.hub.poll_read(NOW).unwrap();
    assert_eq!(read.from.seq, 0);
    fixture.publish(&["broadcast:ars"]);
    assert_eq!(fixture.drain(id), [] as [String; 0], "not before its time");
    let events = [0, 2].map(|seq| published("broadcast:ars", 0, seq));
    fixture.hub.handle_read(Ok(Arc::new(batch(0, 4, events.to_vec()))), NOW);
    assert_eq!(ids(&fixture.drain(id)), ["e0", "e2", "e4"]);
    fixture.publish(&["broadcast:ars"]);
    assert_eq!(ids(&fixture.drain(id)), ["e5"]);
}

#[test]
fn a_mark_of_another_life_is_declared_not_whole() {
    let mut fixture = Fixture::new();
    fixture.publish(&["broadcast:ars"]);
    let other = Mark { epoch: Epoch(99), next: [0].into() };
    let id = fixture.follower(&["ars"], Some(Resume { mark: Some(other), after: Vec::new() }));
    let got = fixture.drain(id);
    assert!(got[0].contains(r#""recovered":false"#), "{}", got[0]);
    assert!(got[1].contains(r#""reason":"epoch""#), "{}", got[1]);
    let ahead = fixture.follower(&["ars"], resume(9, &[]));
    assert!(fixture.drain(ahead)[0].contains(r#""recovered":false"#));
}

#[test]
fn broadcast_out_of_bounds_closes_and_social_skips() {
    let mut config = HubConfig::default();
    config.streams.iter_mut().for_each(|stream| stream.queue_bytes_max = 600);
    let mut fixture = Fixture::with(config);
    let slow = fixture.follower(&["ars"], None);
    let thin = fixture.follower(&["che"], None);
    fixture.drain(slow);
    fixture.publish(&["broadcast:ars"; 9]);
    fixture.publish(&["social:che"; 9]);
    let got = ids(&fixture.drain(thin));
    assert_eq!(fixture.hub.poll_close(), Some((slow, CloseCause::Slow)));
    assert_eq!(got.first().unwrap(), "gap");
    assert_eq!(got.last().unwrap(), "e17");
    assert!(got.len() < 4, "{got:?}");
}

#[test]
fn an_update_that_is_still_unsent_gives_way_to_a_later_one() {
    let mut fixture = Fixture::new();
    let id = fixture.follower(&["ars"], None);
    fixture.drain(id);
    let events = vec![update("ars", 0, "a", 1), update("ars", 1, "b", 1), update("ars", 2, "a", 2)];
    fixture.hub.handle_batch(&batch(0, 3, events), NOW);
    assert_eq!(ids(&fixture.drain(id)), ["e1", "e2"]);
    assert_eq!(fixture.hub.stats().gaps, [0; 4], "conflated is not lost");
}

#[test]
fn a_heartbeat_of_a_lagging_session_stays_below_what_it_lacks() {
    let mut fixture = Fixture::new();
    let id = fixture.follower(&["ars"], None);
    fixture.drain(id);
    fixture.publish(&["broadcast:che", "broadcast:ars", "broadcast:che"]);
    fixture.hub.handle_heartbeat(id, &Bytes::from_static(b"\x89\x00"));
    let got = String::from_utf8_lossy(&fixture.volley(1 << 20).remove(0).1).into_owned();
    assert!(got.contains(&touchline_core::log::token::encode_mark(&mark(1))), "{got}");
    fixture.hub.handle_heartbeat(id, &Bytes::from_static(b"\x89\x00"));
    let got = String::from_utf8_lossy(&fixture.volley(1 << 20).remove(0).1).into_owned();
    assert!(got.contains(&touchline_core::log::token::encode_mark(&mark(3))), "{got}");
}

#[test]
fn a_missed_batch_is_read_again() {
    let mut fixture = Fixture::new();
    let id = fixture.follower(&["ars"], None);
    fixture.drain(id);
    fixture.hub.handle_batch(&batch(1, 2, vec![published("broadcast:ars", 0, 1)]), NOW);
    assert_eq!(fixture.drain(id), [] as [String; 0]);
    assert_eq!(fixture.hub.poll_read(NOW).unwrap().from.seq, 0);
    let events = [0, 1].map(|seq| published("broadcast:ars", 0, seq)).to_vec();
    fixture.hub.handle_read(Ok(Arc::new(batch(0, 2, events))), NOW);
    assert_eq!(ids(&fixture.drain(id)), ["e0", "e1"]);
    assert_eq!(fixture.hub.stats().rereads, 1);
}

#[test]
fn a_closing_session_ends_with_its_last_frame() {
    let mut fixture = Fixture::new();
    let id = fixture.follower(&["ars"], None);
    fixture.publish(&["broadcast:ars"]);
    fixture.hub.begin_close(id, Bytes::from_static(b"\x88\x00"));
    fixture.hub.poll_volley(&mut fixture.volley, 1, NOW);
    let parcel = fixture.volley.parcels()[0];
    assert!(parcel.last);
    assert!(fixture.volley.bytes(&parcel).ends_with(b"\x88\x00"));
    fixture.hub.close(id);
    assert_eq!(fixture.hub.stats().sessions, 0);
    let again = fixture.hub.open(NOW);
    assert_eq!((again.index, again.generation), (id.index, id.generation + 1));
}

#[test]
fn tries_that_move_nothing_are_no_progress() {
    let mut it = Fixture::new();
    let id = it.follower(&["ars"], None);
    it.drain(id);
    it.publish(&["broadcast:ars"]);
    let stall_max = it.hub.config.stall_max;
    let mut now = NOW + stall_max * 10;
    let begin = now;
    while now.since(begin) < stall_max {
        it.hub.poll_volley(&mut it.volley, 256, now);
        let parcel = it.volley.parcels()[0];
        it.hub.settle(&it.volley, &parcel, 0);
        it.hub.handle_stall(id, now);
        assert_eq!(it.hub.poll_close(), None, "after {:?}", now.since(begin));
        it.hub.handle_writable(id);
        now = now + stall_max / 10;
    }
    it.hub.poll_volley(&mut it.volley, 256, now);
    let parcel = it.volley.parcels()[0];
    it.hub.settle(&it.volley, &parcel, 0);
    it.hub.handle_stall(id, now);
    assert_eq!(it.hub.poll_close(), Some((id, CloseCause::Stalled)));
}

#[test]
fn a_try_that_went_out_whole_is_progress() {
    let mut it = Fixture::new();
    let id = it.follower(&["ars"], None);
    it.drain(id);
    let mut now = NOW;
    for _ in 0..3 {
        it.publish(&["broadcast:ars"]);
        it.hub.poll_volley(&mut it.volley, 256, now);
        let parcel = it.volley.parcels()[0];
        it.hub.settle(&it.volley, &parcel, 0);
        it.hub.handle_writable(id);
        it.hub.poll_volley(&mut it.volley, 256, now);
        now = now + it.hub.config.stall_max;
    }
    it.publish(&["broadcast:ars"]);
    it.hub.poll_volley(&mut it.volley, 256, now);
    let parcel = it.volley.parcels()[0];
    it.hub.settle(&it.volley, &parcel, 0);
    it.hub.handle_stall(id, now);
    assert_eq!(it.hub.poll_close(), None, "it took all but the last");
}

#[test]
fn what_is_read_back_says_nothing_of_latency() {
    let mut it = Fixture::new();
    it.follower(&["ars"], None);
    while it.hub.has_work() {
        it.hub.poll_volley(&mut it.volley, 256, NOW);
    }
    let read_back = |seq, is_read_back| {
        let event = published("broadcast:ars", 0, seq);
        touchline_core::frame::Published { is_read_back, ..event }
    };
    it.hub.handle_batch(&batch(0, 1, vec![read_back(0, true)]), NOW);
    it.hub.poll_volley(&mut it.volley, 256, NOW);
    let news = it.volley.parcels()[0].news;
    assert_eq!((news.frames, news.durable_at, news.occurred_at), (1, None, None));
    it.hub.handle_batch(&batch(1, 3, vec![read_back(1, true), read_back(2, false)]), NOW);
    it.hub.poll_volley(&mut it.volley, 256, NOW);
    let news = it.volley.parcels()[0].news;
    assert_eq!((news.frames, news.durable_at), (2, Some(Monotonic(2))), "that of the live one");
}
