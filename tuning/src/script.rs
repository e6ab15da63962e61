//! A plan as a plain shell script, for people who let nothing else touch their hosts.
//!
//! `sh FILE` does what an apply would; `sh FILE undo` puts back what was there: values as they were
//! when it was written, files as they were when it was first run, from the copy that it laid beside
//! them. Nothing in it needs Touchline.

use std::path::Path;

use crate::knob;
use crate::plan::{Change, DROP_IN_FILE, Plan};
use crate::reading::{Spot, fields_of};
use crate::shell::quoted;

/// The first run of the script lays a copy of each file (or link) beside it, or a note that there
/// was none, and leaves a mark in each folder that it makes; no such name is one that sysctl, udev
/// or systemd reads. An undo without them touches nothing.
const HELPERS: &str = r#"
put() { printf '%s\n' "$2" >"$1" && echo "$1: $2" || failed=1; }
again() { if [ -e "$1" ] && [ "$(cat "$1")" != "$2" ]; then put "$1" "$2"; fi; }
interrupt() {
    irq=$(awk -v name="$1" -v nth="$2" \
        '$NF == name && seen++ == nth { sub(":", "", $1); print $1 }' /proc/interrupts)
    if [ -n "$irq" ]; then again "/proc/irq/$irq/smp_affinity_list" "$3"; fi
}
there() { [ -e "$1" ] || [ -L "$1" ]; }
folder() {
    if [ -d "$1" ]; then return; fi
    folder "$(dirname "$1")" && mkdir "$1" && : >"$1/.made-by-touchline" || exit 1
}
keep() {
    folder "$(dirname "$1")"
    if there "$1.before-touchline" || there "$1.none-before-touchline"; then return; fi
    if there "$1"; then cp -pP "$1" "$1.before-touchline" && rm -f "$1" || exit 1
    else : >"$1.none-before-touchline" || exit 1; fi
}
back() {
    if there "$1.before-touchline"; then mv -f "$1.before-touchline" "$1" || failed=1
    elif there "$1.none-before-touchline"; then
        rm -f "$1" "$1.none-before-touchline" || failed=1
    fi
    leave "$(dirname "$1")"
}
leave() {
    if [ "$(ls -A "$1" 2>/dev/null)" != .made-by-touchline ]; then return; fi
    rm "$1/.made-by-touchline" && rmdir "$1" && leave "$(dirname "$1")"
}
reload() {
    if [ ! -d /run/systemd/system ]; then return; fi
    systemctl daemon-reload || failed=1
    echo "touchline.service: its limits change with: systemctl restart touchline"
}
failed=0
"#;

/// Writes it.
pub fn script(plan: &Plan, connections_max: u64) -> String {
    let mut text = format!(
        "#!/bin/sh\n# Written by `touchline tune apply --output-script` for {connections_max} \
         connections.\n# Run as root: `sh FILE` applies, `sh FILE undo` puts back values as they \
         were when it was\n# written, and files as they were before it was run.\n{HELPERS}"
    );
    text += "\napply() {\n";
    let mut last = "";
    for change in &plan.live {
        if change.knob != last {
            last = &change.knob;
            let cost = knob::find(last).map_or("", |knob| &knob.cost);
            text += &format!("\n    # {last}: {cost}\n");
        }
        text += &format!("    {}\n", command(change, &change.after));
    }
    for (path, content) in &plan.files {
        let path = quoted(&path.display().to_string());
        text += &format!(
            "\n    keep {path}\n    cat >{path} <<'END_OF_FILE' \
             || failed=1\n\
             {content}END_OF_FILE\n    echo {path}\n"
        );
    }
    for (id, commands) in &plan.hand {
        text += &format!("\n    # {id}, by hand:\n");
        commands.iter().for_each(|command| text += &format!("    #   {command}\n"));
    }
    let reload = if plan.files.iter().any(|(path, _)| is_unit(path)) { "    reload\n" } else { "" };
    text += reload;
    text += "    :\n}\n\nundo() {\n";
    for (path, _) in plan.files.iter().rev() {
        text += &format!("    back {}\n", quoted(&path.display().to_string()));
    }
    // What a driver sets anew with rings and queues comes after them.
    let live = || plan.live.iter().chain(&plan.steering).rev();
    let rest = live().filter(|change| !change.spot.rebuilds());
    for change in live().filter(|change| change.spot.rebuilds()).chain(rest) {
        let bracketed = matches!(change.spot, Spot::File { bracketed: true, .. });
        let before = fields_of(&change.before, bracketed).join(" ");
        text += &format!("    {}\n", command_back(change, &before));
    }
    text += reload;
    text += "    :\n}\n\nif [ \"${1:-}\" = undo ]; then undo; else apply; fi\nexit $failed\n";
    text
}

fn command(change: &Change, value: &str) -> String {
    match &change.spot {
        Spot::File { path, .. } => format!("put {} {}", quoted(path), quoted(value)),
        Spot::Nic { nic, field } => format!("{} || failed=1", field.command(nic, value)),
    }
}

/// The same for an undo: queues may be fewer by then, and interrupts have other numbers.
fn command_back(change: &Change, value: &str) -> String {
    match (&change.spot, &change.interrupt) {
        (_, Some(name)) => {
            format!("interrupt {} {} {}", quoted(name), change.nth, quoted(value))
        }
        (Spot::File { path, .. }, None) if change.steers() => {
            format!("again {} {}", quoted(path), quoted(value))
        }
        _ => command(change, value),
    }
}

/// Whether systemd has to be told of a file.
fn is_unit(path: &Path) -> bool {
    path.ends_with(DROP_IN_FILE)
}

#[cfg(test)]
mod tests;
