//! Law 2: `unsafe` and clocks only where they are named. Law 3: limits in one place.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::check;
use crate::tree::{Exception, Source, judge, root, sources};

/// Where `unsafe` may stand, and what for.
const UNSAFE: &[Exception] = &[
    Exception {
        path: "fanout/src/sys.rs",
        reason: "private tables of descriptors and socket options exist as system calls only",
    },
    Exception {
        path: "fanout/src/volley/ring.rs",
        reason: "submitting to a ring hands the kernel pointers; the volley is worth a tenth of the \
                 CPU of a delivery (docs/performance.md)",
    },
    Exception {
        path: "ingest/src/kafka/token/admin.rs",
        reason: "rdkafka hands a token to librdkafka where a client is polled, and never polls an \
                 admin client for it; librdkafka's own call does",
    },
    Exception {
        path: "bench/src/sys.rs",
        reason: "a load generator that receives millions of messages a second needs bare epoll, and \
                 tables of descriptors of its own",
    },
];

/// Folders that never read a clock: whoever needs the time there gets it as an argument.
const NO_CLOCK: [&str; 2] = ["core/src", "fanout/src/hub"];
const CLOCKS: [(&str, &str); 6] = [
    ("Instant", "now"),
    ("SystemTime", "now"),
    ("Timestamp", "now"),
    ("Zoned", "now"),
    ("Instant", "elapsed"),
    ("libc", "clock_gettime"),
];

/// Crates whose parts grow; each has its `limits.rs`.
const WITH_LIMITS: [&str; 6] = ["core", "fanout", "ingest", "store", "server", "bench"];

#[derive(Default)]
struct Finder {
    unsafe_at: Vec<Span>,
    clocks: Vec<(Span, String)>,
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_expr_unsafe(&mut self, node: &'ast syn::ExprUnsafe) {
        self.unsafe_at.push(node.unsafe_token.span);
        visit::visit_expr_unsafe(self, node);
    }

    fn visit_item_impl(&mut self, node: &'ast syn::ItemImpl) {
        self.unsafe_at.extend(node.unsafety.map(|token| token.span));
        visit::visit_item_impl(self, node);
    }

    fn visit_signature(&mut self, node: &'ast syn::Signature) {
        self.unsafe_at.extend(node.unsafety.map(|token| token.span));
        visit::visit_signature(self, node);
    }

    fn visit_item_foreign_mod(&mut self, node: &'ast syn::ItemForeignMod) {
        self.unsafe_at.push(node.abi.span());
        visit::visit_item_foreign_mod(self, node);
    }

    fn visit_path(&mut self, node: &'ast syn::Path) {
        let names: Vec<String> = node.segments.iter().map(|s| s.ident.to_string()).collect();
        if let [.., of, what] = &names[..]
            && CLOCKS.contains(&(of.as_str(), what.as_str()))
        {
            self.clocks.push((node.span(), format!("{of}::{what}")));
        }
        visit::visit_path(self, node);
    }
}

fn find(source: &Source) -> Finder {
    let mut finder = Finder::default();
    finder.visit_file(&source.syntax());
    finder
}

#[test]
fn law_2_unsafe_stands_in_named_modules_only() {
    let mut found = Vec::new();
    for source in sources() {
        let finder = find(source);
        if let Some(first) = finder.unsafe_at.first() {
            let (count, line) = (finder.unsafe_at.len(), first.start().line);
            found.push((source.path.clone(), format!("{count} unsafe, the first in line {line}")));
        }
    }
    check("law 2: unsafe lives in named modules, each with a reason", judge(&found, UNSAFE));
}

#[test]
fn law_2_every_unsafe_block_says_why_it_is_safe() {
    let mut violations = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for span in find(source).unsafe_at {
            let line = span.start().line;
            if !is_argued(&lines, line) {
                violations.push(format!("{}:{line}: no SAFETY comment above it", source.path));
            }
        }
    }
    check("law 2: SAFETY stands on every unsafe block, fn and impl", violations);
}

/// Whether the statement that holds `line` (from 1) has `SAFETY:` in the comment above it, or `#
/// Safety` in its documentation. A statement may begin a few lines above its `unsafe`.
fn is_argued(lines: &[&str], line: usize) -> bool {
    let mut code_above = 0;
    for text in lines[..line].iter().rev().map(|text| text.trim()) {
        let comment = text.starts_with("//");
        if text.contains("SAFETY:") || (comment && text.contains("# Safety")) {
            return true;
        }
        if !comment && !text.starts_with('#') {
            code_above += 1;
        }
        if code_above > 4 || text.is_empty() {
            return false;
        }
    }
    false
}

#[test]
fn law_2_core_and_hub_read_no_clock() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|s| NO_CLOCK.iter().any(|folder| s.is_in(folder))) {
        for (span, clock) in find(source).clocks {
            violations.push(format!("{}:{}: {clock}", source.path, span.start().line));
        }
    }
    check("law 2: clock reads happen at the edges; core and the hub take `now`", violations);
}

#[test]
fn law_3_limits_stand_in_one_file_a_crate_and_are_asserted() {
    let mut violations = Vec::new();
    for folder in WITH_LIMITS {
        let path = format!("{folder}/src/limits.rs");
        match sources().iter().find(|source| source.path == path) {
            None => violations.push(format!("{path} is missing")),
            Some(limits) if !limits.text.contains("const _: () = assert!(") => {
                violations.push(format!("{path} asserts nothing at compile time"));
            }
            Some(_) => {}
        }
    }
    for source in sources().iter().filter(|s| !s.is_test() && !s.is_in("tests")) {
        // A large crate's `limits.rs` may have parts in a folder of its name.
        let elsewhere = !source.path.ends_with("/limits.rs") && !source.path.contains("/limits/");
        let public_bound = |item: &syn::Item| match item {
            syn::Item::Const(item) if matches!(item.vis, syn::Visibility::Public(_)) => {
                let name = item.ident.to_string();
                name.ends_with("_MAX").then_some((name, item.span().start().line))
            }
            _ => None,
        };
        for (name, line) in source.syntax().items.iter().filter_map(public_bound) {
            if elsewhere {
                violations.push(format!("{}:{line}: {name} belongs in limits.rs", source.path));
            }
        }
    }
    assert!(root().join("core/src/limits.rs").exists());
    check("law 3: whatever grows has a limit, in one limits.rs per crate", violations);
}
