//! What documents say, and what must not be said anywhere.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};

use crate::check;
use crate::tree::{Source, files, read, root, sources};

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

/// What a path in a document ends with.
const ENDINGS: [&str; 9] = [".rs", ".sh", ".js", ".mjs", ".py", ".toml", ".json", ".md", ".html"];

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
fn documents_name_only_what_exists() {
    let mut violations = Vec::new();
    let mut names = 0;
    for document in documents() {
        let text = read(document);
        for quoted in text.split('`').skip(1).step_by(2) {
            let named = quoted.split_once(".rs::");
            names += usize::from(document == ARCHITECTURE && named.is_some());
            let path = named.map_or(quoted.to_owned(), |(path, _)| format!("{path}.rs"));
            if named.is_none() && !is_path_of_ours(quoted) {
                continue;
            }
            if !exists(document, &path) {
                violations.push(format!("{document}: `{quoted}`: there is no {path}"));
            } else if let Some((_, name)) = named {
                violations.extend(undefined(document, quoted, &path, name));
            }
        }
    }
    assert!(names >= 30, "{ARCHITECTURE} follows a goal by `path.rs::name`; found only {names}");
    check("documents name what exists", violations);
}

/// Where a thread's name is what the caller says, and how callers begin.
const NAMED_BY_CALLERS: [(&str, &str); 3] = [
    ("ingest/src/kafka/mod.rs", "spawn("),
    ("store/src/journal/mod.rs", "spawn("),
    ("server/src/wiring/serving.rs", "serve_on(runtime,"),
];

#[test]
fn architecture_lists_every_thread_that_is_started() {
    let text = read(ARCHITECTURE);
    let table = text.split("# Threads").nth(1).and_then(|rest| rest.split("\n# ").next());
    let rows = table.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("| "));
    let listed: BTreeSet<&str> = rows
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|names| names.split('`').skip(1).step_by(2))
        .collect();
    let (mut started, mut violations) = (BTreeSet::new(), Vec::new());
    for source in sources().iter().filter(|source| !source.is_test() && is_of_a_node(source)) {
        // Calls are broken into lines as it comes.
        let text: String = source.text.split_whitespace().collect();
        let calls = NAMED_BY_CALLERS.iter().map(|(_, call)| *call);
        for call in calls.chain(["thread_name("]) {
            started.extend(text.split(call).skip(1).filter_map(literal));
        }
        for argument in text.split("Builder::new().name(").skip(1) {
            let is_callers = NAMED_BY_CALLERS.iter().any(|(path, _)| *path == source.path);
            match literal(argument) {
                Some(name) => drop(started.insert(name)),
                None if is_callers => {}
                None => violations.push(format!("{}: a thread's name is no literal", source.path)),
            }
        }
    }
    assert!(started.len() > 20, "threads are named in the code; found {started:?}");
    let missing = started.iter().filter(|name| !listed.contains(name.as_str()));
    violations.extend(missing.map(|name| format!("{ARCHITECTURE} doesn't list `{name}`")));
    check("docs/ARCHITECTURE.md lists the threads there are", violations);
}

fn is_of_a_node(source: &Source) -> bool {
    ["core", "fanout", "ingest", "store", "server"].into_iter().any(|folder| source.is_in(folder))
}

/// The text that an argument begins with; what is filled in by number is `N`.
fn literal(argument: &str) -> Option<String> {
    let text = argument.strip_prefix("format!(").unwrap_or(argument).strip_prefix('"')?;
    let text = text.split('"').next()?;
    Some(text.split_once('{').map_or(text.to_owned(), |(before, _)| format!("{before}N")))
}

fn documents() -> impl Iterator<Item = &'static String> {
    files().iter().filter(|path| path.ends_with(".md"))
}

/// Whether it reads like a file below one of our folders, and not like the pattern of one.
fn is_path_of_ours(quoted: &str) -> bool {
    let folder = quoted.split_once('/').map_or("", |(folder, _)| folder);
    let is_folder = !folder.is_empty()
        && files().iter().any(|path| {
            path.strip_prefix("docs/").unwrap_or(path).starts_with(&format!("{folder}/"))
        });
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./".contains(letter);
    is_folder
        && !quoted.contains("NAME")
        && quoted.chars().all(is_plain)
        && ENDINGS.iter().any(|ending| quoted.ends_with(ending))
}

/// Whether `document` can mean a file by `path`: from the root, or from where it stands.
fn exists(document: &str, path: &str) -> bool {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    [root().join(path), root().join(folder).join(path), root().join("docs").join(path)]
        .iter()
        .any(|path| path.exists())
}

fn undefined(document: &str, quoted: &str, path: &str, name: &str) -> Vec<String> {
    let source = sources().iter().find(|source| source.path == path);
    let defined = source.map(|source| defined_names(&source.text)).unwrap_or_default();
    let parts = name.trim_end_matches("()").split("::");
    let missing = parts.filter(|part| !defined.contains(*part));
    missing.map(|part| format!("{document}: `{quoted}`: {path} defines no {part}")).collect()
}

/// `make TARGET`, where a document shows it as a command.
#[test]
fn documents_make_only_what_can_be_made() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| line.split_once(": ##").map(|(name, _)| name)).collect();
    let (mut violations, mut shown) = (Vec::new(), 0);
    for document in documents() {
        let text = read(document);
        let blocks = text.split("```").skip(1).step_by(2).flat_map(str::lines);
        let quoted = text.split('`').skip(1).step_by(2);
        let commands = blocks.chain(quoted).filter_map(|line| line.trim().strip_prefix("make "));
        for target in commands.filter_map(|rest| rest.split_whitespace().next()) {
            shown += 1;
            if !targets.contains(target) {
                violations.push(format!("{document}: there is no `make {target}`"));
            }
        }
    }
    assert!(shown > 5 && targets.len() > 5, "{shown} of {targets:?}");
    check("documents make what can be made", violations);
}

#[test]
fn links_in_documents_lead_to_files_that_exist() {
    let mut violations = Vec::new();
    for path in documents() {
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
