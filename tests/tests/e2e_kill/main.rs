//! The promise above all others: whatever moment the process dies at, every event that was answered
//! 202 is in the log exactly once, and every client sees it exactly once.
//!
//! The real binary is killed by SIGKILL fifty times, also while it starts, and comes back now on
//! io_uring and direct I/O, now on epoll and plain files, on the same folder. Meanwhile four
//! senders of three partners deliver batches, retry what was not answered, deliver twice in a row
//! and twice at once, repeat old events and give some up; a hundred clients follow teams by a Zipf
//! law, hang up at random, read too slowly (four of them), and resume by mark and positions. A show
//! in which too little of that happened fails as well: it proves nothing.
//!
//! | module | what it is |
//! |---|---|
//! | `stage` | what all threads share: where the server listens now, and how far the show is |
//! | `partners` | who sends, and what each was answered |
//! | `followers` | who follows, and what each saw |
//! | `judge` | the log against both; proven by logs and clients that were tampered with |
//!
//! Everything but timing follows from the seed, which is printed: `TOUCHLINE_SEED=N` repeats it,
//! `TOUCHLINE_KILLS=N` kills more or less often.

mod followers;
mod judge;
mod partners;
mod stage;

use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use touchline_core::log::token::decode_mark;
use touchline_tests::e2e::log::{Logged, dump, segments};
use touchline_tests::e2e::server::{Backend, Home, Server};
use touchline_tests::e2e::{PATIENCE, until};

use stage::{FOLLOWERS, SENDERS, Stage};

const KILLS: u64 = 50;
/// From the start of the process to `/readyz`. DESIGN promises 5 s of a release build on an idle
/// host; this is a debug build beside a hundred clients.
const READY_MAX: Duration = Duration::from_secs(10);
/// Windows and queues as small as they may be, so that resumes reach below the window and slow
/// clients are closed; heartbeats as often as may be, so that marks move.
const TIGHT: &str = "[streams.broadcast]\nwindow_bytes = \"64KiB\"\nqueue_bytes_max = \"64KiB\"\n\
                     [sessions]\nheartbeat_s = 1\npong_s = 5\n[log]\nsegment_bytes = \"256KiB\"\n";

#[test]
fn fault_30_after_fifty_kills_every_acknowledged_event_is_there_once_and_was_seen_once() {
    let seed = number("TOUCHLINE_SEED").unwrap_or_else(|| rand::rng().random_range(0..1 << 32));
    let kills = number("TOUCHLINE_KILLS").unwrap_or(KILLS);
    println!("TOUCHLINE_SEED={seed} TOUCHLINE_KILLS={kills}");
    let home = Home::new(TIGHT);
    let stage = Stage::default();
    let (mut server, _) = start(&home, &stage, Backend::Auto);
    std::thread::scope(|scope| {
        let followers: Vec<_> = (0..FOLLOWERS)
            .map(|number| {
                scope.spawn({
                    let stage = &stage;
                    move || followers::follow(number, seed, stage)
                })
            })
            .collect();
        until("everybody follows", || stage.following() == FOLLOWERS);
        let senders: Vec<_> = (0..SENDERS)
            .map(|number| {
                scope.spawn({
                    let stage = &stage;
                    move || partners::send(number, seed, stage)
                })
            })
            .collect();
        let worst = kill_repeatedly(&home, &stage, &mut server, seed, kills);
        stage.stop_sending();
        let ledgers: Vec<_> = senders.into_iter().map(|one| one.join().expect("sends")).collect();
        let log = dump(&home.journal());
        wait_until_seen(&stage, &log);
        stage.end();
        let seen: Vec<_> = followers.into_iter().map(|one| one.join().expect("follows")).collect();
        server.stop();
        let log = dump(&home.journal());
        println!("{}", summary(&log, &ledgers, &seen, worst));
        judge::judge(&log, &ledgers, &seen).unwrap_or_else(|wrong| {
            panic!("TOUCHLINE_SEED={seed}: {wrong}");
        });
        assert_enough_happened(kills, &home, &ledgers, &seen);
    });
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Starts a server and tells everybody where; how long it took to be ready.
fn start(home: &Home, stage: &Stage, backend: Backend) -> (Server, Duration) {
    let begin = Instant::now();
    let mut server = Server::spawn(command(home, backend));
    stage.moved_to(server.wait_until_serving());
    until("ready", || server.admin("/readyz").status == 200);
    (server, begin.elapsed())
}

/// Little is read before it is ready, so that most resumes begin below what is in memory.
fn command(home: &Home, backend: Backend) -> Command {
    let mut command = home.command(backend);
    command.env("TOUCHLINE__NODE__WARM_EVENTS", "50");
    command
}

/// Kills `server` at random moments and starts it again; the slowest start.
fn kill_repeatedly(
    home: &Home,
    stage: &Stage,
    server: &mut Server,
    seed: u64,
    kills: u64,
) -> Duration {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut worst = Duration::ZERO;
    for kill in 0..kills {
        std::thread::sleep(Duration::from_millis(rng.random_range(50..900)));
        server.kill_9();
        if kill == kills / 2 {
            // The log can be read as the kill left it.
            dump(&home.journal());
        }
        if kill % 5 == 4 {
            // It dies again while it recovers from the last death.
            let mut unlucky = Server::spawn(command(home, backend(&mut rng)));
            std::thread::sleep(Duration::from_millis(rng.random_range(0..300)));
            unlucky.kill_9();
        }
        let (next, took) = start(home, stage, backend(&mut rng));
        assert!(took < READY_MAX, "kill {kill}: ready after {took:?}: {:#?}", next.log());
        worst = worst.max(took);
        *server = next;
    }
    worst
}

fn backend(rng: &mut StdRng) -> Backend {
    Backend::ALL[rng.random_range(0..2)]
}

/// Waits until each follower has as many events as the log holds for it. Which ones, the judge
/// tells; a follower that lacks some is given all the time there is.
fn wait_until_seen(stage: &Stage, log: &[Logged]) {
    let deadline = Instant::now() + PATIENCE;
    let owed: Vec<_> = (0..FOLLOWERS).map(|number| judge::owed(log, number).count()).collect();
    while !(0..FOLLOWERS).all(|number| stage.seen(number) >= owed[number]) {
        if Instant::now() > deadline {
            println!("not everybody saw everything within {PATIENCE:?}");
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// For each kill a few events, for every other one a resume of each follower (slow ones have fewer,
/// the rest more), and files enough that many a kill found one just begun.
fn assert_enough_happened(
    kills: u64,
    home: &Home,
    ledgers: &[partners::Ledger],
    seen: &[followers::Seen],
) {
    let acknowledged: usize = ledgers.iter().map(|ledger| ledger.acknowledged.len()).sum();
    assert!(acknowledged as u64 > 10 * kills, "only {acknowledged} events were acknowledged");
    let resumes: u64 = seen.iter().map(|one| one.resumes).sum();
    assert!(resumes > kills / 2 * FOLLOWERS as u64, "only {resumes} resumes");
    let files = segments(&home.journal()).len() as u64;
    assert!(files > kills / 10, "only {files} files");
}

fn summary(
    log: &[Logged],
    ledgers: &[partners::Ledger],
    seen: &[followers::Seen],
    worst: Duration,
) -> String {
    let acknowledged: usize = ledgers.iter().map(|ledger| ledger.acknowledged.len()).sum();
    let unanswered: u64 = ledgers.iter().map(|ledger| ledger.unanswered).sum();
    let repeats: u64 = ledgers.iter().map(|ledger| ledger.repeats).sum();
    let resumes: u64 = seen.iter().map(|one| one.resumes).sum();
    let slow: u64 = seen.iter().map(|one| one.closed_slow).sum();
    let deliveries: usize = seen.iter().map(followers::Seen::count).sum();
    format!(
        "{} events in the log, {acknowledged} acknowledged; {unanswered} deliveries unanswered, \
         {repeats} repeated; {deliveries} events seen over {resumes} resumes, {slow} of them after \
         4008; slowest start {worst:?}",
        log.len()
    )
}

/// The epoch that a mark names.
fn epoch_of(mark: &str) -> touchline_core::log::Epoch {
    decode_mark(mark).expect("a mark of the server").epoch
}
