//! Queueing disciplines of network devices, as tc(8) shows them.
//!
//! They stand in no file; the kernel tells them by netlink (rtnetlink(7), RTM_GETQDISC) to anybody.
//! A device with several queues has an `mq` at its root and one of its own for each queue: those
//! are what packets wait in. In a tree that stands for a host they are the words of
//! `told/qdisc/NIC`.

use std::io;

use crate::netlink::{Ask, Line, attributes};
use crate::root::Root;

const GET_QDISC: u16 = 38;
/// A `tcmsg`: family, index of the device, handle, parent, info.
const HEADER: usize = 20;
/// The attribute that names its kind.
const KIND: u16 = 1;

/// The kinds in which a device's packets wait, each once.
///
/// # Errors
/// The system's.
pub fn kinds(root: &Root, nic: &str) -> io::Result<Vec<String>> {
    let all: Vec<String> = if root.is_host() {
        let index = root.number(&format!("/sys/class/net/{nic}/ifindex")).unwrap_or(0);
        let answers = Line::open(None)?.exchange(GET_QDISC, Ask::All, &[0; HEADER])?;
        let told = answers.iter().filter_map(|body| kind_of(body));
        told.filter(|(of, _)| u64::from(*of) == index).map(|(_, kind)| kind).collect()
    } else {
        let told = root.told(&format!("qdisc/{nic}")).unwrap_or_default();
        told.split_whitespace().map(str::to_owned).collect()
    };
    let mut kinds: Vec<String> = Vec::new();
    for kind in all {
        // What only parts packets among others, and what looks at those that come in, holds none.
        let holds = !["mq", "mqprio", "ingress", "clsact"].contains(&kind.as_str());
        if holds && !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

/// Index of the device, and kind.
fn kind_of(body: &[u8]) -> Option<(u32, String)> {
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let found = attributes(body.get(HEADER..)?);
    let (_, name) = found.into_iter().find(|(kind, _)| *kind == KIND)?;
    let name = String::from_utf8(name).ok()?;
    Some((index, name.trim_end_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attribute;
    use crate::testing::Tree;

    #[test]
    fn a_message_tells_its_device_and_kind() {
        let mut body = vec![0; HEADER];
        body[4..8].copy_from_slice(&3u32.to_ne_bytes());
        body.extend(attribute(KIND, b"fq_codel\0"));
        assert_eq!(kind_of(&body), Some((3, "fq_codel".into())));
        assert_eq!(kind_of(&body[..HEADER]), None);
    }

    #[test]
    fn what_holds_no_packets_is_left_out() {
        let tree = Tree::new();
        let root = tree.file("/told/qdisc/eth0", "mq fq fq pfifo_fast clsact\n").root();
        assert_eq!(kinds(&root, "eth0").unwrap(), ["fq", "pfifo_fast"]);
    }

    /// Loopback's is `noqueue` on every kernel; a sandbox may have no netlink.
    #[test]
    fn the_kernel_tells_loopbacks_to_anybody() {
        if let Ok(found) = kinds(&Root::host(), "lo") {
            assert!(found.is_empty() || found == ["noqueue"], "{found:?}");
        }
    }
}
