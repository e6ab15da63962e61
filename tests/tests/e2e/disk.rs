//! FAULTS 31 and 32 against the binary: damage is named and costs only what it hit; a full disk
//! refuses sources, nobody else, and is over when there is room.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use touchline_tests::e2e::http::{event, event_with};
use touchline_tests::e2e::log::dump;
use touchline_tests::e2e::server::{Backend, Home, Server, run};
use touchline_tests::e2e::socket::{Heard, Socket};
use touchline_tests::e2e::until;

/// The oldest file of the journal.
fn oldest_segment(journal: &Path) -> PathBuf {
    let files = std::fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "seg");
    files.filter(is_segment).min().unwrap()
}

#[test]
fn fault_31_a_damaged_segment_is_named_while_sockets_and_sources_live() {
    for backend in Backend::ALL {
        let home = Home::new("");
        let mut server = home.serve(backend);
        let to = server.addresses().stream;
        let mark = Socket::open(to, "teams=ars").hear_op("subscribed")["mark"].clone();
        (0..50).for_each(|n| server.accept(&event(&format!("g-{n}"), &["ars"])));
        server.stop();
        let segment = oldest_segment(&home.journal());
        let mut bytes = std::fs::read(&segment).unwrap();
        let at = bytes.windows(4).position(|four| four == b"g-10").unwrap();
        bytes[at] ^= 1;
        std::fs::write(&segment, bytes).unwrap();

        let server = home.serve(backend);
        let ready = server.admin("/readyz");
        let name = segment.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(ready.status, 503);
        assert!(ready.body.contains("damaged at byte") && ready.body.contains(&name), "{ready:?}");
        let verify = run(&["log", "verify", home.journal().to_str().unwrap()]);
        let said = String::from_utf8_lossy(&verify.stdout).into_owned();
        assert_eq!(verify.status.code(), Some(1), "{said}");
        assert!(said.contains("damage at byte") && said.contains(&name), "{said}");

        // Who comes back over the damage is told; who is live stays so; sources are served.
        let to = server.addresses().stream;
        let query = format!("teams=ars&mark={}", mark.as_str().unwrap());
        let mut back = Socket::open(to, &query);
        assert_eq!(back.hear_op("gap")["reason"], "damaged");
        server.accept(&event("after", &["ars"]));
        while back.hear_op("event")["id"] != "after" {}
        let mut live = Socket::open(to, "teams=ars");
        live.hear_op("subscribed");
        server.accept(&event("last", &["ars"]));
        assert_eq!(live.hear_op("event")["id"], "last");
    }
}

/// A disk of 16 MiB in place of a folder, in a mount namespace that lives as long as this.
struct SmallDisk {
    holder: Child,
    folder: PathBuf,
}

impl SmallDisk {
    /// `None` where the host lets nobody mount one.
    fn mount(folder: &Path) -> Option<Self> {
        let flags = if rustix::process::geteuid().is_root() { "-m" } else { "-Urm" };
        let script = r#"mount -t tmpfs -o size=16m none "$0" && echo mounted && exec sleep 600"#;
        let mut holder = Command::new("unshare")
            .args([flags, "sh", "-c", script])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut said = String::new();
        let _ = BufReader::new(holder.stdout.take()?).read_line(&mut said);
        let disk = Self { holder, folder: folder.to_owned() };
        (said.trim() == "mounted").then_some(disk)
    }

    /// The same command, with the small disk in its place.
    fn command(&self, command: &Command) -> Command {
        let mut within = Command::new("nsenter");
        within.args(["--target", &self.holder.id().to_string(), "--mount"]);
        if !rustix::process::geteuid().is_root() {
            within.args(["--user", "--preserve-credentials"]);
        }
        within.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => within.env(name, value),
                None => within.env_remove(name),
            };
        }
        within
    }

    /// Where it is seen from here.
    fn inside(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.holder.id(), self.folder.display()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Fills what is left of the disk of `folder`.
fn fill(folder: &Path) {
    let mut filler = File::create(folder.join("filler")).expect("a file");
    for block in [64 * 1024, 4096, 1] {
        while filler.write_all(&vec![0; block]).is_ok() {}
    }
}

/// Fills the disk, then posts until a webhook is refused; what was taken meanwhile.
fn fill_up(server: &Server, inside: &Path) -> Vec<String> {
    fill(inside);
    let pad = format!(r#"{{"pad":"{}"}}"#, "x".repeat(60_000));
    let mut taken = Vec::new();
    let refused = (1..1_000).find_map(|n| {
        let answer = server.post(&event_with(&format!("g-{n}"), &["big"], &pad));
        if answer.status == 202 {
            taken.push(format!("skyline/g-{n}"));
            return None;
        }
        Some(answer)
    });
    let refused = refused.expect("16 MiB are full some time");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    taken
}

#[test]
fn fault_32_a_full_disk_refuses_sources_and_nobody_else_also_over_a_restart() {
    for backend in Backend::ALL {
        let home = Home::new("[log]\nsegment_bytes = \"1MiB\"\n");
        let data = home.path("data");
        std::fs::create_dir(&data).unwrap();
        let Some(disk) = SmallDisk::mount(&data) else {
            touchline_tests::note("nobody may mount a small disk here: the simulated one must do");
            return;
        };
        let inside = disk.inside();
        let serve = || {
            let mut server = Server::spawn(disk.command(&home.command(backend)));
            server.wait_until_serving();
            server
        };
        let mut server = serve();
        let to = server.addresses().stream;
        let mut early = Socket::open(to, "teams=ars");
        let mark = early.hear_op("subscribed")["mark"].clone();
        server.accept(&event("g-0", &["ars"]));
        assert_eq!(early.hear_op("event")["id"], "g-0");

        let mut taken = fill_up(&server, &inside);
        taken.push("skyline/g-0".into());
        let ready = server.admin("/readyz");
        assert_eq!(ready.status, 503, "{ready:?}");

        // Sockets, marks and resume go on, for those who are there and for those who come.
        early.send_text(r#"{"op":"ping","id":1}"#);
        assert_eq!(early.hear_op("pong")["id"], 1);
        let query = format!("teams=ars&mark={}", mark.as_str().unwrap());
        let mut late = Socket::open(to, &query);
        assert_eq!(late.hear_op("subscribed")["recovered"], true);
        assert_eq!(late.hear_op("event")["id"], "g-0");

        // Who restarts it meanwhile finds it as it was (R13).
        drop((early, late));
        server.kill_9();
        server = serve();
        assert_eq!(server.post(&event("full", &["ars"])).status, 503);
        let to = server.addresses().stream;
        let mut early = Socket::open(to, &query);
        let mut late = Socket::open(to, &query);
        for socket in [&mut early, &mut late] {
            assert_eq!(socket.hear_op("subscribed")["recovered"], true);
            assert_eq!(socket.hear_op("event")["id"], "g-0");
        }

        // Once there is room, the partner's next attempt succeeds.
        std::fs::remove_file(inside.join("filler")).unwrap();
        until("room is noticed", || server.post(&event("again", &["ars"])).status == 202);
        taken.push("skyline/again".into());
        for socket in [&mut early, &mut late] {
            assert_eq!(socket.hear_op("event")["id"], "again");
            assert!(!matches!(socket.hear_soon(), Heard::Json(json) if json["op"] == "event"));
        }
        until("ready again", || server.admin("/readyz").status == 200);
        let names: Vec<_> = dump(&inside.join("journal")).into_iter().map(|r| r.name).collect();
        for name in &taken {
            let count = names.iter().filter(|one| *one == name).count();
            assert_eq!(count, 1, "{name} of {names:?}");
        }
        server.stop();
        let probes = std::fs::read_dir(&inside).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!probes.into_iter().any(|name| name.to_string_lossy().contains("probe")));
    }
}
