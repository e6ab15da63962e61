//! Whose limits are judged, and what the unit bounds the service to beside its `Limit...=`: memory,
//! cores, CPU time, system calls (systemd.resource-control(5), systemd.exec(5)).
//!
//! Who runs the doctor sits in a group of a login, with cores and filters of its own: none of that
//! holds the service. Of the host the service gets what its slice and systemd itself get, see
//! [`judged`](crate::groups::judged); of that no more than its unit says.
//!
//! # What it leaves out
//! MemoryHigh=, which slows a process down and kills nobody; StartupAllowedCPUs=; `numa` as an
//! affinity; which other directives come with a filter of their own.

use std::collections::BTreeSet;

use crate::machine::numbers_of_list;
use crate::root::Root;
use crate::unit::{Service, bytes_of};

/// What makes a ring and uses it.
const RING_CALLS: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];
/// systemd's sets that hold all of them (`systemd-analyze syscall-filter`).
const RING_SETS: [&str; 3] = ["@aio", "@system-service", "@known"];

/// Whose limits are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The service's, by its unit.
    Service(Service),
    /// Those of who asks, because there is no unit.
    Shell,
    /// Those of a process: the server that starts, or the one that was named.
    Process,
}

impl Judged {
    /// Looks whether there is a unit.
    pub fn of(root: &Root) -> Self {
        if !root.judges_service() {
            return Self::Process;
        }
        let service = Service::read(root);
        if service.has_unit() { Self::Service(service) } else { Self::Shell }
    }

    /// Beside what is known of a value, that it is but the shell's.
    pub fn note(&self, known: Option<String>) -> Option<String> {
        match self {
            Self::Shell => {
                let known = known.map_or_else(String::new, |known| format!("{known}; "));
                Some(format!("{known}this shell's, there is no touchline.service"))
            }
            Self::Service(_) | Self::Process => known,
        }
    }

    /// What is said where no group has a `thing`, nor the unit a `directive`.
    pub fn without(&self, thing: &str, directive: &str) -> String {
        match self {
            Self::Service(_) => {
                format!("touchline.service has no {directive}, and no group above it a {thing}")
            }
            Self::Shell => {
                format!("this shell's groups have no {thing}; there is no touchline.service")
            }
            Self::Process => format!("no group of ours has a {thing}"),
        }
    }
}

/// What a directive of the unit bounds, and the file that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound<T> {
    /// The bound.
    pub value: T,
    /// Which file.
    pub file: String,
}

/// What SystemCallFilter= says about rings.
#[derive(Debug)]
struct Filter<'a> {
    /// Whether it lists what is allowed; the first assignment decides.
    allows: bool,
    /// Of [`RING_CALLS`] those that it lists.
    listed: BTreeSet<&'static str>,
    file: &'a str,
}

impl Service {
    /// MemoryMax=, of a host with so much memory.
    pub fn memory_bytes_max(&self, memory_bytes: u64) -> Option<Bound<u64>> {
        let of_memory = |share: f64| (memory_bytes as f64 * share / 100.0) as u64;
        self.bound("MemoryMax", |text| {
            if text == "infinity" {
                return Some(None);
            }
            let bytes = match percent(text) {
                Some(share) => (share <= 100.0).then(|| of_memory(share)),
                None => bytes_of(text),
            };
            bytes.filter(|bytes| *bytes > 0).map(Some)
        })
    }

    /// CPUQuota=, in cores.
    pub fn cpu_quota(&self) -> Option<Bound<f64>> {
        let cores = |share: f64| (share > 0.0).then_some(Some(share / 100.0));
        self.bound("CPUQuota", |text| percent(text).and_then(cores))
    }

    /// The cores of CPUAffinity= or AllowedCPUs=: assignments add up, an empty one takes all back.
    pub fn cores(&self, directive: &str) -> Option<Bound<BTreeSet<u64>>> {
        let mut cores = BTreeSet::new();
        let mut last = None;
        for (file, text) in self.assignments(directive) {
            if text.is_empty() {
                cores.clear();
            }
            cores.extend(numbers_of_list(&text.replace(char::is_whitespace, ",")));
            last = Some(file.to_owned());
        }
        let file = last.filter(|_| !cores.is_empty())?;
        Some(Bound { value: cores, file })
    }

    /// The path of its slice's group: `/a.slice/a-b.slice` of `a-b.slice`.
    pub fn slice(&self) -> String {
        let set = self.bound("Slice", |text| text.ends_with(".slice").then(|| Some(text.into())));
        let slice = set.map_or("system.slice".to_owned(), |set| set.value);
        let name = slice.trim_end_matches(".slice");
        let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
        let above = ends.filter(|at| *at > 0).map(|at| format!("/{}.slice", &name[..at]));
        // All of them are in the root's.
        if name == "-" { String::new() } else { above.collect() }
    }

    /// The file that filters its system calls last.
    pub fn filtered_by(&self) -> Option<&str> {
        self.filter().map(|filter| filter.file)
    }

    /// Why its filter refuses it a ring, if it does.
    pub fn ring_fault(&self) -> Option<String> {
        let Filter { allows, listed, file } = self.filter()?;
        let refused = RING_CALLS.iter().find(|call| listed.contains(*call) != allows)?;
        let error = self
            .bound("SystemCallErrorNumber", |text| Some((text != "kill").then(|| text.to_owned())));
        let end = match error {
            Some(_) => "",
            None => " and kills who calls it; SystemCallErrorNumber=EPERM lets it run without",
        };
        Some(format!("SystemCallFilter= in {file} forbids {refused}{end}"))
    }

    fn filter(&self) -> Option<Filter<'_>> {
        let mut filter: Option<Filter> = None;
        for (file, text) in self.assignments("SystemCallFilter") {
            if text.is_empty() {
                filter = None;
                continue;
            }
            let denied = text.strip_prefix('~');
            let first = || Filter { allows: denied.is_none(), listed: BTreeSet::new(), file };
            let filter = filter.get_or_insert_with(first);
            filter.file = file;
            let adds = denied.is_none() == filter.allows;
            for item in denied.unwrap_or(&text).split_whitespace() {
                // `io_uring_setup:EPERM` says what the caller is told.
                let name = item.split(':').next().unwrap_or(item);
                let is_set = RING_SETS.contains(&name);
                for call in RING_CALLS.into_iter().filter(|call| is_set || *call == name) {
                    match adds {
                        true => filter.listed.insert(call),
                        false => filter.listed.remove(call),
                    };
                }
            }
        }
        filter
    }

    /// The last assignment that can be read: `Some(None)` of `read` is one that sets no bound, as
    /// an empty one does.
    fn bound<T>(
        &self,
        directive: &str,
        read: impl Fn(&str) -> Option<Option<T>>,
    ) -> Option<Bound<T>> {
        let mut bound = None;
        for (file, text) in self.assignments(directive) {
            let value = if text.is_empty() { Some(None) } else { read(&text) };
            // What can't be read systemd passes over.
            if let Some(value) = value {
                bound = value.map(|value| Bound { value, file: file.to_owned() });
            }
        }
        bound
    }
}

fn percent(text: &str) -> Option<f64> {
    text.strip_suffix('%')?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
