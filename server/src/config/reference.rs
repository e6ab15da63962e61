//! `docs/reference/config.md`, generated from the table of keys.

use std::fmt::Write as _;

use super::keys::{self, Key, Kind};
use super::layers::variable_of;
use super::units::size_text;

const INTRODUCTION: &str = "\
# Configuration

Generated from `server/src/config/keys`; a test fails where the two differ.

A value is taken from the first of: a flag (`--set section.key=value`, or one of its own), the
environment variable `TOUCHLINE__SECTION__KEY`, the file (`--config FILE`, else
`/etc/touchline/touchline.toml` if there is one), the default. An unknown key is an error.
`touchline print-config` shows every value in force with where it came from; `touchline
check-config` says whether a configuration is good. Sizes are bytes or a text such as `\"16MiB\"`;
keys that end in `_s` are seconds, fractions allowed; port 0 lets the kernel choose, and the log and
`/config` tell what it chose. SIGHUP reads everything again: it takes the keys marked *reload*, and
refuses the whole file where another has changed.
";

/// The page.
pub fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    let mut section = "";
    for key in keys::all() {
        let head = key.path.rsplit_once('.').map_or("", |(head, _)| head);
        if head != section {
            let _ = write!(
                out,
                "\n## `[{}]`\n\n| key | value | default | what it is for | what it costs \
                 |\n|---|---|---|---|---|\n",
                head.replace('*', "NAME")
            );
            section = head;
        }
        out.push_str(&row(key));
    }
    let _ = writeln!(
        out,
        "\nAs a variable, `node.data_dir` is `{}`, and so with all of them.",
        variable_of("node.data_dir")
    );
    out
}

fn row(key: &Key) -> String {
    let name = key.path.rsplit_once('.').map_or(key.path, |(_, name)| name);
    let reload = if key.reloads { " *reload*" } else { "" };
    let default = match key.default {
        None => "none".to_owned(),
        Some("") => "empty".to_owned(),
        Some(text) => format!("`{text}`"),
    };
    format!(
        "| `{name}`{reload} | {} | {default} | {} | {} |\n",
        value_text(key.kind),
        key.purpose,
        key.cost
    )
}

fn value_text(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".into(),
        Kind::Path => "path".into(),
        Kind::Address => "address:port".into(),
        Kind::Size(min, max) => format!("bytes, {} to {}", size_text(min), size_text(max)),
        Kind::Seconds(min, max) => format!("seconds, {min} to {max}"),
        Kind::Count(min, max) => format!("number, {min} to {max}"),
        Kind::AutoCount(min, max) => format!("`auto`, or {min} to {max}"),
        Kind::Choice(words) => {
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        Kind::Toggle => "`true`, `false`".into(),
        Kind::List => "list of texts".into(),
        Kind::Secrets => "list of secrets, never shown".into(),
        Kind::Secret => "text, never shown".into(),
        Kind::Url => "address; its query and user are never shown".into(),
    }
}
