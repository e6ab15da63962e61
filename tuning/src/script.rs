//! A plan as a plain shell script, for people who let nothing else touch their hosts.
//!
//! `sh FILE` does what an apply would; `sh FILE undo` puts back what was there: values as they were
//! when it was written, files as they were when it was first run, from the copy that it laid beside
//! them. Nothing in it needs Touchline.

use crate::knob;
use crate::plan::{Change, Plan};
use crate::reading::{Spot, fields_of};

/// The first run of the script lays a copy of each file beside it, or a note that there was none;
/// neither name is one that sysctl or systemd reads. An undo without either touches nothing.
const HELPERS: &str = r#"
put() { printf '%s\n' "$2" >"$1" && echo "$1: $2" || failed=1; }
keep() {
    if [ -e "$1.before-touchline" ] || [ -e "$1.none-before-touchline" ]; then return; fi
    if [ -e "$1" ]; then cp -p "$1" "$1.before-touchline" || exit 1
    else : >"$1.none-before-touchline" || exit 1; fi
}
back() {
    if [ -e "$1.before-touchline" ]; then mv -f "$1.before-touchline" "$1" || failed=1
    elif [ -e "$1.none-before-touchline" ]; then
        rm -f "$1" "$1.none-before-touchline" || failed=1
    fi
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
            "\n    mkdir -p \"$(dirname {path})\"\n    keep {path}\n    cat >{path} <<'END_OF_FILE' \
             || failed=1\n\
             {content}END_OF_FILE\n    echo {path}\n"
        );
    }
    for (id, commands) in &plan.hand {
        text += &format!("\n    # {id}, by hand:\n");
        commands.iter().for_each(|command| text += &format!("    #   {command}\n"));
    }
    text += "    :\n}\n\nundo() {\n";
    for (path, _) in plan.files.iter().rev() {
        text += &format!("    back {}\n", quoted(&path.display().to_string()));
    }
    for change in plan.live.iter().rev() {
        let bracketed = matches!(change.spot, Spot::File { bracketed: true, .. });
        let before = fields_of(&change.before, bracketed).join(" ");
        text += &format!("    {}\n", command(change, &before));
    }
    text += "    :\n}\n\nif [ \"${1:-}\" = undo ]; then undo; else apply; fi\nexit $failed\n";
    text
}

fn command(change: &Change, value: &str) -> String {
    match &change.spot {
        Spot::File { path, .. } => format!("put {} {}", quoted(path), quoted(value)),
        Spot::Nic { nic, field } => format!("{} || failed=1", field.command(nic, value)),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
