//! One thread of the floor: accepts, then sends each event to each follower, and nothing else.
//!
//! A team's events are one run of bytes that only grows; a socket is a cursor in it. A round visits
//! the sockets of the teams that have news, starting elsewhere each time, and hands the kernel what
//! lies between cursor and end.

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

use super::Kind;
use crate::limits::{VISIT_BYTES_MAX, VOLLEY_SENDS_MAX};
use crate::schedule::{Plan, team_name};
use crate::sys::{self, Epoll, Ready, Ring, Send};

const LISTENER: u64 = u64::MAX;
/// How long a thread without work sleeps before it looks again whether a blocked socket takes
/// bytes.
const BLOCKED_NS: u64 = 500_000;

struct Follower {
    fd: OwnedFd,
    sent: u64,
}

#[derive(Default)]
struct Team {
    bytes: Vec<u8>,
    followers: Vec<Follower>,
    behind: bool,
    start: usize,
}

/// The thread's state.
pub struct Pump {
    listener: TcpListener,
    epoll: Epoll,
    ring: Option<Ring>,
    shaking: HashMap<RawFd, OwnedFd>,
    teams: Vec<Team>,
}

impl Pump {
    /// A pump that accepts from `listener`; call it on its own thread.
    pub fn new(kind: Kind, listener: TcpListener) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(listener.as_raw_fd(), libc::EPOLLIN, LISTENER)?;
        let ring = match kind {
            Kind::Send => None,
            Kind::Volley => Some(Ring::new(VOLLEY_SENDS_MAX)?),
        };
        Ok(Self { listener, epoll, ring, shaking: HashMap::new(), teams: Vec::new() })
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
        let mut reply = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Accept: fixed\r\n\r\n"
            .to_vec();
        reply.extend_from_slice(&text_frame(br#"{"op":"subscribed"}"#));
        if sys::send(raw, &reply).is_ok() {
            self.teams[team].followers.push(Follower { fd, sent: 0 });
        }
        Ok(())
    }

    /// Sends everything in `plan`, to the last byte of the last socket.
    fn play(&mut self, plan: &Plan) -> io::Result<()> {
        let team_count = (plan.teams() as usize).max(self.teams.len());
        self.teams.resize_with(team_count, Team::default);
        for team in &mut self.teams {
            team.bytes = Vec::new();
            team.followers.iter_mut().for_each(|follower| follower.sent = 0);
        }
        let (mut next, events) = (0, plan.events());
        loop {
            let now = sys::now_ns();
            while next < events && plan.due_ns(next) <= now {
                let team = &mut self.teams[plan.team(next) as usize];
                if !team.followers.is_empty() {
                    team.bytes.extend_from_slice(&frame(plan, next));
                    team.behind = true;
                }
                next += 1;
            }
            let progress = self.round()?;
            let is_behind = self.teams.iter().any(|team| team.behind);
            match (is_behind, next < events) {
                (true, _) if progress => {}
                (true, _) => sys::sleep_until(now + BLOCKED_NS),
                (false, true) => sys::sleep_until(plan.due_ns(next)),
                (false, false) => return Ok(()),
            }
        }
    }

    /// Visits every team that is behind once; says whether any socket took anything.
    fn round(&mut self) -> io::Result<bool> {
        let mut progress = false;
        for team in self.teams.iter_mut().filter(|team| team.behind) {
            progress |= volley(team, self.ring.as_mut())?;
            team.start = team.start.wrapping_add(4_099);
            let end = team.bytes.len() as u64;
            team.behind = team.followers.iter().any(|follower| follower.sent < end);
        }
        Ok(progress)
    }
}

fn volley(team: &mut Team, mut ring: Option<&mut Ring>) -> io::Result<bool> {
    let end = team.bytes.len() as u64;
    let count = team.followers.len();
    let mut progress = false;
    let mut picked: Vec<usize> = Vec::with_capacity(VOLLEY_SENDS_MAX);
    let mut dead: Vec<usize> = Vec::new();
    for step in 0..count {
        let index = (team.start + step) % count;
        if team.followers[index].sent < end {
            picked.push(index);
        }
        if picked.len() == VOLLEY_SENDS_MAX || step + 1 == count {
            progress |= fire(team, &picked, ring.as_deref_mut(), &mut dead)?;
            picked.clear();
        }
    }
    dead.sort_unstable();
    for index in dead.into_iter().rev() {
        team.followers.swap_remove(index);
    }
    Ok(progress)
}

/// One batch of sends; cursors move by what the kernel took.
fn fire(
    team: &mut Team,
    picked: &[usize],
    ring: Option<&mut Ring>,
    dead: &mut Vec<usize>,
) -> io::Result<bool> {
    let sends: Vec<Send<'_>> = picked
        .iter()
        .map(|index| {
            let follower = &team.followers[*index];
            let to = (follower.sent + VISIT_BYTES_MAX).min(team.bytes.len() as u64);
            let bytes = &team.bytes[follower.sent as usize..to as usize];
            Send { fd: follower.fd.as_raw_fd(), bytes }
        })
        .collect();
    let mut taken: Vec<i64> = sends.iter().map(|send| send.bytes.len() as i64).collect();
    match ring {
        Some(ring) => ring.send_all(&sends, |index, result| taken[index] = result.into())?,
        None => {
            for (send, taken) in sends.iter().zip(&mut taken) {
                *taken = match sys::send(send.fd, send.bytes) {
                    Ok(sent) => sent as i64,
                    Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
                };
            }
        }
    }
    let mut progress = false;
    for (index, taken) in picked.iter().zip(taken) {
        match taken {
            0.. => {
                team.followers[*index].sent += taken as u64;
                progress |= taken > 0;
            }
            error if error == -i64::from(libc::EAGAIN) => {}
            _ => dead.push(*index),
        }
    }
    Ok(progress)
}

/// The very bytes Touchline would send for event `n`.
fn frame(plan: &Plan, n: u32) -> bytes::Bytes {
    let team = team_name(plan.team(n));
    let due = plan.due_ns(n);
    let event = Event {
        stream: Stream::Broadcast,
        source: crate::publish::SOURCE.into(),
        id: crate::publish::event_id(n).into(),
        route: Route::new(&[team]).expect("a team's name is a valid one"),
        kind: crate::publish::KIND.into(),
        occurred_at: Timestamp(1_700_000_000_123_456 + (due / 1_000_000) as i64),
        data: plan.data(n).into(),
        lang: None,
        supersedes: None,
        sensor: None,
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
    use crate::stamp::Stamp;

    #[test]
    fn the_floor_sends_what_receivers_understand() {
        let phases = vec![Phase::even("x", 10.0, 0.4, 3)];
        let plan = Schedule { start_ns: 77, teams: 3, pad: 0, phases }.plan();
        let frame = frame(&plan, 3);
        let stamp = Stamp::find(touchline_core::frame::payload(&frame)).unwrap();
        assert_eq!(stamp, Stamp { t: plan.due_ns(3), seq: 1, n: 3 });
        assert!((200..300).contains(&frame.len()), "{} bytes", frame.len());
    }

    #[test]
    fn the_team_is_read_from_the_url() {
        assert_eq!(team_of(b"GET /v1/stream?teams=t017&streams=broadcast HTTP/1.1"), 17);
        assert_eq!(team_of(b"GET / HTTP/1.1"), 0);
    }
}
