//! What the sections of all sources have in common: a name that tells one from all others, files
//! that lie beside the configuration, and, of those that are asked, headers and how long one
//! request may take.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use touchline_core::event::check_source;
use touchline_ingest::mapping::From;

use super::Problem;
use super::headers::{self, Header};
use super::options::FolderOf;
use super::raw::Raw;
use super::units::seconds;

/// One section, and what stands around it.
pub(super) struct Section<'r, S> {
    /// The whole configuration.
    pub raw: &'r Raw,
    /// As in `sources.KIND.NAME`.
    kind: &'static str,
    /// Likewise.
    pub name: &'r str,
    /// What it says.
    pub it: &'r S,
    folder_of: FolderOf<'r>,
}

/// All sections of one kind. `folder_of` tells what a key's file is relative to, by the key's path.
pub(super) fn all<'r, S>(
    raw: &'r Raw,
    kind: &'static str,
    sections: &'r BTreeMap<String, S>,
    folder_of: FolderOf<'r>,
) -> Vec<Section<'r, S>> {
    let section = |(name, it): (&'r String, &'r S)| Section { raw, kind, name, it, folder_of };
    sections.iter().map(section).collect()
}

/// Resolves `sections`, `one` by one; what is wrong with one costs the others nothing.
pub(super) fn resolve<'r, S, T>(
    sections: Vec<Section<'r, S>>,
    most: usize,
    problems: &mut Vec<Problem>,
    one: impl Fn(&Section<'r, S>) -> Result<T, String>,
) -> Vec<T> {
    if let Some(beyond) = sections.get(most) {
        problems.push(Problem::Unfit(format!("more than {most} {} sources", beyond.kind)));
        return Vec::new();
    }
    let mut sources = Vec::new();
    for section in sections {
        match section.check_name().and_then(|()| one(&section)) {
            Ok(source) => sources.push(source),
            Err(why) => problems.push(section.unfit(&why)),
        }
    }
    sources
}

impl<S> Section<'_, S> {
    /// Says that it can't be used, and why.
    pub fn unfit(&self, why: &str) -> Problem {
        let name = self.name.escape_debug();
        Problem::Unfit(format!("`sources.{}.{name}`: {why}", self.kind))
    }

    /// Events tell their source by its name: it goes to the first kind that uses it.
    fn check_name(&self) -> Result<(), String> {
        check_source(self.name).map_err(|expects| format!("its name {expects}"))?;
        let sources = &self.raw.sources;
        let kinds = [
            ("broadcast", sources.broadcast.contains_key(self.name)),
            ("sensor", sources.sensor.contains_key(self.name)),
            ("social", sources.social.contains_key(self.name)),
        ];
        let mut before = kinds.into_iter().take_while(|(kind, _)| *kind != self.kind);
        match before.find(|(_, has_it)| *has_it) {
            None => Ok(()),
            Some((kind, _)) => Err(format!(
                "`sources.{kind}.{}` has that name: events tell their source by it",
                self.name
            )),
        }
    }

    /// What the file that `key` names is relative to.
    pub fn folder(&self, key: &str) -> PathBuf {
        (self.folder_of)(&format!("sources.{}.{}.{key}", self.kind, self.name))
    }

    /// What is sent with each request: `plain` headers, and one whose value stands in a file, which
    /// comes with its key.
    pub fn headers(
        &self,
        plain: &[String],
        secret_header: &Option<String>,
        (key, secret_file): (&str, &Option<PathBuf>),
    ) -> Result<Vec<Header>, String> {
        let secret_file = secret_file.as_ref().map(|file| self.folder(key).join(file));
        headers::read(plain, secret_header.as_deref(), secret_file.as_deref())
    }
}

/// How long one request may take, where nothing is `given`: not quite until the next.
pub(super) fn timeout(given_s: Option<f64>, interval_s: f64) -> Duration {
    seconds(given_s.unwrap_or((interval_s * 0.8).min(2.0)))
}

/// A key that nothing stands in for.
pub(super) fn needed(value: &Option<String>, key: &str) -> Result<String, String> {
    value.clone().ok_or_else(|| format!("`{key}` is missing"))
}

/// A field that may be left out.
pub(super) fn pointer(value: &Option<String>) -> Option<From> {
    value.as_deref().map(From::parse)
}
