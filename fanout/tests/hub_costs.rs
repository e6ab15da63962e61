//! Claim: following and unfollowing, ending a session, and the first event of a new route cost in
//! proportion to what they touch, however many sessions there are.
//!
//! Each step is timed in a hub of 1,000 and in one of 50,000 sessions, in turns, and of many rounds
//! the quickest counts: noise of the host only ever adds. A step that looked at every session would
//! take dozens of times as long in the large hub; caches may make it a few times as long.

use std::time::{Duration, Instant};

use bytes::Bytes;
use touchline_core::config::HubConfig;
use touchline_core::event::{Event, Lang, StreamSet, Team};
use touchline_core::frame::{Batch, Published};
use touchline_core::log::{Epoch, Lane, LaneBounds, LogBounds, Mark, Position, Record, Span};
use touchline_core::protocol::{ClientMessage, Resume, Subscribe};
use touchline_core::time::{Monotonic, Timestamp};
use touchline_fanout::hub::{Hub, SessionId, Volley};

const EPOCH: Epoch = Epoch(3);
const NOW: Monotonic = Monotonic(1);
/// Steps of one round.
const STEPS: u64 = 100;
const ROUNDS: usize = 25;
/// How much longer a step may take among fifty times as many sessions.
const TIMES_MAX: u32 = 5;

/// A hub whose sessions all follow `ars`, and the step that is timed.
struct Crowd {
    hub: Hub,
    volley: Volley,
    one: SessionId,
    next: u64,
}

fn bounds(next: u64) -> LogBounds {
    LogBounds { epoch: EPOCH, lanes: [LaneBounds::whole(0, next)].into() }
}

fn goal(route: &str, seq: u64) -> Published {
    let event = Event::sample(&seq.to_string(), route);
    let position = Position { lane: Lane(0), seq };
    Published::encode(&Record { position, received_at: Timestamp(0), event }, EPOCH, NOW)
}

impl Crowd {
    fn of(sessions: usize) -> Self {
        let start = Mark { epoch: EPOCH, next: [0].into() };
        let mut hub = Hub::new(HubConfig::default(), &bounds(0), &start);
        hub.reserve_sessions(sessions + 1);
        let one = hub.open(NOW);
        let mut crowd = Self { hub, volley: Volley::default(), one, next: 0 };
        for _ in 0..sessions {
            let id = crowd.hub.open(NOW);
            crowd.follow(id, "ars", None);
        }
        crowd.follow(one, "one", None);
        crowd.send_all();
        crowd
    }

    fn follow(&mut self, id: SessionId, team: &str, lang: Option<Lang>) {
        let teams = vec![Team::new(team).unwrap()];
        let subscribe = Subscribe { teams, streams: StreamSet::ALL, lang, ..Subscribe::default() };
        self.ask(id, ClientMessage::Subscribe(subscribe));
    }

    fn ask(&mut self, id: SessionId, message: ClientMessage) {
        self.hub.handle_message(id, message, &bounds(self.next), NOW).unwrap();
    }

    fn publish(&mut self, route: &str) {
        let (from, next) = (self.next, self.next + 1);
        self.next = next;
        let spans = vec![Span { lane: Lane(0), from, next }];
        let batch = Batch { spans, events: vec![goal(route, from)], holes: Vec::new() };
        self.hub.handle_batch(&batch, NOW);
    }

    fn send_all(&mut self) {
        while self.hub.has_work() {
            self.hub.poll_volley(&mut self.volley, 256, NOW);
        }
    }
}

fn follows_and_leaves_the_team_of_all(crowd: &mut Crowd, _: u64) {
    let one = crowd.one;
    crowd.follow(one, "ars", None);
    let teams = vec![Team::new("ars").unwrap()];
    crowd.ask(one, ClientMessage::Unsubscribe { id: None, teams });
    crowd.send_all();
}

fn comes_and_goes(crowd: &mut Crowd, number: u64) {
    let id = crowd.hub.open(NOW);
    crowd.follow(id, "ars", Some(Lang::new(&format!("x{number}")).unwrap()));
    crowd.hub.close(id);
}

fn comes_back_and_goes(crowd: &mut Crowd, number: u64) {
    let id = crowd.hub.open(NOW);
    let mark = Mark { epoch: EPOCH, next: [crowd.next].into() };
    let resume = Some(Resume { mark: Some(mark), after: Vec::new() });
    let teams = vec![Team::new(&format!("z{number}")).unwrap()];
    let subscribe = Subscribe { teams, streams: StreamSet::ALL, resume, ..Subscribe::default() };
    crowd.ask(id, ClientMessage::Subscribe(subscribe));
    crowd.send_all();
    crowd.hub.close(id);
}

fn a_route_has_its_first_event(crowd: &mut Crowd, number: u64) {
    crowd.publish(&format!("n{number}+one"));
    crowd.send_all();
}

fn a_session_is_told_and_pinged(crowd: &mut Crowd, _: u64) {
    let one = crowd.one;
    crowd.hub.handle_heartbeat(one, &Bytes::from_static(b"\x89\x00"));
    crowd.ask(one, ClientMessage::Ping { id: None });
    crowd.send_all();
}

fn round(crowd: &mut Crowd, step: fn(&mut Crowd, u64), number: u64) -> Duration {
    let begin = Instant::now();
    (0..STEPS).for_each(|at| step(crowd, number * STEPS + at));
    begin.elapsed()
}

type Step = fn(&mut Crowd, u64);

#[test]
fn what_touches_one_session_costs_the_same_among_fifty_times_as_many() {
    let steps: [(&str, Step); 5] = [
        ("following and unfollowing", follows_and_leaves_the_team_of_all),
        ("a session that comes and goes", comes_and_goes),
        ("one that comes back and goes", comes_back_and_goes),
        ("the first event of a route", a_route_has_its_first_event),
        ("an answer and a heartbeat", a_session_is_told_and_pinged),
    ];
    let (mut small, mut large) = (Crowd::of(1_000), Crowd::of(50_000));
    for (name, step) in steps {
        let mut best = [Duration::MAX; 2];
        for number in 0..ROUNDS as u64 {
            best[0] = best[0].min(round(&mut small, step, number));
            best[1] = best[1].min(round(&mut large, step, number));
        }
        println!("{name}: {:?} among 1,000, {:?} among 50,000", best[0], best[1]);
        assert!(best[1] < best[0] * TIMES_MAX, "{name}: {best:?} for {STEPS} steps");
    }
}
