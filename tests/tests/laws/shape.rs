//! The shape of the code: sizes, columns, essays, orphans, names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::check;
use crate::tree::{CRATES, Exception, judge, root, sources};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;
/// A row of a table in code may be as long, where it holds text that can't be broken.
const TEXT_COLUMNS_MAX: usize = 140;

/// Files that may be longer.
const LONG_FILES: &[Exception] = &[];
/// Files with a function that may be longer.
const LONG_FUNCTIONS: &[Exception] = &[];

#[test]
fn no_file_is_longer_than_one_can_read_in_a_sitting() {
    let long = sources().iter().filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > FILE_LINES_MAX).then(|| (source.path.clone(), format!("{lines} lines")))
    });
    check("files have 400 lines at most", judge(&long.collect::<Vec<_>>(), LONG_FILES));
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let mut found = Vec::new();
    for source in sources() {
        let mut functions = Functions::default();
        functions.visit_file(&source.syntax());
        for function in functions.all {
            if function.lines > FUNCTION_LINES_MAX {
                let what = format!("{} has {} lines", function.name, function.lines);
                found.push((source.path.clone(), what));
            }
        }
    }
    check("functions have 70 lines at most", judge(&found, LONG_FUNCTIONS));
}

#[test]
fn no_line_is_wider_than_100_columns() {
    let mut violations = Vec::new();
    for source in sources() {
        for (n, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            let comment = line.trim_start().starts_with("//");
            let row = comment && line.contains("//! |");
            let max =
                if !comment && line.contains('"') || row { TEXT_COLUMNS_MAX } else { COLUMNS_MAX };
            if columns > max {
                violations.push(format!("{}:{}: {columns} columns", source.path, n + 1));
            }
        }
    }
    check("lines have 100 columns at most, 140 where they hold a text", violations);
}

#[test]
fn every_module_opens_with_what_a_newcomer_needs() {
    let mut violations = Vec::new();
    for source in sources() {
        let first = source.text.lines().next().unwrap_or_default();
        let essay = first.strip_prefix("//! ").unwrap_or_default();
        if essay.len() < 15 {
            violations.push(format!("{} opens with `{first}`", source.path));
        }
    }
    check("every module opens with `//!` and a sentence that says what it is for", violations);
}

#[test]
fn every_rust_file_belongs_to_a_crate() {
    let mut reached = BTreeSet::new();
    for folder in CRATES {
        for target in targets(&root().join(folder)) {
            reach(&target, true, &mut reached);
        }
    }
    let apart = ["tests/fuzz", "bench/peers"];
    let is_apart = |path: &str| apart.iter().any(|folder| path.starts_with(folder));
    let orphan = |path: &str| !is_apart(path) && !reached.contains(&root().join(path));
    let orphans = sources().iter().filter(|source| orphan(&source.path));
    check("no file is an orphan", orphans.map(|source| source.path.clone()).collect());
}

#[test]
fn names_of_tests_are_sentences() {
    let mut violations = Vec::new();
    for source in sources() {
        let mut functions = Functions::default();
        functions.visit_file(&source.syntax());
        for test in functions.all.iter().filter(|function| function.is_test) {
            if test.name.split('_').count() < 3 {
                violations.push(format!("{}: {}", source.path, test.name));
            }
        }
    }
    check("a test's name says what it proves, in three words or more", violations);
}

struct Function {
    name: String,
    lines: usize,
    is_test: bool,
}

#[derive(Default)]
struct Functions {
    all: Vec<Function>,
}

impl Functions {
    fn add(
        &mut self,
        signature: &syn::Signature,
        attributes: &[syn::Attribute],
        block: &syn::Block,
    ) {
        let is_test =
            attributes.iter().any(|a| a.path().segments.last().is_some_and(|s| s.ident == "test"));
        let lines = block.span().end().line - signature.span().start().line + 1;
        self.all.push(Function { name: signature.ident.to_string(), lines, is_test });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.add(&node.sig, &node.attrs, &node.block);
        visit::visit_item_fn(self, node);
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.add(&node.sig, &node.attrs, &node.block);
        visit::visit_impl_item_fn(self, node);
    }
}

/// The root files of a crate, as cargo finds them.
fn targets(folder: &Path) -> Vec<PathBuf> {
    let mut targets: Vec<PathBuf> =
        ["src/lib.rs", "src/main.rs", "build.rs"].iter().map(|name| folder.join(name)).collect();
    for folder in ["src/bin", "tests", "benches", "examples"].map(|name| folder.join(name)) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            targets.push(entry.path());
            targets.push(entry.path().join("main.rs"));
        }
    }
    targets.retain(|path| path.is_file() && path.extension().is_some_and(|end| end == "rs"));
    targets
}

/// Follows `mod name;` from `file`. The modules of a root or a `mod.rs` lie beside it, others' in a
/// folder of their name.
fn reach(file: &Path, is_root: bool, reached: &mut BTreeSet<PathBuf>) {
    if !reached.insert(file.to_path_buf()) {
        return;
    }
    let Ok(text) = std::fs::read_to_string(file) else { return };
    let Ok(syntax) = syn::parse_file(&text) else { return };
    let stem = file.file_stem().unwrap_or_default();
    let beside = is_root || stem == "mod";
    let parent = file.parent().unwrap_or(Path::new(""));
    let folder = if beside { parent.to_path_buf() } else { parent.join(stem) };
    reach_items(&syntax.items, &folder, parent, reached);
}

fn reach_items(items: &[syn::Item], folder: &Path, parent: &Path, reached: &mut BTreeSet<PathBuf>) {
    for item in items {
        let syn::Item::Mod(module) = item else { continue };
        let name = module.ident.to_string();
        if let Some((_, inner)) = &module.content {
            reach_items(inner, &folder.join(&name), &folder.join(&name), reached);
        } else if let Some(path) = path_attribute(&module.attrs) {
            reach(&parent.join(path), true, reached);
        } else {
            let file = folder.join(format!("{name}.rs"));
            let nested = folder.join(&name).join("mod.rs");
            reach(if file.is_file() { &file } else { &nested }, false, reached);
        }
    }
}

fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}
