//! Results that were never measured, and a reader strict enough to find what a browser forgives.

use super::study::Study;
use crate::floor::Kind;
use crate::probe::{CpuUse, Host, Memory};
use crate::receive::harvest::{Counts, Harvest, Latency, WindowHarvest};
use crate::run::Run;
use crate::schedule::Phase;
use crate::setup::Setup;
use crate::target::Subject;

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
        drained_s: 0.0,
        cpu: CpuUse { total_ns: 1, user_share: 0.25, of_a_core: 0.5 },
        cpu_us: ms as f64,
        generator: CpuUse { of_a_core: 0.3, ..CpuUse::default() },
        foreign: [0.0; 2],
        memory: [memory(1_000_000), memory(1_500_000)],
        rss_bytes_max: 0,
        slab_bytes: 4_000_000,
        beats: Vec::new(),
        marks: Vec::new(),
        clocks: Vec::new(),
    }
}

/// What `compare` would have kept of three pairs. The second product always gave up, the third
/// lost a delivery, and the generator was the limit of the fourth.
pub fn lines() -> String {
    let mut lines = vec![serde_json::json!({ "host": host() })];
    let peer = |name: &str| Subject::Peer(name.into());
    for pair in 0..3 {
        let mut keep = |run: Run| {
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
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines()).unwrap();
    Study::read(&[file.path().to_owned()]).unwrap()
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
