//! A match day as a workload: quiet ground on all matches, and a burst on one of them with each
//! goal.
//!
//! Goals come from the scenario's own file, or from a file as the openfootball project publishes
//! them (`--day FILE --date YYYY-MM-DD`). Matches kick off together: the worst day there is.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::ranges::within;
use crate::limits::{EVENTS_MAX, RATE_MAX};
use crate::schedule::{Phase, Stream, Track};

/// Minutes of a match that are played: both halves with their stoppage.
const MINUTES: f64 = 98.0;
/// The last minute that a goal may have: extra time and its stoppage.
const MINUTE_MAX: f64 = 130.0;

/// Matches, and how they become events.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Day {
    /// Seconds of the run for each minute of play.
    minute_s: f64,
    /// Events a second of each match: throw-ins, corners, the ticker.
    ground_rate: f64,
    /// Events of a goal, all at once.
    goal_burst: u32,
    /// Values a second that the sensors of each ground have.
    #[serde(default)]
    values_rate: f64,
    /// Posts a second about each match, and with a goal so many at once.
    #[serde(default)]
    posts_rate: f64,
    #[serde(default)]
    goal_posts: u32,
    /// Of each match, the minutes of its goals.
    goals: Vec<Vec<f64>>,
}

impl Day {
    /// Whether its pace can be played.
    pub(super) fn check_ranges(&self) -> Result<()> {
        within("day.minute_s", self.minute_s, 1e-3..=60.0)?;
        within("day.ground_rate", self.ground_rate, 0.0..=RATE_MAX)?;
        within("day.values_rate", self.values_rate, 0.0..=RATE_MAX)?;
        within("day.posts_rate", self.posts_rate, 0.0..=RATE_MAX)?;
        within("day.goal_burst", self.goal_burst, 0..=EVENTS_MAX as u32)?;
        within("day.goal_posts", self.goal_posts, 0..=EVENTS_MAX as u32)?;
        let minutes = self.goals.iter().flatten();
        minutes.copied().try_for_each(|at| within("a minute of day.goals", at, 0.0..=MINUTE_MAX))
    }

    /// How many matches.
    pub fn matches(&self) -> u32 {
        self.goals.len() as u32
    }

    /// The whole day, its seconds multiplied by `time`.
    pub fn phase(&self, time: f64) -> Phase {
        let matches = self.matches();
        let ground = Track::even(self.ground_rate * f64::from(matches), 0, matches);
        let beside = [(Stream::Sensor, self.values_rate), (Stream::Social, self.posts_rate)];
        let beside = beside.into_iter().filter(|(_, rate)| *rate > 0.0).map(|(stream, rate)| {
            Track { stream, ..Track::even(rate * f64::from(matches), 0, matches) }
        });
        let goals = [(Stream::Broadcast, self.goal_burst), (Stream::Social, self.goal_posts)];
        let goals = goals.into_iter().filter(|(_, burst)| *burst > 0);
        let goals = goals.flat_map(|(stream, burst)| self.at_goals(stream, burst, time));
        let last = self.goals.iter().flatten().fold(MINUTES, |last, minute| last.max(*minute));
        let seconds = (last + 1.0) * self.minute_s * time;
        Phase {
            name: "the day".into(),
            seconds,
            tracks: [ground].into_iter().chain(beside).chain(goals).collect(),
        }
    }

    /// With each goal `burst` events of its match.
    fn at_goals(&self, stream: Stream, burst: u32, time: f64) -> Vec<Track> {
        let of_match = |(index, minutes): (usize, &Vec<f64>)| Track {
            at_s: minutes.iter().map(|minute| minute * self.minute_s * time).collect(),
            burst,
            stream,
            ..Track::even(0.0, index as u32, 1)
        };
        self.goals.iter().enumerate().map(of_match).collect()
    }

    /// The same pace with the matches of `date` in an openfootball file.
    ///
    /// # Errors
    /// When the file can't be read, or has no match on that day.
    pub fn with_matches_of(self, file: &Path, date: &str) -> Result<Self> {
        let named = || file.display().to_string();
        let text = fs::read_to_string(file).with_context(|| format!("read {}", named()))?;
        let all: Value = serde_json::from_str(&text).with_context(named)?;
        let matches = all["matches"].as_array().with_context(|| {
            format!("{} has no list `matches`: is it openfootball's format?", named())
        })?;
        let of_day = matches.iter().filter(|game| game["date"] == date);
        let goals: Vec<Vec<f64>> = of_day.map(minutes).collect();
        ensure!(!goals.is_empty(), "{} has no match on {date}", named());
        Ok(Self { goals, ..self })
    }
}

/// The minutes of a match's goals; what can't be understood is left out.
fn minutes(game: &Value) -> Vec<f64> {
    let sides = ["goals1", "goals2"].into_iter().filter_map(|side| game[side].as_array());
    let mut minutes: Vec<f64> = sides.flatten().filter_map(minute).collect();
    minutes.sort_by(f64::total_cmp);
    minutes
}

/// `{"minute": 45, "offset": 3}` and `{"minute": "45+3"}` both are 48.
fn minute(goal: &Value) -> Option<f64> {
    let plain =
        goal["minute"].as_f64().map(|minute| minute + goal["offset"].as_f64().unwrap_or(0.0));
    let minute = plain.or_else(|| {
        let text = goal["minute"].as_str()?;
        text.split('+').map(|part| part.trim().parse::<f64>().ok()).sum::<Option<f64>>()
    })?;
    (0.0..=MINUTE_MAX).contains(&minute).then_some(minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day() -> Day {
        let goals = vec![vec![10.0], vec![10.0, 90.0]];
        let (values_rate, posts_rate, goal_posts) = (0.0, 0.0, 0);
        Day {
            minute_s: 0.1,
            ground_rate: 1.0,
            goal_burst: 4,
            values_rate,
            posts_rate,
            goal_posts,
            goals,
        }
    }

    #[test]
    fn goals_are_bursts_on_quiet_ground() {
        let plan = crate::schedule::Schedule {
            start_ns: 0,
            teams: 2,
            pad: 0,
            phases: vec![day().phase(1.0)],
        }
        .plan();
        let at_goal = |team| {
            let of_team = (0..plan.events()).filter(|n| plan.team(*n) == team);
            of_team.filter(|n| plan.due_ns(*n) == 1_000_000_000).count()
        };
        assert!(at_goal(0) >= 4 && at_goal(1) >= 4);
        assert_eq!(plan.events_of(0) + plan.events_of(1), 20 + 12, "9.9 s of ground, three goals");
    }

    #[test]
    fn posts_come_with_goals_and_values_all_the_time() {
        let day = Day { values_rate: 0.5, posts_rate: 2.0, goal_posts: 9, ..day() };
        let phase = day.phase(1.0);
        let plan = crate::schedule::Schedule { start_ns: 0, teams: 2, pad: 0, phases: vec![phase] };
        let plan = plan.plan();
        let [broadcast, social, sensor] = plan.counts_of(1);
        assert_eq!((broadcast, social, sensor), (10 + 8, 20 + 18, 5), "9.9 s and two goals");
    }

    #[test]
    fn both_spellings_of_a_minute_are_understood() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cup.json");
        let text = r#"{"matches":[
            {"date":"2022-11-20","goals1":[{"minute":16},{"minute":"45+3"}],
             "goals2":[{"minute":90,"offset":2},{"minute":"x"}]},
            {"date":"2022-11-21"}]}"#;
        fs::write(&file, text).unwrap();
        let day = day().with_matches_of(&file, "2022-11-20").unwrap();
        assert_eq!(day.goals, [vec![16.0, 48.0, 92.0]]);
        let error = self::day().with_matches_of(&file, "2022-01-01").unwrap_err();
        assert!(error.to_string().contains("no match on 2022-01-01"));
    }
}
