//! What documents say, and what must not be said anywhere.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};

use crate::check;
use crate::tree::{files, read, root, sources};

/// Texts that no file of ours may hold, in halves so that this file doesn't hold them either, and
/// why.
const LEFTOVERS: [(&str, &str, &str); 12] = [
    ("/work", "/main", "a folder of one machine"),
    ("/work", "/shared", "a folder of one machine"),
    ("/tmp/", "team", "a folder of one machine"),
    ("/ro", "ot/", "somebody's home"),
    ("/home", "/", "somebody's home"),
    ("TO", "DO", "unfinished work: do it, or describe the limit"),
    ("FIX", "ME", "unfinished work: do it, or describe the limit"),
    ("X", "XX", "unfinished work: do it, or describe the limit"),
    ("To be ", "written", "a stub"),
    ("unimplement", "ed!", "a stub"),
    ("to", "do!(", "a stub"),
    ("dbg", "!(", "left over from a search"),
];

/// Files in which others' texts stand as they came.
const FOREIGN: [&str; 4] =
    ["Cargo.lock", "package-lock.json", "tests/fuzz/corpus", "tests/fuzz/Cargo.lock"];

const ARCHITECTURE: &str = "docs/ARCHITECTURE.md";

#[test]
fn nothing_of_a_workplace_is_left_in_the_tree() {
    let mut violations = Vec::new();
    for path in files() {
        if FOREIGN.iter().any(|foreign| path.starts_with(foreign) || path.ends_with(foreign)) {
            continue;
        }
        let bytes = std::fs::read(root().join(path)).unwrap_or_default();
        let Ok(text) = String::from_utf8(bytes) else { continue };
        for (n, line) in text.lines().enumerate() {
            for (front, back, why) in LEFTOVERS {
                if holds_word(line, &format!("{front}{back}")) {
                    violations.push(format!("{path}:{}: {front}{back} is {why}", n + 1));
                }
            }
        }
    }
    check("no leftovers: absolute folders, stubs, promises", violations);
}

/// What people write reaches the board's page as text: nothing there makes elements out of it.
#[test]
fn nothing_that_was_sent_becomes_markup_in_a_browser() {
    const SINKS: [&str; 5] = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "createContextualFragment",
    ];
    let pages = files().iter().filter(|path| {
        path.starts_with("clients/") && (path.ends_with(".js") || path.ends_with(".html"))
    });
    let (mut violations, mut writers) = (Vec::new(), 0);
    for path in pages {
        let text = read(path);
        writers += usize::from(text.contains("textContent"));
        let used = SINKS.iter().filter(|sink| text.contains(**sink));
        violations.extend(used.map(|sink| format!("{path}: {sink}: write textContent instead")));
    }
    assert!(writers > 0, "the board has been read");
    check("what was sent is shown as text", violations);
}

/// Whether `line` holds `text`, not as the middle of a longer word.
fn holds_word(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + text.len()..].chars().next();
        let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let path = text.starts_with('/');
        let open = path || text.ends_with(['(', '!']);
        !word(before) && before != Some('.') && (open || !word(after))
    })
}

#[test]
fn architecture_names_only_what_exists() {
    let text = read(ARCHITECTURE);
    let mut violations = Vec::new();
    let mut names = 0;
    for quoted in text.split('`').skip(1).step_by(2) {
        let Some((path, name)) = quoted.split_once(".rs::") else { continue };
        names += 1;
        let path = format!("{path}.rs");
        let Some(source) = sources().iter().find(|source| source.path == path) else {
            violations.push(format!("`{quoted}`: there is no {path}"));
            continue;
        };
        let defined = defined_names(&source.text);
        for part in name.trim_end_matches("()").split("::") {
            if !defined.contains(part) {
                violations.push(format!("`{quoted}`: {path} defines no {part}"));
            }
        }
    }
    assert!(names >= 10, "{ARCHITECTURE} follows a goal by `path.rs::name`; found only {names}");
    check("docs/ARCHITECTURE.md names what exists", violations);
}

#[test]
fn links_in_documents_lead_to_files_that_exist() {
    let mut violations = Vec::new();
    for path in files().iter().filter(|path| path.ends_with(".md")) {
        let text = read(path);
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for after in text.split("](").skip(1) {
            let Some((target, _)) = after.split_once(')') else { continue };
            let target = target.split('#').next().unwrap_or_default();
            let outside = target.contains("://") || target.starts_with("mailto:");
            if target.is_empty() || outside || target.contains(' ') {
                continue;
            }
            if !root().join(folder).join(target).exists() {
                violations.push(format!("{path}: {target} does not exist"));
            }
        }
    }
    check("links in documents lead somewhere", violations);
}

/// Every identifier that follows a keyword of definition, and every variant or field's name.
fn defined_names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let stream: TokenStream = text.parse().unwrap_or_default();
    collect(stream, &mut names);
    names
}

fn collect(stream: TokenStream, names: &mut BTreeSet<String>) {
    const KEYWORDS: [&str; 10] =
        ["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "impl", "for"];
    let mut defines = false;
    for token in stream {
        match token {
            TokenTree::Ident(ident) => {
                let text = ident.to_string();
                if defines {
                    names.insert(text.clone());
                }
                defines = KEYWORDS.contains(&text.as_str());
            }
            TokenTree::Group(group) => {
                defines = false;
                collect(group.stream(), names);
            }
            // `impl<T> Name`: the name comes after the generics.
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}
