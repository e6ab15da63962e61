//! Of several nodes one follows a stream: what becomes of its place when that changes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use touchline_core::time::Timestamp;
use touchline_ingest::clock::{Clock, system_clock};
use touchline_ingest::roster::Roster;
use touchline_ingest::social::{Fate, Rewind, SocialSource};
use touchline_tests::stream::{Form, Stream};

use super::{Followed, MS, Setting, follow_at, post, source, until};

/// Whether it is this node's turn, and a clock that can be set.
struct Stage {
    is_ours: Arc<AtomicBool>,
    ahead_us: Arc<AtomicI64>,
    folder: tempfile::TempDir,
    stream: Stream,
}

struct Turn(Arc<AtomicBool>);

impl Roster for Turn {
    fn is_mine(&self, _: &str) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Stage {
    fn new() -> Self {
        Self {
            is_ours: Arc::new(AtomicBool::new(true)),
            ahead_us: Arc::default(),
            folder: tempfile::tempdir().unwrap(),
            stream: Stream::start(Form::Lines),
        }
    }

    fn follow(&self, look: impl FnOnce(&Followed<'_>)) {
        let stream = &self.stream;
        let it = SocialSource { rewind: Rewind::SinceId, ..source(stream, Form::Lines) };
        let ahead_us = Arc::clone(&self.ahead_us);
        let clock: Clock =
            Arc::new(move || Timestamp(system_clock().0 + ahead_us.load(Ordering::Relaxed)));
        let roster = Arc::new(Turn(Arc::clone(&self.is_ours)));
        follow_at(Setting { places: Some(self.folder.path()), clock, roster }, it, look);
    }

    fn give(&self, is_ours: bool) {
        self.is_ours.store(is_ours, Ordering::Relaxed);
    }

    fn pass_hours(&self, hours: i64) {
        self.ahead_us.fetch_add(hours * 3_600_000_000, Ordering::Relaxed);
    }

    fn place(&self) -> String {
        let file = Path::join(self.folder.path(), "plaza.place");
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// Follows until the log has two posts and the place is kept.
    fn two_posts(&self, it: &Followed<'_>) {
        until("it is open", || self.stream.open() == 1);
        self.stream.say_all([1, 2].map(|id| post(id, "arsenal")));
        it.expect("the first two", &[1, 2]);
        until("the place is kept", || self.place().contains(r#""id":"2""#));
    }

    /// It is ours again: what is asked.
    fn asks(&self, times: usize) -> String {
        self.give(true);
        until("it is asked for", || self.stream.heads().len() == times);
        self.stream.heads()[times - 1].1.clone()
    }
}

#[test]
fn fault_29_a_stream_that_is_ours_again_soon_goes_on_where_it_was_and_misses_nothing() {
    let stage = Stage::new();
    stage.follow(|it| {
        stage.two_posts(it);
        it.ledger.set_refusing(true);
        stage.stream.say(&post(3, "arsenal"));
        until("it is refused", || it.stats.posts(Fate::Refused) == 1);
        // The log is away, and with it those who say whose turn it is.
        stage.give(false);
        until("it is left", || !it.stats.is_connected());
        stage.stream.say(&post(4, "arsenal"));
        std::thread::sleep(500 * MS);
        assert!(stage.place().contains(r#""id":"2""#), "{}", stage.place());
        it.ledger.set_refusing(false);
        stage.stream.set_repeats(2);
        let head = stage.asks(2);
        assert!(head.contains("since_id=2"), "{head}");
        it.expect("what was refused, and what came meanwhile", &[1, 2, 3, 4]);
    });
}

#[test]
fn a_stream_that_another_node_kept_for_hours_begins_at_its_present() {
    let stage = Stage::new();
    stage.follow(|it| {
        stage.two_posts(it);
        stage.give(false);
        until("it is left", || !it.stats.is_connected());
        stage.pass_hours(3);
        let head = stage.asks(2);
        assert!(!head.contains("since_id"), "{head}");
    });
}

#[test]
fn a_place_of_before_a_restart_is_judged_when_the_turn_begins() {
    let stage = Stage::new();
    stage.follow(|it| stage.two_posts(it));
    stage.give(false);
    stage.follow(|_| {
        stage.pass_hours(3);
        std::thread::sleep(300 * MS);
        let head = stage.asks(2);
        assert!(!head.contains("since_id"), "{head}");
    });
}
