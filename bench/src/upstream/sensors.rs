//! Sensors: each has the values of some teams, and shows of each the oldest that it has not shown.
//!
//! A value counts as shown once the next request comes over the same connection: an answer whose
//! connection was given up before that is given again. So every value of the schedule reaches a
//! server that asks often enough, however many of its requests come to nothing, and what is missing
//! in the end is the server's loss.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::trouble::Ailment;
use crate::schedule::{Plan, Stream, team_name};
use crate::sys;

/// All of them.
pub struct Sensors(Vec<Mutex<Sensor>>);

#[derive(Default)]
struct Sensor {
    teams: Vec<Values>,
    /// Over which connection the last answer went.
    answered: Option<SocketAddr>,
}

/// The values of one team.
struct Values {
    team: u32,
    /// Numbers of events, in order.
    events: Vec<u32>,
    /// How many have been shown; the last of them is what is shown now.
    shown: usize,
}

impl Sensors {
    /// So many, to which `teams` are dealt out.
    pub fn new(count: u32, teams: u32) -> Self {
        let of = |sensor: u32| {
            let teams = (sensor..teams).step_by(count as usize);
            let teams = teams.map(|team| Values { team, events: Vec::new(), shown: 0 }).collect();
            Mutex::new(Sensor { teams, ..Sensor::default() })
        };
        Self((0..count).map(of).collect())
    }

    /// From now on they have these values, once each is due.
    pub fn play(&self, plan: &Plan, events: impl Iterator<Item = u32>) {
        for n in events {
            let team = plan.team(n) as usize;
            // A scenario with values and no sensors is refused.
            let mut sensor = lock(&self.0[team % self.0.len()]);
            sensor.teams[team / self.0.len()].events.push(n);
        }
    }

    /// What sensor `index` says to the peer of `connection`; `None` if there is no such sensor.
    fn say(&self, index: usize, connection: SocketAddr, plan: Option<&Plan>) -> Option<String> {
        let mut sensor = lock(self.0.get(index)?);
        let is_shown = sensor.answered.replace(connection).is_none_or(|last| last == connection);
        let Some(plan) = plan else { return Some(readings(&[])) };
        let now_ns = sys::now_ns();
        let values =
            sensor.teams.iter_mut().filter_map(|values| values.show(plan, now_ns, is_shown));
        let values: Vec<String> = values.collect();
        Some(if sensor.teams.is_empty() { readings(&[quiet()]) } else { readings(&values) })
    }
}

impl Values {
    /// The value that is shown now; the next one if it is due and the last one `is_shown`.
    fn show(&mut self, plan: &Plan, now_ns: u64, is_shown: bool) -> Option<String> {
        let next = self.events.get(self.shown);
        if (is_shown || self.shown == 0) && next.is_some_and(|n| plan.due_ns(*n) <= now_ns) {
            self.shown += 1;
        }
        let n = *self.events.get(self.shown.checked_sub(1)?)?;
        let (team, data) = (team_name(self.team), plan.data(n));
        let number = Stream::place(plan.stamp(n).seq).1 + 1;
        Some(format!(r#"{{"team":"{team}","n":{number},"v":{data}}}"#))
    }
}

/// What a sensor says that no team was dealt out to.
fn quiet() -> String {
    r#"{"team":"quiet","n":1,"v":0}"#.into()
}

fn readings(values: &[String]) -> String {
    format!(r#"{{"readings":[{}]}}"#, values.join(","))
}

fn lock(sensor: &Mutex<Sensor>) -> std::sync::MutexGuard<'_, Sensor> {
    sensor.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `GET /sensors/{n}`.
pub async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<SocketAddr>,
    Path(index): Path<usize>,
) -> Response {
    let Some(mut body) = shared.sensors.say(index, connection, shared.plan.get()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let json = [(header::CONTENT_TYPE, "application/json")];
    let mut wait_ms = shared.sources.answer_ms;
    match Ailment::of(&shared, index) {
        Ailment::None => {}
        Ailment::Slow(ms) => wait_ms = ms,
        Ailment::Failing => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Ailment::CutShort => body.truncate(body.len() - 2),
        Ailment::Unfit => body = readings(&[r#"{"team":7,"n":"seven"}"#.into()]),
    }
    if wait_ms > 0 {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
    (json, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Phase, Schedule, Track};

    #[test]
    fn every_value_is_shown_in_turn_and_again_where_its_answer_was_lost() {
        let track = Track { stream: Stream::Sensor, ..Track::even(1_000.0, 0, 3) };
        let phases = vec![Phase { name: "x".into(), seconds: 0.009, tracks: vec![track] }];
        let plan = Schedule { start_ns: 0, teams: 3, pad: 0, phases }.plan();
        let sensors = Sensors::new(2, 3);
        sensors.play(&plan, 0..plan.events());
        let [a, b] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let say = |sensor, from| sensors.say(sensor, from, Some(&plan)).unwrap();
        let first = say(0, a);
        assert!(
            first.contains(r#""team":"t000","n":1"#) && first.contains(r#""team":"t002","n":1"#)
        );
        assert_eq!(say(0, b), first, "a given up");
        assert!(say(0, b).contains(r#""n":2"#));
        assert!(say(0, b).contains(r#""n":3"#));
        assert_eq!(say(0, b), say(0, b), "there is no fourth");
        assert!(say(1, a).contains(r#""team":"t001","n":1"#));
        assert!(sensors.say(2, a, Some(&plan)).is_none());
    }
}
