//! Sensors and streams: how long a value takes, how many sensors one core asks, and whether a goal
//! is slower because a crowd writes.

use anyhow::Result;

use super::verdict::{Judge, counted, counted_pairs};
use super::{Case, Findings, interleave, needs_server, paired, warm_up};
use crate::place::Place;
use crate::report::Sink;
use crate::run::Run;
use crate::schedule::{Phase, Stream, Track};
use crate::setup::{Setup, Sources};
use crate::target::Subject;

const SENSORS: u32 = 200;
const SENSORS_OF_A_CORE: u32 = 500;
const SOCKETS: usize = 1_000;
/// Of the rows with posts.
const TEAMS: u32 = 100;
const POSTS_PER_S: f64 = 10_000.0;
const KEPT_PER_S: u32 = 10;

/// Values of `teams`, about one a second each, at no fixed place between two ticks.
fn values(name: &str, seconds: f64, teams: u32) -> Phase {
    let rate = f64::from(teams) / 1.037;
    let track = Track { stream: Stream::Sensor, ..Track::even(rate, 0, teams) };
    Phase { name: name.into(), seconds, tracks: vec![track] }
}

fn of_sensors(place: &Place, sensors: u32) -> Setup {
    let phases =
        vec![values("warm-up", 3.0, sensors), values("steady", place.seconds(20.0), sensors)];
    let sources = Sources { sensors, answer_ms: 5, ..Sources::default() };
    Setup { sources, ..Setup::even(SOCKETS, sensors, phases) }
}

fn p99_ms(run: &Run) -> f64 {
    run.harvest.windows[0].latency.p99 as f64 / 1e3
}

fn told(run: &Run, counter: &str) -> f64 {
    run.counters.get(counter).copied().unwrap_or(0.0)
}

/// Row `sensors`.
pub fn sensors(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let mut findings = Findings::default();
    if needs_server(place, &mut findings) {
        return Ok(findings);
    }
    let setup = of_sensors(place, SENSORS);
    let runs = interleave(place, sink, &[Case { subject: Subject::Touchline, setup }])?;
    let runs = &runs[0];
    findings.add(
        "ms p50, from the change at the sensor",
        runs.iter().map(|run| run.harvest.windows[0].latency.p50 as f64 / 1e3),
    );
    findings.add("ms p99", runs.iter().map(p99_ms));
    let missing = |run: &Run| run.expected.saturating_sub(run.harvest.counts.delivered) as f64;
    findings.add("missing", runs.iter().map(missing));
    findings.add("of a core", runs.iter().map(|run| run.cpu.of_a_core));
    let judge = Judge::of(runs).median(counted(runs).into_iter().map(p99_ms), |ms| ms <= 150.0);
    findings.verdict = Some(judge.verdict());
    findings.doubt(std::slice::from_ref(runs));
    Ok(findings)
}

/// Row `ticks`.
pub fn ticks(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let mut findings = Findings::default();
    if needs_server(place, &mut findings) {
        return Ok(findings);
    }
    let setup = of_sensors(place, SENSORS_OF_A_CORE);
    let runs = interleave(place, sink, &[Case { subject: Subject::Touchline, setup }])?;
    let runs = &runs[0];
    let polls = |run: &Run| told(run, "touchline_source_polls_total");
    let missed = |run: &Run| {
        let missed = told(run, "touchline_source_ticks_missed_total");
        missed + told(run, "touchline_source_ticks_skipped_total")
    };
    findings.add("ticks", runs.iter().map(polls));
    findings.add("ticks missed", runs.iter().map(missed));
    findings.add("ms p99, from the change at the sensor", runs.iter().map(p99_ms));
    findings.add("of a core", runs.iter().map(|run| run.cpu.of_a_core));
    let judge = Judge::of(runs)
        .fact(counted(runs).into_iter().all(|run| missed(run) == 0.0))
        .median(counted(runs).into_iter().map(missed), |ticks| ticks == 0.0);
    findings.verdict = Some(judge.verdict());
    findings.doubt(std::slice::from_ref(runs));
    Ok(findings)
}

/// Row `posts`: goals alone; the same goals while the crowd writes; and the same while everybody
/// follows what is kept of its posts, too, which is shown and not judged: ten posts a second are
/// twenty times as many deliveries.
pub fn posts(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let mut findings = Findings::default();
    if needs_server(place, &mut findings) {
        return Ok(findings);
    }
    let goals = Phase::even("goals", 50.0, place.seconds(20.0), TEAMS);
    let quiet = Setup::even(SOCKETS, TEAMS, vec![warm_up(), goals]);
    let crowd_posts_per_s = POSTS_PER_S;
    let sources = Sources { crowd_posts_per_s, crowd_kept_per_s: KEPT_PER_S, ..Sources::default() };
    let heard = Sources { crowd_is_followed: true, ..sources.clone() };
    let [loud, heard] = [sources, heard].map(|sources| Setup { sources, ..quiet.clone() });
    let cases = [quiet, loud, heard].map(|setup| Case { subject: Subject::Touchline, setup });
    let runs = interleave(place, sink, &cases)?;
    let took = |run: &Run| run.harvest.windows[0].took_s.max(1e-9);
    let taken = |run: &Run| {
        let posts =
            run.counters.iter().filter(|(key, _)| key.starts_with("touchline_social_posts"));
        posts.map(|(_, count)| count).sum::<f64>() / took(run)
    };
    let kept = |run: &Run| told(run, "touchline_social_posts_total:published") / took(run);
    findings.add("posts/s taken in", runs[1].iter().map(taken));
    findings.add("of them published", runs[1].iter().map(kept));
    findings.add("ms p99 of broadcast, nobody writes", runs[0].iter().map(p99_ms));
    findings.add("ms p99 of broadcast, the crowd writes", runs[1].iter().map(p99_ms));
    findings.add("ms p99 of broadcast, posts are followed", runs[2].iter().map(p99_ms));
    let moved = |(a, b): (&Run, &Run)| (p99_ms(b) / p99_ms(a) - 1.0) * 100.0;
    findings.add("% moved", paired(&runs[0], &runs[1]).map(moved));
    findings.add("of a core, the crowd writes", runs[1].iter().map(|run| run.cpu.of_a_core));
    let judge = Judge::of(&runs[1])
        .fact(runs[2].iter().all(Run::is_whole))
        .median(counted_pairs(&runs[0], &runs[1]).map(moved), |percent| percent < 10.0);
    findings.verdict = Some(judge.verdict());
    findings.doubt(&runs);
    Ok(findings)
}
