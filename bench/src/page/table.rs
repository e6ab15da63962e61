//! The plain table of a chapter: a row for whoever took part, a column for whatever was measured.
//!
//! Each cell holds the median of the runs that count and, smaller, their least and greatest. The
//! last column says in words what no figure shows: what never came, what came twice, who was thrown
//! out, and why a subject gave up.

use super::entry::Entry;
use super::measure::{self, CPU_USER, CPU_USER_ERROR, Mark, Measure};
use super::node::{Element, el};
use super::study::Chapter;
use super::words::{list, number, range, shortened, whole};
use crate::receive::harvest::Counts;
use crate::report::telling;

/// Letters of a reason that stand in the table; all of it is in the cell's title.
const REASON_LETTERS_MAX: usize = 240;

/// The table of `chapter`.
pub fn draw(chapter: &Chapter) -> Element {
    let columns = measure::columns(chapter);
    let marks: Vec<Vec<Mark>> = columns.iter().map(|measure| measure.marks(chapter)).collect();
    let heads = columns.iter().map(|measure| {
        let unit = match measure.is_cpu() {
            true => format!("{} (user + kernel)", measure.unit),
            false => measure.unit.into(),
        };
        let unit = el("small").text(unit);
        el("th").set("scope", "col").set("title", measure.note).text(measure.head).with(unit)
    });
    let head = el("tr").with(el("th").set("scope", "col").text("subject")).with_all(heads);
    let head = head.with(el("th").set("scope", "col").class("fate").text("what went wrong"));
    let rows = chapter.entries.iter().enumerate().map(|(index, entry)| {
        let marks = marks.iter().map(|column| column[index]);
        let cells = columns.iter().zip(marks);
        let cells = cells.map(|(measure, mark)| cell(measure, entry, chapter.window(), mark));
        let muted = if entry.is_compared() && !entry.is_false() { "" } else { " muted" };
        let row = el("tr").class(format!("{}{muted}", entry.look));
        let row = row.with(name(entry));
        match entry.runs.is_empty() {
            true => row.with(fate(entry).set("colspan", columns.len() + 1)),
            false => row.with_all(cells).with(fate(entry)),
        }
    });
    let caption = el("caption").text(format!("{}: all figures", chapter.name));
    let body = el("tbody").with_all(rows);
    let table = el("table").with(caption).with(el("thead").with(head)).with(body);
    scrolling(&format!("{}, all figures", chapter.name), table)
}

/// A table that is scrolled where there is too little room, by keyboard, too.
pub fn scrolling(what: &str, table: Element) -> Element {
    let region = el("div").class("scroll").set("tabindex", "0").set("role", "region");
    region.set("aria-label", what).with(table)
}

/// A table of words: for each row its classes and its cells, the first of which is its head.
pub fn plain(
    what: &str,
    heads: &[&str],
    rows: impl Iterator<Item = (String, Vec<String>)>,
) -> Element {
    let heads = heads.iter().map(|head| el("th").set("scope", "col").text(*head));
    let row = |(look, cells): (String, Vec<String>)| {
        let cells = cells.into_iter().enumerate().map(|(index, text)| match index {
            0 => el("th").set("scope", "row").text(text),
            _ => el("td").text(text),
        });
        el("tr").class(look).with_all(cells)
    };
    let head = el("thead").with(el("tr").with_all(heads));
    let body = el("tbody").with_all(rows.map(row));
    let caption = el("caption").text(what);
    scrolling(what, el("table").class("plain").with(caption).with(head).with(body))
}

fn name(entry: &Entry) -> Element {
    let cell = el("th").set("scope", "row").text(entry.title.clone());
    match (entry.limited(), entry.runs.len()) {
        _ if entry.is_false() => cell.with(el("small").text("not ranked: lost or repeated events")),
        (0, _) => cell,
        (limited, all) if limited == all => cell.with(el("small").text("not compared: generator")),
        (limited, all) => {
            let text = format!("{} of {all} runs count", all - limited);
            cell.with(el("small").text(text))
        }
    }
}

fn cell(measure: &Measure, entry: &Entry, window: usize, mark: Mark) -> Element {
    let Some(figure) = measure.figure(entry, window) else {
        return el("td").class("none").text("\u{2013}");
    };
    let (class, sign) = match mark {
        Mark::Best => ("best", "\u{25cf} "),
        Mark::Level => ("level", "\u{25cb} "),
        Mark::None => ("", ""),
    };
    let sign = el("span").class("sign").text(sign);
    let cell = el("td").class(class).with(sign).text((measure.show)(figure.median));
    let cell = match (measure.show)(figure.low) == (measure.show)(figure.high) {
        true => cell,
        false => cell.with(el("small").text(range(&figure, measure.show))),
    };
    if !measure.is_cpu() {
        return cell;
    }
    let user = CPU_USER.figure(entry, window).unwrap_or_default().median;
    let kernel = figure.median - user;
    let error = CPU_USER_ERROR.figure(entry, window).unwrap_or_default().median;
    let split = format!("({} + {} \u{b1} {})", number(user), number(kernel), number(error));
    cell.with(el("small").text(split))
}

/// What happened to `entry` that no figure tells.
fn fate(entry: &Entry) -> Element {
    let mut lines = Vec::new();
    if let Some(why) = entry.failures.last() {
        let all = entry.runs.len() + entry.failures.len();
        let times = match entry.failures.len() {
            times if times == all => "in every run".into(),
            times => format!("in {times} of {all} runs"),
        };
        let reason = el("span").set("title", why).text(shortened(why, REASON_LETTERS_MAX));
        let text = el("strong").text(format!("gave up {times}: "));
        lines.push(el("p").class("failure").with(text).with(reason));
    }
    let losses = losses(entry);
    match losses.is_empty() {
        false => lines.push(el("p").text(list(&losses))),
        true if lines.is_empty() => lines.push(el("p").class("nothing").text("nothing")),
        true => {}
    }
    lines.extend(moves(entry).map(|text| el("p").class("moves").text(text)));
    el("td").class("fate").with_all(lines)
}

/// What all its runs together lost, repeated and closed.
pub fn losses(entry: &Entry) -> Vec<String> {
    let mut counts = Counts::default();
    let (mut missing, mut expected) = (0, 0);
    for run in &entry.runs {
        counts.merge(&run.harvest.counts);
        missing += run.expected.saturating_sub(run.harvest.counts.delivered);
        expected += run.expected;
    }
    telling::losses(&counts, missing, expected)
}

/// Comings and goings that the run asked for, of all its runs together: no fault of anybody's.
fn moves(entry: &Entry) -> Option<String> {
    let counts = entry.runs.iter().map(|run| &run.harvest.counts);
    let (mut left, mut returned) = (0, 0);
    for counts in counts {
        left += counts.left;
        returned += counts.returned;
    }
    let mut moves = Vec::new();
    for (value, what) in [(left, "left as asked"), (returned, "returned")] {
        if value > 0 {
            moves.push(format!("{} {what}", whole(value)));
        }
    }
    (!moves.is_empty()).then(|| list(&moves))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn text_of(lines: &str) -> String {
        let study = fixture::study_of(lines);
        let table = draw(&study.chapters[0]);
        fixture::parse(&format!("<!DOCTYPE html>{table}")).unwrap()
    }

    #[test]
    fn what_was_declared_is_told_from_what_was_lost_without_a_word() {
        let text = text_of(&fixture::killed());
        let told = "300 of 300,000 never came, 300 declared missing, 3 gaps told and 3,000 \
                    sockets closed (1006)";
        assert!(text.contains(told), "{text}");
        let untold = "900 of 300,000 never came, and nobody was told";
        assert!(text.contains(untold), "{text}");
        assert!(text.contains("3,000 returned") && !text.contains("left as asked"), "{text}");
    }

    #[test]
    fn who_repeats_events_says_so_and_has_no_dot_and_the_split_of_cpu_its_error() {
        let mut study = fixture::study();
        for run in study.of_title("axum") {
            (run.cpu_us, run.harvest.counts.repeated) = (0.5, 90_000);
        }
        let table = draw(&study.chapters[0]).to_string();
        let text = fixture::parse(&format!("<!DOCTYPE html>{table}")).unwrap();
        assert!(text.contains("not ranked: lost or repeated events"), "{text}");
        let axum = table.split("<tr").find(|row| row.contains(">axum<")).unwrap();
        assert!(axum.contains("270,000 came twice or out of order"), "{axum}");
        assert!(!axum.contains('\u{25cf}') && !axum.contains('\u{25cb}'), "{axum}");
        // 630 ms are 157 looks, of which a quarter saw user space.
        assert!(text.contains("(1.75 + 5.25 \u{b1} 0.47)"), "{text}");
    }

    #[test]
    fn a_table_of_words_has_a_head_for_each_row() {
        let rows = [("peer".to_owned(), vec!["a".to_owned(), "b & c".to_owned()])];
        let page = plain("words", &["x", "y"], rows.into_iter()).to_string();
        assert!(page.contains("<th scope=\"row\">a</th>") && page.contains("b &amp; c"), "{page}");
    }
}
