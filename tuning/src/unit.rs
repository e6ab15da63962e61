//! What systemd gives the service: `touchline.service` and its drop-ins, read as systemd reads
//! them (systemd.unit(5), "unit load path").
//!
//! The unit itself is the first that is found along the load path. Drop-ins are those of
//! `touchline.service.d` and of `service.d` in all of its folders: of one name the first found
//! counts, and together they are read in the order of their names, after the unit. The last
//! assignment of a limit wins, an empty one takes back those before it.
//!
//! # What it leaves out
//! Generators, templates and what `systemctl set-property` changes in a manager that runs.

use std::collections::BTreeMap;

use crate::plan::DROP_IN_FILE;
use crate::root::Root;

/// Folders in which system units are looked for, the strongest first.
const LOAD_PATH: [&str; 9] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const UNIT: &str = "touchline.service";
/// What is more particular comes first.
const DROP_IN_FOLDERS: [&str; 2] = ["touchline.service.d", "service.d"];
/// `DefaultLimitNOFILE=` (hard) of systemd from version 240 on, where nobody says otherwise.
const DEFAULT_FILES: u64 = 524_288;

/// The service as its files describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    has_unit: bool,
    /// Path and text, in the order in which they are read.
    files: Vec<(String, String)>,
}

/// A hard limit, and the file that sets it; `None`: systemd's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// `u64::MAX` is `infinity`.
    pub value: u64,
    /// Which file.
    pub file: Option<String>,
}

impl Given {
    /// The number as the directive takes it.
    pub fn text(&self) -> String {
        limit_text(self.value)
    }

    /// Who says so.
    pub fn source(&self) -> &str {
        self.file.as_deref().unwrap_or("systemd's default")
    }
}

/// A limit as the directive takes it.
pub fn limit_text(value: u64) -> String {
    match value {
        u64::MAX => "infinity".into(),
        value => value.to_string(),
    }
}

impl Service {
    /// Reads it; a host without the unit may have drop-ins all the same.
    pub fn read(root: &Root) -> Self {
        let unit = LOAD_PATH.iter().map(|folder| format!("{folder}/{UNIT}"));
        let unit = unit.into_iter().find_map(|path| Some((root.raw(&path).ok()?, path)));
        let mut drop_ins: BTreeMap<String, (String, String)> = BTreeMap::new();
        for kind in DROP_IN_FOLDERS {
            for folder in LOAD_PATH.map(|folder| format!("{folder}/{kind}")) {
                for name in root.list(&folder).into_iter().filter(|name| name.ends_with(".conf")) {
                    let path = format!("{folder}/{name}");
                    // A name that leads to /dev/null hides weaker ones: its text is empty.
                    let text = root.raw(&path).unwrap_or_default();
                    drop_ins.entry(name).or_insert((path, text));
                }
            }
        }
        let has_unit = unit.is_some();
        let unit = unit.into_iter().map(|(text, path)| (path, text));
        Self { has_unit, files: unit.chain(drop_ins.into_values()).collect() }
    }

    /// Whether there is a unit at all.
    pub fn has_unit(&self) -> bool {
        self.has_unit
    }

    /// What the service gets; `None` where nobody says, and systemd's own word has changed over its
    /// versions.
    pub fn limit(&self, root: &Root, directive: &str) -> Option<Given> {
        self.limit_of(root, directive, |_| true)
    }

    /// What it would get without what we have written ourselves.
    pub fn limit_without_ours(&self, root: &Root, directive: &str) -> Option<Given> {
        self.limit_of(root, directive, |path| !is_ours(path))
    }

    /// The file that is read after ours and sets it again.
    pub fn overruling(&self, directive: &str) -> Option<Given> {
        let ours = name_of(DROP_IN_FILE);
        let later = |(path, _): &&(String, String)| !path.ends_with(UNIT) && name_of(path) > ours;
        let set = |(path, text): &(String, String)| {
            let value = assignment(text, "Service", directive)??;
            Some(Given { value, file: Some(path.clone()) })
        };
        self.files.iter().filter(later).filter_map(set).next_back()
    }

    /// Every assignment of a directive in the order in which they are read, with its file.
    pub fn assignments(&self, directive: &str) -> impl Iterator<Item = (&str, String)> {
        self.files.iter().flat_map(move |(path, text)| {
            let values = assignments(text, "Service", directive).into_iter();
            values.map(move |value| (path.as_str(), value))
        })
    }

    fn limit_of(
        &self,
        root: &Root,
        directive: &str,
        counts: impl Fn(&str) -> bool,
    ) -> Option<Given> {
        let mut given = None;
        for (path, text) in self.files.iter().filter(|(path, _)| counts(path)) {
            match assignment(text, "Service", directive) {
                Some(Some(value)) => given = Some(Given { value, file: Some(path.clone()) }),
                Some(None) => given = None,
                None => {}
            }
        }
        given.or_else(|| default_of(root, directive))
    }
}

/// What systemd gives every service: its own configuration, or what it is built with.
fn default_of(root: &Root, directive: &str) -> Option<Given> {
    let name = format!("Default{directive}");
    let folders = ["/usr/lib/systemd", "/run/systemd", "/etc/systemd"];
    let mut drop_ins: BTreeMap<String, String> = BTreeMap::new();
    for folder in folders.map(|folder| format!("{folder}/system.conf.d")) {
        for file in root.list(&folder).into_iter().filter(|file| file.ends_with(".conf")) {
            let path = format!("{folder}/{file}");
            // The later folder is the stronger.
            drop_ins.insert(file, path);
        }
    }
    let main = folders.iter().rev().map(|folder| format!("{folder}/system.conf"));
    let main = main.into_iter().find(|path| root.exists(path));
    let set = |path: String| {
        let value = assignment(&root.raw(&path).ok()?, "Manager", &name)??;
        Some(Given { value, file: Some(path) })
    };
    let built_in =
        (directive == "LimitNOFILE").then_some(Given { value: DEFAULT_FILES, file: None });
    main.into_iter().chain(drop_ins.into_values()).filter_map(set).next_back().or(built_in)
}

fn is_ours(path: &str) -> bool {
    path.ends_with(DROP_IN_FILE)
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The last assignment of a limit in a section: its hard value, or nothing where it is taken back.
fn assignment(text: &str, section: &str, directive: &str) -> Option<Option<u64>> {
    let mut found = None;
    for value in assignments(text, section, directive) {
        match value.as_str() {
            "" => found = Some(None),
            // What can't be read systemd passes over.
            value => found = hard(value).map(Some).or(found),
        }
    }
    found
}

/// All assignments of a directive in a section.
fn assignments(text: &str, section: &str, directive: &str) -> Vec<String> {
    let mut here = String::new();
    let mut found = Vec::new();
    for line in text.replace("\\\n", " ").lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut here);
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        if here == section && name.trim() == directive {
            found.push(value.trim().to_owned());
        }
    }
    found
}

/// `65536`, `1024:524288`, `8M`, `infinity`.
fn hard(value: &str) -> Option<u64> {
    match value.split_once(':').map_or(value, |(_, hard)| hard).trim() {
        "infinity" => Some(u64::MAX),
        hard => bytes_of(hard),
    }
}

/// `65536`, `8M`, `1.5G`.
pub fn bytes_of(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let power = match text[digits.len()..].trim_start() {
        "" | "B" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return None,
    };
    let unit = 1024u64.pow(power);
    match digits.parse::<u64>() {
        Ok(number) => number.checked_mul(unit),
        Err(_) => {
            let number = digits.parse::<f64>().ok().filter(|number| *number >= 0.0)?;
            Some((number * unit as f64) as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    const FILES: &str = "LimitNOFILE";

    fn limit(tree: &Tree) -> (String, String) {
        let given = Service::read(&tree.root()).limit(&tree.root(), FILES).unwrap();
        (given.text(), given.source().to_owned())
    }

    #[test]
    fn drop_ins_are_read_in_the_order_of_their_names_and_the_stronger_folder_hides_the_weaker() {
        let tree = Tree::new();
        assert_eq!(limit(&tree), ("524288".into(), "systemd's default".into()));
        tree.file("/etc/systemd/system.conf", "[Manager]\nDefaultLimitNOFILE=1024:4096\n");
        assert_eq!(limit(&tree).0, "4096");
        tree.file(&format!("/usr/lib/systemd/system/{UNIT}"), "[Service]\nLimitNOFILE=10\n");
        assert_eq!(limit(&tree).0, "10");
        tree.file(&format!("/etc/systemd/system/{UNIT}"), "[Service]\nLimitNOFILE=1:20\n#x\n");
        assert_eq!(limit(&tree).0, "20");
        tree.file(
            &format!("/usr/lib/systemd/system/{UNIT}.d/50-a.conf"),
            "[Service]\nLimitNOFILE=30\n",
        )
        .file("/etc/systemd/system/service.d/40-b.conf", "[Service]\nLimitNOFILE=40\n");
        assert_eq!(limit(&tree).0, "30", "by name, not by folder");
        tree.file(&format!("/run/systemd/system/{UNIT}.d/50-a.conf"), "[Unit]\nLimitNOFILE=50\n");
        assert_eq!(limit(&tree).0, "40", "the same name is hidden, and its section isn't Service");
        tree.file(&format!("/etc/systemd/system/{UNIT}.d/60-c.conf"), "[Service]\nLimitNOFILE=\n");
        assert_eq!(limit(&tree).0, "4096", "taken back");
        tree.file(&format!("/etc/systemd/system/{DROP_IN}"), "[Service]\nLimitNOFILE=infinity\n");
        assert_eq!(limit(&tree).0, "infinity");
        let service = Service::read(&tree.root());
        assert_eq!(service.limit_without_ours(&tree.root(), FILES).unwrap().text(), "4096");
        assert!(service.overruling(FILES).is_none());
        tree.file(&format!("/etc/systemd/system/{UNIT}.d/zz.conf"), "[Service]\nLimitNOFILE=7\n");
        let over = Service::read(&tree.root()).overruling(FILES).unwrap();
        assert_eq!((over.text().as_str(), limit(&tree).0.as_str()), ("7", "7"));
        assert!(over.source().ends_with("zz.conf"));
    }

    const DROP_IN: &str = "touchline.service.d/99-tune.conf";

    #[test]
    fn limits_are_written_in_several_ways() {
        for (text, value) in
            [("8M", 8 << 20), ("1:2", 2), ("infinity", u64::MAX), ("65536", 65_536), ("1K", 1024)]
        {
            assert_eq!(hard(text), Some(value), "{text}");
        }
        assert_eq!(bytes_of("1.5G"), Some(3 << 29));
        assert!(hard("much").is_none() && hard("").is_none());
    }
}
