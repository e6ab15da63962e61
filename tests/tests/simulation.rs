//! Claim: whatever clients, sockets, mailbox and log do to it, the hub keeps every promise of
//! RULES.md.
//!
//! A fixed set of worlds has to pass. `simulate --seconds 60` (in `scripts/test`) then looks at new
//! ones.

use touchline_tests::sim;

/// Worlds that once failed, each with what it had found.
const FOUND: [(u64, &str); 11] = [
    (2, "a client of another life was compared with what this life had sent it"),
    (7, "a session was closed for a queue that it had brought along, and came back for ever"),
    (18, "a mark rose above events that were evicted but not yet declared"),
    (20, "positions above a mark were forgotten when the mark came"),
    (44, "the same, in a crowd of thousands"),
    (5114, "a mark sank when what lay below the first living event was evicted"),
    (45, "a team that was subscribed on the way back began below its head"),
    (107, "a gap was declared in which nothing had been lost"),
    (140, "the log began anew twice while somebody was coming back"),
    (427, "who came back was taken for caught up before its socket had taken all"),
    (
        1_753_847_971_072_395,
        "the mark of a gap was above what its socket refused in the same visit",
    ),
];

fn check(seeds: impl Iterator<Item = u64>) -> Vec<sim::Report> {
    let run = |seed| sim::run(seed).unwrap_or_else(|failure| panic!("{failure}"));
    seeds.map(run).collect()
}

#[test]
fn worlds_that_once_failed_hold() {
    check(FOUND.iter().map(|(seed, _)| *seed));
}

#[test]
fn forty_worlds_keep_every_promise() {
    let reports = check(1_000..1_040);
    let total = |of: fn(&sim::Report) -> u64| reports.iter().map(of).sum::<u64>();
    // A simulation in which nothing goes wrong proves nothing.
    assert!(total(|report| report.received) > 50_000);
    assert!(total(|report| report.gaps) > 500);
    assert!(total(|report| report.slow_closed) > 50);
    assert!(total(|report| report.from_log) > 50);
    assert!(total(|report| report.lost_batches) > 50);
    assert!(total(|report| report.strangers) > 1_000);
    assert!(total(|report| report.new_lives) > 5);
    assert!(total(|report| report.held_most as u64) > 50);
}

#[test]
fn a_seed_is_a_world() {
    let [first, second] = [sim::run(6).unwrap(), sim::run(6).unwrap()];
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
}
