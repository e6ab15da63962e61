//! Who holds a port that we were to have.
//!
//! Linux says which sockets listen (`/proc/net/tcp`) and which process has which socket
//! (`/proc/PID/task/TID/fd`, since a thread may have a table of its own, as our shards do), the
//! latter for our own user's processes only, unless we are root. It is asked once, when a start
//! fails.

use std::net::SocketAddr;
use std::path::Path;

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its command, as the kernel keeps it: 15 characters.
    pub command: String,
}

/// The process that listens on `address`'s port, if the system tells us.
pub fn holder(address: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let texts = tables.iter().filter_map(|table| std::fs::read_to_string(table).ok());
    let inodes: Vec<String> =
        texts.flat_map(|text| listening_inodes(&text, address.port())).collect();
    let processes = std::fs::read_dir("/proc").ok()?;
    let mut pids =
        processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| holds(*pid, &inodes))?;
    let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    // A process may name itself anything.
    Some(Holder { pid, command: command.trim().escape_debug().collect() })
}

/// Inodes of the sockets that listen on `port`, out of a table of `/proc/net`.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = fields.get(1)?.rsplit_once(':')?.1;
        let hit = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == LISTEN;
        hit.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
    };
    table.lines().skip(1).filter_map(row).collect()
}

fn holds(pid: u32, inodes: &[String]) -> bool {
    let threads = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"));
    let tables = threads.into_iter().flatten().flatten().map(|thread| thread.path().join("fd"));
    tables
        .filter_map(|table| std::fs::read_dir(table).ok())
        .flat_map(|files| files.flatten())
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|link| link.to_str().is_some_and(|link| inodes.iter().any(|inode| inode == link)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = holder(listener.local_addr().unwrap()).unwrap();
        assert_eq!(found.pid, std::process::id());
        assert!(!found.command.is_empty());
    }

    #[test]
    fn only_listeners_of_that_port_count() {
        let table = "  sl  local_address rem_address   st\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 111 1\n\
            1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000 0 0 222 1\n\
            2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 333 1\n";
        assert_eq!(listening_inodes(table, 8080), ["socket:[111]"]);
    }
}
