//! A league day from a seed: ten matches of twenty clubs, kick-offs a few minutes apart.
//!
//! The same seed and day number always make the same fixtures, players and goals, whatever the
//! date.

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use touchline_core::event::{NameError, Team};

use super::day::{Club, Day, Fixture, Moment};
use super::names::CLUBS;
use super::play::{Known, play};
use crate::live::fact::{Kind, Score, Status};

/// Kick-offs of the day's matches, in minutes: two at once to begin with, and all ten on before the
/// first is over. At 60 times the speed of life somebody scores every few seconds.
const KICKOFFS_MIN: [u64; CLUBS.len() / 2] = [1, 1, 2, 3, 5, 8, 12, 17, 23, 30];

/// Day `number` (from 0) of the league of `seed`, played on `date`.
///
/// # Errors
/// Never with the clubs this build has; their ids are checked like all ids.
pub fn league_day(seed: u64, number: u32, date: &str) -> Result<Day, NameError> {
    played_day(seed, number, date, &Known::default())
}

/// The same clubs and kick-offs on a day on which one goal in three is taken back.
///
/// # Errors
/// As [`league_day`].
pub fn troubled_day(seed: u64, number: u32, date: &str) -> Result<Day, NameError> {
    played_day(seed, number, date, &Known { overturned: 1.0 / 3.0, ..Known::default() })
}

fn played_day(seed: u64, number: u32, date: &str, known: &Known) -> Result<Day, NameError> {
    let mut rng = StdRng::seed_from_u64(mix(seed, number.into()));
    let mut clubs = CLUBS;
    clubs.shuffle(&mut rng);
    let mut fixtures = Vec::new();
    for (n, pair) in clubs.chunks_exact(2).enumerate() {
        let [(home, home_name, ground), (away, away_name, _)] = [pair[0], pair[1]];
        let mut rng = StdRng::seed_from_u64(mix(mix(seed, number.into()), n as u64 + 1));
        let fixture = Fixture {
            home: Club { id: Team::new(home)?, name: home_name.to_owned() },
            away: Club { id: Team::new(away)?, name: away_name.to_owned() },
            round: format!("Matchday {}", number + 1),
            ground: ground.to_owned(),
            moments: play(known, &mut rng),
        };
        let kickoff = Duration::from_secs(KICKOFFS_MIN[n] * 60);
        fixtures.push(announced(fixture.later(kickoff), n));
    }
    Ok(Day { competition: "Touchline League".into(), date: date.to_owned(), fixtures })
}

/// `fixture` with its announcement before everything else, the `n`th of the day.
pub fn announced(mut fixture: Fixture, n: usize) -> Fixture {
    let announcement = Moment {
        at: Duration::from_secs(n as u64),
        kind: Kind::Scheduled,
        status: Status::Scheduled,
        minute: 0,
        stoppage: 0,
        score: Score::default(),
        side: None,
        player: None,
        player_in: None,
        note: None,
        overturns: None,
        generated: true,
    };
    fixture.moments.insert(0, announcement);
    for moment in &mut fixture.moments {
        // The announcement took the first place among the moments.
        moment.overturns = moment.overturns.map(|goal| goal + 1);
    }
    fixture
}

/// One number out of two, such that neighbours have nothing in common.
pub fn mix(a: u64, b: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&a.to_le_bytes());
    bytes[8..].copy_from_slice(&b.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::checks::check_day;

    #[test]
    fn a_day_is_a_function_of_its_seed() {
        let day = |seed, number| league_day(seed, number, "2026-06-24").unwrap();
        assert_eq!(day(7, 0), day(7, 0));
        assert_eq!(day(7, 0).fingerprint(), day(7, 0).fingerprint());
        for other in [day(8, 0), day(7, 1)] {
            assert_ne!(day(7, 0).fixtures, other.fixtures);
            assert_ne!(day(7, 0).fingerprint(), other.fingerprint());
        }
    }

    const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);

    #[test]
    fn whole_days_add_up() {
        let (mut goals, mut early, mut overturned, mut matches) = (0, 0, 0, 0);
        for seed in 0..100 {
            let day = league_day(seed, 0, "2026-06-24").unwrap();
            assert_eq!(day.fixtures.len(), 10);
            check_day(&day);
            for moment in day.fixtures.iter().flat_map(|fixture| &fixture.moments) {
                goals += u32::from(moment.kind == Kind::Goal);
                early += u32::from(moment.kind == Kind::Goal && moment.at < HALF_AN_HOUR);
                overturned += u32::from(moment.kind == Kind::Overturned);
            }
            matches += day.fixtures.len() as u32;
        }
        let a_match = f64::from(goals) / f64::from(matches);
        assert!((2.3..3.3).contains(&a_match), "{a_match} goals a match");
        assert!(early > 300, "{early} goals in a hundred first half hours: dull");
        assert!((20..300).contains(&overturned), "{overturned} of {goals} taken back");
    }
}
