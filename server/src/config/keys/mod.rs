//! Every key of the configuration, once: its type, bounds, default, what it is for and what it
//! costs.
//!
//! From this one table come the defaults, the reading of environment variables and flags, the check
//! for unknown keys with the nearest known one, the bounds, and `docs/reference/config.md`. A star
//! stands for one name that the owner chooses (a partner); everything else is fixed.

mod clients;
mod kafka;
mod partners;
mod server;
mod social;
mod sources;

/// What a key's value looks like, and between which bounds it may lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A file or folder.
    Path,
    /// `address:port`; port 0 lets the kernel choose.
    Address,
    /// Bytes: a number, or `"16MiB"`.
    Size(u64, u64),
    /// Seconds, fractions allowed.
    Seconds(f64, f64),
    /// A whole number.
    Count(u64, u64),
    /// `"auto"` or a whole number.
    AutoCount(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Toggle,
    /// A list of texts.
    List,
    /// A list of secrets; never printed.
    Secrets,
    /// One secret; never printed.
    Secret,
    /// An address; what of it may be a key is never printed.
    Url,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands, e.g. `node.name`.
    pub path: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// Its default as a flag would give it; `None` where there is none.
    pub default: Option<&'static str>,
    /// Whether SIGHUP takes a new value; else a restart does.
    pub reloads: bool,
    /// What it is for.
    pub purpose: &'static str,
    /// What more of it costs.
    pub cost: &'static str,
}

const fn key(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    purpose: &'static str,
    cost: &'static str,
) -> Key {
    Key { path, kind, default: Some(default), reloads: false, purpose, cost }
}

/// A key of a section with a name: it has no default that shows here, a section that leaves it out
/// gets what its purpose says.
const fn own_key(path: &'static str, kind: Kind, purpose: &'static str, cost: &'static str) -> Key {
    Key { path, kind, default: None, reloads: false, purpose, cost }
}

impl Key {
    const fn reloads(self) -> Self {
        Self { reloads: true, ..self }
    }

    /// Whether `path` is this key; a star stands for one name.
    pub fn is(&self, path: &str) -> bool {
        let mut names = path.split('.');
        let same = self.path.split('.').all(|own| names.next().is_some_and(|name| fits(own, name)));
        same && names.next().is_none()
    }

    /// Whether `path` is a section that this key stands in.
    pub fn is_below(&self, path: &str) -> bool {
        let mut own = self.path.split('.');
        path.split('.').all(|name| own.next().is_some_and(|own| fits(own, name)))
            && own.next().is_some()
    }

    /// Whether its value must not be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secrets | Kind::Secret)
    }
}

fn fits(own: &str, name: &str) -> bool {
    own == name || (own == "*" && !name.is_empty())
}

/// All of them, in the order of the reference.
pub fn all() -> impl Iterator<Item = &'static Key> + Clone {
    let log = server::KEYS.iter().chain(kafka::KEYS);
    let asked = sources::KEYS.iter().chain(social::KEYS);
    log.chain(partners::KEYS).chain(asked).chain(clients::KEYS)
}

/// The key at `path`.
pub fn find(path: &str) -> Option<&'static Key> {
    all().find(|key| key.is(path))
}

/// The known key whose spelling is nearest to `path`, if any is near. Stars take `path`'s own name.
pub fn nearest(path: &str) -> Option<String> {
    let candidates = all().map(|key| with_names(key.path, path));
    candidates
        .map(|known| (strsim::jaro_winkler(&known, path), known))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

fn with_names(pattern: &str, path: &str) -> String {
    let mut names = path.split('.');
    let own = pattern.split('.').map(|own| {
        let name = names.next().unwrap_or("NAME");
        if own == "*" { name } else { own }
    });
    own.collect::<Vec<_>>().join(".")
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const DAY_S: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_name() {
        let key = find("sources.broadcast.skyline.secrets_file").unwrap();
        assert_eq!(key.path, "sources.broadcast.*.secrets_file");
        assert!(find("sources.broadcast.a.b.secrets_file").is_none());
        assert!(find("sources.broadcast.secrets_file").is_none());
        assert!(all().any(|key| key.is_below("sources.broadcast.skyline")));
        assert!(!all().any(|key| key.is_below("node.name")));
    }

    #[test]
    fn a_misspelt_key_finds_the_one_that_was_meant() {
        let check = |path: &str, want: &str| assert_eq!(nearest(path).as_deref(), Some(want));
        check("node.nmae", "node.name");
        check("node.conections_max", "node.connections_max");
        check("drain.grace", "drain.grace_s");
        check("sources.broadcast.skyline.secret_file", "sources.broadcast.skyline.secrets_file");
        assert_eq!(nearest("zzz"), None);
    }

    #[test]
    fn every_key_stands_once() {
        for key in all() {
            assert_eq!(all().filter(|other| other.path == key.path).count(), 1, "{}", key.path);
        }
    }
}
