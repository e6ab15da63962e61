//! Settings of network interfaces, as ethtool(8) shows and sets them.
//!
//! They stand in no file. The kernel tells and takes them by generic netlink
//! (Documentation/networking/ethtool-netlink.rst), which anybody may ask and root may tell; so the
//! doctor needs no other program. In a tree that stands for a host they are lines of
//! `told/ethtool/NIC`: `ring_rx 256 4096` is the setting now, and its most.

mod netlink;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use serde::{Deserialize, Serialize};

use crate::machine::read_nic;
use crate::netlink::number;
use crate::probe::steering;
use crate::root::Root;
use crate::shell::quoted;

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Packets of a receive ring.
    RingRx,
    /// Packets of a transmit ring.
    RingTx,
    /// Queue pairs.
    Queues,
    /// Microseconds until a received packet interrupts.
    RxUsecs,
    /// Whether that follows the load: 0 or 1.
    AdaptiveRx,
}

/// What the kernel calls it.
struct Names {
    field: Field,
    word: &'static str,
    /// Message that asks; the one that sets is the next number.
    get: u8,
    now: u16,
    max: Option<u16>,
    /// One byte instead of four.
    flag: bool,
    /// Option and word of ethtool(8).
    option: [&'static str; 2],
}

const RINGS: u8 = 15;
const CHANNELS: u8 = 17;
const COALESCE: u8 = 19;

const fn names(
    field: Field,
    word: &'static str,
    get: u8,
    (now, max): (u16, Option<u16>),
    option: [&'static str; 2],
) -> Names {
    Names { field, word, get, now, max, flag: matches!(field, Field::AdaptiveRx), option }
}

/// Numbers of include/uapi/linux/ethtool_netlink.h.
static NAMES: [Names; 5] = [
    names(Field::RingRx, "ring_rx", RINGS, (6, Some(2)), ["-G", "rx"]),
    names(Field::RingTx, "ring_tx", RINGS, (9, Some(5)), ["-G", "tx"]),
    names(Field::Queues, "queues", CHANNELS, (9, Some(5)), ["-L", "combined"]),
    names(Field::RxUsecs, "rx_usecs", COALESCE, (2, None), ["-C", "rx-usecs"]),
    names(Field::AdaptiveRx, "adaptive_rx", COALESCE, (11, None), ["-C", "adaptive-rx"]),
];

/// A setting now, and the most it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Now.
    pub now: u64,
    /// At most.
    pub max: Option<u64>,
}

impl Field {
    fn names(self) -> &'static Names {
        // The table has a row for each: a test sees to it.
        NAMES.iter().find(|names| names.field == self).unwrap_or(&NAMES[0])
    }

    /// Whether most drivers make their queues and interrupts anew to set it: what was set on those
    /// is gone then.
    pub fn rebuilds(self) -> bool {
        matches!(self, Self::RingRx | Self::RingTx | Self::Queues)
    }

    /// The command of ethtool(8) that sets it.
    pub fn command(self, nic: &str, value: &str) -> String {
        let [option, word] = self.names().option;
        let value = match (self, value) {
            (Self::AdaptiveRx, "0") => "off",
            (Self::AdaptiveRx, _) => "on",
            (_, value) => value,
        };
        format!("ethtool {option} {} {word} {value}", quoted(nic))
    }
}

/// The settings that a driver has, of those we know.
///
/// # Errors
/// `Unsupported` where the kernel or the driver knows none of them.
pub fn read(root: &Root, nic: &str) -> io::Result<BTreeMap<Field, Setting>> {
    if !root.is_host() {
        return Ok(read_told(root, nic));
    }
    let mut line = netlink::Line::open()?;
    let mut found = BTreeMap::new();
    for get in [RINGS, CHANNELS, COALESCE] {
        let answer = match line.ask(get, nic, &[]) {
            Ok(answer) => answer,
            // A driver may have queues and no rings.
            Err(error) if error.kind() == ErrorKind::Unsupported => continue,
            Err(error) => return Err(error),
        };
        for names in NAMES.iter().filter(|names| names.get == get) {
            let max = names.max.and_then(|max| number(&answer, max));
            // A most of 0 is how the kernel says that a driver has no such ring or queue.
            if let Some(now) = number(&answer, names.now).filter(|_| max != Some(0)) {
                found.insert(names.field, Setting { now, max });
            }
        }
    }
    Ok(found)
}

/// Sets one of them. Rings and queues stop the link for a moment with most drivers.
///
/// # Errors
/// The kernel's.
pub fn write(root: &Root, nic: &str, field: Field, value: u64) -> io::Result<()> {
    if !root.is_host() {
        return write_told(root, nic, field, value);
    }
    let names = field.names();
    let bytes = match names.flag {
        true => vec![u8::from(value != 0)],
        false => u32::try_from(value).map_err(|_| ErrorKind::InvalidInput)?.to_ne_bytes().to_vec(),
    };
    let mut line = netlink::Line::open()?;
    line.ask(names.get + 1, nic, &[(names.now, bytes)]).map(drop)
}

fn told_path(nic: &str) -> String {
    format!("/told/ethtool/{nic}")
}

fn read_told(root: &Root, nic: &str) -> BTreeMap<Field, Setting> {
    let text = root.text(&told_path(nic)).unwrap_or_default();
    let setting = |line: &str| {
        let mut words = line.split_whitespace();
        let word = words.next()?;
        let names = NAMES.iter().find(|names| names.word == word)?;
        let mut number = || words.next()?.parse().ok();
        Some((names.field, Setting { now: number()?, max: number() }))
    };
    text.lines().filter_map(setting).collect()
}

fn write_told(root: &Root, nic: &str, field: Field, value: u64) -> io::Result<()> {
    let path = told_path(nic);
    let text = root.raw(&path)?;
    let word = field.names().word;
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        let value = value.to_string();
        if words.first() == Some(&word) && words.len() > 1 {
            words[1] = &value;
        }
        words.join(" ") + "\n"
    };
    root.write(&path, &text.lines().map(line).collect::<String>())?;
    if field.rebuilds() {
        // As the least considerate of drivers: all on the first core, and nothing steered.
        let files = steering::rebuilt(root, &read_nic(root, nic.to_owned())).into_iter();
        for (_, path) in files.filter(|(_, path)| root.exists(path)) {
            root.write(&path, "0\n")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::testing::Tree;

    #[test]
    fn a_tree_tells_and_takes_settings_line_by_line() {
        let tree = Tree::new();
        let text = "ring_rx 1024 8192\nqueues 2 8\nadaptive_rx 0\n";
        let root = tree.file("/told/ethtool/eth0", text).root();
        let now = read(&root, "eth0").unwrap();
        assert_eq!(now[&Field::RingRx], Setting { now: 1024, max: Some(8192) });
        assert_eq!(now[&Field::AdaptiveRx], Setting { now: 0, max: None });
        write(&root, "eth0", Field::RingRx, 4096).unwrap();
        let raw = root.raw("/told/ethtool/eth0").unwrap();
        assert_eq!(raw, text.replace("1024", "4096"));
        assert!(read(&root, "eth1").unwrap().is_empty());
    }

    #[test]
    fn every_setting_has_its_row_and_its_command() {
        for names in &NAMES {
            assert!(std::ptr::eq(names.field.names(), names));
        }
        assert_eq!(Field::RingRx.command("eth0", "4096"), "ethtool -G eth0 rx 4096");
        assert_eq!(Field::AdaptiveRx.command("eth0", "1"), "ethtool -C eth0 adaptive-rx on");
        assert_eq!(
            Field::RingTx.command("e;0", "1"),
            "ethtool -G 'e;0' tx 1",
            "it goes into scripts"
        );
    }

    #[test]
    fn loopback_has_no_settings_and_a_stranger_is_an_error() {
        // In a sandbox without netlink there is nothing to ask.
        if let Ok(found) = read(&Root::host(), "lo") {
            assert!(!found.contains_key(&Field::RingRx), "{found:?}");
            assert!(read(&Root::host(), "touchline-none").is_err());
        }
    }

    /// The kernel passes over what is so already, and refuses what can't be before it asks the
    /// driver: so its word can be had without touching a NIC.
    #[test]
    fn the_kernel_takes_a_setting_that_is_so_and_refuses_what_cannot_be() {
        let root = Root::host();
        if !rustix::process::geteuid().is_root() {
            eprintln!("note: not root: the kernel was not asked to set anything");
            return;
        }
        for nic in Machine::read(&root, &[]).nics {
            let found = read(&root, &nic.name).unwrap_or_default();
            let Some(Setting { now, max: Some(max) }) = found.get(&Field::RingRx) else { continue };
            write(&root, &nic.name, Field::RingRx, *now).unwrap();
            write(&root, &nic.name, Field::RingRx, max + 1).unwrap_err();
            assert_eq!(read(&root, &nic.name).unwrap(), found);
        }
    }
}
