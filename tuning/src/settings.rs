//! Everything that is set and kept, and the files that keep it over a boot.
//!
//! What earlier applies have set and what the present one sets come together here, so that the
//! files hold all of it, whether or not it is in force by now: after a boot, before the service's
//! start, or once a driver has forgotten it, it isn't. A revert alone takes it away. A limit is
//! kept only where it gives the service more than it gets without us.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::ethtool::Field;
use crate::knob::{all, find};
use crate::plan::{BOOT_FILE, Change, DROP_IN_FILE, Limit, MODULE_FILE, SYSCTL_FILE, is_in_force};
use crate::reading::Spot;
use crate::record::Record;
use crate::root::Root;
use crate::unit::{Service, limit_text};

/// Everything that is set and kept, by knob and place.
#[derive(Debug, Default)]
pub struct Settings {
    sysctls: BTreeMap<String, String>,
    /// In the order of the knobs: rings and queues come before what follows from them.
    boot: BTreeMap<(usize, String), String>,
    limits: BTreeMap<String, Kept>,
}

/// A limit that is kept, and what the service gets without it.
#[derive(Clone, Copy, Debug)]
struct Kept {
    value: u64,
    before: Option<u64>,
}

impl Settings {
    /// Of earlier records that are kept what took; of now what is given.
    pub fn of(root: &Root, earlier: &[Record], live: &[Change], limits: &[Limit]) -> Self {
        let mut all = Self::default();
        for record in earlier.iter().filter(|record| record.kept) {
            let took = |change: &&Change| change.took.unwrap_or_else(|| is_in_force(root, change));
            record.live.iter().filter(took).for_each(|change| all.add(change));
            record.limits.iter().for_each(|limit| all.add_limit(limit));
        }
        live.iter().for_each(|change| all.add(change));
        limits.iter().for_each(|limit| all.add_limit(limit));
        all.bound_limits(root, live);
        all
    }

    /// Above what the kernel allows a service doesn't start; at or below what it gets anyway, a
    /// limit of ours could only take from it, today or once the unit is changed. What is kept and
    /// isn't in force allows nothing yet.
    fn bound_limits(&mut self, root: &Root, live: &[Change]) {
        let set = live.iter().find(|change| change.knob == "fs.nr_open");
        let set = set.and_then(|change| change.after.parse().ok());
        let most: Option<u64> = set.or_else(|| root.number("/proc/sys/fs/nr_open"));
        let service = Service::read(root);
        for (directive, kept) in &mut self.limits {
            let most = most.filter(|_| directive == "LimitNOFILE").unwrap_or(u64::MAX);
            kept.value = kept.value.min(most);
            kept.before = service.limit_without_ours(root, directive).map(|given| given.value);
        }
        self.limits.retain(|_, kept| kept.before.is_none_or(|before| kept.value > before));
    }

    /// Of these limits those that are kept, as they are kept.
    pub fn limits_of(&self, limits: &[Limit]) -> Vec<Limit> {
        let kept = |limit: &Limit| {
            let kept = self.limits.get(&limit.directive)?;
            let before = kept.before.map(limit_text).unwrap_or_default();
            Some(Limit { value: limit_text(kept.value), before, ..limit.clone() })
        };
        limits.iter().filter_map(kept).collect()
    }

    fn add(&mut self, change: &Change) {
        // An interrupt has another number by the next apply.
        let place = match (&change.interrupt, &change.spot) {
            (Some(name), _) => format!("{name} {}", change.nth),
            (None, Spot::File { path, .. }) => path.clone(),
            (None, Spot::Nic { nic, field }) => format!("{nic} {field:?}"),
        };
        match (&change.boot, place.strip_prefix("/proc/sys/")) {
            (None, Some(name)) => {
                self.sysctls.insert(name.replace('/', "."), change.after.clone());
            }
            (Some(line), _) => {
                let order = all().iter().position(|knob| knob.id == change.knob);
                let key = (order.unwrap_or(usize::MAX), place);
                let former = self.boot.insert(key, line.clone());
                if former.as_ref() != Some(line) {
                    self.forget_queues(change);
                }
            }
            (None, None) => {}
        }
    }

    /// What was judged by another number of queues is for the next apply to judge again.
    fn forget_queues(&mut self, change: &Change) {
        if let Spot::Nic { nic, field: Field::Queues } = &change.spot
            && change.before.trim() != change.after
        {
            let folder = format!("/sys/class/net/{nic}/queues/");
            self.boot.retain(|(_, place), _| !place.starts_with(&folder));
        }
    }

    fn add_limit(&mut self, limit: &Limit) {
        let Ok(value) = limit.value.parse() else { return };
        let kept = self.limits.entry(limit.directive.clone());
        let kept = kept.or_insert(Kept { value, before: None });
        // What an earlier apply has raised stays raised.
        kept.value = kept.value.max(value);
    }

    /// Whether a limit is kept.
    pub fn keeps(&self, directive: &str) -> bool {
        self.limits.contains_key(directive)
    }

    /// The files that keep them. One that would be empty is left out.
    pub fn files(&self, etc: &Path) -> Vec<(PathBuf, String)> {
        let boot = etc.join(BOOT_FILE);
        let all = [
            (etc.join(SYSCTL_FILE), self.sysctl_text()),
            (etc.join(MODULE_FILE), self.module_text()),
            (boot.clone(), self.boot_text()),
            (etc.join(DROP_IN_FILE), self.drop_in_text(&boot)),
        ];
        let with_text = all.into_iter().filter_map(|(path, text)| Some((path, text?)));
        with_text.map(|(path, text)| (path, format!("{HEAD}{text}"))).collect()
    }

    fn sysctl_text(&self) -> Option<String> {
        let line = |(name, value): (&String, &String)| match find(name) {
            Some(knob) => format!("\n# {}\n{name} = {value}\n", knob.title),
            None => format!("\n{name} = {value}\n"),
        };
        (!self.sysctls.is_empty()).then(|| self.sysctls.iter().map(line).collect())
    }

    fn module_text(&self) -> Option<String> {
        self.sysctls.keys().any(|name| is_of_module(name)).then(|| MODULE_RULE.to_owned())
    }

    fn boot_text(&self) -> Option<String> {
        let mut text = String::new();
        let mut last = None;
        for ((order, _), line) in &self.boot {
            if last != Some(order) {
                let title = all().get(*order).map_or("", |knob| &knob.title);
                text += &format!("\n# {title}\n");
            }
            last = Some(order);
            text += &format!("{line}\n");
        }
        (!text.is_empty()).then_some(text)
    }

    fn drop_in_text(&self, boot: &Path) -> Option<String> {
        let mut text = String::new();
        for (directive, kept) in &self.limits {
            text += &format!("{directive}={}\n", limit_text(kept.value));
        }
        if !self.boot.is_empty() {
            text += &format!("ExecStartPre=-+/bin/sh {}\n", boot.display());
        }
        (!text.is_empty()).then(|| format!("\n[Service]\n{text}"))
    }
}

/// Whether a sysctl only is there once connection tracking is loaded, which may be long after
/// systemd-sysctl has read its files.
pub fn is_of_module(sysctl: &str) -> bool {
    sysctl.starts_with("net.netfilter.")
}

const MODULE_RULE: &str = "
# When the module comes, its sysctls are set from /etc/sysctl.d
ACTION==\"add\", SUBSYSTEM==\"module\", KERNEL==\"nf_conntrack\", \\
RUN+=\"/usr/lib/systemd/systemd-sysctl --prefix=/net/netfilter\"
";

const HEAD: &str = "# Written by `touchline tune apply`; `touchline tune revert` takes it away.\n";

#[cfg(test)]
mod tests;
