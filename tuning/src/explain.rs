//! A page for each knob, and all of them as `docs/tuning.md`.

use crate::check::Row;
use crate::condition;
use crate::knob::{Knob, Read, Set, all};
use crate::plan::{BOOT_FILE, DROP_IN_FILE, MODULE_FILE, SYSCTL_FILE};
use crate::probe;
use crate::reading::sysctl_path;
use crate::settings::is_of_module;
use crate::table::wrap;

const PAGE_WIDTH: usize = 96;
const FILES: [(&str, &str); 4] = [
    ("sysctls", SYSCTL_FILE),
    ("sysctls of a module that is loaded later", MODULE_FILE),
    ("limits", DROP_IN_FILE),
    ("the rest", BOOT_FILE),
];

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
    let advise = when(knob.advise_when.as_deref());
    let rule = knob.wanted.words(knob.unit);
    let mut facts = vec![("Rule", format!("{rule} (else advice{advise})"))];
    if knob.set == Set::Never {
        facts[0].1 = rule;
    }
    if let Some(concerns) = knob.when.as_deref().and_then(condition::find) {
        facts.push(("Concerns", format!("hosts {}", concerns.words)));
    }
    if let Some(needed) = &knob.needed {
        let when = when(knob.needed_when.as_deref());
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

fn when(condition: Option<&str>) -> String {
    let condition = condition.and_then(condition::find);
    condition.map_or(String::new(), |condition| format!(", {}", condition.words))
}

fn read(knob: &Knob) -> String {
    match &knob.read {
        Read::Sysctl(name) => format!("{} (sysctl {name})", sysctl_path(name)),
        Read::File { path, .. } | Read::Files(path) => path.clone(),
        Read::Probe(name) => probe::words(name).to_owned(),
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
        Set::Sysctl if is_of_module(&knob.id) => {
            "/etc/sysctl.d/99-touchline.conf; the module may be loaded later than that is read, so \
             /etc/udev/rules.d/99-touchline.rules has it read again then (sysctl.d(5))"
        }
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
    for (name, file) in FILES {
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
touchline tune list           # all knobs
touchline tune check          # how this host stands, for `--connections N` or the file's; no root
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

`apply` records what is there in `/var/lib/touchline-tune` (`--state-dir`) before it touches
anything; `--dry-run` only shows, `--only KNOB,KNOB` chooses, `--now-only` writes no files,
`--output-script FILE` writes a plain shell script instead (`sh FILE`, `sh FILE undo`) for hosts
that nothing else may touch. What the kernel refuses is told, and doesn't stop the rest. What was
set with `--now-only` is kept once an `apply` without it is about the same knob.

Limits are judged by what systemd gives the service: `touchline.service` and its drop-ins, read in
systemd's order, then the defaults of its system.conf, then its own (for LimitNOFILE= that of
version 240 and later); without a unit by what this shell has. A limit is only ever raised. What
the service gets and what this shell gets is told beside it.

So are memory (MemoryMax=), cores (CPUAffinity=, AllowedCPUs=), CPU time (CPUQuota=) and system
calls (SystemCallFilter=): the tighter of what the unit says and what its slice, the slices above
and the host have. The group, cores and filters of who runs `check` count where there is no unit,
and are told as this shell's.

`revert` puts back values, files (bytes, mode, owner, links) and folders as they were before the
first apply. What a module or device took with it is gone with it. What can't be put back stays
recorded for another `revert`, and holds up nothing else. A record that is damaged is named: put
back by hand what it still shows, remove it, and revert again; until then `apply` is refused.

Where rings or queues of a NIC change, most drivers set anew where its interrupts and packets go.
So affinity, RPS, RFS and XPS of that NIC are recorded before, and `revert`, as the script's `undo`,
puts them back after rings and queues. `apply` doesn't: `check` tells what they should be by then.
RSS (`ethtool -x NIC`) and limits of single queues (`byte_queue_limits`, `tx_maxrate`), should a
driver forget those, nobody puts back.

For the next boot, settings are kept in four files, which `revert` takes away again. They hold what
any `apply` has set and no `revert` has put back, but for what hung on another number of queues:

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
    fn names_of_ours_stay_out_of_what_people_read() {
        let text = markdown();
        for name in ["probe `", "conntrack_in_use", "few_queues", "backlog_matters"] {
            assert!(!text.contains(name), "{name}");
        }
        for words in ["once a connection is tracked", "advice, where there is swap"] {
            assert!(text.contains(words), "{words}");
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
