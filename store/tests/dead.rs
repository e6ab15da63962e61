//! Claim: what could not be accepted is kept with its bytes, reason and history, within bounds, and
//! nothing that happens to the keeper hurts whoever parks (FAULTS 36).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use touchline_core::dead::{DeadLetter, DeadLetters, Desk};
use touchline_core::event::Stream;
use touchline_core::time::Timestamp;
use touchline_store::dead::{
    Book, Claim, DeadError, DeadKeeper, DeadOptions, Filter, Letter, Settled, State,
};
use touchline_store::limits::{DEAD_HISTORY_MAX, DEAD_QUEUE_MAX, DEAD_ROW_BYTES};

const SECOND: i64 = 1_000_000;
const NOON: Timestamp = Timestamp(1_780_000_000 * SECOND);

fn at(s: i64) -> Timestamp {
    Timestamp(NOON.0 + s * SECOND)
}

fn letter(source: &str, raw: &str) -> DeadLetter {
    DeadLetter {
        desk: Desk::Webhook,
        stream: Stream::Broadcast,
        source: source.into(),
        reason: "invalid_events",
        detail: "item 0: `type` is missing".into(),
        attempts: 1,
        correlation: "c-1".into(),
        received_at: NOON,
        raw: Bytes::copy_from_slice(raw.as_bytes()),
    }
}

fn options(folder: &Path) -> DeadOptions {
    DeadOptions::new(folder.join("dead-letters.db"))
}

fn all(book: &mut Book) -> Vec<Letter> {
    book.list(&Filter::default(), 1_000, false).unwrap()
}

fn taken(book: &mut Book, id: &str, now: Timestamp) -> Letter {
    match book.claim(id, now, false, false).unwrap() {
        Claim::Taken(letter, _) => *letter,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_letter_comes_back_as_it_was_parked() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = Book::open(options(folder.path())).unwrap();
    let mut parked = letter("skyline", "{\0\u{1b}[2J");
    parked.attempts = 5;
    assert_eq!(book.put(std::slice::from_ref(&parked), at(1)).unwrap(), 0);
    book.close();
    let mut book = Book::open_existing(options(folder.path())).unwrap().unwrap();
    let [kept] = &all(&mut book)[..] else { panic!("one") };
    let (kept, raw) = book.show(&kept.id).unwrap().unwrap();
    assert_eq!(raw, parked.raw);
    assert_eq!((kept.desk, kept.stream, kept.state), (parked.desk, parked.stream, State::Parked));
    assert_eq!((&*kept.source, &*kept.reason), ("skyline", "invalid_events"));
    assert_eq!((kept.attempts, kept.times, &*kept.correlation), (5, 1, "c-1"));
    assert_eq!((kept.received_at, kept.parked_at, kept.last_at), (NOON, at(1), at(1)));
    assert_eq!(kept.history[0].what, "parked after 5 attempts: item 0: `type` is missing");
    let depths = book.depths().unwrap();
    assert_eq!(depths.streams[Stream::Broadcast as usize].letters, 1);
    assert_eq!(depths.streams[Stream::Broadcast as usize].oldest, Some(at(1)));
    assert_eq!(depths.bytes, (raw.len() + DEAD_ROW_BYTES) as u64);
}

#[test]
fn letters_are_found_by_whatever_is_known_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = Book::open(options(folder.path())).unwrap();
    let sensor = DeadLetter {
        desk: Desk::Sensor,
        stream: Stream::Sensor,
        reason: "bad_json",
        ..letter("emirates", "<html>")
    };
    book.put(&[letter("skyline", "a"), letter("arena", "b")], at(0)).unwrap();
    book.put(&[sensor], at(60)).unwrap();
    let newest = book.list(&Filter::default(), 1, true).unwrap();
    assert_eq!(newest[0].source, "emirates");
    let mut check = |filter: Filter, want: &[&str]| {
        let sources: Vec<_> =
            book.list(&filter, 9, false).unwrap().into_iter().map(|it| it.source).collect();
        assert_eq!(sources, want, "{filter:?}");
        assert_eq!(book.count(&filter).unwrap(), want.len() as u64);
    };
    let any = Filter::default;
    check(any(), &["skyline", "arena", "emirates"]);
    check(Filter { desk: Some(Desk::Sensor), ..any() }, &["emirates"]);
    check(Filter { stream: Some(Stream::Broadcast), ..any() }, &["skyline", "arena"]);
    check(Filter { source: Some("arena".into()), ..any() }, &["arena"]);
    check(Filter { reason: Some("bad_json".into()), ..any() }, &["emirates"]);
    check(Filter { state: Some(State::Replayed), ..any() }, &[]);
    check(Filter { since: Some(at(60)), ..any() }, &["emirates"]);
    check(Filter { before: Some(at(60)), ..any() }, &["skyline", "arena"]);
    let first = all(&mut book)[0].id.clone();
    let mut rest = book.list(&Filter { after: Some(first), ..any() }, 9, false).unwrap();
    assert_eq!(rest.len(), 2);
    assert!(book.drop_one(&rest.remove(0).id, at(61)).unwrap());
    assert!(!book.drop_one("none such", at(61)).unwrap());
    let skyline = Filter { source: Some("skyline".into()), ..any() };
    assert_eq!(book.drop_all(&skyline, at(61)).unwrap(), 1);
    assert_eq!(all(&mut book).len(), 1);
}

#[test]
fn a_partner_in_a_loop_does_not_flush_the_others_out() {
    let folder = tempfile::tempdir().unwrap();
    let room =
        DeadOptions { bytes_max: 4 * (DEAD_ROW_BYTES as u64 + 10), ..options(folder.path()) };
    let mut book = Book::open(room).unwrap();
    book.put(&[letter("arena", "an early one")], at(0)).unwrap();
    for s in 1..200 {
        assert_eq!(book.put(&[letter("skyline", "the same")], at(s)).unwrap(), 0);
    }
    let [early, looping] = &all(&mut book)[..] else { panic!("two") };
    assert_eq!((&*early.source, early.times), ("arena", 1));
    assert_eq!((looping.times, looping.parked_at, looping.last_at), (199, at(1), at(199)));
    let other_reason = DeadLetter { reason: "in_future", ..letter("skyline", "the same") };
    book.put(&[other_reason], at(200)).unwrap();
    assert_eq!(all(&mut book).len(), 3, "another reason is another letter");
}

#[test]
fn fault_36_a_full_store_lets_what_was_replayed_go_first_and_then_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let one = DEAD_ROW_BYTES as u64 + 3;
    let room = DeadOptions { bytes_max: 3 * one, ..options(folder.path()) };
    let mut book = Book::open(room).unwrap();
    for (n, raw) in ["l-0", "l-1", "l-2"].iter().enumerate() {
        assert_eq!(book.put(&[letter("skyline", raw)], at(n as i64)).unwrap(), 0);
    }
    let second = all(&mut book)[1].id.clone();
    let replayed = taken(&mut book, &second, at(3));
    book.settle(&replayed, Settled::Replayed, "replayed", at(3)).unwrap();
    let left = |book: &mut Book| {
        let ids: Vec<_> = all(book).into_iter().map(|it| it.id).collect();
        let raws = ids.iter().map(|id| book.show(id).unwrap().unwrap().1);
        raws.map(|raw| String::from_utf8(raw).unwrap()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(book.put(&[letter("skyline", "l-3")], at(4)).unwrap(), 0, "nobody waits for l-1");
    assert_eq!(left(&mut book), "l-0 l-2 l-3");
    assert_eq!(book.put(&[letter("skyline", "l-4")], at(5)).unwrap(), 1, "one is lost to room");
    assert_eq!(left(&mut book), "l-2 l-3 l-4");
    assert_eq!(book.depths().unwrap().bytes, 3 * one);
}

#[test]
fn fault_36_a_noisy_source_flushes_out_its_own_letters_alone() {
    let folder = tempfile::tempdir().unwrap();
    let room =
        DeadOptions { bytes_max: 10 * (DEAD_ROW_BYTES as u64 + 9), ..options(folder.path()) };
    // A file that was made before sources had shares.
    let mut book = Book::open(options(folder.path())).unwrap();
    book.put(&[letter("arena", "early one"), letter("feed", "early two")], at(0)).unwrap();
    book.close();
    without_shares(&options(folder.path()).file);
    let mut book = Book::open(room).unwrap();
    let noise = |n: u32| letter("skyline", &format!("{n:09}"));
    let mut dropped = 0;
    for batch in 0..4 {
        let letters: Vec<_> = (0..100).map(|n| noise(100 * batch + n)).collect();
        dropped += book.put(&letters, at(1)).unwrap();
    }
    let left = all(&mut book);
    let sources: Vec<_> = left.iter().map(|it| &*it.source).collect();
    assert_eq!(sources[..2], ["arena", "feed"]);
    assert_eq!((left.len(), dropped), (10, 392));
    assert_eq!(book.show(&left[9].id).unwrap().unwrap().1, b"000000399", "its newest stay");
    let big = letter("arena", &"x".repeat(9 * (DEAD_ROW_BYTES + 9)));
    book.put(&[big], at(2)).unwrap();
    let left = all(&mut book);
    let mine = left.iter().filter(|it| it.source == "skyline").count();
    assert!(mine >= 1 && left.iter().any(|it| it.source == "feed"), "{left:?}");
}

/// Takes away what a file of an older build doesn't have.
fn without_shares(file: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        use sqlx::{ConnectOptions as _, Connection as _, raw_sql};
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let mut connection = options.connect().await.unwrap();
        let older = "drop trigger share_comes; drop trigger share_goes; drop trigger share_moves; \
             drop index letters_by_share; drop table shares";
        raw_sql(older).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

#[test]
fn letters_go_by_age_counted_from_when_they_came_last() {
    let folder = tempfile::tempdir().unwrap();
    let week = DeadOptions { age_max: Duration::from_secs(7 * 86_400), ..options(folder.path()) };
    let mut book = Book::open(week).unwrap();
    book.put(&[letter("skyline", "old"), letter("skyline", "comes again")], at(0)).unwrap();
    book.put(&[letter("skyline", "comes again")], at(5 * 86_400)).unwrap();
    assert_eq!(book.put(&[], at(7 * 86_400 + 1)).unwrap(), 1);
    assert_eq!(all(&mut book).len(), 1);
    assert_eq!(book.put(&[], at(13 * 86_400)).unwrap(), 1);
    assert_eq!(book.depths().unwrap().bytes, 0);
}

#[test]
fn a_letter_that_is_too_long_is_kept_cut_and_says_so_and_is_not_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let short = DeadOptions { letter_bytes_max: 4, ..options(folder.path()) };
    let mut book = Book::open(short).unwrap();
    book.put(&[letter("skyline", "123456"), letter("skyline", "1234")], at(0)).unwrap();
    let [long, whole] = &all(&mut book)[..] else { panic!("two") };
    assert!(long.is_cut() && !whole.is_cut());
    assert_eq!((long.raw_bytes, long.kept_bytes), (6, 4));
    assert_eq!(book.show(&long.id).unwrap().unwrap().1, b"1234");
    assert!(matches!(book.claim(&long.id, at(1), true, true).unwrap(), Claim::Cut(_)));
}

#[test]
fn fault_36_a_letter_is_replayed_once_whoever_asks_and_however_often() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = Book::open(options(folder.path())).unwrap();
    let mut other = Book::open(options(folder.path())).unwrap();
    book.put(&[letter("skyline", "{}")], at(0)).unwrap();
    let id = all(&mut book)[0].id.clone();
    assert_eq!(book.claim("none such", at(1), false, false).unwrap(), Claim::Missing);
    let letter = taken(&mut book, &id, at(1));
    assert_eq!(other.claim(&id, at(1), true, false).unwrap(), Claim::UnderWay);
    assert!(!other.drop_one(&id, at(1)).unwrap(), "not while it is under way");
    book.settle(&letter, Settled::Refused, "replay 1 was refused: `type` is missing", at(2))
        .unwrap();
    let letter = taken(&mut other, &id, at(3));
    assert_eq!((letter.state, letter.attempts), (State::Parked, 2), "as it was before");
    other.settle(&letter, Settled::Parked, "replay 2: the log is behind", at(4)).unwrap();
    let letter = taken(&mut book, &id, at(5));
    assert_eq!(letter.attempts, 2, "somebody else's fault is no attempt of its own");
    book.settle(&letter, Settled::Replayed, "replay 3: accepted", at(6)).unwrap();
    assert!(matches!(other.claim(&id, at(7), false, false).unwrap(), Claim::Replayed(_)));
    let Claim::Taken(again, _) = other.claim(&id, at(8), true, false).unwrap() else { panic!() };
    assert_eq!(again.state, State::Replayed);
    other.settle(&again, Settled::Refused, "replay 4 was refused", at(9)).unwrap();
    let (letter, _) = book.show(&id).unwrap().unwrap();
    assert_eq!((letter.state, letter.state_at), (State::Replayed, at(6)), "it stays replayed");
    assert_eq!(letter.history.len(), 5, "{:?}", letter.history);
    book.put(&[self::letter("skyline", "{}")], at(10)).unwrap();
    let (letter, _) = book.show(&id).unwrap().unwrap();
    assert_eq!((letter.state, letter.times), (State::Replayed, 2), "nothing new is in it");
    assert_eq!(book.depths().unwrap().streams[0].letters, 0);
}

#[test]
fn fault_36_a_crash_between_mark_and_answer_is_known_to_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = Book::open(options(folder.path())).unwrap();
    book.put(&[letter("skyline", "{}")], at(0)).unwrap();
    let id = all(&mut book)[0].id.clone();
    taken(&mut book, &id, at(1));
    drop(book);
    let mut book = Book::open(options(folder.path())).unwrap();
    let left = Filter { state: Some(State::Replaying), ..Filter::default() };
    let [left] = &book.list(&left, 9, false).unwrap()[..] else { panic!("one") };
    assert_eq!((&left.id, left.state_at), (&id, at(1)));
    assert_eq!(book.claim(&id, at(2), false, false).unwrap(), Claim::UnderWay);
    assert!(matches!(book.claim(&id, at(2), false, true).unwrap(), Claim::Taken(..)));
    assert!(matches!(book.claim(&id, at(70), false, false).unwrap(), Claim::Taken(..)));
}

#[test]
fn a_history_is_bounded_and_keeps_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = Book::open(options(folder.path())).unwrap();
    book.put(&[letter("skyline", "{}")], at(0)).unwrap();
    let id = all(&mut book)[0].id.clone();
    for n in 0..DEAD_HISTORY_MAX as i64 + 9 {
        let letter = taken(&mut book, &id, at(n));
        book.settle(&letter, Settled::Refused, &format!("replay {n}"), at(n)).unwrap();
    }
    let (letter, _) = book.show(&id).unwrap().unwrap();
    assert_eq!(letter.history.len(), DEAD_HISTORY_MAX);
    assert!(letter.history[0].what.starts_with("parked"), "{:?}", letter.history[0]);
    assert_eq!(letter.history.last().unwrap().what, format!("replay {}", DEAD_HISTORY_MAX + 8));
}

#[test]
fn a_file_of_another_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Book::open_existing(options(folder.path())).unwrap().is_none());
    Book::open(options(folder.path())).unwrap().close();
    let file = options(folder.path()).file;
    let mut bytes = std::fs::read(&file).unwrap();
    // The header's user version: big endian, at byte 60.
    bytes[60..64].copy_from_slice(&7u32.to_be_bytes());
    std::fs::write(&file, &bytes).unwrap();
    let refused = Book::open(options(folder.path())).err().unwrap();
    assert!(matches!(refused, DeadError::Version { found: 7, .. }), "{refused}");
    assert_eq!(std::fs::read(&file).unwrap()[60..64], bytes[60..64]);
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_parked_is_kept_and_counted_and_what_a_command_drops_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let keeper = DeadKeeper::start(options(folder.path())).unwrap();
    for n in 0..500 {
        keeper.park(letter("skyline", &format!("{n}")));
    }
    let depth = || keeper.stats().depths().streams[0].letters;
    until("all are kept", || depth() == 500);
    assert_eq!(keeper.stats().parked(), [(Stream::Broadcast, "invalid_events", 500)]);
    let mut command = Book::open(options(folder.path())).unwrap();
    assert_eq!(command.drop_all(&Filter::default(), NOON).unwrap(), 500);
    until("the keeper sees it", || depth() == 0);
    keeper.park(letter("skyline", "the last"));
    keeper.close();
    keeper.park(letter("skyline", "too late"));
    assert_eq!(all(&mut command).len(), 1, "a close writes what waits");
    assert_eq!((keeper.stats().lost(), keeper.stats().dropped()), (1, 0));
}

#[test]
fn fault_36_a_file_that_cannot_be_written_never_blocks_who_parks_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("data");
    std::fs::write(&home, "no folder").unwrap();
    let keeper = Arc::new(DeadKeeper::start(options(&home)).unwrap());
    let begin = Instant::now();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let keeper = Arc::clone(&keeper);
            std::thread::spawn(move || {
                for n in 0..DEAD_QUEUE_MAX {
                    keeper.park(letter("skyline", &format!("{thread}-{n}")));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let lost = keeper.stats().lost();
    assert!(lost >= 3 * DEAD_QUEUE_MAX as u64 - 256, "{lost}: the queue and a batch are kept");
    std::fs::remove_file(&home).unwrap();
    let kept = || keeper.stats().depths().streams[0].letters;
    until("what waited is kept", || kept() + lost == 4 * DEAD_QUEUE_MAX as u64);
    keeper.close();
    assert_eq!(keeper.stats().lost(), lost, "nothing more");
}
