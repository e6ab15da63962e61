//! The configuration: read in layers, checked against one table, then turned into what the program
//! obeys.
//!
//! First stage: [`layers`] gather values from defaults, a TOML file, environment variables and
//! flags, each checked against [`keys`] where it was given; figment merges them and types them as
//! [`raw`]. Second stage: [`Options`] is built once, by a conversion that may fail, with secrets
//! read and bounds joined; nothing else of the program sees the first stage. Of every value it is
//! known where it came from ([`Loaded::origin`]), and secrets are never shown.
//!
//! # What it leaves out
//! Whether a port is free or a folder can be written: that is tried at start, and told there.

mod headers;
mod joins;
mod kafka;
pub mod keys;
pub mod layers;
pub mod options;
mod partners;
pub mod print;
#[allow(missing_docs, reason = "each field is the key of its name: see `keys`")]
pub mod raw;
pub mod reference;
pub mod secrets;
mod sections;
mod sensors;
mod social;
pub mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::value::Value;
use touchline_ingest::broadcast::SecretEncoding;

use layers::Layer;
pub use layers::Origin;
pub use options::Options;

/// Read when no `--config` names another, if it exists.
pub const DEFAULT_FILE: &str = "/etc/touchline/touchline.toml";

/// What to read a configuration from.
#[derive(Clone, Debug, Default)]
pub struct LoadRequest {
    /// `--config`: must exist. Else [`DEFAULT_FILE`], if that exists.
    pub file: Option<PathBuf>,
    /// Whether [`DEFAULT_FILE`] is looked at.
    pub ignore_default_file: bool,
    /// The environment, or what of it matters.
    pub environment: Vec<(String, String)>,
    /// Flags as key and text.
    pub flags: Vec<(String, String)>,
    /// Defaults of a command that differ from the built-in ones (the demo's), as key and text.
    pub demo: Vec<(String, String)>,
}

impl LoadRequest {
    /// With this process's environment.
    pub fn from_environment() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { environment: std::env::vars_os().filter_map(text).collect(), ..Self::default() }
    }

    /// `path` set as a flag would.
    #[must_use]
    pub fn with(mut self, path: &str, text: &str) -> Self {
        self.flags.push((path.to_owned(), text.to_owned()));
        self
    }
}

/// A configuration that was read and is valid.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the program obeys.
    pub options: Options,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Every value with where it came from, by path. Holds secrets: show it through [`print`].
    values: BTreeMap<String, (Value, Origin)>,
    /// Read again on SIGHUP.
    request: LoadRequest,
}

/// Something wrong with a configuration: one sentence, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file can't be read.
    #[error("{}: {reason}: name a readable file with --config", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// The system's word.
        reason: String,
    },
    /// The file isn't TOML.
    #[error("{}:{line}: not valid TOML: {reason}", file.display())]
    Syntax {
        /// Which.
        file: PathBuf,
        /// Where.
        line: usize,
        /// The parser's word.
        reason: String,
    },
    /// There is no such key.
    #[error("{origin}: unknown key `{path}`: {}", suggestion(nearest))]
    UnknownKey {
        /// As it was given.
        path: String,
        /// Where.
        origin: Origin,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// A value of the wrong type or out of bounds. Never repeats the value.
    #[error("{origin}: `{path}` {expects}")]
    BadValue {
        /// Which key.
        path: String,
        /// Where.
        origin: Origin,
        /// Completes the sentence.
        expects: String,
    },
    /// Values that don't fit each other.
    #[error("{0}")]
    Unfit(String),
}

fn suggestion(nearest: &Option<String>) -> String {
    match nearest {
        Some(known) => format!("did you mean `{known}`?"),
        None => "docs/reference/config.md lists all keys".into(),
    }
}

impl Problem {
    fn unknown(path: String, origin: Origin) -> Self {
        let nearest = keys::nearest(&path);
        // A path may be any text a file holds as a key: keep it to one line.
        let path = path.escape_debug().take(200).collect();
        Self::UnknownKey { path, origin, nearest }
    }
}

/// All that is wrong with a configuration. The process ends with code 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Reads and checks a configuration. It touches no file but the configuration's own and its
/// secrets'.
pub fn load(request: LoadRequest) -> Result<Loaded, ConfigError> {
    let file = choose_file(&request);
    let layers = gather(&request, file.as_deref()).map_err(ConfigError)?;
    let mut values = BTreeMap::new();
    let mut figment = Figment::new();
    for layer in layers {
        figment = figment.merge(&layer);
        values.extend(layer.values);
    }
    let raw: raw::Raw = figment.extract().map_err(|error| {
        // Every value was checked against the table; what is left is a key that the table lacks.
        let path = error.path.join(".");
        ConfigError(vec![Problem::Unfit(format!("`{path}` is missing or of the wrong type"))])
    })?;
    let origin_of = |path: &str| values.get(path).map_or(Origin::Default, |(_, o)| o.clone());
    let options = options::build(&raw, &origin_of)?;
    Ok(Loaded { options, file, values, request })
}

fn choose_file(request: &LoadRequest) -> Option<PathBuf> {
    let fallback = || Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists());
    match (&request.file, request.ignore_default_file) {
        (Some(file), _) => Some(file.clone()),
        (None, true) => None,
        (None, false) => fallback(),
    }
}

/// All layers, weakest first; or all that is wrong with all of them.
fn gather(request: &LoadRequest, file: Option<&Path>) -> Result<Vec<Layer>, Vec<Problem>> {
    let given = |list: &[(String, String)], origin: Origin| {
        layers::texts(list.iter().map(|(path, text)| (path.clone(), text.clone(), origin.clone())))
    };
    let parts = [
        layers::defaults(),
        given(&request.demo, Origin::Demo),
        file.map_or_else(|| Ok(Layer::default()), layers::file),
        layers::environment(request.environment.iter().cloned()),
        given(&request.flags, Origin::Flag),
    ];
    let mut good = Vec::new();
    let mut problems = Vec::new();
    for part in parts {
        match part {
            Ok(layer) => good.push(layer),
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() { Ok(good) } else { Err(problems) }
}

impl Loaded {
    /// Where the value at `path` came from.
    pub fn origin(&self, path: &str) -> Origin {
        self.values.get(path).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// The file that the key at `path` names, as it is found from here.
    pub fn file_at(&self, path: &str) -> Option<PathBuf> {
        let (value, origin) = self.values.get(path)?;
        let file = value.as_str().filter(|file| !file.is_empty())?;
        Some(options::folder_of(origin).join(file))
    }

    /// How the secrets of partner `name` are written.
    pub fn secret_encoding(&self, name: &str) -> SecretEncoding {
        let path = format!("sources.broadcast.{name}.secret_encoding");
        secrets::encoding(self.values.get(&path).and_then(|(value, _)| value.as_str()))
    }

    /// Reads everything again, from the same places. `Err` names what is wrong, or which changed
    /// keys need a restart.
    pub fn reread(&self) -> Result<Self, ConfigError> {
        let fresh = load(self.request.clone())?;
        let fixed = fresh.changed(self).into_iter().filter(|path| !reloads(path));
        let fixed: Vec<_> = fixed.map(|path| format!("`{path}`")).collect();
        if fixed.is_empty() {
            return Ok(fresh);
        }
        Err(ConfigError(vec![Problem::Unfit(format!(
            "{} changed: that takes a restart; nothing was reloaded",
            fixed.join(", ")
        ))]))
    }

    /// Keys whose values differ from `other`'s.
    pub fn changed(&self, other: &Self) -> Vec<String> {
        let value = |loaded: &Self, path: &str| loaded.values.get(path).map(|(v, _)| v.clone());
        let all: std::collections::BTreeSet<_> =
            self.values.keys().chain(other.values.keys()).collect();
        let differs = |path: &&&String| value(self, path) != value(other, path);
        all.iter().filter(differs).map(|path| (*path).clone()).collect()
    }
}

fn reloads(path: &str) -> bool {
    keys::find(path).is_some_and(|key| key.reloads)
}

#[cfg(test)]
mod tests;
