//! EC2: what the instance is, and what its network adapter counts.

use std::process::Command;

use crate::condition::Scene;
use crate::reading::{Place, Reading};

/// The instance type; one that lends CPU against credits is named as what isn't wanted.
pub fn instance(scene: &Scene) -> Reading {
    let Some(kind) = &scene.machine.ec2 else { return Reading::Absent("not EC2".into()) };
    let mut letters = kind.chars();
    let is_burstable = letters.next() == Some('t')
        && letters.next().is_some_and(|c| c.is_ascii_digit())
        && kind.contains('.');
    let want = if is_burstable { "no burstable (t) type".into() } else { kind.clone() };
    Reading::Here(vec![Place::told(kind).wanting(want)], None)
}

/// The driver of each NIC, and its version where it has one of its own.
pub fn driver(scene: &Scene) -> Reading {
    let places = scene.machine.nics.iter().map(|nic| {
        let driver = nic.driver.as_deref().unwrap_or("none");
        Place::told(driver).called(&nic.name).wanting("ena")
    });
    let version = scene.root.text("/sys/module/ena/version");
    match places.collect::<Vec<_>>() {
        none if none.is_empty() => super::nic::no_nics(),
        places => Reading::Here(places, version.map(|version| format!("version {version}"))),
    }
}

/// The sum of all allowances that were exceeded; the note tells which.
pub fn allowances(scene: &Scene) -> Reading {
    let (mut sum, mut notes) = (0, Vec::new());
    for nic in &scene.machine.nics {
        let Some(text) = statistics(scene, &nic.name) else {
            return Reading::Unknown(format!("`ethtool -S {}` can't be run", nic.name));
        };
        for (name, count) in text.lines().filter_map(exceeded) {
            sum += count;
            notes.push(format!("{} {name} {count}", nic.name));
        }
    }
    let note = (!notes.is_empty()).then(|| notes.join(", "));
    Reading::Here(vec![Place::told(sum.to_string())], note)
}

/// `     pps_allowance_exceeded: 12`, where it isn't 0.
fn exceeded(line: &str) -> Option<(&str, u64)> {
    let (name, count) = line.trim().split_once(':')?;
    let name = name.strip_suffix("_allowance_exceeded")?;
    count.trim().parse().ok().filter(|count| *count > 0).map(|count| (name, count))
}

/// A driver's own counters have no netlink message: the one thing we ask another program for.
fn statistics(scene: &Scene, nic: &str) -> Option<String> {
    if !scene.root.is_host() {
        return scene.root.told(&format!("ethtool/{nic}.statistics"));
    }
    let output = Command::new("ethtool").args(["-S", nic]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
