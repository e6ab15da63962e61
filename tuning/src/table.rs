//! Reports, plans and outcomes for people at a terminal.
//!
//! Columns are as wide as what stands in them, within bounds; what a bad row costs stands beside it
//! where there is room and below it where there isn't. Colour only says again what a word says.

use crate::apply::{Outcome, Took};
use crate::check::{Report, Row, State};
use crate::plan::{DROP_IN_FILE, Plan};
use crate::reading::{Spot, fields_of};
use crate::revert::{Back, Reverted, Undone};
use crate::wanted::bytes_text;

/// How to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns there are.
    pub width: usize,
    /// Whether to use colours.
    pub colour: bool,
    /// Whether rows are shown that don't concern this host.
    pub all: bool,
}

const VALUE_WIDTH_MOST: usize = 30;
/// The same on a terminal narrower than [`NARROW`]; longer values stand below their knob.
const VALUE_WIDTH_NARROW: usize = 14;
const NARROW: usize = 100;
/// A column of prose narrower than this reads badly.
const COST_WIDTH_LEAST: usize = 44;
const MARGIN: usize = 2;

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    fn state(self, state: State) -> String {
        let word = format!("{:<7}", state.word());
        match state {
            State::Problem => self.paint("1;31", &word),
            State::Advice => self.paint("33", &word),
            State::Ok => self.paint("32", &word),
            State::Unknown => self.paint("35", &word),
            State::Absent => self.paint("2", &word),
        }
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }
}

/// Widths of the columns knob, now, wanted.
struct Columns {
    id: usize,
    now: usize,
    wanted: usize,
}

impl Columns {
    fn of(rows: &[&Row], width: usize) -> Self {
        let value_most = if width < NARROW { VALUE_WIDTH_NARROW } else { VALUE_WIDTH_MOST };
        let most = |text: fn(&Row) -> &str, bound: usize| {
            rows.iter().map(|row| length(text(row))).filter(|n| *n <= bound).max().unwrap_or(0)
        };
        Self {
            id: most(|row| &row.knob.id, 40),
            now: most(|row| &row.now, value_most),
            wanted: most(|row| &row.wanted, value_most),
        }
    }

    fn before_cost(&self) -> usize {
        MARGIN + 7 + 2 + self.id + 2 + self.now + 2 + self.wanted + 2
    }
}

/// The table of a check.
pub fn report(report: &Report, style: Style) -> String {
    let is_shown = |row: &&Row| style.all || row.state != State::Absent;
    let rows: Vec<&Row> = report.rows.iter().filter(is_shown).collect();
    let columns = Columns::of(&rows, style.width);
    let mut text = format!("{}\n", headline(report));
    let mut group = "";
    for row in rows {
        if row.knob.group != group {
            group = &row.knob.group;
            text += &format!("\n{}\n", style.bold(&group.to_uppercase()));
        }
        text += &row_text(row, &columns, style);
    }
    text + "\n" + &summary(report, style)
}

fn headline(report: &Report) -> String {
    let machine = &report.machine;
    let cores = if machine.cores == 1 { "core" } else { "cores" };
    let mut text = format!(
        "This host for {} connections: {} {cores}, {}, Linux {}",
        report.need.connections_max,
        machine.cores,
        bytes_text(machine.memory_usable_bytes()),
        machine.kernel
    );
    if let Some(kind) = &machine.ec2 {
        text += &format!(", EC2 {kind}");
    }
    text
}

fn row_text(row: &Row, columns: &Columns, style: Style) -> String {
    let Columns { id, now, wanted } = *columns;
    let values = format!("{}  {}", pad(&row.now, now), pad(&row.wanted, wanted));
    let below = MARGIN + 7 + 2;
    let name = match below + id + 2 + length(values.trim_end()) <= style.width {
        true => pad(&row.knob.id, id) + "  ",
        false => format!("{}\n{:below$}", row.knob.id, ""),
    };
    let head = format!("{:MARGIN$}{}  {name}{values}", "", style.state(row.state));
    let is_bad = row.state >= State::Advice;
    let mut remark = if is_bad { row.knob.cost.clone() } else { String::new() };
    if let Some(note) = &row.note {
        remark += &if remark.is_empty() { note.clone() } else { format!(" ({note})") };
    }
    if remark.is_empty() {
        return format!("{}\n", head.trim_end());
    }
    let shown = if is_bad { remark.clone() } else { format!("({remark})") };
    let beside = columns.before_cost();
    let fits = length(&row.now) <= now && length(&row.wanted) <= wanted;
    let (indent, mut lines) = match style.width.checked_sub(beside) {
        Some(room) if room >= COST_WIDTH_LEAST && fits => (beside, wrap(&shown, room)),
        _ => (below, wrap(&shown, style.width.saturating_sub(below).max(COST_WIDTH_LEAST))),
    };
    let mut text = match indent == beside {
        true => format!("{head}  {}\n", style.dim(&lines.remove(0))),
        false => format!("{}\n", head.trim_end()),
    };
    for line in lines {
        text += &format!("{:indent$}{}\n", "", style.dim(&line));
    }
    text
}

fn summary(report: &Report, style: Style) -> String {
    let problems = report.count(State::Problem);
    let advice = report.count(State::Advice);
    let mut text = format!(
        "{problems} {}, {advice} {} of advice, {} ok, {} unknown",
        plural(problems, "problem", "problems"),
        plural(advice, "piece", "pieces"),
        report.count(State::Ok),
        report.count(State::Unknown)
    );
    let hidden = report.count(State::Absent);
    if hidden > 0 && !style.all {
        text += &format!(", {hidden} that this host lacks (--all)");
    }
    text += "\n";
    if problems + advice > 0 {
        text += "`touchline tune explain KNOB` says why; `touchline tune apply` (root) shows what \
                 it would set, and asks.\n";
    }
    text.lines().flat_map(|line| wrap(line, style.width)).map(|line| line + "\n").collect()
}

fn plural<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

/// What an apply is about to do.
pub fn plan(plan: &Plan, record: &str, style: Style) -> String {
    let mut text = String::new();
    let names: Vec<String> = plan.live.iter().map(|change| change.spot.name()).collect();
    let width = names.iter().map(|name| length(name)).max().unwrap_or(0);
    if !plan.live.is_empty() {
        text += &format!("{}\n", style.bold("Now"));
    }
    for (change, name) in plan.live.iter().zip(&names) {
        let bracketed = matches!(change.spot, Spot::File { bracketed: true, .. });
        let before = fields_of(&change.before, bracketed).join(" ");
        text += &format!("  {}  {before} -> {}\n", pad(name, width), change.after);
    }
    if !plan.live.is_empty() && names.iter().any(|name| name.starts_with("ethtool -")) {
        text += &format!("  {}\n", style.dim("(a NIC's link may pause for a moment)"));
    }
    if !plan.files.is_empty() {
        text += &format!("{}\n", style.bold("For the next boot"));
    }
    for (path, _) in &plan.files {
        let kind = if path.exists() { "replaced" } else { "new" };
        text += &format!("  {}  {kind}\n", path.display());
    }
    for limit in &plan.limits {
        let before = match limit.before.as_str() {
            "" => String::new(),
            before => format!(" (it gets {before} now)"),
        };
        text += &format!(
            "  {}={} with the service's next start{before}\n",
            limit.directive, limit.value
        );
    }
    if !plan.hand.is_empty() {
        text += &format!("{}\n", style.bold("By hand"));
    }
    for (id, commands) in &plan.hand {
        text += &format!("  {id}\n");
        commands.iter().for_each(|command| text += &format!("      {command}\n"));
    }
    if !plan.is_empty() {
        text += &format!("What is there now is recorded in {record} first.\n");
    }
    text
}

/// What became of an apply.
pub fn outcomes(outcomes: &[Outcome], style: Style) -> String {
    let width = outcomes.iter().map(|outcome| length(&outcome.what)).max().unwrap_or(0);
    let line = |outcome: &Outcome| {
        let (state, word) = match &outcome.took {
            Took::Yes => ("32", "set".to_owned()),
            Took::NextStart => ("33", "with the service's next start".to_owned()),
            Took::Refused(why) => ("1;31", format!("refused: {why}")),
            Took::Otherwise(now) => ("1;31", format!("did not take: it reads {now}")),
        };
        format!("  {}  {}\n", pad(&outcome.what, width), style.paint(state, &word))
    };
    let mut text: String = outcomes.iter().map(line).collect();
    if outcomes.iter().any(|outcome| outcome.took == Took::NextStart) {
        text += "`systemctl daemon-reload && systemctl restart touchline` makes limits hold.\n";
    }
    text
}

/// What became of a revert.
pub fn reverted(reverted: &Reverted, dry: bool, style: Style) -> String {
    let width = reverted.undone.iter().map(|one| length(&one.what)).max().unwrap_or(0);
    let mut text = String::new();
    for one in &reverted.undone {
        let word = match &one.result {
            Back::Untouched => style.dim("as it was"),
            Back::Gone => style.dim("gone, and the value with it"),
            Back::Restored { from, to } if dry => format!("would go back: {from} -> {to}"),
            Back::Restored { from, to } => style.paint("32", &format!("back: {from} -> {to}")),
            Back::Failed(why) => style.paint("1;31", &format!("not back: {why}")),
        };
        text += &format!("  {}  {word}\n", pad(&one.what, width));
    }
    let is_limit = |one: &Undone| {
        one.what.ends_with(DROP_IN_FILE) && matches!(one.result, Back::Restored { .. })
    };
    if !dry && reverted.undone.iter().any(is_limit) {
        text +=
            "`systemctl daemon-reload && systemctl restart touchline` makes limits as before.\n";
    }
    text
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// A format's own width counts colours too; this counts what is seen.
fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(length(text))))
}

/// Lines of `width` at most, broken at spaces.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if length(line) + 1 + length(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tree, judge_host, need};

    fn style(width: usize) -> Style {
        Style { width, colour: false, all: false }
    }

    #[test]
    fn rows_fit_the_terminal_and_say_what_leaving_them_costs() {
        let tree = Tree::host(8);
        let report = judge_host(&tree.root(), &need(50_000));
        for width in [80, 120, 200] {
            let text = super::report(&report, style(width));
            let longest = text.lines().map(length).max().unwrap();
            assert!(longest <= width, "{longest} in {width}:\n{text}");
            assert!(text.contains("net.core.somaxconn") && text.contains(">= 4096"), "{text}");
            assert!(text.contains("some clients wait a second"), "{text}");
            assert!(!text.contains('\x1b'), "no colour was asked for");
        }
        let coloured = super::report(&report, Style { colour: true, ..style(100) });
        assert!(coloured.contains("\x1b[33madvice \x1b[0m"));
    }

    #[test]
    fn what_a_host_lacks_is_shown_on_request_only() {
        let report = judge_host(&Tree::host(8).root(), &need(1_000));
        let few = super::report(&report, style(100));
        assert!(!few.contains("ena.allowances") && few.contains("--all"));
        let all = super::report(&report, Style { all: true, ..style(100) });
        assert!(all.contains("ena.allowances") && all.contains("no ENA here"), "{all}");
    }
}
