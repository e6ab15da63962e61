//! The laws of the house: what reviewers would otherwise have to remember.
//!
//! Each law reads the tree as it lies on the disk (sources by `syn`, crates by `cargo metadata`),
//! so it holds for code that no test runs. A law that has exceptions keeps them in a list with a
//! reason each, and the list is a ratchet: an exception that is no longer needed fails the law too.
//!
//! | module | laws |
//! |---|---|
//! | `arrows` | which crate may know which; what core and fanout must never contain |
//! | `layers` | which module of ingest may know which |
//! | `safety` | where `unsafe` may stand; who may read a clock; limits in one place |
//! | `shape` | sizes of files and functions, columns, essays, orphans, names of tests |
//! | `words` | documents name what exists; nothing of a workplace is left in the tree |
//!
//! Run alone: `cargo test -p touchline-tests --test laws`.

mod arrows;
mod layers;
mod safety;
mod shape;
mod tree;
mod words;

/// Fails with all of `violations` at once, so that one run shows the whole list.
fn check(law: &str, violations: Vec<String>) {
    assert!(
        violations.is_empty(),
        "{law}\n{} violation(s):\n  {}\n",
        violations.len(),
        violations.join("\n  ")
    );
}
