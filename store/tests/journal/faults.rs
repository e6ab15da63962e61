//! FAULTS 30 and 31 on the simulated disk, through the journal's own face. What happens to the
//! running binary is tested in `tests/`.

use std::time::{Duration, Instant};

use touchline_core::log::{AppendError, EventLog, HoleReason, LogHealthError, Outcome};
use touchline_store::journal::{Backend, Journal, JournalOptions, OpenError, offline};

use crate::support::sim_disk::{SimDisk, Trouble};
use crate::support::{append, at, clock, event, ids, options, read_all, seq_of};

pub type Opened = (std::sync::Arc<Journal>, touchline_store::journal::OpenReport);

pub fn quick() -> JournalOptions {
    JournalOptions {
        clock: clock(),
        segment_bytes: 64 << 10,
        idle_proof_after: Duration::from_millis(5),
        full_retry: Duration::from_millis(2),
        pending_age_max: Duration::from_secs(60),
        ..Default::default()
    }
}

pub fn open(disk: &SimDisk) -> Result<Opened, OpenError> {
    let writes = disk.clone();
    Journal::open_on(quick(), move || writes, disk.clone())
}

/// Appends one event of its own.
pub fn goal(log: &Journal, id: &str) -> Result<Vec<Outcome>, AppendError> {
    append(log, vec![event(id, &"x".repeat(3_000), at(0))], at(0))
}

pub fn wait_until(what: &str, check: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !check() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn fault_30_an_end_at_every_call_loses_nothing_that_was_acknowledged() {
    for trouble in [Trouble::Kill, Trouble::PowerCut] {
        for calls in 1..60 {
            let disk = SimDisk::new(calls);
            disk.plan(calls, trouble);
            let mut acked = Vec::new();
            if let Ok((log, _)) = open(&disk) {
                for n in 0..30 {
                    if goal(&log, &format!("e{n}")).is_ok() {
                        acked.push(format!("e{n}"));
                    }
                }
                log.close();
            }
            disk.restart(trouble == Trouble::PowerCut);
            let (log, report) = open(&disk).unwrap();
            let there = ids(&read_all(&log, 0).records);
            assert!(there.len() <= acked.len() + 1, "{report:?}");
            assert_eq!(there[..acked.len()], acked[..], "call {calls}, {trouble:?}: {report:?}");
            for id in &there {
                assert_eq!(goal(&log, id).unwrap(), [Outcome::Duplicate], "{id}");
            }
        }
    }
}

#[test]
fn fault_31_a_torn_tail_is_cut_and_reported() {
    let (mut torn, mut kept) = (0, 0);
    for seed in 0..60 {
        let disk = SimDisk::new(seed);
        let options = JournalOptions { idle_proof_after: Duration::from_secs(60), ..quick() };
        let writes = disk.clone();
        let (log, _) = Journal::open_on(options, move || writes, disk.clone()).unwrap();
        goal(&log, "a").unwrap();
        disk.plan(1, Trouble::Kill);
        let group = ["b", "c", "d", "e"].map(|id| event(id, &"x".repeat(3_000), at(0)));
        assert!(append(&log, group.to_vec(), at(0)).is_err());
        drop(log);
        disk.restart(false);
        let (log, report) = open(&disk).unwrap();
        assert!(report.quarantined.is_empty() && log.health().is_ok(), "{report:?}");
        let there = ids(&read_all(&log, 0).records);
        assert_eq!(there[..], ["a", "b", "c", "d", "e"][..there.len()], "whole records only");
        assert!(!there.is_empty(), "what was acknowledged is there");
        torn += u32::from(report.torn_bytes > 0);
        kept += u32::from(report.torn_bytes > 0 && there.len() > 1);
        drop(log);
        assert_eq!(open(&disk).unwrap().1.torn_bytes, 0, "it was cut");
    }
    assert!(torn > 20 && kept > 5, "{torn} torn tails, {kept} with whole records");
}

fn segment_names(disk: &SimDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.ends_with(".seg")).collect()
}

/// A journal of several segments, closed.
fn filled(disk: &SimDisk) -> u64 {
    // Without proofs between its groups, which a busy host would put anywhere: tests name blocks.
    let options = JournalOptions { idle_proof_after: Duration::from_secs(60), ..quick() };
    let writes = disk.clone();
    let (log, _) = Journal::open_on(options, move || writes, disk.clone()).unwrap();
    for n in 0..65 {
        goal(&log, &format!("e{n}")).unwrap();
    }
    log.bounds().lanes[0].next
}

#[test]
fn fault_31_a_flipped_bit_is_found_named_and_set_aside() {
    let disk = SimDisk::new(2);
    let next = filled(&disk);
    let names = segment_names(&disk);
    assert!(names.len() >= 3);
    disk.flip(&names[1], 3 * 4096 + 100, 3);
    let (log, report) = open(&disk).unwrap();
    assert_eq!((report.next, report.quarantined.len()), (next, 0), "nobody has read it yet");
    let all = read_all(&log, 0);
    assert_eq!(all.holes.len(), 1, "{:?}", all.holes);
    let hole = all.holes[0];
    assert_eq!((hole.reason, hole.from), (HoleReason::Damaged, hole.to), "one record is lost");
    assert_eq!(all.records.len() as u64, next - 1);
    wait_until("it is set aside", || disk.names().iter().any(|name| name.ends_with(".damaged")));
    match log.health() {
        Err(LogHealthError::Damaged { file, offset }) => {
            assert!(file.ends_with(".damaged") || file.ends_with(".seg"), "{file}");
            assert!((3 * 4096..4 * 4096).contains(&offset), "{offset}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(seq_of(goal(&log, "after").unwrap()[0]), next, "writing goes on");
    assert_eq!(read_all(&log, 0).holes, [hole], "what is sound in it is still read");
    drop(log);
    let (log, report) = open(&disk).unwrap();
    assert_eq!(report.quarantined.len(), 1);
    assert!(log.health().is_err(), "it stays known after a restart");
    assert_eq!(read_all(&log, 0).holes, [hole]);
    assert_eq!(goal(&log, "e30").unwrap(), [Outcome::Duplicate], "its checkpoint is sound");
}

#[test]
fn fault_31_damage_in_what_is_proven_is_never_cut() {
    let disk = SimDisk::new(3);
    let next = filled(&disk);
    let newest = segment_names(&disk).pop().unwrap();
    let before = disk.content(&newest);
    disk.flip(&newest, 4096 + 200, 0);
    let (log, report) = open(&disk).unwrap();
    assert_eq!((report.torn_bytes, report.next), (0, next), "{report:?}");
    assert_eq!(report.quarantined.len(), 1);
    assert!(matches!(log.health(), Err(LogHealthError::Damaged { offset: 4096..8192, .. })));
    let kept = disk.content(&report.quarantined[0].0);
    assert_eq!(kept.len(), before.len(), "it keeps its bytes");
    assert_eq!(seq_of(goal(&log, "after").unwrap()[0]), next, "writing goes on");
    assert_eq!(read_all(&log, 0).holes.len(), 1);
}

#[test]
fn fault_31_a_sector_that_cannot_be_read_is_declared_and_passed_by() {
    // A record of a sealed segment, a head of a sealed segment, a record and the head of the
    // newest one.
    for (from_end, block) in [(1, 3), (1, 0), (0, 1), (0, 0)] {
        for while_open in [true, false] {
            let disk = SimDisk::new(12);
            let next = filled(&disk);
            let names = segment_names(&disk);
            let log = while_open.then(|| open(&disk).unwrap().0);
            let name = &names[names.len() - 1 - from_end];
            let content = disk.content(name);
            // A mere proof, which an idle journal writes, holds nothing that could be lost.
            let is_proof = |block: usize| block > 0 && content[block * 4096 + 24] == 0;
            let spoilt = (block..).find(|block| !is_proof(*block)).unwrap();
            disk.spoil(name, spoilt as u64);
            let log = log.unwrap_or_else(|| open(&disk).unwrap().0);
            let all = read_all(&log, 0);
            let lost: u64 = all.holes.iter().map(|hole| hole.to - hole.from + 1).sum();
            assert!(all.holes.iter().all(|hole| hole.reason == HoleReason::Damaged));
            assert_eq!((all.next, all.records.len() as u64 + lost), (next, next));
            assert_eq!(lost, u64::from(block > 0), "{from_end} {block} {while_open}");
            wait_until("it is declared", || {
                matches!(log.health(), Err(LogHealthError::Damaged { .. }))
            });
            assert_eq!(seq_of(goal(&log, "after").unwrap()[0]), next, "writing goes on");
        }
    }
}

#[test]
fn fault_31_a_bad_checkpoint_only_costs_time() {
    let disk = SimDisk::new(4);
    filled(&disk);
    let checkpoints: Vec<_> =
        disk.names().into_iter().filter(|name| name.ends_with(".ids")).collect();
    disk.flip(&checkpoints[0], 100, 5);
    let (log, report) = open(&disk).unwrap();
    assert_eq!(report.segments_rebuilt, 1, "{report:?}");
    for n in 0..60 {
        assert_eq!(goal(&log, &format!("e{n}")).unwrap(), [Outcome::Duplicate]);
    }
    drop(log);
    assert_eq!(open(&disk).unwrap().1.segments_rebuilt, 0, "it was written again");
}

#[test]
fn fault_31_a_log_that_lost_its_end_begins_a_new_life() {
    let disk = SimDisk::new(5);
    let next = filled(&disk);
    let (log, first) = open(&disk).unwrap();
    drop(log);
    disk.lose(&segment_names(&disk).pop().unwrap());
    let (log, report) = open(&disk).unwrap();
    assert_ne!(report.epoch, first.epoch);
    assert_eq!(report.epoch_reason, Some("the journal ends below what was seen"));
    assert_eq!(seq_of(goal(&log, "after").unwrap()[0]), next, "no sequence is used twice");
    let holes = read_all(&log, 0).holes;
    assert_eq!((holes.len(), holes[0].reason, holes[0].to), (1, HoleReason::Damaged, next - 1));
}

#[test]
fn fault_31_a_restored_folder_without_meta_begins_a_new_life() {
    for ends_empty in [false, true] {
        let disk = SimDisk::new(13);
        let mut next = filled(&disk);
        let before = open(&disk).unwrap().1.epoch;
        if ends_empty {
            // The backup was taken at a change of segment: the newest holds nothing yet.
            let newest = segment_names(&disk).pop().unwrap();
            next = newest[..20].parse().unwrap();
            disk.cut(&newest, 4096);
        }
        disk.lose("meta");
        let (log, report) = open(&disk).unwrap();
        assert_eq!(report.epoch_reason, Some("the journal's meta file is missing or damaged"));
        assert_ne!(report.epoch, before);
        assert_eq!(seq_of(goal(&log, "after").unwrap()[0]), next);
        assert_eq!(goal(&log, "e0").unwrap(), [Outcome::Duplicate], "what is there is known");
        assert_eq!(read_all(&log, 0).records.len() as u64, next + 1);
        let life = report.epoch;
        drop(log);
        assert_eq!(open(&disk).unwrap().1.epoch, life, "once");
    }
}

#[test]
fn fault_31_another_version_or_byte_order_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Journal::open(options(dir.path(), Backend::Plain)).unwrap();
    goal(&log, "a").unwrap();
    drop(log);
    let path = dir.path().join("00000000000000000000.seg");
    let sound = std::fs::read(&path).unwrap();
    let mut newer = sound.clone();
    newer[8] = 2;
    let sum = crc32c::crc32c(&newer[..60]).to_le_bytes();
    newer[60..64].copy_from_slice(&sum);
    let mut foreign = sound.clone();
    foreign[12..16].reverse();
    for (bytes, word) in [(newer, "version 2"), (foreign, "byte order")] {
        std::fs::write(&path, &bytes).unwrap();
        let error = Journal::open(options(dir.path(), Backend::Plain)).err().unwrap().to_string();
        assert!(error.contains(word) && error.contains("00000000000000000000.seg"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "it is left as it is");
    }
    std::fs::write(&path, &sound).unwrap();
    Journal::open(options(dir.path(), Backend::Plain)).unwrap();
}

#[test]
fn fault_31_verify_and_dump_name_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Journal::open(options(dir.path(), Backend::Plain)).unwrap();
    for n in 0..10 {
        goal(&log, &format!("e{n}")).unwrap();
    }
    drop(log);
    let name = "00000000000000000000.seg";
    let mut bytes = std::fs::read(dir.path().join(name)).unwrap();
    bytes[5 * 4096 + 100] ^= 1;
    bytes.extend_from_slice(&[7; 100]);
    std::fs::write(dir.path().join(name), bytes).unwrap();
    let report = offline::verify(dir.path()).unwrap().next().unwrap().unwrap();
    assert_eq!((&*report.file, report.records), (name, 9));
    let places: Vec<_> =
        report.problems.iter().map(|p| (p.offset / 4096, p.unproven_tail)).collect();
    assert_eq!(places, [(5, false), (12, true)], "{report:?}");
    assert!(report.is_damaged());
    let (mut records, mut damage) = (0, Vec::new());
    let next = offline::dump(dir.path(), 0, u64::MAX, |found| {
        match found {
            offline::Dumped::Record { .. } => records += 1,
            offline::Dumped::Damage { file, offset, .. } => damage.push((file, offset)),
        }
        true
    });
    assert_eq!((next.unwrap(), records), (10, 9));
    assert_eq!((damage.len(), &*damage[0].0, damage[0].1 / 4096), (1, name, 5));
}
