//! What the server has acknowledged, match by match: what its followers are owed.
//!
//! Holes show by themselves; that the last event of a match never came, or all of it, does not. The
//! simulator tells a match in order and goes on once an event was acknowledged, so one number says
//! how far it has got.

use std::collections::VecDeque;
use std::time::Instant;

use crate::limits::demo::{DELIVERY_WAIT, LEDGER_GAMES_MAX};

/// The matches of the day, and of the days before as far as there is room.
#[derive(Debug, Default)]
pub struct Ledger {
    games: VecDeque<Game>,
}

/// How far one match has been told.
#[derive(Debug)]
struct Game {
    name: String,
    teams: [String; 2],
    /// The first event that was sent, and when.
    first: (u64, Instant),
    /// The last that was acknowledged before the others, and those since: when, and their numbers.
    acknowledged: VecDeque<(Instant, u64)>,
}

/// What a follower of a match is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed<'a> {
    /// The match.
    pub name: &'a str,
    /// The first event, if it was sent while the follower was there.
    pub first: Option<u64>,
    /// The last one that was acknowledged, and has had the time to come.
    pub last: u64,
}

impl Ledger {
    /// Event `number` of the match `name` is about to be sent.
    pub fn send(&mut self, name: &str, teams: [&str; 2], number: u64, now: Instant) {
        if self.games.iter().any(|game| game.name == name) {
            return;
        }
        if self.games.len() == LEDGER_GAMES_MAX {
            self.games.pop_front();
        }
        self.games.push_back(Game {
            name: name.to_owned(),
            teams: teams.map(str::to_owned),
            first: (number, now),
            acknowledged: VecDeque::new(),
        });
    }

    /// It was acknowledged.
    pub fn acknowledge(&mut self, name: &str, number: u64, now: Instant) {
        let Some(game) = self.games.iter_mut().find(|game| game.name == name) else { return };
        game.acknowledged.push_back((now, number));
        while game.acknowledged.get(1).is_some_and(|it| now - it.0 >= DELIVERY_WAIT) {
            game.acknowledged.pop_front();
        }
    }

    /// What is owed to whoever follows `teams`, separated by commas, and does so since `since`.
    pub fn settled<'a>(
        &'a self,
        teams: &'a str,
        since: Option<Instant>,
        now: Instant,
    ) -> impl Iterator<Item = Owed<'a>> {
        let follows = move |team: &String| teams.split(',').any(|it| it == team);
        let games = self.games.iter().filter(move |game| game.teams.iter().any(follows));
        games.filter_map(move |game| {
            let (first, sent_at) = game.first;
            let is_settled = |it: &&(Instant, u64)| now - it.0 >= DELIVERY_WAIT;
            let (_, last) = *game.acknowledged.iter().rev().find(is_settled)?;
            let first = since.is_some_and(|since| since < sent_at).then_some(first);
            Some(Owed { name: &game.name, first, last })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_was_there_is_owed_all_and_nobody_what_has_only_just_been_acknowledged() {
        let (mut ledger, begin) = (Ledger::default(), Instant::now());
        let at = |s: u64| begin + Duration::from_secs(s);
        for number in 3..=5 {
            ledger.send("d.a-b", ["a", "b"], number, at(number * 10));
            ledger.acknowledge("d.a-b", number, at(number * 10));
        }
        let owed = |teams: &str, since: Option<u64>, now: u64| {
            let of = |it: Owed<'_>| (it.first, it.last);
            ledger.settled(teams, since.map(at), at(now)).map(of).collect::<Vec<_>>()
        };
        assert_eq!(owed("x,b", Some(29), 90), [(Some(3), 5)]);
        assert_eq!(owed("a", Some(31), 90), [(None, 5)], "who came later");
        assert_eq!(owed("a", None, 90), [(None, 5)], "who never got in");
        assert_eq!(owed("a", Some(29), 50), [(Some(3), 4)], "the last is on its way");
        assert_eq!(owed("x,y", Some(29), 90), []);
    }

    #[test]
    fn it_is_bounded() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        for n in 0..2 * LEDGER_GAMES_MAX {
            ledger.send(&n.to_string(), ["a", "b"], 1, now);
        }
        for number in 0..1_000 {
            let later = now + DELIVERY_WAIT * number as u32;
            ledger.acknowledge(&(2 * LEDGER_GAMES_MAX - 1).to_string(), number, later);
        }
        assert_eq!(ledger.games.len(), LEDGER_GAMES_MAX);
        assert!(ledger.games.iter().all(|game| game.acknowledged.len() <= 2));
    }
}
