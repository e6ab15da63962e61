//! One client's connection: what has come out of it so far, and what that means.
//!
//! [`take`] is the hot loop of the whole generator: everything in it is multiplied by millions of
//! deliveries a second.

use std::os::fd::{AsRawFd, OwnedFd};

use super::crowd::{Client, Reading};
use super::ended::{Ended, WITHOUT_CLOSE};
use super::harvest::Counts;
use super::tally::Tally;
use super::told::{self, ByStream};
use crate::dialogue::{Dialogue, KEY_ACCEPTED, Known};
use crate::frames::{self, Head, OutOfStep};
use crate::limits::WAITED_FOR_BYTES_MAX;
use crate::message::Message;
use crate::schedule::{Plan, Stream};
use crate::stamp::Stamp;
use crate::sys;

/// What of an answer is shown.
const LINE_CHARS_MAX: usize = 100;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The kernel is at it.
    Connecting,
    /// The upgrade has been sent.
    Shaking,
    /// The server has said 101.
    Subscribing,
    /// Has heard `subscribed`; the worker counts it once it is done with the read.
    Subscribed,
    /// Follows its team.
    Live,
    /// Has lost its connection and waits to come back.
    Away,
    /// Has ended for good.
    Gone,
}

/// A client and its connection.
pub struct Conn {
    /// Its socket, while it has one.
    pub fd: Option<OwnedFd>,
    /// Who it is.
    pub client: Client,
    /// How far it has come.
    pub phase: Phase,
    /// Lines of the dialogue that it has said.
    pub said: u8,
    /// Of each stream the number of the event that should come next.
    pub next: [u32; Stream::COUNT],
    /// What is left of a frame that hasn't arrived whole.
    pub rest: Vec<u8>,
    /// Bytes yet to come of a frame that is too large to wait for.
    pub under_way: usize,
    /// What was told of each stream to be missing, since its last event.
    pub told: Option<Box<ByStream>>,
    /// When it lost its connection, nanoseconds; 0 while it has one.
    pub lost_at_ns: u64,
    /// The code with which its last connection ended.
    pub code: u16,
    /// Attempts to come back that failed.
    pub attempts: u8,
    /// What it needs to resume, where clients return.
    pub known: Option<Box<Known>>,
}

impl Conn {
    /// A client on its way.
    pub fn new(fd: impl Into<Option<OwnedFd>>, client: Client, returns: bool) -> Self {
        Self {
            fd: fd.into(),
            client,
            phase: Phase::Connecting,
            said: 0,
            next: [0; Stream::COUNT],
            rest: Vec::new(),
            under_way: 0,
            told: None,
            lost_at_ns: 0,
            code: 0,
            attempts: 0,
            known: returns.then(Box::default),
        }
    }

    /// On its way again.
    pub fn reopen(&mut self, fd: OwnedFd) {
        self.fd = Some(fd);
        (self.phase, self.said) = (Phase::Connecting, 0);
        self.rest = Vec::new();
        self.under_way = 0;
    }

    /// What it sends for an upgrade.
    pub fn request(&self, dialogue: &Dialogue, host: &str) -> Vec<u8> {
        // Until it has had a mark there is nothing to go on from.
        let known = self.known.as_deref().filter(|known| !known.mark.is_empty());
        dialogue.request(host, self.client.team, known)
    }

    /// Counts an event, or what is wrong with it.
    #[inline]
    fn take_event(&mut self, tally: &mut Tally, stamp: Stamp, message: &[u8], now_ns: u64) {
        let (stream, number) = Stream::place(stamp.seq);
        // Nobody sends a fourth stream: it would count as repeated.
        let next = self.next.get_mut(stream).filter(|next| number >= **next);
        let Some(next) = next else {
            tally.counts.repeated += 1;
            return;
        };
        let missing = u64::from(number - *next);
        *next = number + 1;
        if missing > 0 || self.told.is_some() {
            let declared = self.excuse(stream, missing, told::position(message));
            tally.counts.declared += declared;
            tally.counts.lost += missing - declared;
            if self.client.reading == Reading::Prompt {
                tally.counts.prompt_missed += missing;
            }
        }
        match self.client.reading {
            Reading::Prompt => tally.record(stamp, self.client.team, now_ns),
            Reading::Slow | Reading::Never => tally.record_slow(),
        }
    }

    /// How many of `missing` events before one at `position` of a stream were told to be missing.
    /// What was told is used up by it, unless it concerns later ones.
    fn excuse(&mut self, stream: usize, missing: u64, position: Option<&[u8]>) -> u64 {
        let Some(by_stream) = &mut self.told else { return 0 };
        let Some(told) = &by_stream[stream] else { return 0 };
        if told.is_later_than(position) {
            return 0;
        }
        let excused = told.excused(missing);
        by_stream[stream] = None;
        if by_stream.iter().all(Option::is_none) {
            self.told = None;
        }
        excused
    }

    /// What of `due` events of each stream hasn't come: what was told of it, and what wasn't.
    pub fn missing(&mut self, due: [u32; Stream::COUNT]) -> [u64; 2] {
        let (mut declared, mut missing) = (0, 0);
        for (stream, due) in due.into_iter().enumerate() {
            let of_stream = u64::from(due.saturating_sub(self.next[stream]));
            declared += self.excuse(stream, of_stream, None);
            missing += of_stream;
        }
        [declared, missing - declared]
    }

    /// Counts what of `plan` hasn't come by the end of a run. What those miss that were closed and
    /// don't come back is counted apart: with a Close they know of it, and might resume.
    pub fn count_missing(&mut self, plan: &Plan, returns: bool, counts: &mut Counts) {
        if self.client.reading == Reading::Never {
            return;
        }
        let [declared, missing] = self.missing(plan.counts_of(self.client.team));
        counts.declared += declared;
        if self.client.reading == Reading::Prompt {
            counts.prompt_missed += declared + missing;
        }
        if self.phase == Phase::Live || (returns && self.lost_at_ns != 0) {
            counts.lost += missing;
            return;
        }
        counts.cut_off += missing;
        if self.code == WITHOUT_CLOSE {
            counts.cut_off_untold += missing;
        }
    }

    /// `bytes` begin with a frame that isn't whole, or with part of a head. One that joins events
    /// and is large is not waited for. Says how many bytes are done with.
    fn begin_part(
        &mut self,
        dialogue: &Dialogue,
        tally: &mut Tally,
        head: Option<Head>,
        bytes: &[u8],
        now_ns: u64,
    ) -> usize {
        let payload = head.map_or(0, |head| head.end - head.payload_at);
        let can_be_cut = dialogue.joins && dialogue.message.overlap().is_some();
        let Some(head) = head.filter(|_| can_be_cut && payload > WAITED_FOR_BYTES_MAX) else {
            return 0;
        };
        self.under_way = payload;
        let head_bytes = head.payload_at - head.at;
        head_bytes + self.take_part(&dialogue.message, tally, &bytes[head_bytes..], now_ns)
    }

    /// Takes what has come of a large frame that joins events; says how many of `bytes` are done
    /// with. The last of them are left, where they may be the beginning of a stamp.
    fn take_part(
        &mut self,
        message: &Message,
        tally: &mut Tally,
        bytes: &[u8],
        now_ns: u64,
    ) -> usize {
        let part = &bytes[..bytes.len().min(self.under_way)];
        message.stamp.all(part, |stamp| self.take_event(tally, stamp, &[], now_ns));
        let overlap = message.overlap().unwrap_or(0).min(part.len());
        let left = if part.len() == self.under_way { 0 } else { overlap };
        self.under_way -= part.len() - left;
        part.len() - left
    }

    /// The events of a whole message; whether there were any.
    #[inline]
    fn take_events(
        &mut self,
        dialogue: &Dialogue,
        tally: &mut Tally,
        payload: &[u8],
        now_ns: u64,
    ) -> bool {
        let message = &dialogue.message;
        if dialogue.joins {
            let mut is_any = false;
            message.stamp.all(payload, |stamp| {
                is_any = true;
                self.take_event(tally, stamp, &[], now_ns);
            });
            return is_any;
        }
        let stamp = match message.sequence {
            None => message.stamp.find(payload),
            Some(_) => {
                message.look_up(payload).and_then(|found| tally.stamp(self.client.team, found))
            }
        };
        if let Some(stamp) = stamp {
            self.take_event(tally, stamp, payload, now_ns);
        }
        stamp.is_some()
    }

    /// A message that is no event.
    fn take_message(&mut self, dialogue: &Dialogue, tally: &mut Tally, payload: &[u8], fd: i32) {
        if let (Some(resume), Some(known)) = (&dialogue.resume, &mut self.known) {
            if let Some(mark) = resume.mark(payload) {
                known.note_mark(mark);
            }
            let says = |incomplete: &String| frames::holds(payload, incomplete);
            if resume.incomplete.as_ref().is_some_and(says) {
                told::note_anything(self.told.get_or_insert_default());
            }
        }
        if self.phase == Phase::Subscribing {
            return self.speak(dialogue, Some(payload), fd);
        }
        if let Some(pong) = dialogue.pong(payload) {
            // A failure shows as a hang-up of the same socket.
            let _ = sys::send(fd, &pong);
            return;
        }
        // Of Touchline's messages the `op` stands in the first bytes.
        let is = |op: &str| frames::holds(&payload[..payload.len().min(32)], op);
        if is(r#""op":"gap""#) {
            tally.counts.gaps += 1;
            told::note_gap(self.told.get_or_insert_default(), payload);
        } else if is(r#""op":"error""#) {
            tally.counts.errors += 1;
        }
    }

    /// Says what is due after `heard` (`None`: the 101), and notes whether the client follows now.
    fn speak(&mut self, dialogue: &Dialogue, heard: Option<&[u8]>, fd: i32) {
        let due = dialogue.due(&mut self.said, heard, self.client.team);
        if !due.is_empty() {
            // A failure shows as a hang-up of the same socket.
            let _ = sys::send(fd, &due);
        }
        let holds = match heard {
            Some(message) => dialogue.is_subscribed_by(message),
            None => dialogue.subscribed.is_none(),
        };
        if holds {
            self.phase = Phase::Subscribed;
        }
    }
}

/// Takes all whole frames out of `bytes`, which were read at `now_ns`; keeps what is left.
pub fn take(
    conn: &mut Conn,
    dialogue: &Dialogue,
    tally: &mut Tally,
    bytes: &[u8],
    now_ns: u64,
) -> Result<(), Ended> {
    let fd = conn.fd.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    let mut at = 0;
    if conn.phase == Phase::Shaking {
        match bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            None => {
                conn.rest = bytes.to_vec();
                return Ok(());
            }
            Some(end) => at = accepted(&bytes[..end + 4])?,
        }
        conn.phase = Phase::Subscribing;
        conn.speak(dialogue, None, fd);
    }
    // What was kept of the last read has been counted.
    tally.counts.bytes += (bytes.len() - conn.rest.len()) as u64;
    let mut last_event: &[u8] = &[];
    if conn.under_way > 0 {
        at += conn.take_part(&dialogue.message, tally, &bytes[at..], now_ns);
    }
    while conn.under_way == 0 {
        let head = frames::head(bytes, at).map_err(|OutOfStep| Ended::Closed(1002))?;
        let Some(head) = head.filter(|head| head.end <= bytes.len()) else {
            at += conn.begin_part(dialogue, tally, head, &bytes[at..], now_ns);
            break;
        };
        let payload = &bytes[head.payload_at..head.end];
        at = head.end;
        match head.opcode {
            1 | 2 if conn.take_events(dialogue, tally, payload, now_ns) => {
                last_event = if dialogue.joins { last_event } else { payload };
            }
            1 | 2 => conn.take_message(dialogue, tally, payload, fd),
            8 => {
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                return Err(Ended::Closed(code));
            }
            9 => drop(sys::send(fd, &frames::control(0xa, payload))),
            _ => {}
        }
    }
    note_position(conn, dialogue, last_event);
    conn.rest.clear();
    conn.rest.extend_from_slice(&bytes[at..]);
    if conn.rest.is_empty() && conn.rest.capacity() > 0 {
        conn.rest = Vec::new();
    }
    Ok(())
}

/// The length of a head that accepts our upgrade.
fn accepted(head: &[u8]) -> Result<usize, Ended> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if !first.starts_with("HTTP/1.1 101") {
        return Err(Ended::Declined(first.chars().take(LINE_CHARS_MAX).collect()));
    }
    let accept = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("sec-websocket-accept").then_some(value.trim())
    });
    if accept == Some(KEY_ACCEPTED) { Ok(head.len()) } else { Err(Ended::WrongAccept) }
}

/// Keeps where a client that may come back has got to: once for each read.
fn note_position(conn: &mut Conn, dialogue: &Dialogue, last_event: &[u8]) {
    let (Some(resume), Some(known)) = (&dialogue.resume, &mut conn.known) else { return };
    if let Some(position) = resume.position(last_event) {
        known.note_position(position);
    }
}

#[cfg(test)]
mod tests;
