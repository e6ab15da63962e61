//! Who follows what in a world.

use rand::Rng;
use rand::rngs::SmallRng;
use touchline_core::event::{Lang, Stream, StreamSet, Team};

use super::Scenario;
use super::client::Client;
use super::log::LANGS;

/// The team of that number.
pub(super) fn team(number: usize) -> Team {
    Team::new(&format!("t{number}")).expect("a team id")
}

/// A language that somebody has invented.
pub(super) fn language(number: usize) -> Lang {
    Lang::new(&format!("x{}", number % 100_000)).expect("a language")
}

/// Somebody with teams, streams and perhaps a language of their own.
pub(super) fn client(number: usize, scenario: &Scenario, rng: &mut SmallRng) -> Client {
    let count = rng.random_range(1..=scenario.teams.min(4));
    let mut teams: Vec<Team> =
        (0..count).map(|_| team(rng.random_range(0..scenario.teams))).collect();
    teams.sort();
    teams.dedup();
    let mut streams: StreamSet = Stream::ALL.into_iter().filter(|_| rng.random_bool(0.6)).collect();
    if streams.is_empty() {
        streams = StreamSet::DEFAULT;
    }
    let lang =
        rng.random_bool(0.5).then(|| Lang::new(LANGS[rng.random_range(0..2)]).ok()).flatten();
    // Every fourth of those who have a language has one that hardly anybody else has.
    let rare = (lang.is_some() && number.is_multiple_of(4)).then(|| language(number));
    let mut client = Client::new(teams, streams, rare.or(lang));
    client.away = rng.random_range(0..20);
    client
}
