//! FAULTS 31 and 32 against the binary: damage is named and costs only what it hit; a full disk
//! refuses sources, nobody else, and is over when there is room.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// A command that runs in a namespace whose `data` is a disk of 16 MiB; `None` where the host lets
/// nobody mount one.
fn on_a_small_disk(command: &Command, data: &Path) -> Option<Command> {
    let flags = if rustix::process::geteuid().is_root() { "-m" } else { "-Urm" };
    let mount = r#"mount -t tmpfs -o size=16m none "$0""#;
    let within = |script: &str| {
        let mut within = Command::new("unshare");
        within.args([flags, "sh", "-c", script]).arg(data);
        within
    };
    let can = within(mount).output().is_ok_and(|output| output.status.success());
    let mut whole = within(&format!(r#"{mount} && exec "$@""#));
    whole.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => whole.env(name, value),
            None => whole.env_remove(name),
        };
    }
    can.then_some(whole)
}

/// Fills what is left of the disk of `folder`.
fn fill(folder: &Path) {
    let mut filler = File::create(folder.join("filler")).expect("a file");
    for block in [64 * 1024, 4096, 1] {
        while filler.write_all(&vec![0; block]).is_ok() {}
    }
}

#[test]
fn fault_32_a_full_disk_refuses_sources_and_nobody_else_and_recovers_by_itself() {
    for backend in Backend::ALL {
        let home = Home::new("[log]\nsegment_bytes = \"1MiB\"\n");
        let data = home.path("data");
        std::fs::create_dir(&data).unwrap();
        let Some(command) = on_a_small_disk(&home.command(backend), &data) else {
            eprintln!("this host lets nobody mount a small disk: the simulated one must do");
            return;
        };
        let mut server = Server::spawn(command);
        server.wait_until_serving();
        let inside = PathBuf::from(format!("/proc/{}/root{}", server.pid(), data.display()));
        let to = server.addresses().stream;
        let mut early = Socket::open(to, "teams=ars");
        let mark = early.hear_op("subscribed")["mark"].clone();
        server.accept(&event("g-0", &["ars"]));
        assert_eq!(early.hear_op("event")["id"], "g-0");

        fill(&inside);
        let pad = format!(r#"{{"pad":"{}"}}"#, "x".repeat(60_000));
        let mut taken = vec!["skyline/g-0".to_owned()];
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
        let ready = server.admin("/readyz");
        assert_eq!(ready.status, 503, "{ready:?}");

        // Sockets, marks and resume go on, for those who are there and for those who come.
        early.send_text(r#"{"op":"ping","id":1}"#);
        assert_eq!(early.hear_op("pong")["id"], 1);
        let query = format!("teams=ars&mark={}", mark.as_str().unwrap());
        let mut late = Socket::open(to, &query);
        assert_eq!(late.hear_op("subscribed")["recovered"], true);
        assert_eq!(late.hear_op("event")["id"], "g-0");

        // Once there is room, the partner's next attempt succeeds; nothing was restarted.
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
    }
}
