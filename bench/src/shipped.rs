//! Scenarios and targets that come with the bench. They are in the binary, so that it plays them
//! wherever it is copied to; what else is wanted is named by its path.

use std::borrow::Cow;
use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

/// Files of one kind, by name.
pub struct Shipped {
    what: &'static str,
    files: &'static [(&'static str, &'static str)],
}

macro_rules! files {
    ($folder:literal, $($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../", $folder, "/", $name, ".toml"))),)*]
    };
}

/// `bench/scenarios`.
#[rustfmt::skip]
pub const SCENARIOS: Shipped = Shipped { what: "scenario", files: files!["scenarios",
    "freeze", "full-core", "growth", "hot-topic", "idle", "kafka", "kafkorama", "kafkorama-limit",
    "load", "many-teams", "match-day", "noisy-neighbour", "overload-150", "overload-200",
    "restart", "scale", "slow-readers", "soak", "storm", "trouble", "webhook",
] };

/// `bench/targets`.
#[rustfmt::skip]
pub const TARGETS: Shipped = Shipped { what: "target", files: files!["targets",
    "axum", "bun", "centrifuge", "nats", "nchan", "socketio", "uwebsockets",
] };

impl Shipped {
    /// What they are called, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().map(|(name, _)| *name)
    }

    /// Reads one by its name, or another by its path, which ends in `.toml`.
    ///
    /// # Errors
    /// When there is none, which tells those that there are, or it can't be understood.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let text = self.text(name)?;
        toml::from_str(&text).with_context(|| format!("{} {name} can't be used", self.what))
    }

    fn text(&self, name: &str) -> Result<Cow<'static, str>> {
        if let Some((_, text)) = self.files.iter().find(|(known, _)| *known == name) {
            return Ok(Cow::Borrowed(text));
        }
        let (what, known) = (self.what, self.names().collect::<Vec<_>>().join(", "));
        if !name.ends_with(".toml") {
            bail!("there is no {what} {name}; known are: {known}; a path ends in .toml");
        }
        match fs::read_to_string(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("there is no {what} {name}; known by name are: {known}")
            }
            read => Ok(read.with_context(|| format!("{what} {name} can't be read"))?.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_tree_comes_along() {
        for (folder, shipped) in [("scenarios", SCENARIOS), ("targets", TARGETS)] {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let stem = |file: std::io::Result<fs::DirEntry>| {
                file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()
            };
            let mut stems: Vec<_> = fs::read_dir(folder).unwrap().map(stem).collect();
            stems.sort();
            assert_eq!(shipped.names().collect::<Vec<_>>(), stems);
        }
    }

    #[test]
    fn what_does_not_exist_is_answered_with_what_does() {
        for name in ["nowhere", "nowhere.toml"] {
            let error = TARGETS.read::<toml::Table>(name).unwrap_err().to_string();
            assert!(error.contains("axum") && error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_text_is_not_said_to_be_missing() {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        fs::write(file.path(), [0xff, 0xfe]).unwrap();
        let name = file.path().to_str().unwrap();
        let error = format!("{:#}", TARGETS.read::<toml::Table>(name).unwrap_err());
        assert!(error.contains("can't be read") && error.contains("UTF-8"), "{error}");
    }
}
