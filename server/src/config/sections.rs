//! What the sections of all sources that are asked have in common.

use std::collections::BTreeMap;

use touchline_ingest::mapping::From;

use super::Problem;

/// Resolves all of one kind, `one` by one; what is wrong with one costs the others nothing.
pub(super) fn resolve<S, T>(
    kind: &str,
    sections: &BTreeMap<String, S>,
    most: usize,
    problems: &mut Vec<Problem>,
    one: impl Fn(&str, &S) -> Result<T, String>,
) -> Vec<T> {
    if sections.len() > most {
        problems.push(Problem::Unfit(format!("more than {most} {kind} sources")));
        return Vec::new();
    }
    let mut sources = Vec::new();
    for (name, section) in sections {
        match one(name, section) {
            Ok(source) => sources.push(source),
            Err(why) => {
                let name = name.escape_debug();
                problems.push(Problem::Unfit(format!("`sources.{kind}.{name}`: {why}")));
            }
        }
    }
    sources
}

/// A key that nothing stands in for.
pub(super) fn needed(value: &Option<String>, key: &str) -> Result<String, String> {
    value.clone().ok_or_else(|| format!("`{key}` is missing"))
}

/// A field that may be left out.
pub(super) fn pointer(value: &Option<String>) -> Option<From> {
    value.as_deref().map(From::parse)
}
