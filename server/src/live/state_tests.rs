//! The state is what the events say, and stays within its limits.

use super::*;
use crate::live::testing::record;

fn apply(day: &mut MatchDay, seq: u64, id: &str, kind: &str, data: &str) {
    day.apply(record(seq, id, kind, data));
}

#[test]
fn a_match_is_what_its_events_say() {
    let mut day = MatchDay::default();
    let base = r#""match":"m","home":"ars","away":"che","home_name":"Arsenal""#;
    apply(&mut day, 0, "e0", "match.scheduled", &format!("{{{base}}}"));
    assert_eq!(day.matches[0].status, Status::Scheduled);
    apply(&mut day, 1, "e1", "match.kickoff", &format!(r#"{{{base},"status":"live"}}"#));
    let goal = r#""minute":45,"stoppage":2,"score":{"home":1,"away":0},"team":"ars""#;
    apply(&mut day, 2, "e2", "goal", &format!(r#"{{{base},{goal},"player":"Ada Hol"}}"#));
    let m = &day.matches[0];
    assert_eq!((m.minute, m.stoppage, m.score), (45, 2, Score { home: 1, away: 0 }));
    assert_eq!(m.scorers[0].player.as_deref(), Some("Ada Hol"));
    assert_eq!((m.home_name.as_str(), m.away_name.as_str()), ("Arsenal", "che"));
    let back = r#""overturns":"e2","score":{"home":0,"away":0},"minute":46"#;
    apply(&mut day, 3, "e3", "var.overturned", &format!("{{{base},{back}}}"));
    let m = &day.matches[0];
    assert_eq!((m.scorers.len(), m.score, m.stoppage), (0, Score::default(), 0));
    apply(&mut day, 4, "e4", "match.full_time", &format!("{{{base}}}"));
    assert_eq!(day.matches[0].status, Status::FullTime);
    assert_eq!(day.teams["ars"], "Arsenal");
    assert_eq!(day.events.len(), 5);
}

#[test]
fn a_new_day_takes_the_place_of_the_one_before() {
    let mut day = MatchDay::default();
    let fact = |m: &str, d: &str, home: &str, away: &str| {
        format!(r#"{{"match":"{m}","day":"{d}","home":"{home}","away":"{away}"}}"#)
    };
    apply(&mut day, 0, "a", "match.scheduled", &fact("m1", "d1", "ars", "che"));
    apply(&mut day, 1, "b", "match.scheduled", &fact("m2", "d1", "bra", "esp"));
    apply(&mut day, 2, "c", "match.scheduled", &fact("m3", "d2", "ars", "esp"));
    let ids: Vec<&str> = day.matches.iter().map(|m| m.id.as_str()).collect();
    assert_eq!(ids, ["m3"]);
    apply(&mut day, 3, "d", "goal", &fact("m1", "d1", "ars", "che"));
    assert_eq!(day.matches.len(), 1, "an echo of a day that has gone brings nothing back");
    assert_eq!(day.teams.keys().collect::<Vec<_>>(), ["ars", "esp"]);
}

#[test]
fn without_days_a_new_fixture_displaces_its_teams_older_ones_only() {
    let mut day = MatchDay::default();
    for (n, (home, away)) in [("ars", "che"), ("bra", "esp"), ("che", "fra")].iter().enumerate() {
        let data = format!(r#"{{"match":"m{n}","home":"{home}","away":"{away}"}}"#);
        apply(&mut day, n as u64, &format!("e{n}"), "match.scheduled", &data);
    }
    let ids: Vec<&str> = day.matches.iter().map(|m| m.id.as_str()).collect();
    assert_eq!(ids, ["m1", "m2"]);
}

#[test]
fn whatever_is_sent_the_state_stays_within_its_limits() {
    let mut day = MatchDay::default();
    let long = "x".repeat(5_000);
    for n in 0..2_000u64 {
        let m = n % 300;
        let data = format!(
            r#"{{"match":"m{m}","home":"h{m}","away":"a{n}","home_name":"{long}","player":"{long}"}}"#
        );
        let kind = if n % 2 == 0 { "goal" } else { "card.yellow" };
        apply(&mut day, n, &format!("e{n}"), kind, &data);
    }
    for n in 0..2_000u64 {
        let data = r#"{"match":"m299","home":"h","away":"a"}"#;
        apply(&mut day, 2_000 + n, &format!("g{n}"), "goal", data);
    }
    assert_eq!(day.matches.len(), MATCHES_MAX);
    assert!(day.teams.len() <= TEAMS_MAX);
    assert_eq!(day.events.len(), EVENTS_MAX);
    assert!(day.matches.iter().all(|m| m.scorers.len() <= MATCH_ITEMS_MAX));
    assert!(day.matches.iter().all(|m| m.home_name.len() <= TEXT_CHARS_MAX));
    assert!(day.matches.iter().any(|m| m.scorers.len() == MATCH_ITEMS_MAX));
}

#[test]
fn a_match_nobody_speaks_of_for_a_day_is_forgotten() {
    let mut day = MatchDay::default();
    apply(&mut day, 0, "a", "goal", r#"{"match":"m1","home":"ars","away":"che"}"#);
    let mut late = record(1, "b", "goal", r#"{"match":"m2","home":"bra","away":"esp"}"#);
    late.received_at = Timestamp(0).plus(MATCH_AGE_MAX + Duration::from_secs(1));
    day.apply(late);
    assert_eq!(day.matches.len(), 1);
    assert_eq!(day.matches[0].id, "m2");
}
