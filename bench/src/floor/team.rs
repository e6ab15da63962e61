//! One team's followers, and the hand that sends to them.
//!
//! A team's events are one run of bytes that only grows; a socket is a cursor in it. A round visits
//! the sockets that lack something and hands the kernel what lies between cursor and end.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::options::{Kind, Options, Order};
use super::records::Records;
use super::ring::Ring;
use crate::limits::VISIT_BYTES_MAX;
use crate::sys::{self, Log, Send};

struct Follower {
    fd: OwnedFd,
    sent: u64,
}

/// A team: its events' bytes and who follows it.
#[derive(Default)]
pub struct Team {
    /// There is one once a schedule is played.
    log: Option<Log>,
    followers: Vec<Follower>,
    records: Records,
    /// Who comes when, where that isn't as they came.
    shuffled: Vec<u32>,
    /// Whether there may be a follower who lacks something.
    pub behind: bool,
    start: usize,
}

impl Team {
    /// One more follows it.
    pub fn add(&mut self, fd: OwnedFd) {
        self.followers.push(Follower { fd, sent: 0 });
    }

    /// Whether nobody follows it.
    pub fn is_empty(&self) -> bool {
        self.followers.is_empty()
    }

    /// An event for all of its followers.
    pub fn append(&mut self, frame: &[u8]) {
        if let Some(log) = &mut self.log {
            log.append(frame);
            self.behind = true;
        }
    }

    fn end(&self) -> u64 {
        self.log.as_ref().map_or(0, Log::len) as u64
    }

    /// The index of the follower who is number `step` of this round.
    fn index(&self, step: usize) -> usize {
        let at = (self.start + step) % self.followers.len();
        self.shuffled.get(at).map_or(at, |index| *index as usize)
    }

    /// Makes ready for `bytes_max` bytes of events.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn prepare(&mut self, options: &Options, bytes_max: usize) -> io::Result<()> {
        self.log = Some(Log::new(bytes_max, options.huge_pages)?);
        self.followers.iter_mut().for_each(|follower| follower.sent = 0);
        self.records = Records::new(options, self.followers.len());
        if options.order == Order::Shuffled {
            self.shuffled = shuffled(self.followers.len());
        }
        Ok(())
    }
}

/// How a team is sent its events.
pub struct Hand {
    /// As they were asked for.
    pub options: Options,
    ring: Option<Ring>,
}

impl Hand {
    /// A hand for sockets with numbers below `files_max`.
    ///
    /// # Errors
    /// When it needs a ring and there is none.
    pub fn new(options: Options, files_max: u32) -> io::Result<Self> {
        let ring = match options.kind {
            Kind::Send => None,
            Kind::Volley => Some(Ring::new(&options, files_max)?),
        };
        Ok(Self { options, ring })
    }

    /// Makes ready for sending to a socket.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn register(&self, fd: RawFd) -> io::Result<()> {
        self.ring.as_ref().map_or(Ok(()), |ring| ring.register(fd))
    }

    /// Waits until nothing is lent to the kernel.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn settle(&mut self) -> io::Result<()> {
        self.ring.as_mut().map_or(Ok(()), Ring::settle)
    }

    /// Visits every follower of a team that is behind once; says how many were sent something, and
    /// how many of them took anything.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn round(&mut self, team: &mut Team) -> io::Result<Round> {
        let round = volley(team, &self.options, self.ring.as_mut())?;
        if self.options.order != Order::Fixed {
            team.start = team.start.wrapping_add(4_099);
        }
        let end = team.end();
        team.behind = team.followers.iter().any(|follower| follower.sent < end);
        Ok(round)
    }
}

/// What became of a round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    /// Sends that were made.
    pub sends: usize,
    /// Those of which the kernel took at least a byte.
    pub taken: usize,
}

fn volley(team: &mut Team, options: &Options, mut ring: Option<&mut Ring>) -> io::Result<Round> {
    let (end, batch) = (team.end(), options.batch as usize);
    let count = team.followers.len();
    let mut round = Round::default();
    let mut picked: Vec<usize> = Vec::with_capacity(batch);
    let mut dead: Vec<usize> = Vec::new();
    let mut records = std::mem::take(&mut team.records);
    for step in 0..count {
        let index = team.index(step);
        if team.followers[index].sent < end {
            records.touch(|ahead| team.index(step + ahead));
            picked.push(index);
        }
        if picked.len() == batch || step + 1 == count {
            round.sends += picked.len();
            round.taken += fire(team, &picked, ring.as_deref_mut(), &mut dead)?;
            picked.clear();
        }
    }
    team.records = records;
    dead.sort_unstable();
    for index in dead.iter().rev() {
        let follower = team.followers.swap_remove(*index);
        ring.as_ref().map_or(Ok(()), |ring| ring.forget(follower.fd.as_raw_fd()))?;
    }
    if !dead.is_empty() && options.order == Order::Shuffled {
        team.shuffled = shuffled(team.followers.len());
    }
    Ok(round)
}

/// One batch of sends; cursors move by what the kernel took. Answers how many took anything.
fn fire(
    team: &mut Team,
    picked: &[usize],
    ring: Option<&mut Ring>,
    dead: &mut Vec<usize>,
) -> io::Result<usize> {
    let Some(log) = &team.log else { return Ok(0) };
    let sends: Vec<Send> = picked
        .iter()
        .map(|index| {
            let follower = &team.followers[*index];
            let to = (follower.sent + VISIT_BYTES_MAX).min(log.len() as u64);
            let bytes = log.get(follower.sent as usize..to as usize);
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
    let mut movers = 0;
    for (index, taken) in picked.iter().zip(taken) {
        match taken {
            0.. => {
                team.followers[*index].sent += taken as u64;
                movers += usize::from(taken > 0);
            }
            error if error == -i64::from(libc::EAGAIN) => {}
            _ => dead.push(*index),
        }
    }
    Ok(movers)
}

/// The numbers below `count` in an order that is the same each time and looks like none.
fn shuffled(count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..count).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, (state % (last as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffled_order_holds_everybody_once() {
        let order = shuffled(1_000);
        assert!(order.windows(2).filter(|pair| pair[1] == pair[0] + 1).count() < 10);
        let mut sorted = order;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..1_000));
        assert!(shuffled(0).is_empty());
    }
}
