//! Runs in words, for people who watch.

use std::fmt;

use crate::page::words::{count, list, number, percent, whole};
use crate::publish::Posted;
use crate::receive::Standing;
use crate::receive::harvest::{Counts, WindowHarvest};
use crate::run::Run;
use crate::setup::Setup;
use crate::stats::Figure;

/// How late deliveries of one phase were, or of several that are called the same.
pub struct Line {
    /// The phase's name.
    phase: String,
    /// How many windows of it follow each other; of each run the slowest counts.
    windows: usize,
    /// Of the runs in which anything arrived.
    p99_ms: Option<Figure>,
    /// When the last socket had an event, likewise.
    last_ms: Option<Figure>,
}

impl Line {
    /// One for each phase of `setup` that is measured, in their order.
    pub fn of(setup: &Setup, runs: &[Run]) -> Vec<Self> {
        let mut lines = Vec::new();
        let mut at = 0;
        for phases in setup.phases.get(1..).unwrap_or_default().chunk_by(|a, b| a.name == b.name) {
            let windows = at..at + phases.len();
            at = windows.end;
            let of = |us: fn(&WindowHarvest) -> u64| {
                let seen = |run: &Run| {
                    let windows = run.harvest.windows.get(windows.clone())?.iter();
                    let arrived = windows.filter(|window| window.latency.count > 0);
                    arrived.map(|window| us(window) as f64 / 1e3).max_by(f64::total_cmp)
                };
                let values: Vec<f64> = runs.iter().filter_map(seen).collect();
                (!values.is_empty()).then(|| Figure::of(values))
            };
            lines.push(Self {
                phase: phases[0].name.clone(),
                windows: phases.len(),
                p99_ms: of(|window| window.latency.p99),
                last_ms: of(|window| window.last_us[1]),
            });
        }
        lines
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, windows, p99_ms, last_ms } = self;
        write!(f, "{phase}: ")?;
        let (Some(p99_ms), Some(last_ms)) = (p99_ms, last_ms) else {
            return f.write_str("nothing arrived");
        };
        write!(f, "p99 {} ms, last {} ms", short(p99_ms), short(last_ms))?;
        if *windows > 1 { write!(f, " (slowest of {windows})") } else { Ok(()) }
    }
}

/// A figure of one run is a number.
fn short(figure: &Figure) -> String {
    if figure.low == figure.high { number(figure.median) } else { figure.to_string() }
}

/// How a run goes, for a line that the terminal cuts at its edge: what changes stands first, what
/// everybody knows last.
pub fn progress(what: &str, at_s: f64, of_s: f64, standing: &Standing) -> String {
    let Standing { delivered, present, p50_us, p99_us, .. } = *standing;
    let [p50_ms, p99_ms] = [p50_us, p99_us].map(|us| us as f64 / 1e3);
    format!(
        "p50 {p50_ms:.1}, p99 {p99_ms:.1} ms, {at_s:.0} of {of_s:.0} s, {what}, {present} there, \
         {delivered} delivered"
    )
}

/// A run that came to its end: nothing is told of what wasn't seen.
pub fn run(setup: &Setup, run: &Run) -> String {
    let cpu = match run.harvest.counts.delivered {
        0 if run.sockets > 0 => "nothing delivered, ".into(),
        _ if !run.knows_cpu() => String::new(),
        _ => {
            let [all, user, error] = [1.0, run.cpu.user_share, run.cpu.user_share_error()]
                .map(|share| number(run.cpu_us * share));
            let what = if run.sockets == 0 { "an event" } else { "a delivery" };
            format!("{all} us {what} ({user} \u{b1} {error} user), ")
        }
    };
    let [a, b] = run.foreign.map(|share| share * 100.0);
    let (delivered, expected) = (run.harvest.counts.delivered, run.expected);
    let mut text = format!(
        "          {cpu}{} of {}, generator {:.0} %, others {a:.0} % {b:.0} %",
        whole(delivered),
        whole(expected),
        run.generator.of_a_core * 100.0,
    );
    for line in Line::of(setup, std::slice::from_ref(run)) {
        text += &format!("\n          {line}");
    }
    if let [_, _, ..] = run.by_shard[..] {
        text += &format!("\n          {}", spread(&run.by_shard));
    }
    for clock in &run.clocks {
        let (ahead_ms, error_us) = (clock.ahead_us / 1e3, clock.error_us);
        text += &format!(
            "\n          {}: our clock is {ahead_ms:.1} ms ahead of its, \u{b1} {error_us:.0} us",
            clock.agent
        );
    }
    let losses = losses(&run.harvest.counts, expected.saturating_sub(delivered), expected);
    if !losses.is_empty() {
        text += &format!("\n          {}", list(&losses));
    }
    text
}

/// How evenly the kernel has spread connections over shards, beside what a die would do: the
/// fullest shard has the last delivery.
fn spread(by_shard: &[u64]) -> String {
    let shards = by_shard.len() as f64;
    let all = by_shard.iter().sum::<u64>() as f64;
    let mean = all / shards;
    let square = |count: &u64| (*count as f64 - mean).powi(2);
    let deviation = (by_shard.iter().map(square).sum::<f64>() / shards).sqrt();
    let of_a_die = (mean * (1.0 - 1.0 / shards)).sqrt();
    let [least, most] = [by_shard.iter().min(), by_shard.iter().max()];
    let of = |count: Option<&u64>| whole(count.copied().unwrap_or_default());
    format!(
        "{} to {} sockets a shard, standard deviation {deviation:.0} (a die\u{2019}s is {of_a_die:.0})",
        of(least),
        of(most)
    )
}

/// All runs of a subject, in a line and one for each phase.
pub fn summary(name: &str, setup: &Setup, runs: &[Run], failures: &[String]) -> String {
    let figure = |of: &dyn Fn(&Run) -> f64| Figure::of(runs.iter().map(of));
    let mut said = Vec::new();
    if runs.iter().any(|run| run.sockets == 0) {
        let posted = |of: fn(&Posted) -> f64| {
            Figure::of(runs.iter().filter_map(|run| run.posted.as_ref()).map(of))
        };
        said.push(format!("{} events/s", posted(|posted| posted.events as f64 / posted.seconds)));
        said.push(format!("p99 {} ms", posted(|posted| posted.latency.p99 as f64 / 1e3)));
    } else if runs.iter().any(|run| !run.harvest.windows.is_empty()) {
        let served = runs.iter().filter(|run| run.harvest.counts.delivered > 0);
        let served: Vec<&Run> = served.collect();
        let known = served.iter().filter(|run| run.knows_cpu());
        let cpu: Vec<f64> = known.map(|run| run.cpu_us).collect();
        if served.is_empty() {
            said.push("nothing delivered".into());
        } else if !cpu.is_empty() {
            said.push(format!("{} us a delivery", Figure::of(cpu)));
        }
        let share = |run: &Run| run.harvest.counts.delivered as f64 / run.expected.max(1) as f64;
        said.push(format!("{} % arrived", percent(figure(&share).median)));
    } else if !runs.is_empty() {
        said.push(format!("{} B a socket in its process", figure(&Run::user_bytes_per_socket)));
        said.push(format!("{} connects/s", figure(&Run::connects_per_s)));
    }
    if let Some(why) = failures.last() {
        said.push(format!("gave up {}: {why}", count(failures.len(), "time")));
    }
    let mut text = format!("    {name:<16}  {}", said.join(", "));
    for line in Line::of(setup, runs).iter().filter(|_| !runs.is_empty()) {
        text += &format!("\n        {line}");
    }
    text
}

/// Whether events were repeated, or missing without a word: a connection that ends without a Close
/// says none.
pub fn is_false(run: &Run) -> bool {
    let counts = &run.harvest.counts;
    let cut_off = counts.cut_off.saturating_sub(counts.cut_off_untold);
    let told = counts.delivered + counts.declared + cut_off;
    counts.repeated > 0 || counts.lost > 0 || told < run.expected
}

/// What a run lacks that should have been whole.
pub fn lacks(run: &Run) -> String {
    let (delivered, expected) = (run.harvest.counts.delivered, run.expected);
    let losses = losses(&run.harvest.counts, expected.saturating_sub(delivered), expected);
    match losses.is_empty() {
        true => format!("{} of {} deliveries", whole(delivered), whole(expected)),
        false => list(&losses),
    }
}

/// What was lost, repeated and closed; `missing` of `expected` never came.
pub fn losses(counts: &Counts, missing: u64, expected: u64) -> Vec<String> {
    let mut losses = Vec::new();
    if missing > 0 {
        let untold = if counts.lost == missing { ", and nobody was told" } else { "" };
        losses.push(match missing == expected {
            true => format!("nothing arrived of {} deliveries", whole(expected)),
            false => format!("{} of {} never came{untold}", whole(missing), whole(expected)),
        });
    }
    // What never came at all isn't counted again.
    let lost = if counts.lost == missing { 0 } else { counts.lost };
    let told = [
        (counts.declared, "declared missing"),
        (lost, "missing without a word"),
        (counts.repeated, "came twice or out of order"),
    ];
    let told = told.into_iter().filter(|(value, _)| *value > 0);
    losses.extend(told.map(|(value, what)| format!("{} {what}", whole(value))));
    for (what, value) in [("gap", counts.gaps), ("error", counts.errors)] {
        if value > 0 {
            losses.push(format!("{} told", count(value as usize, what)));
        }
    }
    let closed = counts
        .closed
        .iter()
        .map(|(code, times)| format!("{} closed ({code})", count(*times as usize, "socket")));
    losses.extend(closed);
    if counts.refused > 0 {
        losses.push(format!("{} to return failed", count(counts.refused as usize, "attempt")));
    }
    losses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::fixture;
    use crate::probe::CpuUse;
    use crate::schedule::Phase;
    use crate::target::Subject;

    #[test]
    fn every_phase_is_told_by_its_name() {
        let phase = |name: &str| Phase::even(name, 10.0, 3.0, 1);
        let phases = ["warm-up", "calm", "overload", "after", "after"].map(phase).to_vec();
        let setup = Setup { phases, ..fixture::setup() };
        let mut seen = fixture::run(Subject::Touchline, 5);
        let window = seen.harvest.windows[0].clone();
        seen.harvest.windows = [123_500, 1_334_000, 111_900, 90_000]
            .map(|p99| {
                let mut window = window.clone();
                window.latency.p99 = p99;
                window
            })
            .to_vec();
        let said = run(&setup, &seen);
        assert!(said.contains("calm: p99 124 ms") && said.contains("overload: p99 1,334 ms"));
        assert!(said.contains("after: p99 112 ms") && said.contains("(slowest of 2)"), "{said}");
        let said = summary("touchline", &setup, std::slice::from_ref(&seen), &[]);
        assert!(said.contains("overload: p99 1,334 ms"), "{said}");
        seen.harvest.windows[1].latency.count = 0;
        assert!(run(&setup, &seen).contains("overload: nothing arrived"));
    }

    #[test]
    fn percentiles_stand_on_a_terminal_of_80_columns() {
        let standing = Standing { p50_us: 12_500, p99_us: 1_048_200, ..Standing::default() };
        let line = progress("hot-topic: touchline, run 1 of 5, 50 sockets", 2.0, 3.0, &standing);
        // What the bar puts before it.
        let cut: String = format!("\u{2839} 0/1 rows, 12s  {line}").chars().take(80).collect();
        assert!(cut.contains("p50 12.5, p99 1048.2 ms, 2 of 3 s"), "{cut}");
    }

    #[test]
    fn how_connections_are_spread_over_shards_is_told() {
        let mut seen = fixture::run(Subject::Touchline, 5);
        let setup = fixture::setup();
        assert!(!run(&setup, &seen).contains("a shard"));
        seen.by_shard = vec![90, 110, 100, 100];
        let said = run(&setup, &seen);
        let wanted = "90 to 110 sockets a shard, standard deviation 7 (a die\u{2019}s is 9)";
        assert!(said.contains(wanted), "{said}");
    }

    #[test]
    fn what_was_cut_off_is_told_by_a_close_alone() {
        let mut seen = fixture::run(Subject::Touchline, 5);
        (seen.harvest.counts.delivered, seen.harvest.counts.cut_off) = (0, 90_000);
        assert!(!is_false(&seen), "closed, and told");
        seen.harvest.counts.cut_off_untold = 1;
        assert!(is_false(&seen));
    }

    #[test]
    fn nothing_is_told_of_a_cpu_that_was_not_seen() {
        let mut seen = fixture::run(Subject::Touchline, 5);
        seen.cpu = CpuUse::default();
        seen.cpu_us = 0.0;
        let setup = fixture::setup();
        assert!(!run(&setup, &seen).contains("a delivery"), "it runs elsewhere");
        let said = summary("far", &setup, std::slice::from_ref(&seen), &[]);
        assert!(!said.contains("a delivery"), "{said}");
    }

    #[test]
    fn names_however_long_stand_apart_from_figures_and_losses_are_words() {
        let mut seen = fixture::run(Subject::Touchline, 5);
        seen.harvest.counts.repeated = 3_000;
        let name = "some/folder/mine.toml";
        let said = summary(name, &fixture::setup(), std::slice::from_ref(&seen), &[]);
        assert!(said.contains("mine.toml  5.00 (5.00 to 5.00) us a delivery"), "{said}");
        let said = run(&fixture::setup(), &seen);
        assert!(
            said.ends_with("\n          3,000 came twice or out of order") && is_false(&seen),
            "{said}"
        );
        assert!(said.contains("5.00 us a delivery (1.25 \u{b1} 0.40 user)"), "{said}");
    }
}
