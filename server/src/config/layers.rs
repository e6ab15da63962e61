//! Where values come from: defaults, a file, the environment, flags; later ones win.
//!
//! Each source becomes a [`Layer`]: values by path, each with its [`Origin`]. A layer is checked by
//! itself, against the table of keys, so that a mistake is reported with the place where it was
//! made even where a later layer would have covered it. A file gives its line, and its text never
//! reaches an error message: it may hold secrets.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::keys;
use super::{Problem, units};

/// The prefix of environment variables: `TOUCHLINE__NODE__NAME` is `node.name`.
pub const ENV_PREFIX: &str = "TOUCHLINE__";

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// Built in, for `touchline demo`.
    Demo,
    /// A file, at a line.
    File(PathBuf, usize),
    /// This environment variable.
    Env(String),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Demo => f.write_str("default of the demo"),
            Self::File(file, line) => write!(f, "{}:{line}", file.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// Values of one source, by path.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// Checked values with their origin.
    pub values: BTreeMap<String, (Value, Origin)>,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named("touchline")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut dict = Dict::new();
        for (path, (value, _)) in &self.values {
            insert(&mut dict, path, value.clone());
        }
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

fn insert(dict: &mut Dict, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            dict.insert(path.into(), value);
        }
        Some((head, rest)) => {
            let inner = dict.entry(head.into()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// The table's own defaults.
pub fn defaults() -> Result<Layer, Vec<Problem>> {
    let given = keys::all().filter_map(|key| Some((key.path, key.default?)));
    texts(given.map(|(path, text)| (path.to_owned(), text.to_owned(), Origin::Default)))
}

/// Values given as texts: defaults, variables, flags.
pub fn texts(given: impl Iterator<Item = (String, String, Origin)>) -> Result<Layer, Vec<Problem>> {
    let mut layer = Layer::default();
    let mut problems = Vec::new();
    for (path, text, origin) in given {
        let Some(key) = keys::find(&path) else {
            problems.push(Problem::unknown(path, origin));
            continue;
        };
        match units::parse(key.kind, &text) {
            Ok(value) => {
                layer.values.insert(path, (value, origin));
            }
            Err(expects) => problems.push(Problem::BadValue { path, origin, expects }),
        }
    }
    if problems.is_empty() { Ok(layer) } else { Err(problems) }
}

/// The variables of the environment that begin with [`ENV_PREFIX`].
pub fn environment(
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Layer, Vec<Problem>> {
    texts(variables.filter_map(|(name, text)| {
        let path = name.strip_prefix(ENV_PREFIX)?.to_ascii_lowercase().replace("__", ".");
        Some((path, text, Origin::Env(name)))
    }))
}

/// The name of the variable that sets `path`.
pub fn variable_of(path: &str) -> String {
    format!("{ENV_PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}

/// A TOML file.
pub fn file(path: &Path) -> Result<Layer, Vec<Problem>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        vec![Problem::Unreadable { file: path.to_owned(), reason: error.to_string() }]
    })?;
    parse_file(path, &text)
}

/// The same, from its text.
pub fn parse_file(path: &Path, text: &str) -> Result<Layer, Vec<Problem>> {
    let syntax = |error: toml::de::Error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        vec![Problem::Syntax { file: path.to_owned(), line, reason: plain(error.message()) }]
    };
    let values: toml::Table = toml::from_str(text).map_err(syntax)?;
    let spans = toml::de::DeTable::parse(text).map_err(syntax)?;
    let mut walk = Walk { path, text, layer: Layer::default(), problems: Vec::new() };
    walk.table("", &values, spans.get_ref());
    if walk.problems.is_empty() { Ok(walk.layer) } else { Err(walk.problems) }
}

/// The first line of a parser's message.
fn plain(message: &str) -> String {
    message.lines().next().unwrap_or("not TOML").to_owned()
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// One pass over a file: values from one parse, lines from another.
struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
    layer: Layer,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn table(&mut self, prefix: &str, values: &toml::Table, spans: &toml::de::DeTable<'_>) {
        for (name, span) in spans {
            let Some(value) = values.get(name.get_ref().as_ref()) else { continue };
            let line = line_of(self.text, name.span().start);
            let path = match prefix {
                "" => name.get_ref().to_string(),
                _ => format!("{prefix}.{}", name.get_ref()),
            };
            let origin = Origin::File(self.path.to_owned(), line);
            self.entry(path, value, span.get_ref(), origin, name.get_ref().contains('.'));
        }
    }

    fn entry(
        &mut self,
        path: String,
        value: &toml::Value,
        span: &toml::de::DeValue<'_>,
        origin: Origin,
        dotted: bool,
    ) {
        let section = !dotted && keys::all().any(|key| key.is_below(&path));
        match (section, value, span, keys::find(&path).filter(|_| !dotted)) {
            (true, toml::Value::Table(inner), toml::de::DeValue::Table(spans), _) => {
                self.table(&path, inner, spans);
            }
            (true, ..) => {
                let expects = format!("is a section: write [{path}] above its keys");
                self.problems.push(Problem::BadValue { path, origin, expects });
            }
            (false, _, _, None) => self.problems.push(Problem::unknown(path, origin)),
            (false, _, _, Some(key)) => {
                let value = Value::serialize(value).unwrap_or_else(|_| Value::from(Dict::new()));
                match units::check(key.kind, value) {
                    Ok(value) => drop(self.layer.values.insert(path, (value, origin))),
                    Err(expects) => {
                        self.problems.push(Problem::BadValue { path, origin, expects });
                    }
                }
            }
        }
    }
}
