//! The report: one file of HTML that needs nothing else, for people who weren't there.
//!
//! It is made of what `compare` and `run` keep. [`study`] puts the lines in order, [`measure`] says
//! what is read from a run and who competes with whom, [`chapter`] tells one workload and
//! [`growth`] one workload at several sizes; this module puts all of it together. Nothing is
//! fetched, no script runs: pictures are SVG that takes its colours from the page's style sheet,
//! which has a light and a dark set, and paper is light.
//!
//! | module | what it holds |
//! |---|---|
//! | [`study`], [`entry`], [`cast`], [`stretch`] | results, by workload and subject; who is who; what was due in each phase |
//! | [`measure`], [`measures`], [`load`] | what is measured, who is best; where the knee is |
//! | [`preface`] | where, how and who |
//! | [`chapter`] and its parts: [`brief`], [`podium`], [`noise`], [`memory`], [`doubt`], [`table`], [`windows`] | one workload |
//! | [`family`], [`growth`] | one workload at several sizes |
//! | [`timeline`] with [`strips`], [`ramp`], [`curve`], [`pictures`] with [`bars`] | pictures |
//! | [`plot`], [`flags`], [`axis`] | what pictures are made of |
//! | [`node`], [`words`], [`names`] | markup that is always well-formed; numbers and names as people read them |

mod axis;
mod bars;
mod brief;
mod cast;
mod chapter;
mod curve;
mod doubt;
mod entry;
mod family;
#[cfg(test)]
pub mod fixture;
mod flags;
mod growth;
mod load;
mod measure;
mod measures;
mod memory;
mod names;
mod node;
mod noise;
mod pictures;
mod plot;
mod podium;
mod preface;
mod ramp;
mod stretch;
mod strips;
mod study;
mod table;
mod timeline;
mod windows;
pub mod words;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use node::{Element, Node, el};
use study::Study;

use crate::report::kept::Kept;

const STYLE: &str = include_str!("style.css");

/// Writes what was kept as the page `out`.
///
/// # Errors
/// When there is no run, or the page can't be written.
pub fn write(kept: &Kept, out: &Path) -> Result<()> {
    let study = Study::of(kept)?;
    fs::write(out, page(&study)).with_context(|| format!("write {}", out.display()))
}

/// The whole of it. Growth comes first: whoever measured several sizes asked about that.
fn page(study: &Study) -> String {
    let heading = preface::heading(study);
    let view = "width=device-width, initial-scale=1";
    let head = el("head")
        .with(el("meta").set("charset", "utf-8"))
        .with(el("meta").set("name", "viewport").set("content", view))
        .with(el("meta").set("name", "color-scheme").set("content", "light dark"))
        .with(el("title").text(heading.clone()))
        .with(el("style").with(Node::Style(STYLE)));
    let families = family::all(study);
    let grown = families.iter().enumerate();
    let grown = grown.filter_map(|(index, family)| growth::draw(study, family, index + 1));
    let chapters = (0..study.chapters.len()).map(|index| chapter::draw(study, index));
    let top = preface::draw(study, &families, heading);
    let main = el("main").with(top).with_all(grown).with_all(chapters).with(bottom());
    let page = el("html").set("lang", "en").with(head).with(el("body").with(main));
    format!("<!DOCTYPE html>\n{page}")
}

fn bottom() -> Element {
    let text = "Written by touchline-bench report out of results that touchline-bench compare and \
        run have kept. How each product is configured, and by whose advice, stands in bench/peers; \
        what each workload does, in bench/scenarios.";
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
        let out = folder.path().join("out.html");
        let host = serde_json::json!({ "host": fixture::host() });
        let error = write(&fixture::kept_of(&format!("{host}\n")), &out).unwrap_err();
        assert!(error.to_string().contains("no run") && !out.exists(), "{error:#}");
        write(&fixture::kept_of(&fixture::lines()), &out).unwrap();
        assert!(std::fs::read_to_string(&out).unwrap().starts_with("<!DOCTYPE html>"));
    }
}
