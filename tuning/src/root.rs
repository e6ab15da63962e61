//! Everything that is read or written of a host goes through here, below one folder.
//!
//! On a host that folder is `/`. In tests, and for whoever wants to look at another host's files,
//! it is a tree with the same names in it: what a reference host lacks (a NIC with queues, EC2,
//! older control groups) is a folder of small files.
//!
//! What a host answers by system call only has a file under `/told` in such a tree: `told/io_uring`
//! holds the word that the probe would say, `told/ethtool/NIC` a line `FIELD NOW [MOST]` for each
//! setting. On `/` nobody looks there.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Where a host's files are, and whose process is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    top: PathBuf,
    process: String,
    is_service: bool,
}

impl Root {
    /// This host, this process.
    pub fn host() -> Self {
        Self::below("/")
    }

    /// A tree that stands for a host.
    pub fn below(top: impl Into<PathBuf>) -> Self {
        Self { top: top.into(), process: "self".into(), is_service: false }
    }

    /// The same host as another process of it sees it.
    #[must_use]
    pub fn of_process(mut self, pid: u32) -> Self {
        self.process = pid.to_string();
        self
    }

    /// The same host, where limits are those that systemd gives the service, if it knows one.
    #[must_use]
    pub fn of_service(mut self) -> Self {
        self.is_service = true;
        self
    }

    /// Whether the limits of the service count, instead of those of a process.
    pub fn judges_service(&self) -> bool {
        self.is_service
    }

    /// Whether it is the host itself, so that system calls tell the truth about it.
    pub fn is_host(&self) -> bool {
        self.top == Path::new("/")
    }

    /// Whether the process that is judged is the one that asks.
    pub fn is_own_process(&self) -> bool {
        self.process == "self"
    }

    /// Where `absolute` lies.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.top.join(absolute.trim_start_matches('/'))
    }

    /// A file of the process: `limits`, `status`, `cgroup`.
    pub fn of_self(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.process)
    }

    /// The whole of a file, as it is.
    ///
    /// # Errors
    /// The system's, and `InvalidData` where it isn't text.
    pub fn raw(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.path(path))
    }

    /// The same without what stands around it, `None` where it can't be read.
    pub fn text(&self, path: &str) -> Option<String> {
        Some(self.raw(path).ok()?.trim().to_owned())
    }

    /// A number in a file.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// What the tree says about `name` in place of a system call.
    pub fn told(&self, name: &str) -> Option<String> {
        self.text(&format!("/told/{name}"))
    }

    /// Whether there is such a file or folder.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Names in a folder, numbers in order (`cpu2` before `cpu10`); none where there is no folder.
    pub fn list(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name()).map(OsString::into_string);
        let mut names: Vec<String> = names.flatten().collect();
        names.sort_by_key(|name| in_order(name));
        names
    }

    /// The name that a link points to: a NIC's driver, for one.
    pub fn link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// All files that fit `pattern`, in which a `*` stands for a part of a name.
    pub fn glob(&self, pattern: &str) -> Vec<String> {
        let mut found = vec![String::new()];
        for part in pattern.trim_start_matches('/').split('/') {
            let mut next = Vec::new();
            for folder in found {
                match part.split_once('*') {
                    None => next.push(format!("{folder}/{part}")),
                    Some((front, back)) => {
                        let fits = |name: &String| {
                            let middle =
                                name.strip_prefix(front).and_then(|n| n.strip_suffix(back));
                            middle.is_some_and(|m| m.starts_with(|c: char| c.is_ascii_digit()))
                        };
                        let names = self.list(&format!("{folder}/")).into_iter().filter(fits);
                        next.extend(names.map(|name| format!("{folder}/{name}")));
                    }
                }
            }
            found = next;
        }
        found.retain(|path| self.exists(path));
        found
    }

    /// Writes to a file that is there, in one call, as the files of `/proc/sys` want it.
    ///
    /// # Errors
    /// The system's: `InvalidInput` where the kernel doesn't take the value.
    pub fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).truncate(true).open(self.path(path))?;
        file.write_all(text.as_bytes())
    }
}

/// Digits in a name compare as numbers.
fn in_order(name: &str) -> (String, u64, String) {
    let front: String = name.chars().take_while(|c| !c.is_ascii_digit()).collect();
    let rest = &name[front.len()..];
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let back = rest[digits.len()..].to_owned();
    (front, digits.parse().unwrap_or(0), back)
}

#[cfg(test)]
mod tests {
    use crate::testing::Tree;

    #[test]
    fn patterns_name_files_in_the_order_of_their_numbers() {
        let tree = Tree::new();
        for n in [10, 2, 0] {
            tree.file(&format!("/sys/cpu/cpu{n}/governor"), "x\n");
        }
        tree.file("/sys/cpu/cpufreq/governor", "not a core\n");
        tree.file("/sys/cpu/cpu3/other", "has none\n");
        let found = tree.root().glob("/sys/cpu/cpu*/governor");
        let want = [0, 2, 10].map(|n| format!("/sys/cpu/cpu{n}/governor"));
        assert_eq!(found, want);
        assert!(tree.root().glob("/sys/none*/x").is_empty());
    }

    #[test]
    fn writing_makes_no_file_and_leaves_no_rest() {
        let tree = Tree::new();
        let root = tree.file("/proc/sys/a", "4096\n").root();
        root.write("/proc/sys/a", "8\n").unwrap();
        assert_eq!(root.raw("/proc/sys/a").unwrap(), "8\n");
        assert!(root.write("/proc/sys/b", "1\n").is_err());
        assert!(!root.exists("/proc/sys/b"));
    }
}
