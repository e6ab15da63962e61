//! Claim: every command that a document shows is one that this program understands.

use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;

use super::Cli;

/// Words that stand for something in a document, and something they could stand for.
const PLACEHOLDERS: [(&str, &str); 8] = [
    ("N", "1"),
    ("POS", "1"),
    ("ID", "01a2"),
    ("NAME", "skyline"),
    ("KNOB", "softnet"),
    ("FILE", "file"),
    ("DATE", "2026-06-24"),
    ("...", "1"),
];

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = vec![root.join("README.md"), root.join("docs/reference/tuning.md")];
    for folder in ["docs", "docs/decisions", "deploy/haproxy"] {
        let entries = std::fs::read_dir(root.join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        found.extend(paths.filter(|path| path.extension().is_some_and(|it| it == "md")));
    }
    found.retain(|path| path.is_file());
    found
}

/// What `text` shows in backticks, and each line of its blocks of code.
fn shown(text: &str) -> Vec<String> {
    let mut shown = Vec::new();
    for (n, part) in text.split("```").enumerate() {
        match n % 2 {
            0 => shown.extend(part.split('`').skip(1).step_by(2).map(str::to_owned)),
            _ => shown.extend(part.lines().map(|line| line.trim().to_owned())),
        }
    }
    shown
}

/// The arguments of a command of ours. `make run` is one: it hands `ARGS` on to the demo.
fn arguments(shown: &str) -> Option<Vec<String>> {
    let shown = shown.split(" #").next().unwrap_or_default().replace('\n', " ");
    let (before, rest) = match shown.split_once("make run ARGS=") {
        Some((before, rest)) => (before, format!("demo {}", rest.trim_matches('\''))),
        None => {
            // Whoever it is run as may be called the same.
            let shown = shown.strip_prefix("sudo -u touchline ").unwrap_or(&shown);
            let (before, rest) = shown.split_once("touchline ")?;
            (before, rest.to_owned())
        }
    };
    let is_command = ["", "sudo "].contains(&before);
    let known = |word: &str| {
        let word = word.trim_end_matches("...");
        let word = if word.is_empty() { "..." } else { word };
        let meant = PLACEHOLDERS.iter().find(|(name, _)| *name == word);
        meant.map_or(word, |(_, meant)| meant).to_owned()
    };
    let ends = |word: &&str| !word.contains('>') && !["|", "&", "&&", ";", "\\"].contains(word);
    is_command.then(|| rest.split_whitespace().take_while(ends).map(known).collect())
}

#[test]
fn every_command_in_a_document_is_understood() {
    let (mut commands, mut wrong) = (0, Vec::new());
    for path in documents() {
        let text = std::fs::read_to_string(&path).unwrap();
        for line in shown(&text) {
            let Some(arguments) = arguments(&line) else { continue };
            commands += 1;
            let all = std::iter::once("touchline".to_owned()).chain(arguments);
            let Err(error) = Cli::try_parse_from(all) else { continue };
            // A document may speak of a command without what it needs.
            let is_named = matches!(
                error.kind(),
                ErrorKind::MissingSubcommand
                    | ErrorKind::MissingRequiredArgument
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            if !is_named {
                wrong.push(format!("{}: `{line}`: {error}", path.display()));
            }
        }
    }
    assert!(commands > 40, "documents show commands; found only {commands}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_is_found_in_a_line_and_in_a_sentence() {
    let found = |text: &str| -> Vec<Vec<String>> {
        shown(text).iter().filter_map(|line| arguments(line)).collect()
    };
    for (text, words) in [
        ("see `touchline tune explain KNOB`", "tune explain softnet"),
        ("```\nsudo -u touchline touchline check-config  # so\n```", "check-config"),
        ("```\ntouchline serve --config a.toml 2>a.log &\n```", "serve --config a.toml"),
        ("`make run ARGS='--speed 30 --kafka'`", "demo --speed 30 --kafka"),
    ] {
        assert_eq!(found(text), [words.split(' ').map(str::to_owned).collect::<Vec<_>>()]);
    }
    assert!(found("`cd touchline now`, or touchline itself").is_empty());
}
