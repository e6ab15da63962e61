//! Results that were never measured, and a reader strict enough to find what a browser forgives.

use std::path::Path;

use super::study::Study;
use crate::floor::Kind;
use crate::probe::{CpuUse, Host, Memory};
use crate::publish::Posted;
use crate::receive::crowd::Crowd;
use crate::receive::harvest::{Counts, Harvest, Latency, WindowHarvest};
use crate::receive::timeline::Moment;
use crate::report::kept::Kept;
use crate::run::{Beat, Mark, Run, Shares};
use crate::schedule::Phase;
use crate::setup::{Act, Deed, Flood, Setup};
use crate::target::Subject;
use crate::target::counters::Counters;

/// A product whose name and failure would be markup if nobody took care.
pub const EVIL: &str = "<b>bold</b> & \"co\"";
/// Why it gave up.
pub const WHY: &str = "it said </td><script>x()</script> & ended";

pub fn host() -> Host {
    Host {
        cpu: "A <fast> one".into(),
        cores: 2,
        memory_bytes: 24 << 30,
        kernel: "6.18".into(),
        files_max: 20_000,
        mitigations: vec!["spectre_v2: Mitigation: IBRS".into()],
        sysctls: vec![("net.core.somaxconn".into(), "4096".into())],
        cgroup: vec![("memory.max".into(), "1000".into())],
        versions: vec!["touchline-bench 0".into()],
        commit: Some("0123456789ab".into()),
    }
}

pub fn setup() -> Setup {
    let phase = |name, seconds| Phase::even(name, 10.0, seconds, 1);
    Setup::even(1_000, 1, vec![phase("warm-up", 3.0), phase("steady", 6.0)])
}

/// A run in which half of the deliveries took `ms`, the rest ten times as long.
pub fn run(subject: Subject, ms: u64) -> Run {
    let us = ms * 1_000;
    let latency = Latency { count: 60_000, p50: us, p99: us * 10, max: us * 10, ..<_>::default() };
    let window = WindowHarvest {
        latency,
        spread_us: [us; 4],
        last_us: [us * 2; 4],
        slowest_s: 0.0,
        took_s: 6.0,
        buckets: vec![(us, 30_000), (us * 10, 30_000)],
    };
    let counts = Counts { delivered: 90_000, ..Counts::default() };
    let memory = |rss_bytes| Memory { rss_bytes, private_dirty_bytes: 0 };
    Run {
        subject,
        sockets: 1_000,
        harvest: Harvest { windows: vec![window], counts, ..Harvest::default() },
        posted: None,
        expected: 90_000,
        connect_s: 0.1,
        connect_retries: 0,
        connecting: Shares::default(),
        by_shard: Vec::new(),
        drained_s: 0.0,
        cpu: CpuUse { total_ns: ms * 90_000_000, user_share: 0.25, of_a_core: 0.5 },
        cpu_us: ms as f64,
        generator: CpuUse { of_a_core: 0.3, ..CpuUse::default() },
        generator_most: 0.0,
        foreign: [0.0; 2],
        beside_brokers: false,
        memory: [memory(1_000_000), memory(1_500_000)],
        rss_bytes_max: 0,
        slab_bytes: 4_000_000,
        beats: Vec::new(),
        marks: Vec::new(),
        counters: Counters::new(),
        clocks: Vec::new(),
    }
}

/// What `compare` would have kept of three pairs. The second product always gave up, the third
/// lost a delivery, and the generator was the limit of the fourth.
pub fn lines() -> String {
    let mut lines = vec![serde_json::json!({ "host": host() })];
    for pair in 0..3 {
        let mut keep = |mut run: Run| {
            run.connect_s += pair as f64 * 1e-9;
            let (row, setup) = ("hot-topic", setup());
            let line = serde_json::json!({ "row": row, "pair": pair, "setup": setup, "run": run });
            lines.push(serde_json::json!({ "run": line }));
        };
        let mut lossy = run(peer("bun"), 1);
        lossy.harvest.counts.delivered -= 1;
        lossy.harvest.counts.closed.insert(1006, 2);
        let mut limited = run(peer("nats"), 1);
        limited.generator.of_a_core = 0.95;
        keep(lossy);
        keep(limited);
        keep(run(Subject::Touchline, 6 + pair));
        keep(run(peer("axum"), 8));
        keep(run(Subject::Floor(Kind::Send), 5));
        let line = serde_json::json!({
            "row": "hot-topic", "pair": pair, "subject": peer(EVIL), "why": WHY,
        });
        lines.push(serde_json::json!({ "failure": line }));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The study of these lines.
pub fn study() -> Study {
    study_of(&lines())
}

/// The study of any lines.
pub fn study_of(lines: &str) -> Study {
    Study::of(&kept_of(lines)).unwrap()
}

/// What was kept, read from these lines.
pub fn kept_of(lines: &str) -> Kept {
    let mut kept = Kept::default();
    kept.add(Path::new("fixture.jsonl"), lines.as_bytes()).unwrap();
    kept
}

/// Three runs of each of these, as `compare` would have kept them.
fn kept(row: &str, setup: &Setup, runs: impl Fn(u64) -> Vec<Run>) -> String {
    let mut text = String::new();
    for pair in 0..3 {
        for mut run in runs(pair) {
            // No two runs are the same.
            run.connect_s += pair as f64 * 1e-9;
            let line = serde_json::json!({ "row": row, "pair": pair, "setup": setup, "run": run });
            text += &format!("{}\n", serde_json::json!({ "run": line }));
        }
    }
    text
}

fn host_line() -> String {
    format!("{}\n", serde_json::json!({ "host": host() }))
}

fn peer(name: &str) -> Subject {
    Subject::Peer(name.into())
}

/// A ramp of five loads. Touchline's p99 jumps and lags at the last, axum's from the fourth on.
pub fn ramp() -> String {
    const RATES: [f64; 5] = [5.0, 10.0, 20.0, 40.0, 80.0];
    let phase = |rate: f64| Phase::even(&rate.to_string(), rate, 2.0, 1);
    let mut phases = vec![Phase::even("warm-up", 10.0, 2.0, 1)];
    phases.extend(RATES.map(phase));
    let setup = Setup::even(1_000, 1, phases);
    let run_of = |subject: Subject, late_from: usize| {
        let window = |(index, rate): (usize, &f64)| {
            let is_late = index >= late_from;
            let us = if is_late { 900_000 } else { 10_000 + index as u64 };
            let latency = Latency {
                count: (rate * 2_000.0) as u64,
                p50: us / 2,
                p99: us,
                p9999: us,
                max: us,
                ..Latency::default()
            };
            let took_s = if is_late { 2.9 } else { 2.0 };
            WindowHarvest { latency, took_s, ..run(subject.clone(), 1).harvest.windows[0].clone() }
        };
        let windows = RATES.iter().enumerate().map(window).collect();
        let harvest = Harvest { windows, ..run(subject.clone(), 1).harvest };
        Run { harvest, ..run(subject, 5) }
    };
    host_line()
        + &kept("load", &setup, |_| vec![run_of(Subject::Touchline, 4), run_of(peer("axum"), 3)])
}

/// A server that is killed and comes back: Touchline within 0.4 s, axum within 1.2 s; Touchline
/// says what is missing, axum doesn't.
pub fn killed() -> String {
    let phase = |name, seconds| Phase::even(name, 10.0, seconds, 1);
    let phases = vec![phase("warm-up", 3.0), phase("calm", 4.0), phase("crash", 8.0)];
    let act = Act { at_s: 7.0, deed: Deed::Kill };
    let mut setup = Setup { acts: vec![act], ..Setup::even(1_000, 1, phases) };
    setup.crowd.returns = true;
    let run_of = |subject: Subject, ready: &str, [declared, lost]: [u64; 2]| {
        let mut run = run(subject, 5);
        run.harvest.windows.push(run.harvest.windows[0].clone());
        let moment = |second: u32| Moment {
            at_s: second.into(),
            delivered: 10_000,
            p50_us: 1_000,
            p99_us: if second == 7 { 2_000_000 } else { 9_000 },
            max_us: 2_100_000,
        };
        run.harvest.timeline = (0..15).map(moment).collect();
        run.harvest.away =
            Latency { count: 1_000, p50: 1_000_000, p99: 2_000_000, ..<_>::default() };
        run.expected = 100_000;
        run.harvest.counts = Counts {
            delivered: 100_000 - declared - lost,
            declared,
            lost,
            gaps: declared.min(1),
            closed: [(1006, 1_000)].into(),
            returned: 1_000,
            ..Counts::default()
        };
        let mark = |at_s, what: &str| Mark { at_s, what: what.into(), left: None };
        run.marks = vec![mark(7.01, "kill -9"), mark(7.5, ready)];
        let beat = |second: u32| Beat {
            at_s: second.into(),
            rss_bytes: 60 << 20,
            cores: 0.5,
            generator: 0.4,
            others: 0.0,
            present: if second == 7 { 0 } else { 1_000 },
            delivered: u64::from(second) * 10_000,
        };
        run.beats = (0..16).map(beat).collect();
        run
    };
    host_line()
        + &kept("crash", &setup, |_| {
            vec![
                run_of(Subject::Touchline, "ready again after 0.40 s", [100, 0]),
                run_of(peer("axum"), "ready again after 1.20 s", [0, 300]),
            ]
        })
}

/// Webhooks, and nobody who listens.
pub fn flood() -> String {
    let phases = vec![Phase::even("flood", 20_000.0, 10.0, 100)];
    let flood = Some(Flood { batch: 100, flights_max: 64 });
    let setup = Setup { pad: 100, flood, ..Setup::even(0, 100, phases) };
    host_line()
        + &kept("webhook", &setup, |pair| {
            let mut run = run(Subject::Touchline, 1);
            run.sockets = 0;
            run.expected = 0;
            run.harvest = Harvest::default();
            let latency = Latency { count: 2_000, p50: 3_000, p99: 9_000 + pair, ..<_>::default() };
            let (posts, events, retries, seconds) = (2_000, 200_000, 0, 10.0);
            run.posted =
                Some(Posted { posts, events, retries, latency, seconds, ..Posted::default() });
            vec![run]
        })
}

/// One workload at three sizes. Touchline's cost grows as the power 1.3 of the sockets, axum's in
/// proportion.
pub fn sizes() -> String {
    let of_size = |sockets: usize| {
        let setup = Setup { crowd: Crowd::even(sockets, 1), ..setup() };
        let run_of = |subject: Subject, power: f64| {
            let total = (sockets as f64).powf(power);
            let mut run = run(subject, 5);
            run.sockets = sockets;
            run.cpu.total_ns = (total * 1e6) as u64;
            run.cpu_us = total / sockets as f64;
            run
        };
        let runs = |_| vec![run_of(Subject::Touchline, 1.3), run_of(peer("axum"), 1.0)];
        kept("hot-topic", &setup, runs)
    };
    host_line() + &[1_000, 3_000, 10_000].map(of_size).concat()
}

/// One workload on one, three and nine shards, which cost the same.
pub fn shards() -> String {
    let of_shards = |shards: usize| {
        let setup = Setup { shards: Some(shards), ..setup() };
        kept("hot-topic", &setup, |_| vec![run(Subject::Touchline, 5)])
    };
    host_line() + &[1, 3, 9].map(of_shards).concat()
}

/// Whether `page` is well-formed: every element ends where it should, attributes are quoted and
/// different, `<` and `&` mean markup and nothing else. The text between its elements.
pub fn parse(page: &str) -> Result<String, String> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>").ok_or("it has no doctype")?;
    let (mut open, mut text) = (Vec::new(), String::new());
    while let Some(start) = rest.find('<') {
        let within_style = open.last() == Some(&"style");
        text += &unescaped(&rest[..start], within_style)?;
        text.push('\n');
        let end = rest[start..].find('>').ok_or("an element has no end")? + start;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let opened = open.pop();
            if opened != Some(name) {
                return Err(format!("{opened:?} is ended by {name}"));
            }
            continue;
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        check_attributes(attributes).map_err(|why| format!("{name}: {why}"))?;
        if !is_empty {
            open.push(name);
        }
    }
    if !open.is_empty() || !rest.trim().is_empty() {
        return Err(format!("{open:?} never end; after all: {rest:?}"));
    }
    Ok(text)
}

fn check_attributes(mut text: &str) -> Result<(), String> {
    let mut names = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").ok_or_else(|| format!("{text} isn't quoted"))?;
        let (value, rest) = rest.split_once('"').ok_or_else(|| format!("{name} has no end"))?;
        if names.contains(&name) || name.contains(' ') {
            return Err(format!("{name} can't be an attribute here"));
        }
        unescaped(value, false)?;
        names.push(name);
        text = rest.trim_start();
    }
    Ok(())
}

fn unescaped(text: &str, as_it_is: bool) -> Result<String, String> {
    const ENTITIES: [(&str, &str); 5] =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    let mut pieces = text.split('&');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let piece = format!("&{piece}");
        let known = ENTITIES.iter().find(|(entity, _)| piece.starts_with(entity));
        let (entity, letter) = known.ok_or_else(|| format!("{piece:?} is no entity"))?;
        if as_it_is {
            return Err(format!("{entity} in a style sheet"));
        }
        out += letter;
        out += &piece[entity.len()..];
    }
    Ok(out)
}
