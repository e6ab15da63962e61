//! The report: one file of HTML that needs nothing else, for people who weren't there.
//!
//! It is made of what `compare` and `run` keep. [`study`] puts the lines in order, [`measure`] says
//! what is read from a run and who competes with whom, [`chapter`] tells one workload; this module
//! writes the head (where, how, who) and puts all of it together. Nothing is fetched, no script
//! runs: pictures are SVG that takes its colours from the page's style sheet, which has a light
//! and a dark set, and paper is light.
//!
//! | module | what it holds |
//! |---|---|
//! | [`study`] | results, by workload and subject |
//! | [`measure`] | what is measured, who is best |
//! | [`chapter`], [`table`], [`doubt`] | one workload |
//! | [`bars`], [`curve`], [`axis`] | pictures |
//! | [`node`], [`words`] | markup that is always well-formed; numbers as people read them |

mod axis;
mod bars;
mod chapter;
mod curve;
mod doubt;
#[cfg(test)]
mod fixture;
mod measure;
mod node;
mod study;
mod table;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::probe::Host;
use crate::target::Subject;
use node::{Element, Node, el};
use study::{Study, title, what};
use words::{count, list};

const STYLE: &str = include_str!("style.css");

/// Reads `results` and writes the page `out`.
///
/// # Errors
/// When a file can't be read or understood, or the page can't be written.
pub fn write(results: &[PathBuf], out: &Path) -> Result<()> {
    let study = Study::read(results)?;
    fs::write(out, page(&study)).with_context(|| format!("write {}", out.display()))
}

/// The whole of it.
fn page(study: &Study) -> String {
    let heading = heading(study);
    let view = "width=device-width, initial-scale=1";
    let head = el("head")
        .with(el("meta").set("charset", "utf-8"))
        .with(el("meta").set("name", "viewport").set("content", view))
        .with(el("meta").set("name", "color-scheme").set("content", "light dark"))
        .with(el("title").text(heading.clone()))
        .with(el("style").with(Node::Style(STYLE)));
    let chapters = (0..study.chapters.len()).map(|index| chapter::draw(study, index));
    let main = el("main").with(top(study, heading)).with_all(chapters).with(bottom());
    let page = el("html").set("lang", "en").with(head).with(el("body").with(main));
    format!("<!DOCTYPE html>\n{page}")
}

fn heading(study: &Study) -> String {
    let products = study.subjects.iter().filter(|subject| !matches!(subject, Subject::Floor(_)));
    match products.count() {
        0 => "What the kernel charges for fan-out".into(),
        1 => "Fan-out, against the floor".into(),
        _ => "Fan-out, side by side".into(),
    }
}

/// What was compared, where and how.
fn top(study: &Study, heading: String) -> Element {
    let products = study.subjects.iter().filter(|subject| !matches!(subject, Subject::Floor(_)));
    let lede = format!(
        "{} and the floor under {}: the same clients, the same schedule, one host, one core for \
         the server. What differs is the server.",
        count(products.count(), "product"),
        count(study.chapters.len(), "workload"),
    );
    let contents = study.chapters.iter().enumerate().map(|(index, chapter)| {
        let link =
            el("a").set("href", format!("#chapter-{}", index + 1)).text(chapter.name.clone());
        let doubts = doubt::of(chapter).len();
        let note = if doubts == 0 { String::new() } else { format!(" {}", count(doubts, "doubt")) };
        el("li").with(link).with(el("small").text(note))
    });
    let hosts = study.hosts.iter().enumerate().map(|(index, host)| {
        let name = match study.hosts.len() {
            1 => "Host".into(),
            _ => format!("Host {}", index + 1),
        };
        self::host(host, name)
    });
    let facts = el("div").class("facts").with_all(hosts).with(method(study));
    el("header")
        .class("top")
        .with(el("p").class("place").text("touchline-bench"))
        .with(el("h1").text(heading))
        .with(el("p").class("lede").text(lede))
        .with(el("nav").with(el("ul").with_all(contents)))
        .with(facts)
        .with(who(study))
}

fn host(host: &Host, name: String) -> Element {
    let gib = host.memory_bytes as f64 / f64::from(1 << 30);
    let facts = [
        ("CPU", host.cpu.clone()),
        ("Cores", host.cores.to_string()),
        ("Memory", format!("{gib:.0} GiB")),
        ("Kernel", format!("Linux {}", host.kernel)),
        ("Commit", host.commit.clone().unwrap_or_else(|| "unknown".into())),
    ];
    let more = std::iter::once(("open files of a table".to_owned(), host.files_max.to_string()))
        .chain(host.sysctls.iter().cloned());
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
    let rules = [
        format!(
            "Subjects take turns, each time beginning with another one. Figures are medians of {} \
             runs, with least and greatest beside them.",
            list(&pairs)
        ),
        "The floor does nothing but send: same sockets, bytes, pace and clients. What it takes, \
         the kernel charges."
            .into(),
        "Half of the deliveries of a run are quicker than its p50, 99 of 100 than its p99. \
         Latency counts from the time an event was due, so a late publisher or server can\u{2019}t \
         hide. Each socket checks what it gets for loss, repetition and order."
            .into(),
        "Over loopback the server\u{2019}s CPU contains the receiver\u{2019}s side of TCP, for the \
         floor as for the others: a network card would be cheaper."
            .into(),
        "A run whose generator used more than 90 % of its core may show the generator: it \
         doesn\u{2019}t count."
            .into(),
    ];
    let rules = rules.map(|rule| el("li").text(rule));
    el("section").with(el("h3").text("How it was measured")).with(el("ul").with_all(rules))
}

/// Everybody who takes part.
fn who(study: &Study) -> Element {
    let pair = |subject: &Subject| {
        let swatch = el("span").class(format!("line {}", study.look(subject)));
        let name = el("dt").with(swatch).text(title(subject));
        el("div").with(name).with(el("dd").text(what(subject)))
    };
    let list = el("dl").with_all(study.subjects.iter().map(pair));
    el("section").class("facts who").with(el("h3").text("Who takes part")).with(list)
}

fn bottom() -> Element {
    let text = "Written by touchline-bench report out of results that touchline-bench compare has \
        kept. How each product is configured, and by whose advice, stands in bench/peers; what \
        each workload does, in bench/scenarios.";
    el("footer").with(el("p").text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_well_formed_and_names_everybody_and_every_failure() {
        let page = page(&fixture::study());
        let text = fixture::parse(&page).unwrap_or_else(|why| panic!("{why}\n{page}"));
        for name in ["Touchline", "floor (send)", "Bun", "axum", "nats", fixture::EVIL] {
            assert!(text.lines().any(|line| line == name), "{name} is missing: {text}");
        }
        assert!(text.contains("gave up in every run") && text.contains(fixture::WHY), "{text}");
        assert!(text.contains("One team, 10 events/s"), "the question: {text}");
        assert!(text.contains("A <fast> one") && text.contains("0123456789ab"), "{text}");
        assert!(!page.contains("<script") && !page.contains("http"), "nothing is fetched");
    }

    #[test]
    fn the_reader_of_these_tests_is_strict() {
        let doctype = "<!DOCTYPE html>";
        for bad in ["<p>", "<p></q>", "<p a=b></p>", "<p>&nbsp;</p>", "<p>a & b</p>", "<p/>tail"] {
            assert!(fixture::parse(&format!("{doctype}{bad}")).is_err(), "{bad}");
        }
        assert_eq!(fixture::parse("<!DOCTYPE html><p a=\"b\">&lt;</p>").unwrap(), "\n<\n");
    }

    #[test]
    fn a_file_without_runs_is_no_report() {
        let folder = tempfile::tempdir().unwrap();
        let (results, out) = (folder.path().join("results.jsonl"), folder.path().join("out.html"));
        let host = serde_json::json!({ "host": fixture::host() });
        std::fs::write(&results, format!("{host}\n")).unwrap();
        let error = write(std::slice::from_ref(&results), &out).unwrap_err();
        assert!(error.to_string().contains("no run"), "{error:#}");
        std::fs::write(&results, fixture::lines()).unwrap();
        write(&[results], &out).unwrap();
        assert!(std::fs::read_to_string(&out).unwrap().starts_with("<!DOCTYPE html>"));
    }
}
