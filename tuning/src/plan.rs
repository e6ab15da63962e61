//! What would be changed: values now, and the files that keep them over a boot.
//!
//! Four files keep what was set. `sysctl.d/99-touchline.conf` holds sysctls (99, because a later
//! name wins); those of a module that may be loaded later a rule of udev's sets again. The drop-in
//! of `touchline.service` holds limits, and runs the last before each start:
//! `touchline/tune-boot.sh`, a plain script with what none of them can hold (`/sys`, interrupts,
//! rings). They hold everything that any apply has set and no revert has put back, so a second
//! apply adds to the first, also where a boot or a driver has set some of it anew.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::check::{Report, Row, State};
use crate::ethtool::{self, Field};
use crate::interrupts::{self, standing_spot};
use crate::knob::{Knob, Set};
use crate::machine::Machine;
use crate::mask;
use crate::probe::steering;
use crate::reading::{Spot, fields_of};
use crate::record::Record;
use crate::root::Root;
use crate::settings::Settings;
use crate::shell;
use crate::unit::Service;

/// Below `/etc`.
pub const SYSCTL_FILE: &str = "sysctl.d/99-touchline.conf";
/// Below `/etc`.
pub const DROP_IN_FILE: &str = "systemd/system/touchline.service.d/99-tune.conf";
/// Below `/etc`: sysctls of a module that is loaded after systemd-sysctl ran (sysctl.d(5)).
pub const MODULE_FILE: &str = "udev/rules.d/99-touchline.rules";
/// Below `/etc`.
pub const BOOT_FILE: &str = "touchline/tune-boot.sh";

/// How lines of the boot's script begin that need it.
const ETHTOOL: &str = "ethtool ";
const QUEUES: &str = "nic.queues";
/// What is judged by the queues there are.
const STEERING: [&str; 4] = ["nic.irq_affinity", "nic.rps", "nic.rps_flows", "nic.xps"];

/// A value that is changed now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Whose.
    pub knob: String,
    /// Where.
    pub spot: Spot,
    /// What was read there, exactly.
    pub before: String,
    /// What is written.
    pub after: String,
    /// How a boot sets it again, in shell; a sysctl needs none.
    pub boot: Option<String>,
    /// Of an interrupt, its name: its number is another one after a boot, or once queues change.
    #[serde(default)]
    pub interrupt: Option<String>,
    /// Its place among the interrupts of that name, from 0.
    #[serde(default)]
    pub nth: usize,
    /// Whether the kernel took it; unknown of an apply that ended half-way, and in old records.
    #[serde(default)]
    pub took: Option<bool>,
}

/// A limit that the next start of the service takes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Whose.
    pub knob: String,
    /// `LimitNOFILE`.
    pub directive: String,
    /// In the directive's unit.
    pub value: String,
    /// What the service gets without it.
    #[serde(default)]
    pub before: String,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Now.
    pub live: Vec<Change>,
    /// What a driver may set anew with rings or queues, as it is: written by a revert alone.
    pub steering: Vec<Change>,
    /// What an apply that wrote no files has set, and is kept from now on.
    pub adopted: Vec<Change>,
    /// With the next start.
    pub limits: Vec<Limit>,
    /// Files as they would be, where they aren't so already.
    pub files: Vec<(PathBuf, String)>,
    /// What only a person can do: knob and commands.
    pub hand: Vec<(String, Vec<String>)>,
}

/// What is asked of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Only these knobs; empty: all.
    pub only: Vec<String>,
    /// Whether it should outlast a boot.
    pub keep: bool,
    /// Where configuration lies: `/etc`.
    pub etc: PathBuf,
}

impl Plan {
    /// Makes it from a report, beside what earlier applies have set.
    pub fn make(root: &Root, report: &Report, wish: &Wish, earlier: &[Record]) -> Self {
        let is_wanted = |row: &&Row| wish.names(&row.knob.id) && row.state >= State::Advice;
        let mut plan = Self::default();
        for row in report.rows.iter().filter(is_wanted) {
            plan.add(root, row, wish.keep);
        }
        plan.put_off_steering();
        plan.remember_steering(root, &report.machine);
        if wish.keep {
            plan.adopt(root, wish, earlier);
            let live: Vec<Change> = plan.live.iter().chain(&plan.adopted).cloned().collect();
            let all = Settings::of(root, earlier, &live, &plan.limits);
            plan.explain_limits(root, &all);
            plan.limits = all.limits_of(&plan.limits);
            plan.ask_for_ethtool(root);
            let files = all.files(&wish.etc).into_iter();
            plan.files = files.filter(|(path, text)| !holds(path, text)).collect();
        }
        plan
    }

    fn add(&mut self, root: &Root, row: &Row, keep: bool) {
        let knob = row.knob;
        match &knob.set {
            Set::Sysctl | Set::File | Set::Nic => {
                for target in &row.targets {
                    let Some(spot) = target.spot.clone() else { continue };
                    let boot = boot_line(root, knob, &spot, &target.value);
                    let (interrupt, nth) = interrupts::name_of(root, &spot).unzip();
                    self.live.push(Change {
                        interrupt,
                        nth: nth.unwrap_or_default(),
                        knob: knob.id.clone(),
                        before: target.raw.clone(),
                        after: target.value.clone(),
                        spot,
                        boot,
                        took: None,
                    });
                }
            }
            Set::Limit(directive) if keep => {
                self.limits.extend(row.targets.iter().map(|target| Limit {
                    knob: knob.id.clone(),
                    directive: directive.clone(),
                    value: target.value.clone(),
                    before: String::new(),
                }));
            }
            Set::Hand(commands) => self.hand.push((knob.id.clone(), commands.clone())),
            Set::Limit(_) | Set::Never => {}
        }
    }

    /// Interrupts and steering are judged by the queues there are: where these change, the rest is
    /// for the next apply, which sees what came of it.
    fn put_off_steering(&mut self) {
        let changes_queues =
            |change: &Change| matches!(change.spot, Spot::Nic { field: Field::Queues, .. });
        if !self.live.iter().any(changes_queues) {
            return;
        }
        self.live.retain(|change| !change.steers());
        let again = "touchline tune apply   # again: interrupts and steering follow the queues";
        self.hand.push((QUEUES.to_owned(), vec![again.to_owned()]));
    }

    /// Of each NIC whose rings or queues change, where its interrupts and packets go now: its
    /// driver may set that anew, and nothing else would know it.
    fn remember_steering(&mut self, root: &Root, machine: &Machine) {
        for nic in &machine.nics {
            let is_rebuilt = self.live.iter().any(|change| match &change.spot {
                Spot::Nic { nic: name, field } => *name == nic.name && field.rebuilds(),
                Spot::File { .. } => false,
            });
            let files = if is_rebuilt { steering::rebuilt(root, nic) } else { Vec::new() };
            for (knob, path) in files {
                let spot = Spot::File { path, bracketed: false };
                let is_set = self.live.iter().any(|change| change.spot == spot);
                // With a single queue some can't be read, and nobody can have set them.
                let Ok(before) = read_spot(root, &spot) else { continue };
                let (interrupt, nth) = interrupts::name_of(root, &spot).unzip();
                if !is_set {
                    self.steering.push(Change {
                        knob: knob.to_owned(),
                        interrupt,
                        nth: nth.unwrap_or_default(),
                        after: before.trim().to_owned(),
                        before,
                        spot,
                        boot: None,
                        took: None,
                    });
                }
            }
        }
    }

    /// What holds since an apply with `--now-only` is good, so nothing else would keep it. Only a
    /// knob that is named now is.
    fn adopt(&mut self, root: &Root, wish: &Wish, earlier: &[Record]) {
        let kept = |change: &Change| {
            let records = earlier.iter().filter(|record| record.kept);
            let mut live = records.flat_map(|record| &record.live);
            let last = live.rfind(|other| other.is_same(change));
            last.is_some_and(|other| other.after == change.after)
        };
        let unkept = earlier.iter().filter(|record| !record.kept);
        for change in unkept.flat_map(|record| &record.live) {
            let mut others = self.live.iter().chain(&self.adopted);
            let is_known = others.any(|other| other.is_same(change)) || kept(change);
            if wish.names(&change.knob) && !is_known && is_in_force(root, change) {
                self.adopted.push(Change { took: Some(true), ..change.clone() });
            }
        }
    }

    /// We tell the kernel ourselves; the script that a boot runs tells it by ethtool.
    fn ask_for_ethtool(&mut self, root: &Root) {
        let is_there = ["/usr/sbin", "/usr/bin", "/sbin"]
            .iter()
            .any(|folder| root.exists(&format!("{folder}/ethtool")));
        let needs =
            |change: &&Change| change.boot.as_deref().is_some_and(|line| line.starts_with(ETHTOOL));
        if let Some(change) = self.live.iter().find(needs).filter(|_| !is_there) {
            let say = "apt-get install ethtool   # without it a boot leaves the NIC as it was";
            self.hand.push((change.knob.clone(), vec![say.to_owned()]));
        }
    }

    /// A limit that a drop-in of ours can't bring about is for a person.
    fn explain_limits(&mut self, root: &Root, all: &Settings) {
        let service = Service::read(root);
        for Limit { knob, directive, value, .. } in &self.limits {
            let say = match (service.overruling(directive), all.keeps(directive)) {
                (Some(over), _) => format!(
                    "{} is read after ours and says {directive}={}: say {directive}={value} there",
                    over.source(),
                    over.text()
                ),
                (None, true) => continue,
                (None, false) if service.has_unit() => {
                    "touchline.service has enough of it already: restart it".to_owned()
                }
                (None, false) => format!(
                    "there is no touchline.service, and systemd would give one enough: what \
                     starts Touchline here has to allow {value} (`ulimit -Hn {value}`, `docker run \
                     --ulimit nofile={value}`)"
                ),
            };
            self.hand.push((knob.clone(), vec![say]));
        }
    }

    /// Whether there is nothing that we can do.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.files.is_empty()
    }
}

impl Wish {
    /// Whether it is about that knob.
    fn names(&self, knob: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|id| id == knob)
    }
}

impl Change {
    /// Whether both concern the same thing: interrupts go by their names and places.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.interrupt, &other.interrupt) {
            (None, None) => self.spot == other.spot,
            (one, name) => one == name && self.nth == other.nth,
        }
    }

    /// Whether it says where interrupts or packets go.
    pub fn steers(&self) -> bool {
        STEERING.contains(&&*self.knob)
    }
}

fn holds(path: &Path, text: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|now| now == text)
}

/// Numbers of interrupts change with each boot, their names don't.
fn boot_line(root: &Root, knob: &Knob, spot: &Spot, value: &str) -> Option<String> {
    if knob.set == Set::Sysctl {
        return None;
    }
    Some(match spot {
        Spot::Nic { nic, field } => field.command(nic, value),
        Spot::File { path, .. } => match interrupts::has(spot) {
            true => {
                let (name, nth) = interrupts::name_of(root, spot)?;
                shell::write_interrupt(value, &name, nth)
            }
            false => shell::write(value, path),
        },
    })
}

/// Whether a change holds still.
pub fn is_in_force(root: &Root, change: &Change) -> bool {
    standing_spot(root, change).is_some_and(|spot| {
        read_spot(root, &spot).is_ok_and(|raw| says(&raw, &spot, &change.after))
    })
}

/// Whether what was read says `value`.
pub fn says(raw: &str, spot: &Spot, value: &str) -> bool {
    if mask::stands_at(spot)
        && let Some(is_same) = mask::are_same(raw, value)
    {
        return is_same;
    }
    let bracketed = matches!(spot, Spot::File { bracketed: true, .. });
    fields_of(raw, bracketed) == fields_of(value, bracketed)
}

/// What stands at a spot.
///
/// # Errors
/// The system's.
pub fn read_spot(root: &Root, spot: &Spot) -> std::io::Result<String> {
    match spot {
        Spot::File { path, .. } => root.raw(path),
        Spot::Nic { nic, field } => {
            let settings = ethtool::read(root, nic)?;
            let setting = settings.get(field).ok_or(std::io::ErrorKind::NotFound)?;
            Ok(setting.now.to_string())
        }
    }
}

/// Writes to a spot.
///
/// # Errors
/// The system's.
pub fn write_spot(root: &Root, spot: &Spot, value: &str) -> std::io::Result<()> {
    match spot {
        Spot::File { path, .. } if value.ends_with('\n') => root.write(path, value),
        Spot::File { path, .. } => root.write(path, &format!("{value}\n")),
        Spot::Nic { nic, field } => {
            let number = value.trim().parse().map_err(|_| std::io::ErrorKind::InvalidData)?;
            ethtool::write(root, nic, *field, number)
        }
    }
}

impl Spot {
    /// As people call it.
    pub fn name(&self) -> String {
        match self {
            Self::File { path, .. } => match path.strip_prefix("/proc/sys/") {
                Some(name) => name.replace('/', "."),
                None => path.clone(),
            },
            Self::Nic { nic, field } => field.command(nic, "").trim_end().to_owned(),
        }
    }
}
