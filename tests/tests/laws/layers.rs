//! Who may know whom inside `ingest`: a module names only what lies below it. So what two adapters
//! have in common gets a place of its own, and either can be read without the other.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};

use crate::check;
use crate::tree::{Source, sources};

const FOLDER: &str = "ingest/src/";

/// The modules, the lowest first: each may name those of earlier rows. Adapters are the last row.
const LAYERS: [&[&str]; 4] = [
    &[
        "breaker",
        "clock",
        "correlation",
        "counts",
        "limits",
        "mapping",
        "problem",
        "roster",
        "tally",
    ],
    &["kafka", "outbound", "routes", "spool"],
    &["poll"],
    &["broadcast", "sensor", "social"],
];

#[test]
fn modules_of_ingest_name_only_what_lies_below_them() {
    let rows: BTreeMap<&str, usize> = (LAYERS.iter().enumerate())
        .flat_map(|(row, modules)| modules.iter().map(move |module| (*module, row)))
        .collect();
    let (mut violations, mut seen) = (Vec::new(), BTreeSet::new());
    for source in sources().iter().filter(|source| source.path.starts_with(FOLDER)) {
        let module = module_of(source);
        let own = module[0].as_str();
        if own == "lib" {
            continue;
        }
        let Some(row) = rows.get(own) else {
            violations.push(format!("{}: `{own}` has no row in LAYERS", source.path));
            continue;
        };
        seen.insert(own.to_owned());
        for name in named(&source.text, module.len()) {
            if name != own && rows.get(name.as_str()).is_some_and(|other| other >= row) {
                violations.push(format!("{}: `{name}` doesn't lie below `{own}`", source.path));
            }
        }
    }
    let gone = rows.keys().filter(|module| !seen.contains(**module));
    violations.extend(gone.map(|module| format!("there is no module `{module}`: strike it out")));
    check(
        "modules of ingest name only what lies below them, adapters never each other",
        violations,
    );
}

/// `ingest/src/kafka/meta/writer.rs` is `kafka`, `meta`, `writer`.
fn module_of(source: &Source) -> Vec<String> {
    let path = source.path.trim_start_matches(FOLDER).trim_end_matches(".rs");
    path.trim_end_matches("/mod").split('/').map(str::to_owned).collect()
}

/// What the text of a module names by a path from its crate's root, which lies `depth` above it.
fn named(text: &str, depth: usize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(text.parse().expect("a file of Rust"), depth, false, &mut names);
    names
}

/// `is_list`: of names that continue a path from the root, as in `use crate::{a, b}`.
fn collect(stream: TokenStream, depth: usize, is_list: bool, names: &mut BTreeSet<String>) {
    let (mut is_at_root, mut climbed, mut since_mod) = (is_list, 0, 0);
    for token in stream {
        since_mod += 1;
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => continue,
            TokenTree::Punct(punct) => is_at_root = is_list && punct.as_char() == ',',
            TokenTree::Ident(ident) if ident == "crate" => is_at_root = true,
            TokenTree::Ident(ident) if ident == "super" => {
                climbed += 1;
                is_at_root = climbed == depth;
                continue;
            }
            TokenTree::Ident(ident) => {
                if is_at_root {
                    names.insert(ident.to_string());
                }
                is_at_root = false;
                since_mod = if ident == "mod" { 0 } else { since_mod };
            }
            TokenTree::Group(group) => {
                // `mod name {`: its root is one step further up.
                let depth = if since_mod == 2 { depth + 1 } else { depth };
                collect(group.stream(), depth, is_at_root, names);
                is_at_root = false;
            }
            TokenTree::Literal(_) => is_at_root = false,
        }
        climbed = 0;
    }
}

#[test]
fn names_are_found_however_they_are_written() {
    let find = |text: &str| named(text, 2).into_iter().collect::<Vec<_>>().join(" ");
    for (text, found) in [
        ("use crate::sensor::Reading;", "sensor"),
        ("use crate::{sensor::{Reading, Values}, social};", "sensor social"),
        ("fn f() { g(crate::sensor::f(), h) }", "sensor"),
        ("macro!(n = crate::sensor::n(), x);", "sensor"),
        ("use super::super::sensor;", "sensor"),
        ("use super::sensor;", ""),
        ("mod tests { use super::super::sensor; use super::super::super::social; }", "social"),
        ("pub(crate) fn sensor() {} pub(in crate::kafka) struct A;", "kafka"),
        ("/// [`f`](crate::sensor::f)\nfn f() {}", ""),
    ] {
        assert_eq!(find(text), found, "{text}");
    }
}
