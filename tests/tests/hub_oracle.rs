//! Claim: with sockets of any capacity, the hub sends each session exactly what a list of events
//! per session would.
//!
//! The oracle is the naive fan-out: an event is pushed to the list of every session that follows
//! one of its teams, and a list is emptied by stream, then by age. Bounds are out of reach here;
//! the simulation looks at those.

use std::collections::VecDeque;

use proptest::prelude::*;
use touchline_core::config::HubConfig;
use touchline_core::event::{Event, Route, Stream, StreamSet, Team, Topic};
use touchline_core::frame::{Batch, Published};
use touchline_core::log::{Epoch, Lane, LaneBounds, LogBounds, Mark, Position, Record, Span};
use touchline_core::protocol::{ClientMessage, Subscribe};
use touchline_core::time::{Monotonic, Timestamp};
use touchline_fanout::hub::{Hub, SessionId, Volley};

const EPOCH: Epoch = Epoch(3);
const SESSIONS: usize = 5;
const TEAMS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<(Vec<usize>, bool)>),
    Follow(usize, usize),
    Leave(usize, usize),
    /// Every socket takes this many bytes, then no more.
    Volleys(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let event = (prop::collection::vec(0..TEAMS, 1..3), any::<bool>());
    prop_oneof![
        4 => prop::collection::vec(event, 1..6).prop_map(Step::Publish),
        1 => (0..SESSIONS, 0..TEAMS).prop_map(|(session, team)| Step::Follow(session, team)),
        1 => (0..SESSIONS, 0..TEAMS).prop_map(|(session, team)| Step::Leave(session, team)),
        3 => prop_oneof![Just(1 << 20), 1..900usize].prop_map(Step::Volleys),
    ]
}

/// The naive session.
#[derive(Default)]
struct Naive {
    teams: Vec<usize>,
    queue: VecDeque<Published>,
}

struct World {
    hub: Hub,
    volley: Volley,
    ids: Vec<SessionId>,
    naive: Vec<Naive>,
    received: Vec<Vec<u8>>,
    next: u64,
}

fn bounds(next: u64) -> LogBounds {
    LogBounds { epoch: EPOCH, lanes: [LaneBounds::whole(0, next)].into() }
}

fn event(teams: &[usize], social: bool, seq: u64) -> Published {
    let names: Vec<String> = teams.iter().map(|team| format!("t{team}")).collect();
    let event = Event {
        stream: if social { Stream::Social } else { Stream::Broadcast },
        route: Route::new(&names).unwrap(),
        ..Event::sample(&seq.to_string(), "t0")
    };
    let position = Position { lane: Lane(0), seq };
    let record = Record { position, received_at: Timestamp(0), event };
    Published::encode(&record, EPOCH, Monotonic(seq))
}

impl World {
    fn new() -> Self {
        let start = Mark { epoch: EPOCH, next: [0].into() };
        let mut hub = Hub::new(HubConfig::default(), &bounds(0), &start);
        let ids = (0..SESSIONS).map(|_| hub.open(Monotonic(0))).collect();
        let naive = (0..SESSIONS).map(|_| Naive::default()).collect();
        Self {
            hub,
            volley: Volley::default(),
            ids,
            naive,
            received: vec![Vec::new(); SESSIONS],
            next: 0,
        }
    }

    fn publish(&mut self, events: &[(Vec<usize>, bool)]) {
        let from = self.next;
        let events: Vec<Published> = events
            .iter()
            .zip(from..)
            .map(|((teams, social), seq)| event(teams, *social, seq))
            .collect();
        self.next += events.len() as u64;
        for naive in &mut self.naive {
            let follows = |event: &&Published| {
                naive.teams.iter().any(|team| event.topic.route.contains(&name(*team)))
            };
            naive.queue.extend(events.iter().filter(follows).cloned());
        }
        let spans = vec![Span { lane: Lane(0), from, next: self.next }];
        self.hub.handle_batch(&Batch { spans, events, holes: Vec::new() }, Monotonic(1));
    }

    fn ask(&mut self, session: usize, message: ClientMessage) {
        let bounds = bounds(self.next);
        self.hub.handle_message(self.ids[session], message, &bounds, Monotonic(1)).unwrap();
    }

    fn follow(&mut self, session: usize, team: usize) {
        let streams = StreamSet::EMPTY.with(Stream::Broadcast).with(Stream::Social);
        let teams = vec![name(team)];
        self.ask(
            session,
            ClientMessage::Subscribe(Subscribe { teams, streams, ..Default::default() }),
        );
        if !self.naive[session].teams.contains(&team) {
            self.naive[session].teams.push(team);
        }
    }

    fn leave(&mut self, session: usize, team: usize) {
        self.ask(session, ClientMessage::Unsubscribe { id: None, teams: vec![name(team)] });
        let naive = &mut self.naive[session];
        naive.teams.retain(|of| *of != team);
        let teams: Vec<Team> = naive.teams.iter().map(|team| name(*team)).collect();
        naive.queue.retain(|event| teams.iter().any(|team| event.topic.route.contains(team)));
    }

    /// Sends with sockets that take `room` bytes each, and lets the oracle send what was said to
    /// fit.
    fn volleys(&mut self, room: usize) {
        let mut rooms = [room; SESSIONS];
        for id in &self.ids {
            self.hub.handle_writable(*id);
        }
        while self.hub.has_work() {
            self.hub.poll_volley(&mut self.volley, 3, Monotonic(1));
            for parcel in self.volley.parcels() {
                let session = self.ids.iter().position(|id| *id == parcel.session).unwrap();
                let bytes = self.volley.bytes(parcel);
                let sent = bytes.len().min(rooms[session]);
                rooms[session] -= sent;
                self.received[session].extend_from_slice(&bytes[..sent]);
                if sent < bytes.len() {
                    self.hub.settle(&self.volley, parcel, sent);
                }
            }
        }
        for session in 0..SESSIONS {
            self.compare(session);
        }
    }

    /// What has come is what the oracle would have sent: the same bytes, topic by topic in the same
    /// order.
    fn compare(&mut self, session: usize) {
        let naive = &mut self.naive[session];
        let mut bytes = &self.received[session][..];
        let mut used = 0;
        while let Some(len) = frame_len(bytes) {
            let frame = &bytes[..len];
            if let Some(seq) = seq_of(frame) {
                let at = naive.queue.iter().position(|event| event.position.seq == seq);
                let at = at.unwrap_or_else(|| panic!("session {session} is not owed {seq}"));
                let topic: Topic = naive.queue[at].topic.clone();
                let first = naive.queue.iter().position(|event| event.topic == topic);
                assert_eq!(
                    first,
                    Some(at),
                    "session {session}: {seq} before an older of its topic"
                );
                let owed = naive.queue.remove(at).unwrap();
                assert_eq!(owed.frame, frame);
            }
            used += len;
            bytes = &bytes[len..];
        }
        self.received[session].drain(..used);
    }

    fn nothing_is_owed(&self) {
        for (session, naive) in self.naive.iter().enumerate() {
            let owed: Vec<u64> = naive.queue.iter().map(|event| event.position.seq).collect();
            assert!(owed.is_empty(), "session {session} is owed {owed:?}");
        }
    }
}

fn name(team: usize) -> Team {
    Team::new(&format!("t{team}")).unwrap()
}

fn frame_len(bytes: &[u8]) -> Option<usize> {
    let (head, len) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        len => (2, usize::from(len)),
    };
    (bytes.len() >= head + len).then_some(head + len)
}

fn seq_of(frame: &[u8]) -> Option<u64> {
    let json: serde_json::Value =
        serde_json::from_slice(touchline_core::frame::payload(frame)).unwrap();
    (json["op"] == "event").then(|| json["id"].as_str().unwrap().parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn each_session_gets_what_its_own_list_would_hold(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Publish(events) => world.publish(&events),
                Step::Follow(session, team) => world.follow(session, team),
                // A half-sent frame is finished after leaving too: the oracle leaves between
                // frames.
                Step::Leave(session, team) => {
                    world.volleys(1 << 20);
                    world.leave(session, team);
                }
                Step::Volleys(room) => world.volleys(room),
            }
        }
        world.volleys(1 << 20);
        world.nothing_is_owed();
    }
}
