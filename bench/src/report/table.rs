//! The table of rows, for people, and the page it stands in.
//!
//! A table is replaced by one that has all of its rows, or not at all: measuring it takes an hour.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::kept::{Kept, Line};
use crate::probe::Host;
use crate::rows::{PLANS, Row};

/// Where the generated part of a page begins.
const BEGIN: &str = "<!-- bench:begin (written by `make bench`) -->";
/// Where it ends.
const END: &str = "<!-- bench:end -->";

/// Host and rows of earlier runs: the first host, and of each row the last one, in the table's
/// order.
///
/// # Errors
/// When there is no row, or one that can't be understood.
pub fn rows(kept: Kept, paths: &[PathBuf]) -> Result<(Host, Vec<Row>)> {
    let (mut first, mut rows) = (None, HashMap::new());
    for line in kept.files.into_iter().flatten() {
        match line {
            Line::Host(host) => _ = first.get_or_insert(host),
            Line::Row(row) => {
                let row: Row = serde_json::from_value(row).context("a row isn't understood")?;
                rows.insert(row.name.clone(), row);
            }
            Line::Run(_) | Line::Failure(_) => {}
        }
    }
    let rows: Vec<Row> = PLANS.iter().filter_map(|plan| rows.remove(plan.name)).collect();
    if rows.is_empty() {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        bail!(
            "there is no row of the table in {}: rows come of `touchline-bench run` without a \
             scenario; of scenarios `--html FILE` makes a page",
            names.join(", ")
        );
    }
    Ok((first.context("these files name no host")?, rows))
}

/// The table in Markdown, with the host above it, and below it what is to be doubted.
pub fn table(host: &Host, rows: &[Row]) -> String {
    let mut text = String::new();
    let gib = host.memory_bytes as f64 / f64::from(1 << 30);
    let commit = host.commit.as_deref().unwrap_or("unknown");
    // Writing to a String can't fail.
    let _ = writeln!(
        text,
        "{}, {} cores, {gib:.0} GiB, Linux {}, {} open files a table, commit {commit}. Server on one core, \
         clients on the other, over loopback. Each figure: median (least to greatest) of the runs.\n",
        host.cpu, host.cores, host.kernel, host.files_max
    );
    text.push_str("| what | target | measured | |\n|---|---|---|---|\n");
    for row in rows {
        let figures = row.findings.figures.iter();
        let figures: Vec<String> =
            figures.map(|named| format!("{} {}", named.figure, named.name)).collect();
        let (figures, met) = (figures.join("<br>"), row.findings.said());
        let _ = writeln!(text, "| {} | {} | {figures} | {met} |", row.question, row.target);
    }
    let mut in_doubt = rows.iter().filter(|row| !row.findings.doubts.is_empty()).peekable();
    if in_doubt.peek().is_some() {
        text.push_str("\nTo be doubted:\n\n");
    }
    for row in in_doubt {
        let _ = writeln!(text, "- *{}*: {}", row.question, row.findings.doubts.join("; "));
    }
    text
}

/// Whether the page at `path` can take a table of the rows `names`: it is new or has a place for
/// it, and no row in it would be lost.
///
/// # Errors
/// When it can't.
pub fn check_page(path: &Path, names: &[&str]) -> Result<()> {
    let page = read_page(path)?;
    let lacks = || format!("{} lacks the lines {BEGIN} and {END}", path.display());
    let (_, old, _) = parts(&page).with_context(lacks)?;
    let is_lost = |name: &&str| !names.contains(name);
    let lost: Vec<&str> = names_in(old).into_iter().filter(is_lost).collect();
    ensure!(
        lost.is_empty(),
        "the table of {} has rows that were not measured: {}; it stays as it is",
        path.display(),
        lost.join(", ")
    );
    Ok(())
}

/// Puts the table of `rows` between the markers of the page at `path`; makes the page if there is
/// none.
///
/// # Errors
/// As of [`check_page`], or when it can't be written.
pub fn update_page(path: &Path, host: &Host, rows: &[Row]) -> Result<()> {
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    check_page(path, &names)?;
    let page = replace(&read_page(path)?, &table(host, rows));
    fs::write(path, page.context("its markers")?)
        .with_context(|| format!("write {}", path.display()))
}

fn read_page(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(format!("# Performance\n\n{BEGIN}\n{END}\n"))
        }
        page => page.with_context(|| format!("read {}", path.display())),
    }
}

/// What stands before, between and after the markers.
fn parts(page: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (between, after) = rest.split_once(END)?;
    Some((before, between, after))
}

/// Rows of a table that are known, by their questions.
fn names_in(table: &str) -> Vec<&'static str> {
    let is_in = |question: &str| table.contains(&format!("| {question} |"));
    PLANS.iter().filter(|plan| is_in(plan.question)).map(|plan| plan.name).collect()
}

fn replace(page: &str, table: &str) -> Option<String> {
    let (before, _, after) = parts(page)?;
    Some(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::fixture;
    use crate::rows::Findings;

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let page = format!("above\n{BEGIN}\nold\n{END}\nbelow\n");
        let page = replace(&page, "new\n").unwrap();
        assert_eq!(page, format!("above\n{BEGIN}\n\nnew\n\n{END}\nbelow\n"));
        assert_eq!(replace(&page, "new\n").unwrap(), page, "twice is once");
        assert_eq!(replace("no markers", "new"), None);
    }

    fn row(index: usize) -> Row {
        let plan = &PLANS[index];
        let (question, target) = (plan.question.into(), plan.target.into());
        Row { name: plan.name.into(), question, target, findings: Findings::default(), pairs: 5 }
    }

    #[test]
    fn a_table_is_never_replaced_by_one_that_lacks_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.md");
        let (host, [hot, last, full]) = (fixture::host(), [0, 1, 2].map(row));
        update_page(&path, &host, &[hot.clone(), last.clone()]).unwrap();
        let before = fs::read_to_string(&path).unwrap();
        let error = update_page(&path, &host, std::slice::from_ref(&hot)).unwrap_err();
        assert!(format!("{error:#}").contains("not measured: last;"), "{error:#}");
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        update_page(&path, &host, &[hot, last, full]).unwrap();
        assert_eq!(names_in(&fs::read_to_string(&path).unwrap()).len(), 3, "more is fine");
        fs::write(&path, "no markers").unwrap();
        assert!(check_page(&path, &[]).unwrap_err().to_string().contains("lacks the lines"));
    }

    #[test]
    fn what_is_to_be_doubted_stands_below_the_table() {
        let (mut hot, last) = (row(0), row(1));
        assert!(!table(&fixture::host(), &[hot.clone(), last.clone()]).contains("doubted"));
        hot.findings.doubts = vec!["others were busy".into(), "floors differ".into()];
        let text = table(&fixture::host(), &[hot.clone(), last]);
        let said = format!("- *{}*: others were busy; floors differ\n", hot.question);
        assert!(text.ends_with(&format!("\nTo be doubted:\n\n{said}")), "{text}");
    }

    #[test]
    fn results_without_a_row_make_no_table() {
        let mut kept = Kept::default();
        kept.add(Path::new("storm.jsonl"), fixture::lines().as_bytes()).unwrap();
        let error = rows(kept, &[PathBuf::from("storm.jsonl")]).err().unwrap();
        let said = error.to_string();
        assert!(said.contains("no row of the table in storm.jsonl"), "{said}");
    }
}
