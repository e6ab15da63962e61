//! What must hold for any day, generated or replayed: the referee of the tests.

use std::collections::HashSet;

use touchline_core::event::{Route, check_id, check_kind};
use touchline_core::time::Timestamp;

use super::day::{Day, Fixture, Moment, Side, event_id, split_event_id};
use crate::live::fact::{Fact, Kind, Score, Status};

/// Checks every fixture of `day`.
pub(crate) fn check_day(day: &Day) {
    let mut ids = HashSet::new();
    for fixture in &day.fixtures {
        check_fixture(fixture);
        Route::new(&[fixture.home.id.as_str(), fixture.away.id.as_str()]).unwrap();
        for n in 0..fixture.moments.len() {
            check_item(day, fixture, n, &mut ids);
        }
    }
    let teams: HashSet<_> = day.teams().into_iter().collect();
    assert_eq!(teams.len(), 2 * day.fixtures.len(), "a team plays once a day");
}

fn check_item(day: &Day, fixture: &Fixture, n: usize, ids: &mut HashSet<String>) {
    let item = day.item("20260624T180000Z", fixture, n, Timestamp(0));
    check_id(&item.id).unwrap();
    check_kind(item.kind).unwrap();
    assert!(item.data.get().len() < 1_024, "{}", item.data);
    let fact = Fact::parse(item.data.get().as_bytes()).unwrap();
    assert_eq!(split_event_id(&item.id), Some((fact.r#match.as_str(), n as u64 + 1)));
    if let Some(goal) = fixture.moments[n].overturns {
        assert_eq!(fact.overturns, Some(event_id("20260624T180000Z", fixture, goal)));
    }
    assert!(ids.insert(item.id), "an id stands for one event");
}

/// Plays `fixture` through as a referee would.
pub(crate) fn check_fixture(fixture: &Fixture) {
    let moments = &fixture.moments;
    let phases: Vec<Kind> = moments.iter().map(|m| m.kind).filter(|kind| is_phase(*kind)).collect();
    let whole = [Kind::Scheduled, Kind::Kickoff, Kind::HalfTime, Kind::SecondHalf, Kind::FullTime];
    assert_eq!(phases, whole);
    assert_eq!(moments.last().map(|m| m.kind), Some(Kind::FullTime));
    assert!(moments.is_sorted_by_key(|m| m.at), "moments ascend in time");
    assert!(moments.is_sorted_by_key(|m| (m.minute, m.stoppage)), "and in minutes: {moments:#?}");
    let mut score = Score::default();
    for (n, moment) in moments.iter().enumerate() {
        check_score(moments, n, &mut score);
        assert_eq!(moment.score, score);
        let in_play = !is_phase(moment.kind);
        assert!(!in_play || moment.status == Status::Live, "{moment:?}");
        assert_eq!(in_play, moment.side.is_some(), "{moment:?}");
        assert!(moment.minute <= 120 && moment.stoppage <= 20);
        let ends = [45, 90, 105, 120].contains(&moment.minute);
        assert!(moment.stoppage == 0 || ends, "{moment:?}");
    }
    Side::BOTH.iter().for_each(|side| check_side(moments, *side));
}

fn is_phase(kind: Kind) -> bool {
    use Kind::{FullTime, HalfTime, Kickoff, Scheduled, SecondHalf};
    matches!(kind, Scheduled | Kickoff | HalfTime | SecondHalf | FullTime)
}

fn check_score(moments: &[Moment], n: usize, score: &mut Score) {
    let moment = &moments[n];
    let side = match moment.side {
        Some(Side::Home) => &mut score.home,
        _ => &mut score.away,
    };
    match moment.kind {
        Kind::Goal => *side += 1,
        Kind::Overturned => {
            let goal = moment.overturns.expect("it names the goal");
            assert!(goal < n && moments[goal].kind == Kind::Goal);
            assert_eq!(moments[goal].side, moment.side);
            let again = moments[..n].iter().filter(|m| m.overturns == Some(goal)).count();
            assert_eq!(again, 0, "a goal is taken back once");
            *side -= 1;
        }
        _ => {}
    }
}

fn check_side(moments: &[Moment], side: Side) {
    let of = |kind| moments.iter().filter(move |m| m.side == Some(side) && m.kind == kind);
    assert!(of(Kind::Substitution).count() <= 5);
    assert!(of(Kind::Red).count() <= 3);
    for red in of(Kind::Red) {
        let after = moments.iter().filter(|m| m.at > red.at && m.side == Some(side));
        let mut booked = after.filter(|m| !matches!(m.kind, Kind::Overturned | Kind::Goal));
        assert!(booked.all(|m| m.player != red.player), "who was sent off stays off");
    }
    for change in of(Kind::Substitution) {
        let before = moments.iter().take_while(|m| !std::ptr::eq(*m, change));
        let mut played = before.filter(|m| m.side == Some(side) && m.kind != Kind::Goal);
        assert!(played.all(|m| m.player != change.player_in), "nobody comes on twice");
    }
    let mut yellows = HashSet::new();
    assert!(of(Kind::Yellow).all(|m| yellows.insert(m.player.clone())), "the second is red");
}
