//! What the instruments of a ground say: wind, noise of the crowd, speed of the ball, possession.
//!
//! A venue hosts every match whose number falls to it, one in the league. What it says is a
//! function of the day's script and the wall clock, cut into [`SENSOR_STEP`]s: asked twice in a
//! step it says the same twice, under the same sequence. The crowd hears a goal at once.

use serde::Serialize;
use touchline_core::time::Timestamp;

use crate::demo::day::Fixture;
use crate::demo::league::mix;
use crate::demo::world::Scene;
use crate::limits::demo::SENSOR_STEP;
use crate::live::fact::Status;

/// The answer of one venue.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    venue: usize,
    readings: Vec<Reading>,
}

#[derive(Debug, Serialize)]
struct Reading {
    teams: [String; 2],
    kind: &'static str,
    key: String,
    n: u64,
    at: String,
    value: Value,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Value {
    Figure { value: f64, unit: &'static str },
    Shares { home: u64, away: u64, unit: &'static str },
}

/// What venue number `venue` of `venues` says at `now`; `frozen`: under a sequence that stands.
pub fn answer(scene: &Scene, venue: usize, venues: usize, now: Timestamp, frozen: bool) -> Answer {
    let step = u64::try_from(now.0 / SENSOR_STEP.as_micros() as i64).unwrap_or(0);
    let hosted = scene.day.fixtures.iter().skip(venue).step_by(venues);
    let readings = hosted.flat_map(|fixture| {
        // A sequence that stands moves once a minute; what it says goes on changing.
        let n = if frozen { step / 120 * 120 } else { step };
        let of = |kind: &'static str, value: Value| Reading {
            teams: [fixture.home.id.to_string(), fixture.away.id.to_string()],
            kind,
            key: format!("{}-{}/{kind}", fixture.home.id, fixture.away.id),
            n,
            at: now.to_rfc3339(),
            value,
        };
        let place = mix(venue as u64, fixture.moments.len() as u64);
        let home = possession(scene, fixture, place, now);
        [
            of("wind", figure(wind(place, step), "m/s")),
            of("noise", figure(noise(scene, fixture, place, step, now), "dB")),
            of("ball", figure(ball(scene, fixture, place, step, now), "km/h")),
            of("possession", Value::Shares { home, away: 100 - home, unit: "%" }),
        ]
    });
    Answer { venue: venue + 1, readings: readings.collect() }
}

fn figure(value: f64, unit: &'static str) -> Value {
    Value::Figure { value, unit }
}

fn is_live(scene: &Scene, fixture: &Fixture, now: Timestamp) -> bool {
    let last = scene.last(fixture, scene.day_at(now));
    last.is_some_and(|moment| moment.status == Status::Live)
}

/// From -1 to 1, another in each step.
fn die(place: u64, step: u64) -> f64 {
    (mix(place, step) % 2_001) as f64 / 1_000.0 - 1.0
}

/// Half metres a second: turns slowly, and is no news most of the time.
fn wind(place: u64, step: u64) -> f64 {
    let slow = (step as f64 / 90.0 + place as f64 % 7.0).sin();
    let metres = 2.0 + (place % 50) as f64 / 10.0 + 1.5 * slow;
    (metres * 2.0).round() / 2.0
}

/// Whole decibels: a ground at rest, a match, and a goal that dies away within some seconds.
fn noise(scene: &Scene, fixture: &Fixture, place: u64, step: u64, now: Timestamp) -> f64 {
    let base = if is_live(scene, fixture, now) { 79.0 + 4.0 * die(place, step) } else { 58.0 };
    let roar = scene.since_goal(fixture, now).map_or(0.0, |age| (-age.as_secs_f64() / 5.0).exp());
    (base + 32.0 * roar).min(118.0).round()
}

/// Whole kilometres an hour, now and then a shot.
fn ball(scene: &Scene, fixture: &Fixture, place: u64, step: u64, now: Timestamp) -> f64 {
    if !is_live(scene, fixture, now) {
        return 0.0;
    }
    let pace = die(place ^ 1, step);
    let shot = if pace > 0.9 { 60.0 } else { 0.0 };
    (28.0 + 26.0 * pace + shot).max(0.0).round()
}

/// Percent of the home side.
fn possession(scene: &Scene, fixture: &Fixture, place: u64, now: Timestamp) -> u64 {
    if scene.last(fixture, scene.day_at(now)).is_none_or(|last| last.status == Status::Scheduled) {
        return 50;
    }
    let minutes = scene.day_at(now).as_secs_f64() / 60.0;
    let swing = (minutes / 9.0 + (place % 13) as f64).sin();
    (50.0 + (place % 9) as f64 - 4.0 + 11.0 * swing).round() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::demo::clock::DayClock;
    use crate::demo::league::league_day;
    use crate::live::fact::Kind;

    const START: Timestamp = Timestamp(1_800_000_000_000_000);

    fn scene() -> Scene {
        let day = Arc::new(league_day(5, 0, "2026-06-24").unwrap());
        Scene { day, clock: DayClock::start(START, 60_000) }
    }

    fn reading(scene: &Scene, venue: usize, kind: &str, now: Timestamp) -> f64 {
        let answer = answer(scene, venue, 10, now, false);
        let found = answer.readings.into_iter().find(|reading| reading.kind == kind);
        match found.unwrap().value {
            Value::Figure { value, .. } => value,
            Value::Shares { home, away, .. } => {
                assert_eq!(home + away, 100);
                home as f64
            }
        }
    }

    #[test]
    fn the_crowd_hears_a_goal_at_once() {
        let scene = scene();
        let mut goals = 0;
        for (venue, fixture) in scene.day.fixtures.iter().enumerate() {
            let mut loud_until = Timestamp(0);
            for goal in fixture.moments.iter().filter(|moment| moment.kind == Kind::Goal) {
                let at = scene.clock.wall_at(goal.at);
                if at > loud_until {
                    let before =
                        reading(&scene, venue, "noise", at.minus(Duration::from_millis(600)));
                    let after = reading(&scene, venue, "noise", at.plus(Duration::from_millis(50)));
                    assert!(before < 90.0 && after > 100.0, "{before} then {after}");
                    goals += 1;
                }
                loud_until = at.plus(Duration::from_secs(12));
            }
        }
        assert!(goals > 10, "{goals}");
    }

    #[test]
    fn figures_are_plausible_all_day_and_the_same_when_asked_twice() {
        let scene = scene();
        for second in 0..200 {
            let now = START.plus(Duration::from_secs(second));
            for venue in 0..10 {
                for (kind, most) in [("wind", 12.0), ("noise", 120.0), ("ball", 130.0)] {
                    let value = reading(&scene, venue, kind, now);
                    assert!((0.0..=most).contains(&value), "{kind} {value}");
                    assert_eq!(value, reading(&scene, venue, kind, now));
                }
                assert!((30.0..=70.0).contains(&reading(&scene, venue, "possession", now)));
            }
        }
    }

    #[test]
    fn every_match_of_a_day_has_a_venue_also_where_there_are_few() {
        let scene = scene();
        let readings = |venue| answer(&scene, venue, 3, START, false).readings.len();
        assert_eq!((0..3).map(readings).sum::<usize>(), 10 * 4);
    }
}
