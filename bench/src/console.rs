//! What the console says of a run: while it goes, when it is done, and what is wrong with it.

use crate::receive::Standing;
use crate::run::Run;

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

/// What a run gave, in a line: nothing is told of what wasn't seen.
pub fn of_run(run: &Run) -> String {
    let counts = &run.harvest.counts;
    if run.expected > 0 && counts.delivered == 0 {
        return lacks(run);
    }
    let mut parts = Vec::new();
    if run.knows_cpu() {
        let user_us = run.cpu_us * run.cpu.user_share;
        parts.push(format!("{:.2} us a delivery ({user_us:.2} user)", run.cpu_us));
    }
    if let Some(first) = run.harvest.windows.first().filter(|first| first.latency.count > 0) {
        let [p99_ms, last_ms] = [first.latency.p99, first.last_us[1]].map(|us| us as f64 / 1e3);
        parts.push(format!(
            "p99 {p99_ms:.1} ms, last {last_ms:.1} ms, slowest at {:.1} s",
            first.slowest_s
        ));
    }
    if run.expected > 0 {
        parts.push(format!("{} of {}", counts.delivered, run.expected));
    }
    let [a, b] = run.foreign.map(|share| share * 100.0);
    let generator = run.generator.of_a_core * 100.0;
    parts.push(format!("generator {generator:.0} %, others {a:.0} % {b:.0} %"));
    if !run.is_whole() {
        parts.push(troubles(run));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

/// What a run lacks that should have been whole.
pub fn lacks(run: &Run) -> String {
    let (delivered, expected) = (run.harvest.counts.delivered, run.expected);
    let troubles = troubles(run);
    let missing = expected.saturating_sub(delivered);
    let lacks = match (missing, delivered) {
        (0, _) if troubles.is_empty() => format!("{delivered} of {expected} deliveries"),
        (0, _) => return troubles,
        (_, 0) => format!("nothing arrived of {expected} deliveries"),
        _ => format!("{missing} of {expected} deliveries are missing"),
    };
    if troubles.is_empty() { lacks } else { format!("{lacks}: {troubles}") }
}

/// What went wrong; empty: nothing.
fn troubles(run: &Run) -> String {
    let counts = &run.harvest.counts;
    let closed: u64 = counts.closed.values().sum();
    let codes = counts.closed.iter().map(|(code, count)| format!("{code}: {count}"));
    let codes = codes.collect::<Vec<_>>().join(", ");
    let said = [
        (counts.lost, "were lost".into()),
        (counts.declared, "were declared missing".into()),
        (counts.cut_off, "were cut off".into()),
        (counts.repeated, "came twice or out of order".into()),
        (counts.gaps, "gaps were told".into()),
        (counts.errors, "errors were told".into()),
        (closed, format!("connections were closed ({codes})")),
        (counts.left, "connections were given up".into()),
        (counts.returned, "clients came back".into()),
        (counts.refused, "attempts to come back failed".into()),
    ];
    let said = said.into_iter().filter(|(count, _)| *count > 0);
    said.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::fixture;
    use crate::probe::CpuUse;
    use crate::target::Subject;

    #[test]
    fn percentiles_stand_on_a_terminal_of_80_columns() {
        let standing = Standing { p50_us: 12_500, p99_us: 1_048_200, ..Standing::default() };
        let line = progress("hot-topic: touchline, run 1 of 5, 50 sockets", 2.0, 3.0, &standing);
        // What the bar puts before it.
        let cut: String = format!("\u{2839} 0/1 rows, 12s  {line}").chars().take(80).collect();
        assert!(cut.contains("p50 12.5, p99 1048.2 ms, 2 of 3 s"), "{cut}");
    }

    #[test]
    fn nothing_is_told_of_what_was_not_seen() {
        let mut run = fixture::run(Subject::Touchline, 5);
        assert!(of_run(&run).starts_with("5.00 us a delivery (1.25 user), p99 50.0 ms"));
        run.cpu = CpuUse::default();
        run.cpu_us = 0.0;
        let line = of_run(&run);
        assert!(line.starts_with("p99 50.0 ms"), "it runs elsewhere: {line}");
        run.harvest.counts.delivered = 0;
        run.harvest.windows[0].latency.count = 0;
        assert_eq!(of_run(&run), "nothing arrived of 90000 deliveries");
    }
}
