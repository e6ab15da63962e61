//! Who the clients are: which team each follows, and how well it reads.

use serde::{Deserialize, Serialize};

use crate::schedule::{Following, Plan, followers};

/// All clients of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crowd {
    /// Clients.
    pub sockets: usize,
    /// Teams they follow, one each.
    pub teams: u32,
    /// By which law.
    pub following: Following,
    /// Clients that never read once they are subscribed.
    pub stalled: usize,
    /// Clients that read slowly.
    pub slow: usize,
    /// How slowly, in bytes a second.
    pub slow_bytes_per_s: u32,
    /// Whether clients that lost their connection come back, with resume where there is one.
    pub returns: bool,
}

/// How a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// At once.
    Prompt,
    /// At the crowd's `slow_bytes_per_s`.
    Slow,
    /// Never.
    Never,
}

/// One client to be.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The team it follows.
    pub team: u32,
    /// How it reads.
    pub reading: Reading,
}

/// A share of a crowd: every `of`-th client, from number `index` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which share.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl Crowd {
    /// `sockets` clients over `teams` teams that all read at once and stay away once they are
    /// closed.
    pub fn even(sockets: usize, teams: u32) -> Self {
        Self {
            sockets,
            teams,
            following: Following::Even,
            stalled: 0,
            slow: 0,
            slow_bytes_per_s: 0,
            returns: false,
        }
    }

    /// Every client. Teams are dealt out like cards, so that every worker, and every shard, has
    /// followers of each; bad readers stand evenly among the others.
    pub fn clients(&self) -> Vec<Client> {
        let mut left = followers(self.following, self.sockets, self.teams);
        let mut clients = Vec::with_capacity(self.sockets);
        while clients.len() < self.sockets {
            for (team, left) in left.iter_mut().enumerate().filter(|(_, left)| **left > 0) {
                *left -= 1;
                clients.push(Client { team: team as u32, reading: Reading::Prompt });
            }
        }
        let bad = self.stalled + self.slow;
        let step = self.sockets / bad.max(1);
        for index in 0..bad {
            let is_stalled = (index + 1) * self.stalled / bad > index * self.stalled / bad;
            let reading = if is_stalled { Reading::Never } else { Reading::Slow };
            clients[index * step].reading = reading;
        }
        clients
    }

    /// The clients of `part`.
    pub fn part(&self, part: Part) -> Vec<Client> {
        self.clients().into_iter().skip(part.index).step_by(part.of.max(1)).collect()
    }

    /// Deliveries of `plan` that a perfect server makes to clients that read.
    pub fn expected(&self, plan: &Plan) -> u64 {
        let clients = self.clients().into_iter();
        let reading = clients.filter(|client| client.reading != Reading::Never);
        reading.map(|client| u64::from(plan.events_of(client.team))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Phase, Schedule};

    #[test]
    fn clients_are_dealt_out_evenly_and_bad_readers_stand_among_them() {
        let crowd =
            Crowd { following: Following::Zipf, stalled: 10, slow: 30, ..Crowd::even(1_000, 10) };
        let clients = crowd.clients();
        let followers = followers(Following::Zipf, 1_000, 10);
        for team in 0..10 {
            let count = clients.iter().filter(|client| client.team == team).count();
            assert_eq!(count, followers[team as usize]);
        }
        let count = |part: &[Client], reading| part.iter().filter(|c| c.reading == reading).count();
        assert_eq!(count(&clients, Reading::Never), 10);
        assert_eq!(count(&clients, Reading::Slow), 30);
        assert_eq!(count(&clients[..500], Reading::Never), 5);
        let phases = vec![Phase::even("x", 10.0, 1.0, 10)];
        let plan = Schedule { start_ns: 0, teams: 10, pad: 0, phases }.plan();
        assert_eq!(crowd.expected(&plan), 990, "an event for each team; ten never read");
    }

    #[test]
    fn parts_make_up_the_whole() {
        let crowd = Crowd::even(10, 3);
        let part = |index| crowd.part(Part { index, of: 3 }).len();
        assert_eq!([part(0), part(1), part(2)], [4, 3, 3]);
    }
}
