//! A chapter of the page: one workload, its answer in a line or three, pictures, the plain table,
//! and what keeps the figures from being believed.
//!
//! The question is the headline, as its scenario asks it. Below it stands who did best by how much,
//! so that the pictures need no interpretation of ours; then how far runs of one subject differ,
//! which is what any difference must exceed. A run with a story is told second by second, a ramp
//! has its knees, and whatever arrived has the distribution of all its latencies.

use super::brief::{self, described};
use super::curve::{self, Curve};
use super::entry::Entry;
use super::node::{Element, el};
use super::plot::Room;
use super::study::{Chapter, Kind, Study};
use super::words::{count, list, number};
use super::{doubt, memory, noise, pictures, podium, ramp, stretch, table, timeline, windows};
use crate::crew::Clock;
use crate::probe::Host;

/// All of it.
pub fn draw(study: &Study, index: usize) -> Element {
    let chapter = &study.chapters[index];
    let mut place = vec![chapter.name.clone()];
    place.extend(chapter.setup.iter().map(described));
    place.push(brief::runs(chapter));
    if study.hosts.len() > 1 {
        place.push(format!("host {}", chapter.host + 1));
    }
    let head = el("header")
        .with(el("p").class("place").text(place.join(" \u{b7} ")))
        .with(el("h2").text(chapter.question.clone()));
    let is_ramp = stretch::is_ramp(&chapter.stretches);
    let said = [noise::line(chapter), memory::line(chapter)].into_iter().flatten();
    let said = said.map(|text| el("p").class("noise").text(text));
    el("section")
        .set("id", format!("chapter-{}", index + 1))
        .with(head)
        .with_all(podium::draw(chapter))
        .with_all(said)
        .with_all(doubts(chapter))
        .with_all(is_ramp.then(|| ramp::draw(chapter)).flatten())
        .with_all(timeline::draw(chapter))
        .with_all(latencies(chapter))
        .with(el("div").class("grid").with_all(pictures::draw(study, chapter)))
        .with(table::draw(chapter))
        .with(key(chapter))
        .with_all(windows::draw(chapter))
}

fn doubts(chapter: &Chapter) -> Option<Element> {
    let doubts = doubt::of(chapter);
    let items = doubts.iter().map(|text| el("li").text(text.clone()));
    let list = el("ul").with_all(items);
    let aside = el("aside").class("doubts").with(el("h3").text("Doubts")).with(list);
    (!doubts.is_empty()).then_some(aside)
}

fn latencies(chapter: &Chapter) -> Option<Element> {
    let curve = |entry: &Entry| {
        let muted = if entry.is_compared() { "" } else { " muted" };
        let look = format!("{}{muted}", entry.look);
        let points = entry.distribution(chapter.window());
        Curve { title: entry.title.clone(), look, points }
    };
    let curves: Vec<Curve> = chapter.entries.iter().map(curve).collect();
    let curves: Vec<Curve> = curves.into_iter().filter(|curve| curve.points.len() > 1).collect();
    if curves.is_empty() {
        return None;
    }
    let phase = match chapter.window_name() {
        Some(name) => format!("phase \u{201c}{name}\u{201d}, "),
        None => String::new(),
    };
    let note = format!(
        "{phase}from the time an event was due to the client\u{2019}s read returning, all runs \
         together; only what arrived can be counted"
    );
    let caption = el("figcaption")
        .with(el("strong").text("Latency of all deliveries"))
        .with(el("span").text(note));
    let pictures = [Room::Wide, Room::Narrow].map(|room| curve::draw(&curves, room));
    Some(el("figure").class("latency").with(caption).with_all(pictures))
}

/// What the table's signs mean, and how well clocks agree.
fn key(chapter: &Chapter) -> Element {
    let mut text = String::new();
    if chapter.entries.len() > 1 {
        text += "\u{25cf} best in its column, \u{25cb} not told from it: their ranges overlap, or \
            their medians differ by less than 2 %. No sign where nobody is told from the best. ";
    }
    if chapter.kind() == Kind::FanOut && chapter.entries.len() > 1 {
        text += "Floors don\u{2019}t compete, nor does whoever gave up, lost events without a word or \
            repeated any; in latency and CPU, only who delivered everything does. The split of CPU \
            comes from ticks of 10 ms, \u{b1} one of them. ";
    }
    if let Some(name) = chapter.window_name() {
        text += &format!(
            "Latencies and deliveries are those of phase \u{201c}{name}\u{201d}; CPU, losses and \
             what arrived are of all phases. "
        );
    }
    text += &clocks(chapter).unwrap_or_default();
    el("p").class("key").text(text.trim_end().to_owned())
}

/// How far the clocks of other hosts may be wrong, at worst.
fn clocks(chapter: &Chapter) -> Option<String> {
    let runs = chapter.entries.iter().flat_map(|entry| &entry.runs);
    let clocks: Vec<_> = runs.flat_map(|run| &run.clocks).collect();
    let mut agents: Vec<String> = clocks.iter().map(|clock| named(clock)).collect();
    agents.sort();
    agents.dedup();
    let worst_us = clocks.iter().map(|clock| clock.error_us).fold(0.0, f64::max);
    (!clocks.is_empty()).then(|| {
        format!(
            "Clients ran on {} ({}); their clocks were set against the controller\u{2019}s to \
             within {} \u{b5}s.",
            count(agents.len(), "other host"),
            list(&agents),
            number(worst_us)
        )
    })
}

/// An agent, with what it runs on where that is known.
fn named(clock: &Clock) -> String {
    let Clock { agent, host, .. } = clock;
    let on = |host: &Host| {
        format!("{agent} on {}, {}, Linux {}", host.cpu, count(host.cores, "core"), host.kernel)
    };
    host.as_deref().map_or_else(|| agent.clone(), on)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_chapter_says_which_phase_its_figures_are_of_and_how_well_clocks_agree() {
        let mut study = fixture::study_of(&fixture::killed());
        let host = Some(Box::new(fixture::host()));
        let clock = Clock { agent: "a:1".into(), ahead_us: 5.0, error_us: 40.0, host };
        study.chapters[0].entries[0].runs[0].clocks = vec![clock];
        let page = draw(&study, 0).to_string();
        let text = fixture::parse(&format!("<!DOCTYPE html>{page}")).unwrap();
        assert!(text.contains("those of phase \u{201c}crash\u{201d}"), "{text}");
        assert!(text.contains("Clients ran on 1 other host (a:1 on "), "{text}");
        assert!(text.contains("to within 40.0 \u{b5}s"), "{text}");
    }

    #[test]
    fn every_kind_of_chapter_is_well_formed() {
        for lines in [fixture::ramp(), fixture::killed(), fixture::flood(), fixture::sizes()] {
            let study = fixture::study_of(&lines);
            let page = super::super::page(&study);
            fixture::parse(&page).unwrap_or_else(|why| panic!("{why}\n{page}"));
            assert!(!page.contains("NaN") && !page.contains(">inf"), "{page}");
        }
    }
}
