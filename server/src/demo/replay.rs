//! A real day from a file: its goals, minutes, scorers and scores; everything else is made up and
//! says so.
//!
//! Kick-offs keep their distances, but nobody watches an empty pitch: pauses in which no match is
//! on are cut to [`IDLE_MAX`]. Which cards and substitutions are made up depends on the seed, as on
//! a league day.

use std::path::Path;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::day::{Day, Fixture};
use super::league::{announced, mix};
use super::openfootball::{FileError, Game, Played, read_games};
use super::play::{Known, play};
use crate::limits::demo::DAY_MATCHES_MAX;

/// Between the announcement and the first kick-off, and between two matches, at most.
const IDLE_MAX: Duration = Duration::from_secs(5 * 60);

/// The day `date` of `file`, with the rest made up from `seed`.
///
/// # Errors
/// When the file can't be read, is not of the format, or has no match on that date.
pub fn replayed_day(file: &Path, date: &str, seed: u64) -> Result<Day, FileError> {
    let mut games = read_games(file, date)?;
    games.games.sort_by_key(|game| game.kickoff_min);
    games.games.truncate(DAY_MATCHES_MAX);
    let first_min = games.games.iter().filter_map(|game| game.kickoff_min).min().unwrap_or(0);
    let mut fixtures = Vec::new();
    let mut on_until = Duration::ZERO;
    let mut cut = Duration::ZERO;
    for (n, game) in games.games.into_iter().enumerate() {
        let minutes = game.kickoff_min.unwrap_or(first_min) - first_min;
        let kickoff = Duration::from_secs(u64::try_from(minutes).unwrap_or(0) * 60 + 180);
        let due = kickoff.saturating_sub(cut);
        cut += due.saturating_sub(on_until + IDLE_MAX);
        let fixture = fixture(game, mix(seed, n as u64 + 1)).later(kickoff - cut);
        on_until = on_until.max(fixture.moments.last().map_or(Duration::ZERO, |moment| moment.at));
        fixtures.push(announced(fixture, n));
    }
    Ok(Day { competition: games.competition, date: date.to_owned(), fixtures })
}

fn fixture(game: Game, seed: u64) -> Fixture {
    let mut rng = StdRng::seed_from_u64(seed);
    let known = game.result.map(known).unwrap_or_default();
    let moments = play(&known, &mut rng);
    let Game { home, away, round, ground, .. } = game;
    Fixture { home, away, round, ground, moments }
}

fn known(played: Played) -> Known {
    let note = match played.penalties {
        Some((home, away)) => Some(format!("penalties {home}-{away}")),
        None => played.extra_time.then(|| String::from("after extra time")),
    };
    Known { goals: Some(played.goals), extra_time: played.extra_time, note, ..Known::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::checks::check_day;
    use crate::live::fact::{Kind, Score};

    fn small(seed: u64) -> Day {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("small.json");
        std::fs::write(&file, include_str!("small.matches.json")).unwrap();
        replayed_day(&file, "2031-05-04", seed).unwrap()
    }

    #[test]
    fn goals_are_real_and_all_else_says_it_is_not() {
        for seed in 0..100 {
            let day = small(seed);
            check_day(&day);
            let game = day.fixtures.iter().find(|f| f.home.name == "Åland").unwrap();
            let goals = game.moments.iter().filter(|moment| moment.kind == Kind::Goal);
            let told: Vec<_> = goals.map(|m| (m.player.as_deref(), m.minute, m.stoppage)).collect();
            let (ylva, per) = (Some("Ylva Sund"), Some("Per Holm"));
            assert_eq!(told, [(ylva, 12, 0), (ylva, 45, 2), (per, 90, 5)]);
            assert_eq!(game.moments.last().unwrap().score, Score { home: 2, away: 1 });
            assert!(game.moments.iter().all(|m| m.generated == (m.kind != Kind::Goal)));
            assert!(game.moments.iter().all(|m| m.kind != Kind::Overturned));
        }
    }

    #[test]
    fn extra_time_and_penalties_are_told_at_the_end() {
        let day = small(3);
        let last = day.fixtures.iter().find(|f| f.home.name == "Côte d'Opale").unwrap();
        let last = last.moments.last().unwrap();
        assert_eq!((last.minute, last.score), (120, Score { home: 1, away: 1 }));
        assert_eq!(last.note.as_deref(), Some("penalties 4-3"));
    }

    #[test]
    fn nobody_watches_an_empty_pitch() {
        let day = small(1);
        let mut busy: Vec<(Duration, Duration)> = day
            .fixtures
            .iter()
            .map(|fixture| (fixture.moments[1].at, fixture.moments.last().unwrap().at))
            .collect();
        busy.sort();
        let mut until = Duration::ZERO;
        for (start, end) in busy {
            assert!(start <= until + IDLE_MAX, "{start:?} after {until:?}");
            until = until.max(end);
        }
    }

    /// The real files lie beside the checkout on some hosts; where they don't, there is nothing to
    /// replay.
    #[test]
    fn every_real_day_beside_the_checkout_adds_up() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/openfootball");
        for (file, date, matches) in [
            ("2026.worldcup.json", "2026-06-24", 6),
            ("2026.worldcup.json", "2026-06-29", 3),
            ("2022.worldcup.json", "2022-12-18", 1),
            ("2022.worldcup.json", "2022-11-25", 4),
        ] {
            let file = folder.join(file);
            if file.exists() {
                let day = replayed_day(&file, date, 1).unwrap();
                assert_eq!(day.fixtures.len(), matches, "{date}");
                check_day(&day);
            }
        }
    }
}
