//! Latency stretch by stretch, where a run has several: what was offered, and how late it was.

use super::entry::Entry;
use super::measure::{MAX, Measure, P50, P99, P9999};
use super::node::{Element, el};
use super::study::Chapter;
use super::table::scrolling;
use super::words::{percent, range, rounded, tick};
use super::{load, stretch};
use crate::stats::Figure;

/// Longer tables are folded.
const ROWS_OPEN_MAX: usize = 40;
const COLUMNS: [&Measure; 4] = [&P50, &P99, &P9999, &MAX];

/// The table, if there is more than one stretch.
pub fn draw(chapter: &Chapter) -> Option<Element> {
    let entries: Vec<&Entry> = chapter.entries.iter().filter(|e| !e.runs.is_empty()).collect();
    if chapter.stretches.len() < 2 || entries.is_empty() {
        return None;
    }
    let head = |name: &str, unit: &str| {
        el("th").set("scope", "col").text(name).with(el("small").text(unit))
    };
    // Of a single subject everybody knows whose rows these are.
    let names = if entries.len() == 1 { &["phase"][..] } else { &["phase", "subject"] };
    let names = names.iter().map(|name| el("th").set("scope", "col").text(*name));
    let heads = el("tr")
        .with_all(names)
        .with(head("events", "1/s"))
        .with(head("deliveries due", "1/s"))
        .with_all(COLUMNS.map(|measure| head(measure.head, measure.unit)))
        .with(head("arrived in time", "%"));
    let bodies = (0..chapter.stretches.len()).map(|at| body(chapter, &entries, at));
    let caption = el("caption").text(format!("{}: phase by phase", chapter.name));
    let table = el("table").class("windows").with(caption).with(el("thead").with(heads));
    let table = scrolling(&format!("{}, phase by phase", chapter.name), table.with_all(bodies));
    let summary = el("summary").text(format!("{} phases, one by one", chapter.stretches.len()));
    let folded = el("details").class("windows").with(summary).with(table);
    let is_short = chapter.stretches.len() * entries.len() <= ROWS_OPEN_MAX;
    Some(if is_short { folded.set("open", "open") } else { folded })
}

/// The rows of one stretch.
fn body(chapter: &Chapter, entries: &[&Entry], window: usize) -> Element {
    let stretch = &chapter.stretches[window];
    let is_shown = chapter.window() == window;
    let rows = entries.iter().enumerate().map(|(index, entry)| {
        let row = el("tr").class(&entry.look);
        let first = (index == 0).then(|| {
            let note = if is_shown { "above" } else { "" };
            let name = el("th").set("scope", "rowgroup").set("rowspan", entries.len());
            name.text(stretch.name.clone()).with(el("small").text(note))
        });
        let who = el("td").class("subject").text(entry.title.clone());
        let who = (entries.len() > 1).then_some(who);
        let load = [tick((stretch.rate * 10.0).round() / 10.0), rounded(stretch.offered())];
        let load = load.map(|text| el("td").text(text));
        let late = COLUMNS.map(|measure| cell(measure.figure(entry, window), measure.show));
        let arrived = cell(arrived(chapter, entry, window), percent);
        row.with_all(first).with_all(who).with_all(load).with_all(late).with(arrived)
    });
    el("tbody").with_all(rows)
}

/// Of the runs that count, the share that arrived in time.
fn arrived(chapter: &Chapter, entry: &Entry, window: usize) -> Option<Figure> {
    let calm = stretch::by_load(&chapter.stretches).first().copied()?;
    let share = |run: &&crate::run::Run| load::arrived(run, &chapter.stretches, window, calm);
    Some(Figure::of(entry.counted().iter().map(share)))
}

fn cell(figure: Option<Figure>, show: fn(f64) -> String) -> Element {
    let Some(figure) = figure else { return el("td").class("none").text("\u{2013}") };
    let cell = el("td").text(show(figure.median));
    match show(figure.low) == show(figure.high) {
        true => cell,
        false => cell.with(el("small").text(range(&figure, show))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn every_phase_has_a_row_for_everybody() {
        let study = fixture::study_of(&fixture::ramp());
        let page = draw(&study.chapters[0]).unwrap().to_string();
        let text = fixture::parse(&format!("<!DOCTYPE html>{page}")).unwrap();
        for name in ["5", "10", "20", "40", "80"] {
            assert!(text.lines().any(|line| line == name), "{name}: {text}");
        }
        assert_eq!(page.matches("<tr").count(), 1 + 5 * 2, "a head, five phases, two subjects");
        assert!(draw(&fixture::study().chapters[0]).is_none());
    }
}
