//! The log against what partners were answered, and clients against the log.

use std::collections::{BTreeMap, HashMap, HashSet};

use touchline_tests::e2e::log::Logged;

use crate::followers::{Seen, teams_of};
use crate::partners::Ledger;

/// The first promise that was broken.
pub fn judge(log: &[Logged], ledgers: &[Ledger], seen: &[Seen]) -> Result<(), String> {
    judge_log(log)?;
    for ledger in ledgers {
        judge_ledger(log, ledger)?;
    }
    judge_origin(log, ledgers)?;
    seen.iter().try_for_each(|one| judge_follower(log, one))
}

/// What follower `number` is owed: it was there before the first event.
pub fn owed(log: &[Logged], number: usize) -> impl Iterator<Item = &Logged> {
    let teams = teams_of(number);
    log.iter().filter(move |record| record.teams.iter().any(|team| teams.contains(team)))
}

/// One life, one sequence, each event once.
fn judge_log(log: &[Logged]) -> Result<(), String> {
    let mut names = HashSet::new();
    for record in log {
        if !names.insert(&record.name) {
            return Err(format!("{} is in the log twice", record.name));
        }
    }
    for pair in log.windows(2) {
        if pair[1].seq != pair[0].seq + 1 {
            return Err(format!("sequence {} is followed by {}", pair[0].seq, pair[1].seq));
        }
        if pair[1].epoch != pair[0].epoch {
            return Err(format!("a new life begins at sequence {}", pair[1].seq));
        }
    }
    Ok(())
}

/// What was acknowledged is there.
fn judge_ledger(log: &[Logged], ledger: &Ledger) -> Result<(), String> {
    let names: HashSet<_> = log.iter().map(|record| &record.name).collect();
    match ledger.acknowledged.iter().find(|name| !names.contains(name)) {
        Some(lost) => Err(format!("{lost} was answered 202 and is not in the log")),
        None => Ok(()),
    }
}

/// What is there was sent, and is as it was sent.
fn judge_origin(log: &[Logged], ledgers: &[Ledger]) -> Result<(), String> {
    let sent: HashMap<_, _> = ledgers.iter().flat_map(|ledger| &ledger.sent).collect();
    for record in log {
        if sent.get(&record.name) != Some(&&record.data) {
            return Err(format!("{} is not what was sent", record.name));
        }
    }
    Ok(())
}

/// Each topic as the log has it: all of it, in order, once. Nothing here passes retention, so there
/// is no reason for a gap either.
fn judge_follower(log: &[Logged], seen: &Seen) -> Result<(), String> {
    let who = format!("follower {}", seen.number);
    if let Some(hole) = seen.holes.first() {
        return Err(format!("{who} was told without a reason: {hole}"));
    }
    let epochs_agree = seen.epochs.len() == 1 && log.iter().all(|r| r.epoch == seen.epochs[0]);
    if !epochs_agree {
        return Err(format!("{who} saw epochs {:?}", seen.epochs));
    }
    let mut topics: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for record in owed(log, seen.number) {
        let event = (record.pos.clone(), record.name.clone());
        topics.entry(record.topic.clone()).or_default().push(event);
    }
    for (topic, got) in &seen.topics {
        let want = topics.remove(topic).unwrap_or_default();
        compare(&want, got).map_err(|wrong| format!("{who}, {topic}: {wrong}"))?;
    }
    match topics.first_key_value() {
        Some((topic, events)) => Err(format!("{who} saw none of {} in {topic}", events.len())),
        None => Ok(()),
    }
}

fn compare(want: &[(String, String)], got: &[(String, String)]) -> Result<(), String> {
    let mut met = HashSet::new();
    if let Some(twice) = got.iter().find(|event| !met.insert(*event)) {
        return Err(format!("{} came twice", twice.1));
    }
    if let Some(lost) = want.iter().find(|event| !met.contains(event)) {
        return Err(format!("{} never came ({} of {} did)", lost.1, got.len(), want.len()));
    }
    if let Some(unknown) = got.iter().find(|event| !want.contains(event)) {
        return Err(format!("{} came and is not in the log", unknown.1));
    }
    if want == got { Ok(()) } else { Err("out of order".into()) }
}

mod tests {
    use serde_json::json;
    use touchline_core::log::Epoch;

    use super::*;

    fn record(seq: u64) -> Logged {
        let data = json!({ "n": seq });
        let (pos, name) = (format!("p{seq}"), format!("skyline/e-{seq}"));
        let (topic, teams) = ("broadcast:t00".into(), vec!["t00".into()]);
        Logged { seq, pos, epoch: Epoch(7), topic, teams, name, data }
    }

    /// A sound world: three records, acknowledged, and seen by follower 0.
    fn world() -> (Vec<Logged>, Vec<Ledger>, Vec<Seen>) {
        let log: Vec<_> = (5..8).map(record).collect();
        let mut ledger = Ledger::default();
        let mut seen = Seen { epochs: vec![Epoch(7)], ..Seen::default() };
        for record in &log {
            ledger.sent.insert(record.name.clone(), record.data.clone());
            ledger.acknowledged.insert(record.name.clone());
            let events = seen.topics.entry(record.topic.clone()).or_default();
            events.push((record.pos.clone(), record.name.clone()));
        }
        (log, vec![ledger], vec![seen])
    }

    type Tamper = fn(&mut Vec<Logged>, &mut Ledger, &mut Seen);

    #[test]
    fn the_judge_finds_every_kind_of_broken_promise() {
        let (log, ledgers, seen) = world();
        assert_eq!(judge(&log, &ledgers, &seen), Ok(()));
        let broken: [(&str, Tamper); 9] = [
            ("in the log twice", |log, _, _| log.push(log[0].clone())),
            ("is followed by", |log, _, _| drop(log.remove(1))),
            ("a new life", |log, _, _| log[2].epoch = Epoch(8)),
            ("answered 202 and is not", |log, _, _| drop(log.pop())),
            ("not what was sent", |log, _, _| log[0].data = json!({})),
            ("came twice", |_, _, seen| {
                let events = seen.topics.get_mut("broadcast:t00").unwrap();
                events.push(events[0].clone());
            }),
            ("never came", |_, _, seen| drop(seen.topics.get_mut("broadcast:t00").unwrap().pop())),
            ("out of order", |_, _, seen| seen.topics.get_mut("broadcast:t00").unwrap().swap(0, 1)),
            ("without a reason", |_, _, seen| seen.holes.push("gap".into())),
        ];
        for (wrong, tamper) in broken {
            let (mut log, mut ledgers, mut seen) = world();
            tamper(&mut log, &mut ledgers[0], &mut seen[0]);
            let verdict = judge(&log, &ledgers, &seen).unwrap_err();
            assert!(verdict.contains(wrong), "{wrong}: {verdict}");
        }
    }
}
