//! A plan as a plain shell script, for people who let nothing else touch their hosts.
//!
//! `sh FILE` does what an apply would; `sh FILE undo` puts back what was there when it was written.
//! Nothing in it needs Touchline.

use crate::knob;
use crate::plan::{Change, Plan};
use crate::reading::{Spot, fields_of};

/// Writes it.
pub fn script(plan: &Plan, connections_max: u64) -> String {
    let mut text = format!(
        "#!/bin/sh\n# Written by `touchline tune apply --output-script` for {connections_max} \
         connections.\n# Run as root: `sh FILE` applies, `sh FILE undo` puts back what was there \
         when it was written.\n\nput() {{ printf '%s\\n' \"$2\" >\"$1\" && echo \"$1: $2\" || \
         failed=1; }}\nfailed=0\n"
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
            "\n    mkdir -p \"$(dirname {path})\"\n    cat >{path} <<'END_OF_FILE' || failed=1\n\
             {content}END_OF_FILE\n    echo {path}\n"
        );
    }
    for (id, commands) in &plan.hand {
        text += &format!("\n    # {id}, by hand:\n");
        commands.iter().for_each(|command| text += &format!("    #   {command}\n"));
    }
    text += "    :\n}\n\nundo() {\n";
    for (path, _) in plan.files.iter().rev() {
        text += &undo_file(path);
    }
    for change in plan.live.iter().rev() {
        let bracketed = matches!(change.spot, Spot::File { bracketed: true, .. });
        let before = fields_of(&change.before, bracketed).join(" ");
        text += &format!("    {}\n", command(change, &before));
    }
    text += "    :\n}\n\nif [ \"${1:-}\" = undo ]; then undo; else apply; fi\nexit $failed\n";
    text
}

/// A file that was there is kept in the script itself.
fn undo_file(path: &std::path::Path) -> String {
    let quoted = quoted(&path.display().to_string());
    match std::fs::read_to_string(path) {
        Ok(content) => {
            format!("    cat >{quoted} <<'END_OF_FILE' || failed=1\n{content}END_OF_FILE\n")
        }
        Err(_) => format!("    rm -f {quoted}\n"),
    }
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
