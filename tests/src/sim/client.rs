//! A client that follows the protocol to the letter, and its socket.
//!
//! The socket holds what the hub was told the kernel took. It reaches the client a little later; a
//! reset loses what is still under way (R10). The client keeps what RULES.md asks a client to keep,
//! and hands every frame to its oracle.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use serde_json::Value;
use touchline_core::event::{Lang, StreamSet, Team, Topic};
use touchline_core::frame::payload;
use touchline_core::log::{Epoch, Mark, Position, token};
use touchline_core::protocol::Resume;
use touchline_fanout::hub::SessionId;

use super::causes::Grounds;
use super::log::SimLog;
use super::oracle::{GapPlace, Owed};

/// One person with a screen: keeps what it knows over many connections.
pub(super) struct Client {
    pub(super) session: Option<SessionId>,
    pub(super) teams: Vec<Team>,
    pub(super) streams: StreamSet,
    pub(super) lang: Option<Lang>,
    pub(super) socket: Socket,
    pub(super) mark: Option<Mark>,
    pub(super) after: BTreeMap<Topic, (Epoch, Position)>,
    pub(super) owed: Owed,
    /// Lives of the log that have ended, but the client has yet to be told: its frames are of the
    /// first of them, until a `gap` says so (R8).
    pub(super) before: VecDeque<(Rc<SimLog>, Owed)>,
    /// Topics that the hub had evicted when the client was last seen caught up.
    pub(super) evicted_before: u64,
    /// Where its first subscribe put it, if the shard had yet to read that far.
    pub(super) stands_at: Vec<u64>,
    /// Ticks until it comes back.
    pub(super) away: u64,
    received: Vec<u8>,
    /// Print what this client hears and does.
    pub(super) traced: bool,
}

/// What the kernel holds for one client.
#[derive(Default)]
pub(super) struct Socket {
    under_way: VecDeque<u8>,
    pub(super) room: usize,
    pub(super) stalled: u64,
}

impl Socket {
    /// Takes as much of `bytes` as there is room for.
    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room);
        self.under_way.extend(&bytes[..taken]);
        self.room -= taken;
        taken
    }
}

impl Client {
    pub(super) fn new(teams: Vec<Team>, streams: StreamSet, lang: Option<Lang>) -> Self {
        Self {
            session: None,
            teams,
            streams,
            lang,
            socket: Socket::default(),
            mark: None,
            after: BTreeMap::new(),
            owed: Owed::default(),
            before: VecDeque::new(),
            evicted_before: 0,
            stands_at: Vec::new(),
            away: 0,
            received: Vec::new(),
            traced: false,
        }
    }

    /// What it resumes with; `None` before it was ever given a mark.
    pub(super) fn resume(&self) -> Option<Resume> {
        let after =
            self.after.iter().map(|(topic, (epoch, position))| (topic.clone(), *epoch, *position));
        self.mark.as_ref().map(|mark| Resume { mark: Some(mark.clone()), after: after.collect() })
    }

    /// The connection is gone, with all that was under way.
    pub(super) fn disconnect(&mut self) {
        self.trace(|| "is disconnected".into());
        self.session = None;
        self.stands_at.clear();
        self.socket = Socket::default();
        self.received.clear();
        self.before.clear();
        self.owed.disconnected();
    }

    /// Takes what has arrived and checks each whole frame.
    pub(super) fn receive(&mut self, log: &SimLog, grounds: &Grounds) -> Result<(), String> {
        self.received.extend(self.socket.under_way.drain(..));
        let mut begin = 0;
        while let Some(len) = frame_len(&self.received[begin..]) {
            let frame: Vec<u8> = self.received[begin..begin + len].to_vec();
            begin += len;
            self.handle(&frame, log, grounds)?;
        }
        self.received.drain(..begin);
        Ok(())
    }

    /// Says what happens to this client, if it is the one that is looked at.
    pub(super) fn trace(&self, line: impl FnOnce() -> String) {
        if self.traced {
            println!("{}", line());
        }
    }

    fn handle(&mut self, frame: &[u8], log: &SimLog, grounds: &Grounds) -> Result<(), String> {
        if frame[0] != 0x81 {
            return Ok(());
        }
        let json: serde_json::Value = serde_json::from_slice(payload(frame))
            .map_err(|error| format!("a client got a text that is no JSON: {error}"))?;
        self.trace(|| heard(&json));
        if self.hears_of_a_new_life(&json, log)? {
            return Ok(());
        }
        let (log, owed) = match self.before.front_mut() {
            Some((log, owed)) => (&**log, owed),
            None => (log, &mut self.owed),
        };
        owed.expects(&json)?;
        match json["op"].as_str().unwrap_or_default() {
            "event" => {
                let event = owed.event(&json, frame, log)?;
                self.after.insert(event.0, (log.epoch, event.1));
            }
            "subscribed" => {
                for event in json["snapshot"].as_array().into_iter().flatten() {
                    let (topic, position) = owed.snapshot(event, log)?;
                    self.after.insert(topic, (log.epoch, position));
                }
                self.mark = Some(owed.subscribed(&json, log)?);
            }
            "mark" => self.mark = Some(owed.mark(&json, log)?),
            "gap" => match owed.gap(&json, log, grounds)? {
                GapPlace::Topic(topic, position) => {
                    self.after.insert(topic, (log.epoch, position));
                }
                GapPlace::Mark(mark) => self.mark = Some(mark),
            },
            _ => {}
        }
        Ok(())
    }
}

impl Client {
    /// The log has begun anew under this client: what it follows goes on at `begin`.
    pub(super) fn begin_life(&mut self, ended: &Rc<SimLog>, begin: &Mark) {
        let next = self.owed.of_next_life(begin);
        let owed = std::mem::replace(&mut self.owed, next);
        self.before.push_back((Rc::clone(ended), owed));
        self.stands_at.clear();
    }

    /// A `gap` of reason `epoch` to somebody who was connected when the log began anew: from where
    /// he stood in the old life to the beginning of the next. Positions of the old one are void.
    fn hears_of_a_new_life(&mut self, json: &Value, log: &SimLog) -> Result<bool, String> {
        // Who came back just before is first told of the life that it came from.
        let is_next = |(_, owed): &(_, Owed)| !owed.comes_from_another_life;
        if !self.before.front().is_some_and(is_next) || json["reason"] != "epoch" {
            return Ok(false);
        }
        let mark = |name: &str| {
            let mark = token::decode_mark(json[name].as_str().unwrap_or_default());
            mark.map_err(|error| format!("R8: `{name}` of {json}: {error}"))
        };
        let (from, to) = (mark("from")?, mark("to")?);
        let Some((ended, mut owed)) = self.before.pop_front() else { return Ok(false) };
        let next = self.before.front().map_or(log.epoch, |(log, _)| log.epoch);
        if (from.epoch, to.epoch) != (ended.epoch, next) {
            return Err(format!("R8: from life {:?} to {:?}", from.epoch, to.epoch));
        }
        // What lies below `from` was complete: no hole of the old life goes undeclared.
        owed.complete_below(&from, &ended)?;
        let owed = self.before.front_mut().map_or(&mut self.owed, |(_, owed)| owed);
        owed.declared += 1;
        owed.stand_at(&to);
        self.after.clear();
        self.mark = Some(to);
        Ok(true)
    }
}

/// A frame in short: events by their topic and place.
fn heard(json: &serde_json::Value) -> String {
    let place = json["pos"].as_str().and_then(|pos| token::decode_position(pos).ok());
    match place {
        Some((_, place)) => format!("hears {} at {}/{}", json["topic"], place.lane.0, place.seq),
        None => {
            let mark = json["mark"].as_str().and_then(|mark| token::decode_mark(mark).ok());
            format!("hears {json} {:?}", mark.map(|mark| mark.next))
        }
    }
}

/// The length of the frame at the head of `bytes`, once it is there as a whole.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let (head, len) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        len => (2, usize::from(len)),
    };
    (bytes.len() >= head + len).then_some(head + len)
}
