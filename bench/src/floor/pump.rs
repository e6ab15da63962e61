//! One thread of the floor: accepts, then sends each event to each follower, and nothing else.
//!
//! Teams may be sent by different hands, each with options of its own: so variants can be compared
//! in one process, on sockets that lie beside each other in the kernel's memory. What each round
//! cost is then told.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use anyhow::Result;
use touchline_core::event::{Event, Route, Stream};
use touchline_core::frame::{Published, text_frame};
use touchline_core::log::{Epoch, Lane, Position, Record};
use touchline_core::time::{Monotonic, Timestamp};

use super::ledger::Ledger;
use super::options::Options;
use super::team::{Hand, Team};
use super::tune;
use crate::dialogue::KEY_ACCEPTED;
use crate::schedule::{Plan, team_name};
use crate::sys::{self, Epoll, Ready};

const LISTENER: u64 = u64::MAX;
/// How long a thread without work sleeps before it looks again whether a blocked socket takes
/// bytes.
const BLOCKED_NS: u64 = 500_000;

/// The thread's state.
pub struct Pump {
    hands: Vec<Hand>,
    ledger: Option<Ledger>,
    listener: TcpListener,
    epoll: Epoll,
    shaking: HashMap<RawFd, OwnedFd>,
    teams: Vec<Team>,
}

impl Pump {
    /// A pump that accepts from `listener` and sends to team n with the options of number n, again
    /// from the first where there are fewer; call it on its own thread.
    pub fn new(
        options: Vec<Options>,
        files_max: u32,
        ledger: Option<Ledger>,
        listener: TcpListener,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(listener.as_raw_fd(), libc::EPOLLIN, LISTENER)?;
        let hand = |options| Hand::new(options, files_max);
        let hands = options.into_iter().map(hand).collect::<io::Result<_>>()?;
        let (shaking, teams) = (HashMap::new(), Vec::new());
        Ok(Self { hands, ledger, listener, epoll, shaking, teams })
    }

    /// Accepts, and plays the schedules it is sent, until nobody can send one any more.
    pub fn run(&mut self, plans: &Receiver<Arc<Plan>>) -> Result<()> {
        loop {
            match plans.try_recv() {
                Ok(plan) => self.play(&plan)?,
                Err(TryRecvError::Empty) => self.accept(10)?,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    fn accept(&mut self, timeout_ms: i32) -> io::Result<()> {
        let mut ready = [Ready { events: 0, u64: 0 }; 256];
        let count = self.epoll.wait(&mut ready, timeout_ms)?;
        for event in &ready[..count] {
            match event.u64 {
                LISTENER => {
                    while let Some(fd) = sys::accept(self.listener.as_raw_fd())? {
                        let raw = fd.as_raw_fd();
                        self.epoll.add(raw, libc::EPOLLIN, raw as u64)?;
                        self.shaking.insert(raw, fd);
                    }
                }
                raw => self.shake(raw as RawFd)?,
            }
        }
        Ok(())
    }

    /// The fixed handshake: whatever was asked, the same answer; the team is read from the URL.
    fn shake(&mut self, raw: RawFd) -> io::Result<()> {
        let mut request = [0; 1_024];
        let Some(fd) = self.shaking.remove(&raw) else { return Ok(()) };
        let got = sys::recv(raw, &mut request).unwrap_or(0);
        if got == 0 {
            return Ok(());
        }
        self.epoll.remove(raw)?;
        let team = team_of(&request[..got]);
        self.teams.resize_with(self.teams.len().max(team + 1), Team::default);
        // Its only clients are the bench's, whose key is always the same.
        let mut reply = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Accept: {KEY_ACCEPTED}\r\n\r\n"
        )
        .into_bytes();
        reply.extend_from_slice(&text_frame(br#"{"op":"subscribed"}"#));
        if sys::send(raw, &reply).is_ok() {
            let index = team % self.hands.len();
            self.hands[index].register(raw)?;
            if index > 0 {
                tune(&fd, &self.hands[index].options)?;
            }
            self.teams[team].add(fd);
        }
        Ok(())
    }

    /// Sends everything in `plan`, to the last byte of the last socket.
    fn play(&mut self, plan: &Plan) -> io::Result<()> {
        let team_count = (plan.teams() as usize).max(self.teams.len());
        self.teams.resize_with(team_count, Team::default);
        // Events are alike but for their numbers.
        let frame_bytes_max = frame(plan, 0).len() + 32;
        for (team, number) in self.teams.iter_mut().zip(0..) {
            let events = plan.events_of(number);
            let options = &self.hands[number as usize % self.hands.len()].options;
            team.prepare(options, events as usize * frame_bytes_max)?;
        }
        let (mut next, events) = (0, plan.events());
        loop {
            let now = sys::now_ns();
            while next < events && plan.due_ns(next) <= now {
                let team = &mut self.teams[plan.team(next) as usize];
                if !team.is_empty() {
                    team.append(&frame(plan, next));
                }
                next += 1;
            }
            let progress = self.round()?;
            let is_behind = self.teams.iter().any(|team| team.behind);
            match (is_behind, next < events) {
                (true, _) if progress => {}
                (true, _) => self.rest_until(now + BLOCKED_NS),
                (false, true) => self.rest_until(plan.due_ns(next)),
                (false, false) => return self.hands.iter_mut().try_for_each(Hand::settle),
            }
        }
    }

    fn rest_until(&self, deadline_ns: u64) {
        let spin_end_ns = deadline_ns.min(sys::now_ns() + self.hands[0].options.spin_us * 1_000);
        while self.hands[0].options.spin_us > 0 && sys::now_ns() < spin_end_ns {
            std::hint::spin_loop();
        }
        sys::sleep_until(deadline_ns);
    }

    /// Visits every team that is behind once; says whether any socket took anything.
    fn round(&mut self) -> io::Result<bool> {
        let mut progress = false;
        let hands = self.hands.len();
        for (number, team) in self.teams.iter_mut().enumerate().filter(|(_, team)| team.behind) {
            self.ledger.as_mut().map_or(Ok(()), Ledger::begin)?;
            let round = self.hands[number % hands].round(team)?;
            progress |= round.taken > 0;
            if let Some(ledger) = &mut self.ledger {
                ledger.end(number % hands, round.sends);
            }
        }
        Ok(progress)
    }
}

/// The very bytes Touchline would send for event `n`.
fn frame(plan: &Plan, n: u32) -> bytes::Bytes {
    let team = team_name(plan.team(n));
    let due = plan.due_ns(n);
    let event = Event {
        stream: Stream::Broadcast,
        source: crate::publish::SOURCE.into(),
        id: crate::publish::event_id(0, n).into(),
        route: Route::new(&[team]).expect("a team's name is a valid one"),
        kind: crate::publish::KIND.into(),
        occurred_at: Timestamp(1_700_000_000_123_456 + (due / 1_000_000) as i64),
        data: plan.data(n).into(),
        lang: None,
        supersedes: None,
        sensor: None,
        trace: None,
        correlation: "floor".into(),
    };
    let position = Position { lane: Lane(0), seq: u64::from(n) };
    let record = Record { position, received_at: Timestamp(0), event };
    Published::encode(&record, Epoch(1), Monotonic(0)).frame
}

/// The team in `GET /v1/stream?teams=t017&...`; 0 where there is none.
fn team_of(request: &[u8]) -> usize {
    let text = std::str::from_utf8(request).unwrap_or_default();
    let digits = text.split_once("teams=t").map_or("", |(_, rest)| rest);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Phase, Schedule};
    use crate::stamp::{Plain, Stamp};

    #[test]
    fn the_floor_sends_what_receivers_understand() {
        let phases = vec![Phase::even("x", 10.0, 0.4, 3)];
        let plan = Schedule { start_ns: 77, teams: 3, pad: 0, phases }.plan();
        let frame = frame(&plan, 3);
        let stamp = Stamp::find::<Plain>(touchline_core::frame::payload(&frame)).unwrap();
        assert_eq!(stamp, Stamp { t: plan.due_ns(3), seq: 1, n: 3 });
        assert!((200..300).contains(&frame.len()), "{} bytes", frame.len());
    }

    #[test]
    fn the_team_is_read_from_the_url() {
        assert_eq!(team_of(b"GET /v1/stream?teams=t017&streams=broadcast HTTP/1.1"), 17);
        assert_eq!(team_of(b"GET / HTTP/1.1"), 0);
    }
}
