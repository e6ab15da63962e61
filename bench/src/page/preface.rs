//! The head of the page: what was compared, where, how, and who took part.

use super::doubt;
use super::family::Family;
use super::names::name_and_version;
use super::node::{Element, el};
use super::study::{self, Chapter, Study};
use super::words::{count, list};
use crate::probe::Host;
use crate::target::Subject;

/// What the page is called.
pub fn heading(study: &Study) -> String {
    match products(study).len() {
        0 => "What the kernel charges for fan-out".into(),
        1 if has_floor(study) => "Fan-out, against the floor".into(),
        1 => "Fan-out, measured".into(),
        _ => "Fan-out, side by side".into(),
    }
}

/// What was compared, where and how.
pub fn draw(study: &Study, families: &[Family<'_>], heading: String) -> Element {
    let hosts = study.hosts.iter().enumerate().map(|(index, host)| {
        let name = match study.hosts.len() {
            1 => "Host".into(),
            _ => format!("Host {}", index + 1),
        };
        self::host(host, &study.commits[index], name)
    });
    let facts = el("div").class("facts").with_all(hosts).with(method(study));
    el("header")
        .class("top")
        .with(el("p").class("place").text("touchline-bench"))
        .with(el("h1").text(heading))
        .with(el("p").class("lede").text(lede(study)))
        .with(el("nav").with(el("ul").with_all(contents(study, families))))
        .with(facts)
        .with(who(study))
}

fn products(study: &Study) -> Vec<&Subject> {
    let is_product = |subject: &&Subject| !matches!(subject, Subject::Floor(_));
    study.subjects.iter().filter(is_product).collect()
}

fn has_floor(study: &Study) -> bool {
    study.subjects.iter().any(|subject| matches!(subject, Subject::Floor(_)))
}

/// Hosts that carried clients; none: all of it was one host.
fn agents(study: &Study) -> usize {
    let entries = study.chapters.iter().flat_map(|chapter| &chapter.entries);
    entries.flat_map(|entry| &entry.runs).map(|run| run.clocks.len()).max().unwrap_or(0)
}

fn lede(study: &Study) -> String {
    let workloads = count(study.chapters.len(), "workload");
    let products = products(study);
    let who = match (&products[..], has_floor(study)) {
        ([], _) => "The floor".into(),
        ([one], false) => study.title(one),
        ([one], true) => format!("{} and the floor", study.title(one)),
        (many, false) => count(many.len(), "product"),
        (many, true) => format!("{} and the floor", count(many.len(), "product")),
    };
    let place = match agents(study) {
        0 if study.hosts.len() > 1 => {
            let hosts = count(study.hosts.len(), "host");
            format!("{hosts}, each with one core for the server and one for the clients")
        }
        0 => "one host, one core for the server".into(),
        hosts => format!("clients on {}", count(hosts, "other host")),
    };
    let point = if study.subjects.len() > 1 { " What differs is the server." } else { "" };
    format!("{who} under {workloads}: the same clients, the same schedule, {place}.{point}")
}

fn contents(study: &Study, families: &[Family<'_>]) -> Vec<Element> {
    let item = |to: String, name: String, note: String| {
        let link = el("a").set("href", to).text(name);
        el("li").with(link).with(el("small").text(note))
    };
    let growth = families.iter().enumerate().map(|(index, family)| {
        let (to, name) = (format!("#growth-{}", index + 1), format!("{}, growing", family.name));
        item(to, name, format!(" {}", family.sizes()))
    });
    let chapters = study.chapters.iter().enumerate().map(|(index, chapter)| {
        let doubts = doubt::of(chapter).len();
        let note = if doubts == 0 { String::new() } else { format!(" {}", count(doubts, "doubt")) };
        item(format!("#chapter-{}", index + 1), named(study, chapter), note)
    });
    growth.chain(chapters).collect()
}

/// A chapter's name, with its sockets where others are called the same.
fn named(study: &Study, chapter: &Chapter) -> String {
    let alike = study.chapters.iter().filter(|other| other.name == chapter.name).count();
    match chapter.setup.as_ref().filter(|_| alike > 1) {
        Some(setup) => {
            format!("{}, {}", chapter.name, count(setup.crowd.sockets, "socket"))
        }
        None => chapter.name.clone(),
    }
}

fn host(host: &Host, commits: &[String], name: String) -> Element {
    let gib = host.memory_bytes as f64 / f64::from(1 << 30);
    let facts = [
        ("CPU", host.cpu.clone()),
        ("Cores", host.cores.to_string()),
        ("Memory", format!("{gib:.0} GiB")),
        ("Kernel", format!("Linux {}", host.kernel)),
        (if commits.len() == 1 { "Commit" } else { "Commits" }, commits.join(", ")),
    ];
    let more = std::iter::once(("open files of a table".to_owned(), host.files_max.to_string()))
        .chain(host.sysctls.iter().chain(&host.cgroup).cloned());
    let versions = host.versions.iter().map(|text| {
        let (name, version) = name_and_version(text);
        (name.to_owned(), version.to_owned())
    });
    let versions: Vec<(String, String)> = versions.collect();
    let mitigations = host.mitigations.iter().map(|text| {
        let (name, how) = text.split_once(": ").unwrap_or((text, ""));
        (name.to_owned(), how.to_owned())
    });
    let folded = |title: &str, facts: Vec<(String, String)>| {
        el("details").with(el("summary").text(title)).with(pairs(facts))
    };
    let facts = facts.map(|(name, value)| (name.to_owned(), value));
    el("section")
        .with(el("h3").text(name))
        .with(pairs(facts))
        .with_all((!versions.is_empty()).then(|| folded("Versions", versions)))
        .with(folded("Settings that move these numbers", more.collect()))
        .with(folded("Mitigations", mitigations.collect()))
}

fn pairs(facts: impl IntoIterator<Item = (String, String)>) -> Element {
    let pair = |(name, value): (String, String)| {
        [
            el("dt").text(name),
            el("dd").text(if value.is_empty() { "\u{2013}".into() } else { value }),
        ]
    };
    el("dl").with_all(facts.into_iter().flat_map(pair))
}

/// How it was measured.
fn method(study: &Study) -> Element {
    let mut pairs: Vec<usize> = study.chapters.iter().map(study::Chapter::pairs).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let pairs: Vec<String> = pairs.iter().map(usize::to_string).collect();
    let turns = match study.subjects.len() {
        1 => "",
        _ => "Subjects take turns, each round in another order. ",
    };
    let figures = match &pairs[..] {
        [one] if one == "1" => format!("{turns}One run of each: figures are that run\u{2019}s."),
        pairs => format!(
            "{turns}Figures are medians of {} runs, with least and greatest beside them{}.",
            list(&pairs.iter().filter(|pairs| *pairs != "1").cloned().collect::<Vec<_>>()),
            if pairs[0] == "1" { "; of a single run where there is one" } else { "" }
        ),
    };
    let floor = "The floor does nothing but send: same sockets, bytes, pace and clients. What it \
         takes, the kernel charges.";
    let latency = "Half of the deliveries of a run are quicker than its p50, 99 of 100 than its \
         p99. Latency counts from the time an event was due, so a late publisher or server \
         can\u{2019}t hide. Each socket checks what it gets for loss, repetition and order.";
    let loopback = "Over loopback the server\u{2019}s CPU contains the receiver\u{2019}s side of \
         TCP, for the floor as for the others: a network card would be cheaper.";
    let limited = "A run in which the generator\u{2019}s core was more than 90 % full, by whomever, while the \
         server\u{2019}s wasn\u{2019}t may show the generator: it doesn\u{2019}t count.";
    let rules = [
        Some(figures.as_str()),
        has_floor(study).then_some(floor),
        Some(latency),
        (agents(study) == 0).then_some(loopback),
        Some(limited),
    ];
    let rules = rules.into_iter().flatten();
    let rules = rules.map(|rule| el("li").text(rule));
    el("section").with(el("h3").text("How it was measured")).with(el("ul").with_all(rules))
}

/// Everybody who takes part.
fn who(study: &Study) -> Element {
    let pair = |subject: &Subject| {
        let swatch = el("span").class(format!("line {}", study.look(subject)));
        let name = el("dt").with(swatch).text(study.title(subject));
        el("div").with(name).with(el("dd").text(study.what(subject)))
    };
    let list = el("dl").with_all(study.subjects.iter().map(pair));
    el("section").class("facts who").with(el("h3").text("Who takes part")).with(list)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_head_says_who_under_what_and_where() {
        let said = |lines: &str| {
            let study = fixture::study_of(lines);
            (heading(&study), lede(&study))
        };
        let (heading, lede) = said(&fixture::flood());
        assert_eq!(heading, "Fan-out, measured");
        assert!(lede.starts_with("Touchline under 1 workload: the same clients"), "{lede}");
        assert!(!lede.contains("differs"), "{lede}");
        let mut kept = fixture::kept_of(&fixture::flood());
        let other = fixture::flood().replace("\"cores\":2", "\"cores\":4");
        kept.add(std::path::Path::new("other.jsonl"), &other.replace("9000", "8000").into_bytes())
            .unwrap();
        let two = Study::of(&kept).unwrap();
        assert!(self::lede(&two).contains("2 hosts, each with"), "{}", self::lede(&two));
        let mut one = fixture::study_of(&fixture::flood());
        one.chapters[0].entries[0].runs.truncate(1);
        assert!(method(&one).to_string().contains("One run of each"), "no medians of 1 runs");
        let study = fixture::study_of(&fixture::sizes());
        let names: Vec<String> =
            study.chapters.iter().map(|chapter| named(&study, chapter)).collect();
        assert_eq!(names[0], "hot-topic, 1,000 sockets");
        assert_eq!(contents(&study, &super::super::family::all(&study)).len(), 4);
    }
}
