//! Variants in one process, a team for each.
//!
//! Two runs of the very same floor can differ by a quarter: where the kernel put the sockets and
//! what the host does beside differ. So here all variants run at once: their sockets were opened in
//! turn and lie beside each other, their events come in turn, a few milliseconds apart, and each
//! round's cost is read from the clocks of the thread and of the kernel's helper on its core. What
//! happens elsewhere (timers that pace, acknowledgements that the clients' core takes) is not in
//! it, nor can latencies be told apart.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::experiments::WARM_UP_EVENTS;
use super::{LabArgs, Plan};
use crate::floor::Variant;
use crate::place::Place;
use crate::report::Sink;
use crate::run::Run;
use crate::stage::Stage;
use crate::stats::Figure;
use crate::target::Subject;

/// What was found.
pub struct Found {
    /// For each variant, of each run: the median of its rounds, in microseconds a send.
    costs_us: Vec<Vec<f64>>,
    /// The same, each round against that of the default which was nearest to it.
    ratios: Vec<Vec<f64>>,
    /// What else was seen.
    pub runs: Vec<Run>,
}

/// Runs the variants of `plan` together, as often as `place` says; each time another one has the
/// first team.
pub fn run(args: &LabArgs, place: &Place, sink: &mut Sink, plan: &Plan) -> Result<Found> {
    if plan.variants.iter().any(|variant| variant.flags.contains("--spin-us")) {
        bail!("how a thread sleeps is no matter of its teams: {} can't run together", plan.name);
    }
    sink.begin_row(&plan.name, &plan.question);
    let count = plan.variants.len();
    let folder = tempfile::Builder::new().prefix("touchline-lab-").tempdir()?;
    let ledger = folder.path().join("ledger");
    let setup = plan.case.setup_together(args.scale(), count as u32);
    let empty = || vec![Vec::new(); count];
    let mut found = Found { costs_us: empty(), ratios: empty(), runs: Vec::new() };
    for turn in 0..place.pairs {
        let order: Vec<usize> = (0..count).map(|team| (turn + team) % count).collect();
        let variants: Vec<Variant> =
            order.iter().map(|index| plan.variants[*index].clone()).collect();
        let subject = Subject::Variant(Variant::together(&variants, &ledger));
        sink.begin_run(turn, place.pairs, &subject, &setup);
        let run = Stage::set(place, &subject, &setup)?.play(place, &mut sink.watcher())?;
        sink.keep_run(turn, &setup, &run)?;
        found.runs.push(run);
        let rounds = read(&ledger, count)?;
        // Team 0 has the variant of number `turn`, and so on: the default stands before it.
        let default = &rounds[(count - turn % count) % count];
        for (index, own) in order.into_iter().zip(&rounds) {
            let ratios = own.iter().zip(default).map(|(own, default)| own / default.max(1e-9));
            found.ratios[index].push(Figure::of(ratios).median);
            found.costs_us[index].push(Figure::of(own.iter().copied()).median);
        }
    }
    Ok(found)
}

/// Of each team the cost of a send in each of its rounds, in microseconds, warm-up apart.
fn read(ledger: &Path, teams: usize) -> Result<Vec<Vec<f64>>> {
    let text = std::fs::read_to_string(ledger).context("read what the rounds have cost")?;
    let mut rounds = vec![Vec::new(); teams];
    // The floor may have been stopped in the middle of the last line.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let numbers: Option<Vec<u64>> = line.split_whitespace().map(|n| n.parse().ok()).collect();
        let Some([team, spent_ns, sends]) = numbers.as_deref() else { continue };
        if let Some(rounds) = rounds.get_mut(*team as usize) {
            rounds.push(*spent_ns as f64 / 1e3 / (*sends).max(1) as f64);
        }
    }
    let measured = |rounds: Vec<f64>| rounds.into_iter().skip(WARM_UP_EVENTS as usize).collect();
    Ok(rounds.into_iter().map(measured).collect())
}

/// A row for each variant.
pub fn table(plan: &Plan, found: &Found) -> String {
    let turns = found.runs.len();
    let mut text = format!(
        "**{}** ({}, together, {turns} turns): {}\n\n\
         | floor | CPU us a send | of the default |\n|---|---|---|\n",
        plan.name, plan.case.name, plan.question
    );
    for (index, variant) in plan.variants.iter().enumerate() {
        let of = |values: &[Vec<f64>]| Figure::of(values[index].iter().copied());
        let (cost, ratio) = (of(&found.costs_us), of(&found.ratios));
        text += &format!("| {variant} | {cost} | {} |\n", super::three_digits(&ratio));
    }
    let doubts = super::doubts(&found.runs);
    if doubts.is_empty() { text } else { format!("{text}\nRuns: {doubts}.\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_gives_the_rounds_of_each_team_after_the_warm_up() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut text = "0 900000 100\n1 800000 100\n".repeat(WARM_UP_EVENTS as usize);
        text += "0 500000 100\n1 300000 100\n0 600000 100\n0 700000 100\n1 3000";
        std::fs::write(file.path(), text).unwrap();
        assert_eq!(read(file.path(), 2).unwrap(), [vec![5.0, 6.0, 7.0], vec![3.0]]);
    }
}
