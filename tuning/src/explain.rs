//! A page for each knob, and all of them as `docs/tuning.md`.

use crate::check::Row;
use crate::knob::{Knob, Read, Set, all};
use crate::plan::{BOOT_FILE, DROP_IN_FILE, SYSCTL_FILE};
use crate::reading::sysctl_path;
use crate::table::wrap;

const PAGE_WIDTH: usize = 96;

/// A page about one knob, and how it stands here.
pub fn page(row: &Row) -> String {
    let knob = row.knob;
    let mut text = format!("{}\n{}\n\n", knob.id, knob.title);
    for line in wrap(&knob.why, PAGE_WIDTH) {
        text += &format!("{line}\n");
    }
    text += "\n";
    let note = row.note.as_ref().map_or(String::new(), |note| format!(" ({note})"));
    text += &section("Here", &format!("{}: {}{note}", row.state.word(), row.now));
    text += &section("Wanted here", &row.wanted);
    for (name, words) in facts(knob) {
        text += &section(name, &words);
    }
    text
}

fn section(name: &str, words: &str) -> String {
    let mut text = String::new();
    for (n, line) in words.lines().flat_map(|line| wrap(line, PAGE_WIDTH - 16)).enumerate() {
        let name = if n == 0 { name } else { "" };
        text += &format!("{name:<16}{line}\n");
    }
    text
}

/// What holds on every host.
fn facts(knob: &Knob) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Rule", format!("{} (else advice)", knob.wanted.words(knob.unit)))];
    if knob.set == Set::Never {
        facts[0].1 = knob.wanted.words(knob.unit);
    }
    if let Some(needed) = &knob.needed {
        let when = knob.needed_when.as_ref().map_or(String::new(), |when| format!(", when {when}"));
        facts.push(("Needed", format!("{} (else a problem{when})", needed.words(knob.unit))));
    }
    facts.extend([
        ("Left alone", knob.cost.clone()),
        ("Read", read(knob)),
        ("Set now", set_now(knob)),
        ("For the boot", keep(knob).to_owned()),
        ("Undo", undo(knob)),
        ("Source", knob.source.clone()),
    ]);
    facts
}

fn read(knob: &Knob) -> String {
    match &knob.read {
        Read::Sysctl(name) => format!("{} (sysctl {name})", sysctl_path(name)),
        Read::File { path, .. } | Read::Files(path) => path.clone(),
        Read::Probe(name) => format!("looked for: probe `{name}`"),
    }
}

fn set_now(knob: &Knob) -> String {
    match (&knob.set, &knob.read) {
        (Set::Sysctl, Read::Sysctl(name)) => format!("sysctl -w {name}=VALUE"),
        (Set::File, Read::File { path, .. } | Read::Files(path)) => format!("echo VALUE >{path}"),
        (Set::File, _) => {
            "written place by place: `touchline tune apply --dry-run` lists them".into()
        }
        (Set::Nic, _) => {
            "by netlink; `touchline tune apply --dry-run` shows ethtool's command".into()
        }
        (Set::Limit(directive), _) => {
            format!("not for a process that runs; {directive}= holds with its next start")
        }
        (Set::Hand(commands), _) => format!("by hand:\n{}", commands.join("\n")),
        (Set::Never | Set::Sysctl, _) => "never by Touchline".into(),
    }
}

fn keep(knob: &Knob) -> &'static str {
    match knob.set {
        Set::Sysctl => "/etc/sysctl.d/99-touchline.conf",
        Set::File | Set::Nic => "/etc/touchline/tune-boot.sh, run by the service's drop-in",
        Set::Limit(_) => "/etc/systemd/system/touchline.service.d/99-tune.conf",
        Set::Hand(_) => "by hand",
        Set::Never => "-",
    }
}

fn undo(knob: &Knob) -> String {
    match (&knob.undo, &knob.set) {
        (Some(undo), _) => undo.clone(),
        (None, Set::Sysctl | Set::File | Set::Nic) => {
            "`touchline tune revert` writes back what was recorded".into()
        }
        (None, Set::Limit(_)) => "`touchline tune revert` takes the drop-in away".into(),
        (None, Set::Hand(_)) => "by hand".into(),
        (None, Set::Never) => "-".into(),
    }
}

/// `docs/tuning.md`.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.trim_start().to_owned();
    for (name, file) in
        [("sysctls", SYSCTL_FILE), ("limits", DROP_IN_FILE), ("the rest", BOOT_FILE)]
    {
        text += &format!("- {name}: `/etc/{file}`\n");
    }
    let mut group = "";
    for knob in all() {
        if knob.group != group {
            group = &knob.group;
            text += &format!("\n## {group}\n");
        }
        text += &format!("\n### {}\n\n{}. {}\n\n", knob.id, knob.title, knob.why);
        text += "| | |\n|---|---|\n";
        for (name, words) in facts(knob) {
            let words = words.replace('|', "\\|").replace('\n', "<br>");
            text += &format!("| {} | {words} |\n", name.to_lowercase());
        }
    }
    text
}

const INTRODUCTION: &str = "
# Tuning a host

Generated from `tuning/knobs.toml`; a test fails where the two differ.

```
touchline tune check          # how this host stands, for `node.connections_max`; no root needed
touchline tune explain KNOB   # one page of what stands below, with this host's values
sudo touchline tune apply     # shows the plan, asks, sets, reads again
sudo touchline tune revert    # puts everything back, also after an apply that ended half-way
```

`check` judges every knob: `ok`; `advice`, where the host could be better; `problem`, where
`connections_max` can't be held, which ends it with exit code 4; `unknown`, where it can't be
read. What a host lacks is left out (`--all` shows it). `--pid PID` judges the limits of a process
that runs, `--nic NAME` names the interfaces that carry the traffic, `--json` is for machines.
`serve` makes the same check when it starts: problems are warnings in its log, advice is counted
in one line, and neither keeps it from starting.

`apply` records what is there in `/var/lib/touchline/tune` (`--state-dir`) before it touches
anything; `--dry-run` only shows, `--only KNOB,KNOB` chooses, `--now-only` writes no files,
`--output-script FILE` writes a plain shell script instead (`sh FILE`, `sh FILE undo`) for hosts
that nothing else may touch. What the kernel refuses is told, and doesn't stop the rest. For the
next boot, settings are kept in three files, which `revert` takes away again:

";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tree, judge_host, need};

    #[test]
    fn every_knob_has_a_page_that_says_what_why_and_how() {
        let report = judge_host(&Tree::host(4).root(), &need(1_000));
        for row in &report.rows {
            let page = page(row);
            for part in ["Here", "Rule", "Left alone", "Set now", "For the boot", "Undo", "Source"]
            {
                assert!(page.contains(part), "{part} of {}", row.knob.id);
            }
            let longest = page.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= 120, "{longest} in {page}");
        }
    }

    #[test]
    fn the_document_is_what_the_knobs_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tuning.md");
        let have = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            have == markdown(),
            "docs/tuning.md is stale: run `cargo run -p touchline -- reference tuning >docs/tuning.md`"
        );
    }
}
